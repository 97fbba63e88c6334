package jitter

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// picturePackets are n packets, three to a picture of a thirtieth of a second.
func picturePackets(n int) (list []event) {
	for i := range n {
		list = append(list, event{at: int64(i/3)*second/30 + int64(i%3)*ms, n: i,
			p: Packet{Seq: uint16(65_000 + i), Timestamp: uint32(i/3) * 3000, Marker: i%3 == 2,
				Payload: binary.BigEndian.AppendUint32(nil, uint32(i))}})
	}
	return list
}

// watch plays events and returns the packets given, how many are missing before them, and how long the slowest was held.
func watch(t *testing.T, v *Video, list []event, hold int64) (given []int, missing int) {
	t.Helper()
	slices.SortStableFunc(list, func(a, b event) int { return int(a.at - b.at) })
	for now, end := int64(0), list[len(list)-1].at+hold+10*ms; now < end; now += ms {
		for len(list) > 0 && list[0].at <= now {
			v.Push(list[0].p, list[0].at)
			list = list[1:]
		}
		for {
			at, due := v.Due()
			it, ok := v.Pop(now)
			if ok != (due && at <= now) {
				t.Fatalf("at %d ms: due %d, %v, given %v", now/ms, at/ms, due, ok)
			}
			if !ok {
				break
			}
			n := int(binary.BigEndian.Uint32(it.Payload))
			last := -1
			if len(given) > 0 {
				last = given[len(given)-1]
			}
			if it.Missing != n-last-1 || it.Marker != (n%3 == 2) || it.TS != uint32(n/3)*3000 {
				t.Fatalf("packet %d after %d: %+v", n, last, it)
			}
			given = append(given, n)
			missing += it.Missing
		}
	}
	return given, missing
}

func TestVideo(t *testing.T) {
	given, missing := watch(t, NewVideo(VideoConfig{}), picturePackets(3000), 0)
	if len(given) != 3000 || missing != 0 {
		t.Errorf("%d given, %d missing", len(given), missing)
	}
}

func TestVideoWaitsForRepair(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	list := picturePackets(3000)
	never := 0
	for i := 1; i < len(list)-10; i++ {
		switch r.IntN(20) {
		case 0:
			list[i].at += 60 * ms // comes by retransmission
		case 1:
			list[i].at += second // too late
			never++
		}
	}
	v := NewVideo(VideoConfig{})
	given, missing := watch(t, v, list, 100*ms)
	if len(given) != 3000-never || missing != never {
		t.Errorf("%d given, %d missing, %d never came", len(given), missing, never)
	}
	if s := v.Stats(); s.Lost != uint64(never) || s.Late != uint64(never) {
		t.Errorf("%+v", s)
	}
}

func TestVideoStartsAnew(t *testing.T) {
	v := NewVideo(VideoConfig{})
	for i, p := range []Packet{
		{Seq: 1, Timestamp: 3000}, {Seq: 2, Timestamp: 6000},
		{Seq: 3, Timestamp: 4_000_000_000}, {Seq: 4, Timestamp: 4_000_003_000},
	} {
		now := int64(i) * 33 * ms
		v.Push(p, now)
		it, ok := v.Pop(now)
		if !ok || it.Seq != p.Seq || (it.Missing > 0) != (i == 2) {
			t.Errorf("%d: %+v, %v", i, it, ok)
		}
	}
	if s := v.Stats(); s.Restarts != 1 {
		t.Errorf("%+v", s)
	}
}

func TestVideoBounds(t *testing.T) {
	v := NewVideo(VideoConfig{Packets: 64})
	for i := range 5000 {
		if i%100 == 50 {
			continue
		}
		v.Push(Packet{Seq: uint16(i), Timestamp: uint32(i) * 300}, int64(i)*ms)
	}
	it, ok := v.Pop(5000 * ms)
	if !ok || it.Missing == 0 || v.queue.held > 63 {
		t.Errorf("%+v, %v; %d held", it, ok, v.queue.held)
	}
}

func TestVideoPlayTime(t *testing.T) {
	v := NewVideo(VideoConfig{})
	if _, ok := v.PlayTime(0); ok {
		t.Error("known before the first packet")
	}
	for i := range 600 {
		v.Push(Packet{Seq: uint16(i), Timestamp: uint32(i) * 3000}, int64(i)*second/30+40*ms)
		v.Pop(int64(i)*second/30 + 40*ms)
	}
	at, ok := v.PlayTime(300 * 3000)
	if want := 10*second + 45*ms; !ok || at < want-ms || at > want+ms {
		t.Errorf("%v, %v", time.Duration(at), ok)
	}
}

func TestVideoNoAllocations(t *testing.T) {
	v := NewVideo(VideoConfig{})
	payload := bytes.Repeat([]byte{1}, 1100)
	n := 0
	step := func() {
		if n%9 != 4 {
			v.Push(Packet{Seq: uint16(n), Timestamp: uint32(n) * 900, Payload: payload}, int64(n)*10*ms)
		}
		for {
			if _, ok := v.Pop(int64(n) * 10 * ms); !ok {
				break
			}
		}
		n++
	}
	for range 2000 {
		step()
	}
	if got := testing.AllocsPerRun(20_000, step); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkVideo(b *testing.B) {
	b.ReportAllocs()
	v := NewVideo(VideoConfig{})
	payload := bytes.Repeat([]byte{1}, 1100)
	for n := range b.N {
		now := int64(n) * ms
		v.Push(Packet{Seq: uint16(n), Timestamp: uint32(n) * 90, Payload: payload}, now)
		v.Pop(now)
	}
}

func FuzzVideo(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x14\x01\x03\xc0\x14\x02\x07\x80\x14"))
	f.Add(bytes.Repeat([]byte{0xfe, 0x80, 0x01, 0x02}, 50))
	f.Fuzz(func(t *testing.T, script []byte) {
		v := NewVideo(VideoConfig{Packets: 32})
		var now int64
		var seq uint16
		var ts uint32
		for ; len(script) >= 4; script = script[4:] {
			seq += uint16(int8(script[0])) * uint16(script[3]%8+1)
			ts += uint32(int32(int8(script[1]))<<24) + uint32(script[2])*240
			now += int64(script[3]) * ms
			v.Push(Packet{Seq: seq, Timestamp: ts, Payload: script[:1]}, now)
			for range script[3] % 3 {
				if it, ok := v.Pop(now); ok && (it.Missing < 0 || len(it.Payload) != 1) {
					t.Fatalf("%+v", it)
				}
			}
			if v.queue.held < 0 || v.queue.held > 32 {
				t.Fatalf("%d held", v.queue.held)
			}
		}
	})
}

func TestOpus(t *testing.T) {
	for _, c := range []struct {
		payload []byte
		ticks   int
		quiet   bool
	}{
		{nil, 0, true}, {[]byte{0x08}, 960, true}, {[]byte{0x08, 0, 0}, 960, false}, {[]byte{0x18, 1, 2}, 2880, false},
		{[]byte{0x00, 1, 2}, 480, false}, {[]byte{0x78, 1, 2}, 960, false}, {[]byte{0x70, 1, 2}, 480, false},
		{[]byte{0xfc, 1, 2}, 960, false}, {[]byte{0xfd, 1, 2}, 1920, false}, {[]byte{0xfe, 1, 2}, 1920, false},
		{[]byte{0xff, 6, 2}, 5760, false}, {[]byte{0xff, 7, 2}, 0, false}, {[]byte{0xff}, 0, true}, {[]byte{0xe0, 1, 2}, 120, false},
		{[]byte{0xff, 0, 0}, 0, false},
	} {
		if ticks, quiet := Opus(c.payload); ticks != c.ticks || quiet != c.quiet {
			t.Errorf("%x: %d, %v", c.payload, ticks, quiet)
		}
	}
}

func FuzzOpus(f *testing.F) {
	f.Add([]byte{0xff, 6})
	f.Add([]byte{0x78, 1, 2, 3})
	f.Fuzz(func(t *testing.T, payload []byte) {
		if ticks, _ := Opus(payload); ticks < 0 || ticks > 5760 {
			t.Error(ticks)
		}
	})
}
