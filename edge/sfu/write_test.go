package sfu

import (
	"bytes"
	"encoding/binary"
	"testing"

	"portico/edge/sfu/feedback"
	"portico/shared/rtp/inspect"
)

// TestExtensions: each is where its id says, in the form that fits, and the place for the transport-wide number is free.
func TestExtensions(t *testing.T) {
	short, long := []byte{0xc1, 1, 2}, append([]byte{0xc1, 1, 2}, make([]byte, 60)...)
	for name, c := range map[string]struct {
		level      bool
		descriptor []byte
		ids        Extensions
		profile    uint16
		want       [3]bool // level, number, descriptor
	}{
		"none there":           {false, nil, Extensions{AudioLevel: 1, DependencyDescriptor: 3}, 0, [3]bool{}},
		"none wanted":          {true, short, Extensions{}, 0, [3]bool{}},
		"level":                {true, nil, Extensions{AudioLevel: 1}, inspect.OneByteProfile, [3]bool{true}},
		"number":               {false, nil, Extensions{TransportSeq: 14}, inspect.OneByteProfile, [3]bool{false, true}},
		"all short":            {true, short, Extensions{1, 2, 3}, inspect.OneByteProfile, [3]bool{true, true, true}},
		"long descriptor":      {true, long, Extensions{1, 2, 3}, inspect.TwoByteProfile, [3]bool{true, true, true}},
		"large id":             {true, nil, Extensions{15, 2, 3}, inspect.TwoByteProfile, [3]bool{true, true}},
		"unwanted descriptor":  {false, long, Extensions{0, 2, 0}, inspect.OneByteProfile, [3]bool{false, true}},
		"number, large itself": {false, nil, Extensions{TransportSeq: 200}, inspect.TwoByteProfile, [3]bool{false, true}},
	} {
		b := newBench(t, false)
		enc := NewEncoding(EncodingConfig{Video: true, Codec: "h264", ClockRate: 90_000, PayloadType: 96, Upstream: b.up,
			Extensions: Extensions{AudioLevel: 20, DependencyDescriptor: 21}})
		to := &tape{}
		s := NewSubscription(SubscriptionConfig{Video: true, ClockRate: 90_000, PayloadType: 100, Extensions: c.ids, Sink: to, Writer: b.writer})
		s.SetSource(enc, b.now)
		in := raw(96, 1, 2, nil)
		var elements []byte
		if c.level {
			elements = append(elements, 20, 1, 0x85)
		}
		if c.descriptor != nil {
			elements = append(append(elements, 21, byte(len(c.descriptor))), c.descriptor...)
		}
		for len(elements)%4 != 0 {
			elements = append(elements, 0)
		}
		in[0] |= 0x10
		in = binary.BigEndian.AppendUint32(in, inspect.TwoByteProfile<<16|uint32(len(elements)/4))
		in = append(append(in, elements...), 0x65, 1, 2, 3)
		if err := enc.Ingest(in, b.now, nil); err != nil {
			t.Fatal(err)
		}
		b.writer.drain()
		if len(to.packets) != 1 {
			t.Fatalf("%s: %d packets", name, len(to.packets))
		}
		h, payload := to.read(t, 0)
		p := to.packets[0]
		if !bytes.Equal(payload, []byte{0x65, 1, 2, 3}) {
			t.Errorf("%s: payload %x", name, payload)
		}
		if p[0]&0x10 != 0 != (c.profile != 0) || c.profile != 0 && binary.BigEndian.Uint16(p[12:]) != c.profile {
			t.Errorf("%s: %x", name, p)
		}
		level, hasLevel := h.Extension(p, c.ids.AudioLevel)
		number, hasNumber := h.Extension(p, c.ids.TransportSeq)
		descriptor, hasDescriptor := h.Extension(p, c.ids.DependencyDescriptor)
		if [3]bool{hasLevel, hasNumber, hasDescriptor} != c.want || hasLevel && !bytes.Equal(level, []byte{0x85}) ||
			hasDescriptor && !bytes.Equal(descriptor, c.descriptor) {
			t.Errorf("%s: level %x, number %x, descriptor %x", name, level, number, descriptor)
		}
		if at := to.seqAt[0]; hasNumber != (at != 0) || hasNumber && (!bytes.Equal(p[at:at+2], number) || cap(p)-cap(number) != at) {
			t.Errorf("%s: number %x, said to be at %d", name, number, at)
		}
	}
}

func TestPad(t *testing.T) {
	b := newBench(t, true)
	l := b.layered("vp8", 1, 0)
	s, to := b.watch(l)
	s.Renegotiated(100, 101, Extensions{TransportSeq: 3})
	l.picture(true, 0, false)
	s.Pad(1000)
	s.Pad(-5)
	b.writer.drain()
	total := 0
	for i := 1; i < len(to.packets); i++ {
		h, payload := to.read(t, i)
		if h.SSRC != 0xcccc || h.PayloadType != 101 || len(payload) != 0 || h.Padding == 0 || to.seqAt[i] == 0 || h.Marker {
			t.Errorf("packet %d: %+v, payload %x", i, h, payload)
		}
		total += len(to.packets[i])
	}
	if total < 1000 || total > 1300 {
		t.Errorf("%d bytes of padding", total)
	}
	n := len(to.packets)
	for range 10_000 {
		s.Pad(1 << 20)
	}
	b.writer.drain()
	total = 0
	for _, p := range to.packets[n:] {
		total += len(p)
	}
	if total > maxPadding+300 {
		t.Errorf("%d bytes of padding at a time", total)
	}
	// The media goes on as if nothing had happened, and without RTX there is no padding.
	n = len(to.packets)
	s.Renegotiated(100, 0, Extensions{})
	s.Pad(1000)
	b.writer.drain()
	l.picture(false, 0, false)
	if len(to.packets) != n+1 {
		t.Fatalf("%d packets without RTX", len(to.packets)-n-1)
	}
	first, _ := to.read(t, 0)
	if h, _ := to.read(t, n); h.Sequence != first.Sequence+1 {
		t.Errorf("number %d after %d", h.Sequence, first.Sequence)
	}
	if stats := s.Stats(); stats.Packets != 2 {
		t.Errorf("padding counts as media: %+v", stats)
	}
}

// TestWritersShareAnEncoding: each Writer gets a packet once, however many Subscriptions it has, and is woken once for many.
func TestWritersShareAnEncoding(t *testing.T) {
	b := newBench(t, true)
	writers := []*Writer{b.writer, newWriter(b.writer.clock)}
	var tapes []*tape
	var subs []*Subscription
	for i := range 6 {
		to := &tape{}
		s := NewSubscription(SubscriptionConfig{Video: true, ClockRate: 90_000, SSRC: uint32(i), Sink: to, Writer: writers[i%2]})
		s.SetSource(b.enc, b.now)
		tapes, subs = append(tapes, to), append(subs, s)
	}
	if groups := b.enc.groupsOf(); len(groups) != 2 || len(*groups[0].subs.Load()) != 3 {
		t.Fatalf("%d groups", len(groups))
	}
	var wake Wake
	for seq := range uint16(40) {
		payload := interFrame
		if seq == 0 {
			payload = keyFrame
		}
		if err := b.enc.Ingest(raw(96, seq, b.ts, payload), b.now, &wake); err != nil {
			t.Fatal(err)
		}
	}
	if len(wake.writers) != 2 || len(writers[0].wake) != 0 {
		t.Errorf("%d Writers to wake, %d woken already", len(wake.writers), len(writers[0].wake))
	}
	wake.Done()
	if len(writers[0].wake) != 1 || len(writers[1].wake) != 1 || len(wake.writers) != 0 {
		t.Error("not woken")
	}
	for _, w := range writers {
		w.drain()
	}
	for i, to := range tapes {
		if len(to.packets) != 40 {
			t.Errorf("subscriber %d has %d packets", i, len(to.packets))
		}
		if h, _ := to.read(t, 39); h.SSRC != uint32(i) {
			t.Errorf("subscriber %d has packets of %d", i, h.SSRC)
		}
	}
	for _, s := range subs {
		s.Close()
	}
	if len(b.enc.groupsOf()) != 0 {
		t.Error("groups are left over")
	}
}

// TestRepeatedNACKsCostTheirSender: what one asks for again and again is bounded, and the others' media goes on.
func TestRepeatedNACKsCostTheirSender(t *testing.T) {
	b := newBench(t, true)
	l := b.layered("vp8", 1, 0)
	bad, toBad := b.watch(l)
	_, to := b.watch(l)
	for i := range 100 {
		l.ts, b.now = l.ts+2970, b.now+10*ms
		l.picture(i == 0, 0, false)
	}
	all := make([]uint16, 64_000)
	first, _ := toBad.read(t, 0)
	for i := range all {
		all[i] = first.Sequence + uint16(i)
	}
	var compounds [][]byte
	for i := 0; i < len(all); i += 500 {
		compounds = append(compounds, feedback.AppendNACK(nil, 1, 0xaaaa, all[i:min(i+500, len(all))]))
	}
	for range 10 {
		for _, c := range compounds {
			bad.Receive(c, b.now)
		}
	}
	if n := len(b.writer.controls); n > maxControls {
		t.Errorf("%d things are queued", n)
	}
	l.ts += 2970
	l.picture(false, 0, false)
	if n := len(toBad.packets) - 101; n > 300 {
		t.Errorf("%d packets were sent again at once", n)
	}
	if len(to.packets) != 101 {
		t.Errorf("the other one has %d packets", len(to.packets))
	}
	if stats := bad.Stats(); stats.Drops[DropQueueFull] == 0 || stats.Drops[DropNoPlace] == 0 {
		t.Errorf("%+v", stats)
	}
}
