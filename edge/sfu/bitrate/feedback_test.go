package bitrate

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
)

// status is a packet as feedback tells of it.
type status struct {
	seq      uint16
	received bool
	arrival  int64 // ns
}

// statuses reads all of a message, with its reference time as it stands there.
func statuses(t testing.TB, fci []byte) []status {
	t.Helper()
	m, ok := parse(fci)
	if !ok {
		t.Fatalf("not read: %x", fci)
	}
	r := m.read(int64(m.reference))
	all := make([]status, m.count)
	for i := range all {
		got, arrival := r.next()
		all[i] = status{m.base + uint16(i), got, arrival}
	}
	if len(r.m.deltas) != 0 || len(r.m.chunks) != 0 {
		t.Fatalf("%d bytes of deltas and %d of chunks were left", len(r.m.deltas), len(r.m.chunks))
	}
	return all
}

// TestRoundTrip reads what an independent receiver wrote, for many patterns of arrival.
func TestRoundTrip(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for round := range 300 {
		recorder := twcc.NewRecorder(1)
		base, loss, gap := uint16(random.Uint32()), random.Float64(), 1+random.Int64N(20_000)
		sent := map[uint16]int64{}
		at := 64_000 * (1 + random.Int64N(1<<24))
		for i := range 1 + random.IntN(400) {
			at += random.Int64N(gap)
			if random.Float64() < loss {
				continue
			}
			arrival := at + random.Int64N(10_000)
			sent[base+uint16(i)] = arrival
			recorder.Record(2, base+uint16(i), arrival)
		}
		if len(sent) == 0 {
			continue
		}
		found := 0
		for _, message := range recorder.BuildFeedbackPacket() {
			raw, err := message.(*rtcp.TransportLayerCC).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range statuses(t, raw[12:]) {
				arrival, ok := sent[s.seq]
				if ok != s.received {
					t.Fatalf("round %d: packet %d received: %v", round, s.seq, s.received)
				}
				if !ok {
					continue
				}
				found++
				// The reference time wraps after 2^24 times 64 ms; a delta is exact to its unit.
				const wrap = referenceWrap * referenceUnit
				if off := (s.arrival - arrival*1000%wrap + wrap + wrap/2) % wrap; off < wrap/2-2*deltaUnit || off > wrap/2+2*deltaUnit {
					t.Fatalf("round %d: packet %d arrived at %d, want %d", round, s.seq, s.arrival, arrival*1000%wrap)
				}
			}
		}
		if found != len(sent) {
			t.Fatalf("round %d: %d of %d packets", round, found, len(sent))
		}
	}
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestChunks(t *testing.T) {
	for _, c := range []struct {
		name, fci string
		want      []status
	}{
		{"run of small", "0064 0002 000001 00 2002 0408", []status{{100, true, 65_000_000}, {101, true, 67_000_000}}},
		{"run of lost", "ffff 0003 000000 00 0003", []status{{65535, false, 0}, {0, false, 0}, {1, false, 0}}},
		{"run of large, one negative", "0000 0002 000002 00 4002 0190 fffc",
			[]status{{0, true, 228_000_000}, {1, true, 227_000_000}}},
		{"one bit", "0000 0003 000000 00 a800 0101", []status{{0, true, 250_000}, {1, false, 0}, {2, true, 500_000}}},
		{"two bits", "0000 0003 000000 00 d200 01 0004", []status{{0, true, 250_000}, {1, false, 0}, {2, true, 1_250_000}}},
		{"padding behind", "0000 0001 000000 00 2001 01 00", []status{{0, true, 250_000}}},
		{"run longer than the count", "0000 0001 000000 00 3fff 01", []status{{0, true, 250_000}}},
		{"nothing", "0000 0000 000000 00", nil},
	} {
		fci := unhex(t, spaceless(c.fci))
		got := statuses(t, fci)
		if len(got) != len(c.want) {
			t.Errorf("%s: %v", c.name, got)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: %v, want %v", c.name, got[i], c.want[i])
			}
		}
	}
}

func spaceless(text string) string {
	kept := ""
	for _, r := range text {
		if r != ' ' {
			kept += string(r)
		}
	}
	return kept
}

var malformed = []string{
	"", "00", "00000001000000", // no header
	"0000 0001 000000 00",           // no chunk
	"0000 0001 000000 00 20",        // half a chunk
	"0000 0001 000000 00 2001",      // no delta
	"0000 0001 000000 00 4001 01",   // half a delta
	"0000 0002 000000 00 2001 01",   // too few statuses
	"0000 0001 000000 00 6001 0101", // a reserved status
	"0000 0001 000000 00 f000 0101",
	"0000 0001 000000 00 0000",      // a run of none
	"0000 ffff 000000 00 3fff 0000", // far too short
}

func TestMalformed(t *testing.T) {
	e := New(Config{}, 0)
	for i := range 100 {
		e.Sent(uint16(i), 1000, int64(i)*millisecond)
	}
	before := *e
	for _, text := range malformed {
		if err := e.Feedback(unhex(t, spaceless(text)), 0); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q gives %v", text, err)
		}
	}
	if e.work != before.work || e.twcc || e.Estimate() != before.Estimate() {
		t.Error("malformed feedback had an effect")
	}
}

func TestFlood(t *testing.T) {
	e := New(Config{}, 0)
	all := make([]byte, 8+2*9)
	binary.BigEndian.PutUint16(all[2:], 65535)
	for i := range 9 {
		binary.BigEndian.PutUint16(all[8+2*i:], maxRun)
	}
	if err := e.Feedback(all, 0); !errors.Is(err, ErrFlood) {
		t.Fatalf("feedback on 65,535 packets never sent: %v", err)
	}
	one := unhex(t, "000000010000000020010100")
	taken := 0
	for range 100_000 {
		if e.Feedback(one, 0) == nil {
			taken++
		}
	}
	if taken > firstWork/workPerMessage {
		t.Errorf("%d messages were taken for no packet sent", taken)
	}
	for i := range 1000 {
		e.Sent(uint16(i), 1000, int64(i)*millisecond)
	}
	if err := e.Feedback(one, second); err != nil {
		t.Errorf("honest feedback after a flood: %v", err)
	}
}

func FuzzFeedback(f *testing.F) {
	for _, text := range malformed {
		f.Add(unhex(f, spaceless(text)), int64(0))
	}
	for _, text := range []string{
		"006400020000010020020408", "000000020000020040020190fffc", "0000000300000000a8000101", "0000000300000000d200010004",
		"fff000ff7fffff0000ff", "0000001c00000000bfff80013fff01010101010101010101010101010101",
	} {
		f.Add(unhex(f, text), int64(70_000_000))
	}
	f.Fuzz(func(t *testing.T, fci []byte, step int64) {
		e := New(Config{}, 0)
		e.Want(3_000_000)
		for i := range 300 {
			e.Sent(uint16(i-50), 500, int64(i)*millisecond)
		}
		now := 300 * millisecond
		for i := range 4 {
			if err := e.Feedback(fci, now); err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrFlood) {
				t.Fatal(err)
			}
			if len(fci) > 7 {
				fci[4+i%3] += 97
			}
			now += step % second
			e.Update(now)
			e.Probe(now)
			e.SentPadding(uint16(250+i), 200, now)
			if rate := e.Estimate(); rate < DefaultMin || rate > DefaultMax {
				t.Fatalf("the estimate is %d", rate)
			}
		}
		if s := e.Snapshot(); !(s.Loss >= 0 && s.Loss <= 1) {
			t.Fatalf("%+v", s)
		}
	})
}
