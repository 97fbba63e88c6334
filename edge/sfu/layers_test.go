package sfu

import (
	"bytes"
	"encoding/hex"
	"slices"
	"testing"

	"portico/edge/sfu/feedback"
	"portico/shared/rtp/inspect"
)

// tape is a sink that keeps all bytes.
type tape struct {
	packets [][]byte
	seqAt   []int
	reports []feedback.SenderReport
}

func (s *tape) WriteRTP(raw []byte, seqAt int) error {
	s.packets = append(s.packets, bytes.Clone(raw))
	s.seqAt = append(s.seqAt, seqAt)
	return nil
}

func (s *tape) WriteRTCP(raw []byte) error {
	if p, _, ok := feedback.Next(raw); ok {
		if sr, ok := p.SenderReport(); ok {
			s.reports = append(s.reports, sr)
		}
	}
	return nil
}

// read takes a packet of the tape apart.
func (s *tape) read(t testing.TB, i int) (inspect.Header, []byte) {
	t.Helper()
	h, ok := inspect.ParseHeader(s.packets[i])
	if !ok {
		t.Fatalf("packet %d is no RTP: %x", i, s.packets[i])
	}
	return h, h.Payload(s.packets[i])
}

// vp8 is a VP8 payload with all that a descriptor can have.
func vp8(key bool, picture uint16, tl0, temporal uint8, sync bool) []byte {
	b := []byte{0x90, 0xe0, 0x80 | byte(picture>>8)&0x7f, byte(picture), tl0, temporal << 6}
	if sync {
		b[5] |= 0x20
	}
	if key {
		return append(b, keyFrame[1:]...)
	}
	return append(b, interFrame[1:]...)
}

// layered is one encoding that is fed by hand.
type layered struct {
	*bench
	enc *Encoding
	seq uint16
	ts  uint32
	num uint16 // of the picture
	tl0 uint8
}

func (b *bench) layered(codec string, seq uint16, ts uint32) *layered {
	config := EncodingConfig{
		Video: true, Codec: codec, ClockRate: 90_000, PayloadType: 96, NACK: true, Upstream: &upstream{}, Timeline: b.enc.config.Timeline,
		Extensions: Extensions{DependencyDescriptor: 4},
	}
	return &layered{bench: b, enc: NewEncoding(config), seq: seq, ts: ts, num: 100 * seq, tl0: uint8(seq)}
}

// packet gives the encoding its next packet.
func (l *layered) packet(payload []byte, marker bool) []byte {
	l.t.Helper()
	p := raw(96, l.seq, l.ts, payload)
	if marker {
		p[1] |= 0x80
	}
	l.seq++
	if err := l.enc.Ingest(p, l.now, nil); err != nil {
		l.t.Fatal(err)
	}
	return p
}

// picture gives it a VP8 picture of one packet.
func (l *layered) picture(key bool, temporal uint8, sync bool) {
	l.t.Helper()
	l.num++
	if temporal == 0 {
		l.tl0++
	}
	l.packet(vp8(key, l.num, l.tl0, temporal, sync), true)
	l.writer.drain()
}

func (l *layered) keyFrames() int { return l.enc.config.Upstream.(*upstream).keyFrames }

func (b *bench) watch(list ...*layered) (*Subscription, *tape) {
	to := &tape{}
	s := NewSubscription(SubscriptionConfig{
		Video: true, ClockRate: 90_000, SSRC: 0xaaaa, PayloadType: 100, RTXPayloadType: 101, RTXSSRC: 0xcccc, Sink: to, Writer: b.writer,
		Extensions: Extensions{DependencyDescriptor: 7},
	})
	var sources []*Encoding
	for _, l := range list {
		sources = append(sources, l.enc)
	}
	s.SetSources(sources, b.now)
	return s, to
}

// TestSimulcastSwitch: the receiver sees one stream: numbers, timestamps, picture ids go on as if nothing had happened.
func TestSimulcastSwitch(t *testing.T) {
	b := newBench(t, true)
	small, large := b.layered("vp8", 10, 1_000_000), b.layered("vp8", 900, 77)
	s, to := b.watch(small, large)
	both := func(key bool, n int) {
		for range n {
			small.picture(key, 0, false)
			large.picture(key, 0, false)
			b.now += 33 * ms
			small.ts += 2970
			large.ts += 2970
		}
	}
	both(true, 1)
	at := feedback.ToNTP(b.now)
	small.enc.SenderReport(feedback.SenderReport{NTP: at, Timestamp: small.ts}, b.now+10*ms)
	large.enc.SenderReport(feedback.SenderReport{NTP: at, Timestamp: large.ts}, b.now+25*ms) // on a slower way
	both(false, 5)
	b.now += 600 * ms
	small.ts, large.ts = small.ts+54_000, large.ts+54_000
	s.SetTarget(All(1), ReasonDisplayed, b.now)
	if large.keyFrames() != 1 {
		t.Errorf("%d key frames were asked for", large.keyFrames())
	}
	if r, _ := s.Reason(b.now); r != ReasonKeyFrame {
		t.Errorf("reason %v while the key frame is missing", r)
	}
	both(false, 3)
	large.picture(true, 0, false) // its picture comes before the small one of the same moment
	small.picture(false, 0, false)
	small.ts, large.ts, b.now = small.ts+2970, large.ts+2970, b.now+33*ms
	both(false, 3)
	s.SetTarget(All(0), ReasonBandwidth, b.now)
	both(false, 2)
	both(true, 1)
	both(false, 2)
	if len(to.packets) != 6+3+1+3+2+1+2 {
		t.Errorf("%d packets", len(to.packets))
	}
	var before inspect.Header
	var picture uint16
	var tl0 uint8
	for i := range to.packets {
		h, payload := to.read(t, i)
		f, _ := inspect.VP8Frame(payload)
		if i > 0 {
			if h.Sequence != before.Sequence+1 || f.Picture != picture+1 || f.TL0 != tl0+1 {
				t.Errorf("packet %d: number %d after %d, picture %d after %d, TL0 %d after %d", i, h.Sequence, before.Sequence, f.Picture, picture, f.TL0, tl0)
			}
			d := int32(h.Timestamp - before.Timestamp)
			if d != 2970 && d != 2970+54_000 {
				t.Errorf("packet %d: timestamp goes on by %d", i, d)
			}
		}
		before, picture, tl0 = h, f.Picture, f.TL0
	}
	if len(small.enc.groupsOf()) != 1 || len(large.enc.groupsOf()) != 0 {
		t.Error("still attached to the encoding left")
	}
	if r, _ := s.Reason(b.now); r != ReasonBandwidth {
		t.Errorf("reason %v", r)
	}
}

func (e *Encoding) groupsOf() []*group { return *e.groups.Load() }

// TestTemporalVP8: pictures left out leave no hole in what counts on.
func TestTemporalVP8(t *testing.T) {
	b := newBench(t, true)
	l := b.layered("vp8", 1, 0)
	s, to := b.watch(l)
	s.SetTarget(Target{Spatial: -1, Temporal: 0}, ReasonBandwidth, b.now)
	step := func(key bool, temporal uint8) { l.ts += 3000; b.now += 33 * ms; l.picture(key, temporal, true) }
	step(true, 0)
	for range 4 {
		step(false, 1)
		step(false, 0)
	}
	s.SetTarget(Target{Spatial: -1, Temporal: -1}, ReasonAsked, b.now)
	step(false, 1)
	step(false, 0)
	if len(to.packets) != 1+4+2 {
		t.Fatalf("%d packets", len(to.packets))
	}
	first, payload := to.read(t, 0)
	f0, _ := inspect.VP8Frame(payload)
	wantTL0 := []uint8{0, 1, 2, 3, 4, 4, 5}
	for i := range to.packets {
		h, payload := to.read(t, i)
		f, _ := inspect.VP8Frame(payload)
		if h.Sequence-first.Sequence != uint16(i) || f.Picture-f0.Picture != uint16(i) || f.TL0-f0.TL0 != wantTL0[i] {
			t.Errorf("packet %d: number %d, picture %d, TL0 %d", i, h.Sequence, f.Picture, f.TL0)
		}
	}
	if stats := s.Stats(); stats.Drops[DropLayer] != 4 {
		t.Errorf("%+v", stats)
	}
}

// vp9 is a payload of one packet with a whole layer frame.
func vp9(key bool, picture uint16, spatial, temporal uint8) []byte {
	flags := byte(0xac) // I L B E
	if !key {
		flags |= 0x40
	}
	b := []byte{flags, 0x80 | byte(picture>>8)&0x7f, byte(picture), temporal<<5 | 0x10 | spatial<<1, byte(picture)}
	if key && spatial == 0 {
		return append(b, unhex("824983420027f0167800")...)
	}
	return append(b, 0x86, 0, 0)
}

// TestSpatialVP9: layers left out, the marker on the last one left, and the same bytes when packets are sent again.
func TestSpatialVP9(t *testing.T) {
	b := newBench(t, true)
	l := b.layered("vp9", 1, 0)
	s, to := b.watch(l)
	picture := func(key bool) {
		l.num++
		l.ts += 3000
		b.now += 33 * ms
		for spatial := range uint8(3) {
			l.packet(vp9(key, l.num, spatial, 0), spatial == 2)
		}
		b.writer.drain()
	}
	picture(true)
	s.SetTarget(Target{Spatial: 1, Temporal: -1}, ReasonDisplayed, b.now)
	picture(false)
	picture(false)
	if len(to.packets) != 3+2+2 {
		t.Fatalf("%d packets", len(to.packets))
	}
	first, _ := to.read(t, 0)
	var numbers []uint16
	for i := range to.packets {
		h, _ := to.read(t, i)
		numbers = append(numbers, h.Sequence)
		if h.Sequence != first.Sequence+uint16(i) || h.Marker != slices.Contains([]int{2, 4, 6}, i) {
			t.Errorf("packet %d: number %d, marker %v", i, h.Sequence, h.Marker)
		}
	}
	s.Renegotiated(100, 0, Extensions{}) // so that packets come again as they were
	s.Receive(feedback.AppendNACK(nil, 1, 0xaaaa, numbers), b.now)
	b.writer.drain()
	if len(to.packets) != 14 {
		t.Fatalf("%d packets", len(to.packets))
	}
	for i := range 7 {
		if !bytes.Equal(to.packets[i], to.packets[7+i]) {
			t.Errorf("packet %d was\n%x\nand is\n%x", i, to.packets[i], to.packets[7+i])
		}
	}
	// More layers need a key frame, which is asked for.
	keys := l.keyFrames()
	b.now += 600 * ms
	s.SetTarget(All(0), ReasonDisplayed, b.now)
	picture(false)
	if l.keyFrames() != keys+1 {
		t.Errorf("%d key frames were asked for", l.keyFrames()-keys)
	}
	picture(true)
	if len(to.packets) != 14+2+3 {
		t.Errorf("%d packets", len(to.packets))
	}
	q := s.Quality(b.now)
	if q.Current.Encoding != 0 || q.Current.Spatial < 2 || q.Reason != ReasonDisplayed || q.Width != 640 {
		t.Errorf("%+v", q)
	}
}

// TestLateOfALayerLeftOut: a packet that was missing has a number; without its layer it goes out empty, and again so.
func TestLateOfALayerLeftOut(t *testing.T) {
	b := newBench(t, true)
	l := b.layered("vp9", 1, 0)
	s, to := b.watch(l)
	s.SetTarget(Target{Spatial: 0, Temporal: -1}, ReasonDisplayed, b.now)
	s.Renegotiated(100, 0, Extensions{})
	l.num++
	l.packet(vp9(true, l.num, 0, 0), false)
	l.seq++ // S1 is missing
	l.packet(vp9(true, l.num, 2, 0), true)
	l.ts += 3000
	l.num++
	l.packet(vp9(false, l.num, 0, 0), false)
	late := raw(96, 2, 0, vp9(true, l.num-1, 1, 0))
	if err := l.enc.IngestRepair(late, b.now, nil); err != nil {
		t.Fatal(err)
	}
	b.writer.drain()
	if len(to.packets) != 3 {
		t.Fatalf("%d packets", len(to.packets))
	}
	first, _ := to.read(t, 0)
	h, payload := to.read(t, 2)
	if h.Sequence != first.Sequence+1 || len(payload) != 0 {
		t.Errorf("number %d after %d, payload %x", h.Sequence, first.Sequence, payload)
	}
	s.Receive(feedback.AppendNACK(nil, 1, 0xaaaa, []uint16{h.Sequence}), b.now)
	b.writer.drain()
	if !bytes.Equal(to.packets[3], to.packets[2]) {
		t.Errorf("sent again: %x", to.packets[3])
	}
}

// chromeStructure is the dependency descriptor of a Chromium's key frame with three spatial and three temporal layers.
const chromeStructure = "c1017280081485214eafffaaaa863cf0430c10c302afc0aaa0063c00430010c002a000a80006000040001d954926e082b04a0941b820ac1282503157f97400" +
	"0ca864330e222222eca8655304224230eca877530077004200ef008601df010d"

// av1Packet is a packet with a dependency descriptor.
func av1Packet(seq uint16, ts uint32, descriptor []byte, key, marker bool) []byte {
	p := raw(96, seq, ts, nil)
	p[0] |= 0x10
	n := (2 + len(descriptor) + 3) / 4
	extension := make([]byte, 4+4*n)
	copy(extension, []byte{0x10, 0, 0, byte(n), 4, byte(len(descriptor))})
	copy(extension[6:], descriptor)
	p = append(p, extension...)
	if marker {
		p[1] |= 0x80
	}
	if key {
		return append(p, 0x18, 0x30, 0xaa)
	}
	return append(p, 0x10, 0x30, 0xbb)
}

// TestSpatialAV1: decode targets are chosen by descriptors, which go on to the receiver with frame numbers that go on over a switch.
func TestSpatialAV1(t *testing.T) {
	b := newBench(t, true)
	one, two := b.layered("av1", 1, 0), b.layered("av1", 5000, 0)
	s, to := b.watch(one, two)
	structure, err := hex.DecodeString(chromeStructure)
	if err != nil {
		t.Fatal(err)
	}
	templates := [4]byte{0, 3, 2, 4}
	pictures := 0
	picture := func(l *layered, key bool) {
		l.ts += 3000
		b.now += 33 * ms
		for spatial := range byte(3) {
			template := templates[pictures%4] + 5*spatial
			if key {
				template = 1 + 5*spatial
			}
			l.num++
			descriptor := []byte{0xc0 | template, byte(l.num >> 8), byte(l.num)}
			if key && spatial == 0 {
				descriptor = append(descriptor, structure[3:]...)
			}
			if err := l.enc.Ingest(av1Packet(l.seq, l.ts, descriptor, key && spatial == 0, spatial == 2), b.now, nil); err != nil {
				t.Fatal(err)
			}
			l.seq++
		}
		pictures++
		b.writer.drain()
	}
	picture(one, true)
	s.SetTarget(Target{Spatial: 0, Temporal: 2}, ReasonBandwidth, b.now)
	for range 3 {
		picture(one, false)
	}
	s.SetTarget(Target{Encoding: 1, Spatial: 1, Temporal: 2}, ReasonDisplayed, b.now)
	pictures = 0
	picture(two, true)
	picture(two, false)
	if len(to.packets) != 3+3+2+2 {
		t.Fatalf("%d packets", len(to.packets))
	}
	wantNumber := []uint16{0, 1, 2, 3, 6, 9, 10, 11, 13, 14} // frames left out leave holes: frames refer to each other by distance
	markers := []int{2, 3, 4, 5, 7, 9}
	var first uint16
	for i := range to.packets {
		h, payload := to.read(t, i)
		descriptor, ok := h.Extension(to.packets[i], 7)
		if !ok || len(payload) == 0 || h.Marker != slices.Contains(markers, i) {
			t.Fatalf("packet %d: descriptor %x, payload %x, marker %v", i, descriptor, payload, h.Marker)
		}
		number := uint16(descriptor[1])<<8 | uint16(descriptor[2])
		if i == 0 {
			first = number
		}
		if number-first != wantNumber[i] {
			t.Errorf("packet %d: frame number %d, want %d", i, number-first, wantNumber[i])
		}
		if long := len(descriptor) > 16; long != (i == 0 || i == 6) || long && !bytes.Equal(descriptor[3:], structure[3:]) {
			t.Errorf("packet %d: descriptor %x", i, descriptor)
		}
	}
}
