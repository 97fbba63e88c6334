package sfu

import (
	"slices"
	"testing"

	"portico/edge/sfu/feedback"
)

// TestAnswersOnRTX: with RTX a packet is sent again on a stream of its own, with a number of that stream, behind its own number.
func TestAnswersOnRTX(t *testing.T) {
	b := newBench(t, true)
	to := &sink{}
	s := NewSubscription(SubscriptionConfig{
		Video: true, ClockRate: 90_000, SSRC: 0xaaaa, PayloadType: 100, RTXPayloadType: 101, RTXSSRC: 0xcccc, Sink: to, Writer: b.writer,
	})
	s.SetSource(b.enc, b.now)
	for seq := range uint16(10) {
		b.send(50+seq, keyFrame)
		b.tick()
	}
	lost := to.packets[3:5]
	s.Receive(feedback.AppendNACK(nil, 1, 0xaaaa, []uint16{lost[0].header.Sequence, lost[1].header.Sequence}), b.now)
	b.writer.drain()
	if len(to.packets) != 12 {
		t.Fatalf("%d packets", len(to.packets))
	}
	for i, p := range to.packets[10:] {
		want := lost[i].header
		number := string([]byte{byte(want.Sequence >> 8), byte(want.Sequence)})
		if p.header.SSRC != 0xcccc || p.header.PayloadType != 101 || p.header.Timestamp != want.Timestamp || p.payload != number+lost[i].payload {
			t.Errorf("sent again: %+v", p)
		}
	}
	if to.packets[11].header.Sequence != to.packets[10].header.Sequence+1 {
		t.Errorf("numbers %v", seqs(to.packets[10:]))
	}
	b.enc.SenderReport(feedback.SenderReport{NTP: feedback.ToNTP(start), Timestamp: 5000}, b.now)
	b.writer.drain()
	if sr := to.reports[len(to.reports)-1]; sr.Packets != 10 || sr.Octets != uint32(10*len(keyFrame)) {
		t.Errorf("the report counts what was sent again: %+v", sr)
	}
	s.Renegotiated(100, 0, Extensions{})
	b.now += 1000 * ms
	s.Receive(feedback.AppendNACK(nil, 1, 0xaaaa, []uint16{lost[0].header.Sequence}), b.now)
	b.writer.drain()
	if p := to.packets[12]; p != lost[0] {
		t.Errorf("without RTX: %+v", p)
	}
}

// TestRepairs: what comes again on a publisher's RTX stream fills its place and is no part of the statistics.
func TestRepairs(t *testing.T) {
	b := newBench(t, true)
	_, to := b.subscribe(true)
	repair := func(seq uint16) {
		if err := b.enc.IngestRepair(raw(96, seq, b.ts, interFrame), b.now, nil); err != nil {
			t.Fatal(err)
		}
		b.writer.drain()
	}
	repair(9) // before anything else: belongs to nothing
	b.send(10, keyFrame)
	b.send(12, interFrame)
	repair(11)
	repair(12)
	repair(30_000) // twice in a row and far away is no restart
	repair(30_001)
	b.send(13, interFrame)
	if got := seqs(to.packets); !slices.Equal(got, []uint16{0, 2, 1, 3}) {
		t.Errorf("numbers %v", got)
	}
	if stats := b.enc.Stats(); stats.Drops[DropStrange] != 3 || stats.Drops[DropDuplicate] != 1 {
		t.Errorf("stats %+v", stats)
	}
	if r, ok := b.enc.Report(source, b.now); !ok || r.Lost != 1 || r.Highest != 13 {
		t.Errorf("%+v, %v", r, ok)
	}
}
