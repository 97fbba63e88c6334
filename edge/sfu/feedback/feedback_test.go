package feedback

import (
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

const (
	ms    = int64(time.Millisecond)
	start = int64(1_700_000_000) * int64(time.Second)
)

// TestWritesWhatPionReads checks each packet we write against another implementation.
func TestWritesWhatPionReads(t *testing.T) {
	var raw []byte
	raw = AppendSenderReport(raw, SenderReport{SSRC: 1, NTP: 1 << 40, Timestamp: 7, Packets: 8, Octets: 9})
	raw = AppendReceiverReport(raw, 2, []Report{{SSRC: 3, FractionLost: 4, Lost: -5, Highest: 6, Jitter: 7, LastSR: 8, Delay: 9}})
	raw = AppendNACK(raw, 10, 11, []uint16{65534, 65535, 0, 14, 15, 400})
	raw = AppendPLI(raw, 12, 13)
	packets, err := rtcp.Unmarshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	sr := packets[0].(*rtcp.SenderReport)
	if sr.SSRC != 1 || sr.NTPTime != 1<<40 || sr.RTPTime != 7 || sr.PacketCount != 8 || sr.OctetCount != 9 {
		t.Errorf("SR %+v", sr)
	}
	rr := packets[1].(*rtcp.ReceiverReport)
	if r := rr.Reports[0]; rr.SSRC != 2 || r.SSRC != 3 || r.FractionLost != 4 || r.TotalLost != 0xff_fffb || r.LastSequenceNumber != 6 ||
		r.Jitter != 7 || r.LastSenderReport != 8 || r.Delay != 9 {
		t.Errorf("RR %+v", rr)
	}
	nack := packets[2].(*rtcp.TransportLayerNack)
	var asked []uint16
	for _, pair := range nack.Nacks {
		asked = append(asked, pair.PacketList()...)
	}
	if nack.SenderSSRC != 10 || nack.MediaSSRC != 11 || !slices.Equal(asked, []uint16{65534, 65535, 0, 14, 15, 400}) {
		t.Errorf("NACK %+v asks for %v", nack, asked)
	}
	if len(nack.Nacks) != 3 {
		t.Errorf("NACK has %d pairs", len(nack.Nacks))
	}
	if pli := packets[3].(*rtcp.PictureLossIndication); pli.SenderSSRC != 12 || pli.MediaSSRC != 13 {
		t.Errorf("PLI %+v", pli)
	}
}

// TestReadsWhatPionWrites is the other way round.
func TestReadsWhatPionWrites(t *testing.T) {
	raw, err := rtcp.Marshal([]rtcp.Packet{
		&rtcp.SenderReport{SSRC: 1, NTPTime: 2, RTPTime: 3, PacketCount: 4, OctetCount: 5, Reports: []rtcp.ReceptionReport{
			{SSRC: 6, FractionLost: 7, TotalLost: 0xff_fffe, LastSequenceNumber: 9, Jitter: 10, LastSenderReport: 11, Delay: 12}}},
		&rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{Source: 1, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: "x"}}}}},
		&rtcp.TransportLayerNack{SenderSSRC: 1, MediaSSRC: 20, Nacks: rtcp.NackPairsFromSequenceNumbers([]uint16{5, 6, 30})},
		&rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: 21},
		&rtcp.FullIntraRequest{SenderSSRC: 1, FIR: []rtcp.FIREntry{{SSRC: 22}, {SSRC: 23}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var packets []Packet
	for p, rest, ok := Next(raw); ok; p, rest, ok = Next(rest) {
		packets = append(packets, p)
	}
	if len(packets) != 5 {
		t.Fatalf("%d packets", len(packets))
	}
	if sr, ok := packets[0].SenderReport(); !ok || sr != (SenderReport{1, 2, 3, 4, 5}) {
		t.Errorf("SR %+v, %v", sr, ok)
	}
	packets[0].Reports(func(r Report) {
		if r != (Report{6, 7, -2, 9, 10, 11, 12}) {
			t.Errorf("report %+v", r)
		}
	})
	if _, ok := packets[1].Media(); ok {
		t.Error("an SDES has a media SSRC")
	}
	var asked []uint16
	packets[2].NACK(func(seq uint16) { asked = append(asked, seq) })
	if media, ok := packets[2].Media(); !ok || media != 20 || !slices.Equal(asked, []uint16{5, 6, 30}) {
		t.Errorf("NACK about %d asks for %v", media, asked)
	}
	if !packets[3].WantsKeyFrame(21) || packets[3].WantsKeyFrame(22) || packets[2].WantsKeyFrame(20) {
		t.Error("PLI is read wrong")
	}
	if !packets[4].WantsKeyFrame(22) || !packets[4].WantsKeyFrame(23) || packets[4].WantsKeyFrame(21) {
		t.Error("FIR is read wrong")
	}
}

func TestHugeNACKIsCut(t *testing.T) {
	all := make([]uint16, 64_000)
	for i := range all {
		all[i] = uint16(i)
	}
	n := 0
	p, _, ok := Next(AppendNACK(nil, 1, 2, all))
	p.NACK(func(uint16) { n++ })
	if !ok || n != MaxNACK {
		t.Errorf("%d numbers, %v", n, ok)
	}
}

func TestRequests(t *testing.T) {
	var r Requests
	now := start
	if r.Received(100, now) || r.Pending() != 0 {
		t.Error("the first packet made a gap")
	}
	r.Received(104, now)
	r.Received(102, now)
	if got := r.Due(now, nil); !slices.Equal(got, []uint16{101, 103}) {
		t.Errorf("due %v", got)
	}
	if got := r.Due(now+10*ms, nil); len(got) != 0 {
		t.Errorf("asked again at once: %v", got)
	}
	r.Received(101, now)
	asked := 0
	for d := int64(0); d < 5000; d += 10 {
		asked += len(r.Due(now+d*ms, nil))
	}
	if asked != maxTries-1 || r.Pending() != 0 {
		t.Errorf("asked %d more times, %d pending", asked, r.Pending())
	}
	if r.Received(104+maxGap+1, now); r.Pending() != maxGap {
		t.Errorf("%d pending after the longest gap", r.Pending())
	}
	if !r.Received(104+2*maxGap+3, now) || r.Pending() != 0 {
		t.Error("a longer gap is repaired")
	}
	r.Received(2000-maxGap, now)
	r.Restart()
	if r.Received(5, now) || r.Pending() != 0 {
		t.Error("remembers after a restart")
	}
}

func TestAnswersAreLimited(t *testing.T) {
	for _, c := range []struct {
		repair Repair
		rate   int
		pause  int64
	}{{Repair{}, answerRate, 15 * ms}, {Repair{Rate: 20_000, Pause: 80 * time.Millisecond}, 20_000, 80 * ms}, {Repair{Rate: 1}, 1, 15 * ms}} {
		const size = 1000
		var a Answers
		now := start
		allow := func(seq uint16, now int64) bool { return a.Allow(seq, size, c.repair, now) }
		if !allow(1, now) || allow(1, now+c.pause-1) || !allow(1, now+c.pause) {
			t.Errorf("%+v: the same packet: want again only after a pause", c.repair)
		}
		now += 10_000 * int64(time.Second)
		n := 0
		for seq := range uint16(10_000) {
			if allow(seq+100, now) {
				n++
			}
		}
		if want := max(c.rate/4, answerLeast) / size; n != want {
			t.Errorf("%+v: %d at once, want %d", c.repair, n, want)
		}
		n = 0
		for i := range 5000 {
			if allow(20_000+uint16(i), now+int64(i)*ms) {
				n++
			}
		}
		if want := 5 * c.rate / size; n < want-1 || n > want+1 {
			t.Errorf("%+v: %d within five seconds, want %d", c.repair, n, want)
		}
	}
}

// TestAnswersGoToWhatIsMissing: who asks on and on for what was sent already does not keep others from being sent.
func TestAnswersGoToWhatIsMissing(t *testing.T) {
	const size = 1000
	repair := Repair{Rate: 40_000}
	var a Answers
	again := 0
	for i := range 1000 { // ten seconds; each time one that is new, and the last twenty once more
		now := start + int64(i)*40*ms
		if !a.Allow(uint16(i), size, repair, now) {
			t.Fatalf("%d is not sent", i)
		}
		for old := max(0, i-20); old < i; old++ {
			if a.Allow(uint16(old), size, repair, now) {
				again++
			}
		}
	}
	if most := int(againShare*float64(repair.Rate)*40/size) + answerLeast/size + 4; again < most/2 || again > most {
		t.Errorf("%d were sent once more, want at most %d", again, most)
	}
}

func TestKeyFrames(t *testing.T) {
	var k KeyFrames
	now := start
	if k.Due(now) || k.Wanted() {
		t.Error("nobody asked")
	}
	if !k.Request(now) || k.Request(now+ms) || k.Request(now+499*ms) {
		t.Error("want the first at once, the next later")
	}
	if !k.Due(now + 500*ms) {
		t.Error("no second try")
	}
	if k.Due(now+1499*ms) || !k.Due(now+1500*ms) {
		t.Error("the third try comes a second after the second")
	}
	k.Arrived()
	if k.Wanted() || k.Due(now+int64(time.Hour)) {
		t.Error("asks for what came")
	}
	if k.Request(now+1999*ms) || !k.Request(now+2000*ms) {
		t.Error("the pause begins with the last request")
	}
}

func TestReception(t *testing.T) {
	r := NewReception(90_000)
	index := int64(1<<16 + 65_500)
	for i := range int64(100) { // over a wrap, evenly
		r.Packet(index+i, uint32(i*3000), start+i*int64(time.Second)/30)
	}
	b, ok := r.Report(9, start)
	if !ok || b.Highest != 65_599 || b.Lost != 0 || b.FractionLost != 0 || b.Jitter > 1 {
		t.Errorf("%+v, %v", b, ok)
	}
	// Every second packet comes 10 ms late: the difference of transits is 900 ticks each time.
	for i := int64(100); i < 400; i++ {
		r.Packet(index+i, uint32(i*3000), start+i*int64(time.Second)/30+i%2*10*ms)
	}
	if b, _ := r.Report(9, start); b.Jitter < 850 || b.Jitter > 950 {
		t.Errorf("jitter %d", b.Jitter)
	}
	r.Packet(index+499, 0, start)
	if b, _ := r.Report(9, start); b.Lost != 99 || b.FractionLost != uint8(99*256/100) {
		t.Errorf("after a loss: %+v", b)
	}
	r.Packet(index+498, 0, start)
	if b, _ := r.Report(9, start); b.Lost != 98 || b.FractionLost != 0 {
		t.Errorf("after a late one: %+v", b)
	}
	r.Restart()
	if _, ok := r.Report(9, start); ok {
		t.Error("reports after a restart")
	}
}

func TestNTP(t *testing.T) {
	for _, unix := range []int64{0, start, start + 123_456_789} {
		if d := FromNTP(ToNTP(unix)) - unix; d > 1 || d < -1 {
			t.Errorf("%d comes back %d off", unix, d)
		}
	}
	if ToNTP(0) != ntpUnix<<32 {
		t.Errorf("ToNTP(0) = %x", ToNTP(0))
	}
}

func TestTimeline(t *testing.T) {
	var line Timeline
	theirs := start + int64(5*time.Hour)
	if got := line.Local(ToNTP(theirs), start); got-start > 1 || start-got > 1 {
		t.Errorf("first report: %d", got-start)
	}
	// A later one that took 80 ms more keeps the relation.
	if got := line.Local(ToNTP(theirs+100*ms), start+180*ms); got-start-100*ms > 10 || got-start-100*ms < -10 {
		t.Errorf("slow report: %d", got-start)
	}
	// Their clock steps by a minute.
	if got := line.Local(ToNTP(theirs+int64(time.Minute)), start+200*ms); got-start-200*ms > 10 || got-start-200*ms < -10 {
		t.Errorf("after a step: %d", got-start)
	}
	line.Local(0, start)
	line.Local(1<<64-1, start)
}

func FuzzNext(f *testing.F) {
	f.Add(AppendNACK(AppendPLI(nil, 1, 2), 1, 2, []uint16{3, 5, 70}))
	f.Add(AppendReceiverReport(AppendSenderReport(nil, SenderReport{SSRC: 1}), 2, make([]Report, 3)))
	f.Add([]byte{0xa1, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 4})
	f.Fuzz(func(t *testing.T, raw []byte) {
		total := 0
		for p, rest, ok := Next(raw); ok; p, rest, ok = Next(rest) {
			total += len(p.Body)
			n := 0
			p.NACK(func(uint16) { n++ })
			if n > MaxNACK {
				t.Errorf("%d numbers", n)
			}
			p.WantsKeyFrame(2)
			p.SenderReport()
			p.Reports(func(Report) { n++ })
			if n > MaxNACK+MaxReports {
				t.Errorf("%d reports", n)
			}
		}
		if total > len(raw) {
			t.Errorf("%d bytes of bodies in %d", total, len(raw))
		}
	})
}
