package sfu

import (
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"portico/edge/sfu/feedback"
	"portico/shared/rtp/inspect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ms     = int64(time.Millisecond)
	start  = int64(1_700_000_000) * int64(time.Second)
	source = 0x1111
)

// out is one packet as a sink got it.
type out struct {
	header  inspect.Header
	level   int // audio level, -1 without
	payload string
}

// sink collects what it gets.
type sink struct {
	mu      sync.Mutex
	packets []out
	reports []feedback.SenderReport
	fail    error
}

func (s *sink) WriteRTP(raw []byte, seqAt int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := inspect.ParseHeader(raw)
	if !ok {
		return errors.New("no RTP")
	}
	o := out{header: h, level: -1, payload: string(h.Payload(raw))}
	if level, ok := h.Extension(raw, 5); ok {
		o.level = int(level[0])
	}
	s.packets = append(s.packets, o)
	return s.fail
}

func (s *sink) WriteRTCP(raw []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, rest, ok := feedback.Next(raw)
	sr, isSR := p.SenderReport()
	if !ok || len(rest) != 0 || !isSR {
		return errors.New("no sender report")
	}
	s.reports = append(s.reports, sr)
	return nil
}

// upstream counts wishes.
type upstream struct {
	mu        sync.Mutex
	packets   []uint16
	keyFrames int
}

func (u *upstream) RequestPackets(seqs []uint16) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.packets = append(u.packets, seqs...)
}

func (u *upstream) RequestKeyFrame() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.keyFrames++
}

// bench is a source, a writer without a goroutine, and a clock.
type bench struct {
	t      testing.TB
	now    int64
	up     *upstream
	enc    *Encoding
	writer *Writer
	ts     uint32
}

func newBench(t testing.TB, video bool) *bench {
	b := &bench{t: t, now: start, up: &upstream{}, ts: 5000}
	b.writer = newWriter(func() int64 { return b.now })
	b.enc = b.encoding(video)
	return b
}

func (b *bench) encoding(video bool) *Encoding {
	config := EncodingConfig{Video: video, Codec: "opus", ClockRate: 48_000, PayloadType: 111, Extensions: Extensions{AudioLevel: 1}, Upstream: b.up}
	if video {
		config = EncodingConfig{Video: true, Codec: "vp8", ClockRate: 90_000, PayloadType: 96, NACK: true, Upstream: b.up}
	}
	return NewEncoding(config)
}

func (b *bench) subscribe(video bool) (*Subscription, *sink) {
	to := &sink{}
	config := SubscriptionConfig{ClockRate: 48_000, SSRC: 0xaaaa, PayloadType: 100, Extensions: Extensions{AudioLevel: 5}, Sink: to, Writer: b.writer}
	if video {
		config.Video, config.ClockRate = true, 90_000
	}
	s := NewSubscription(config)
	s.SetSource(b.enc, b.now)
	return s, to
}

// The beginnings of VP8 payloads: a key frame of 640x360, and a frame that is none.
var (
	keyFrame   = unhex("10d0090d9d012a8002680100478708")
	interFrame = unhex("10d1090d")
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func raw(pt uint8, seq uint16, ts uint32, payload []byte) []byte {
	p := []byte{0x80, pt, byte(seq >> 8), byte(seq), 0, 0, 0, 0, 0, 0, 0x11, 0x11}
	putUint32(p[4:], ts)
	return append(p, payload...)
}

// send gives one video packet to the encoding and lets the writer work.
func (b *bench) send(seq uint16, payload []byte) {
	b.t.Helper()
	if err := b.enc.Ingest(raw(96, seq, b.ts, payload), b.now, nil); err != nil {
		b.t.Fatal(err)
	}
	b.writer.drain()
}

// tick lets a picture's time pass.
func (b *bench) tick() { b.now += 33 * ms; b.ts += 2970 }

func seqs(packets []out) []uint16 {
	var list []uint16
	for _, p := range packets {
		list = append(list, p.header.Sequence-packets[0].header.Sequence)
	}
	return list
}

func TestForwardsFromKeyFrame(t *testing.T) {
	b := newBench(t, true)
	s, to := b.subscribe(true)
	if b.up.keyFrames != 1 {
		t.Fatalf("%d key frames asked for by a new subscriber", b.up.keyFrames)
	}
	b.send(100, interFrame)
	b.send(101, keyFrame)
	b.tick()
	b.send(102, interFrame)
	b.send(104, interFrame)
	b.send(103, interFrame)
	if got := seqs(to.packets); !slices.Equal(got, []uint16{0, 1, 3, 2}) {
		t.Fatalf("numbers %v", got)
	}
	for i, p := range to.packets {
		if p.header.SSRC != 0xaaaa || p.header.PayloadType != 100 {
			t.Errorf("packet %d: %+v", i, p.header)
		}
	}
	if to.packets[0].payload != string(keyFrame) || to.packets[1].header.Timestamp-to.packets[0].header.Timestamp != 2970 {
		t.Errorf("payload or timestamps changed: %+v", to.packets)
	}
	if stats := s.Stats(); stats.Packets != 4 || stats.Drops[DropWaitingKey] != 1 {
		t.Errorf("stats %+v", stats)
	}
	if w, h := b.enc.Size(); w != 640 || h != 360 {
		t.Errorf("size %dx%d", w, h)
	}
}

func TestAudioStartsAtOnceAndKeepsItsLevel(t *testing.T) {
	b := newBench(t, false)
	_, to := b.subscribe(false)
	packet := append([]byte{0x90, 111, 0, 1, 0, 0, 0, 9, 0, 0, 0, 1, 0xbe, 0xde, 0, 1, 0x10, 0xb3, 0, 0}, "sound"...)
	if err := b.enc.Ingest(packet, b.now, nil); err != nil {
		t.Fatal(err)
	}
	b.writer.drain()
	if len(to.packets) != 1 || to.packets[0].level != 0xb3 || to.packets[0].payload != "sound" {
		t.Errorf("got %+v", to.packets)
	}
	if b.up.keyFrames != 0 {
		t.Error("a key frame of audio was asked for")
	}
}

func TestAsksForLostPackets(t *testing.T) {
	b := newBench(t, true)
	_, to := b.subscribe(true)
	b.send(10, keyFrame)
	b.send(14, interFrame)
	if !slices.Equal(b.up.packets, []uint16{11, 12, 13}) {
		t.Fatalf("asked for %v", b.up.packets)
	}
	b.send(12, interFrame)
	b.now += 50 * ms
	b.send(15, interFrame)
	if !slices.Equal(b.up.packets, []uint16{11, 12, 13, 11, 13}) {
		t.Fatalf("asked for %v", b.up.packets)
	}
	// A new key frame makes the rest useless.
	b.send(16, keyFrame)
	b.now += 500 * ms
	b.send(17, interFrame)
	if len(b.up.packets) != 5 {
		t.Errorf("still asks: %v", b.up.packets)
	}
	if got := seqs(to.packets); !slices.Equal(got, []uint16{0, 4, 2, 5, 6, 7}) {
		t.Errorf("numbers %v", got)
	}
	// A long gap is not repaired: a key frame helps.
	before := b.up.keyFrames
	b.send(17+1000, interFrame)
	if len(b.up.packets) != 5 || b.up.keyFrames != before+1 {
		t.Errorf("after a long gap: %d key frames, packets %v", b.up.keyFrames-before, b.up.packets)
	}
}

func TestAnswersNACK(t *testing.T) {
	b := newBench(t, true)
	s, to := b.subscribe(true)
	for seq := range uint16(10) {
		b.send(50+seq, keyFrame)
	}
	lost := []uint16{to.packets[3].header.Sequence, to.packets[4].header.Sequence}
	nack := feedback.AppendNACK(nil, 1, 0xaaaa, lost)
	s.Receive(nack, b.now)
	s.Receive(nack, b.now) // the same again at once: refused
	s.Receive(feedback.AppendNACK(nil, 1, 0xbbbb, lost), b.now)
	s.Receive(feedback.AppendNACK(nil, 1, 0xaaaa, []uint16{lost[0] + 100}), b.now)
	b.writer.drain()
	if len(to.packets) != 12 || to.packets[10] != to.packets[3] || to.packets[11] != to.packets[4] {
		t.Fatalf("%d packets; resent %+v", len(to.packets), to.packets[10:])
	}
	if stats := s.Stats(); stats.Resent != 2 || stats.Drops[DropTooOften] != 2 || stats.Drops[DropNoPlace] != 1 {
		t.Errorf("stats %+v", stats)
	}
}

func TestKeyFrameRequestsAreMergedAndPaced(t *testing.T) {
	b := newBench(t, true)
	s, _ := b.subscribe(true)
	b.send(1, keyFrame)
	b.now += int64(time.Second)
	base := b.up.keyFrames
	pli := feedback.AppendPLI(nil, 1, 0xaaaa)
	for range 100 {
		s.Receive(pli, b.now)
	}
	s.Receive(feedback.AppendPLI(nil, 1, 0xbbbb), b.now)
	if got := b.up.keyFrames - base; got != 1 {
		t.Fatalf("%d requests at once", got)
	}
	// Unanswered, it is repeated with growing pauses.
	for i := range uint16(200) {
		b.now += 10 * ms
		b.send(2+i, interFrame)
	}
	if got := b.up.keyFrames - base; got < 3 || got > 5 {
		t.Errorf("%d requests in 2 s without an answer", got)
	}
	b.send(300, keyFrame)
	base = b.up.keyFrames
	for i := range uint16(100) {
		b.now += 50 * ms
		b.send(301+i, interFrame)
	}
	if b.up.keyFrames != base {
		t.Errorf("%d requests that nobody wants", b.up.keyFrames-base)
	}
}

func TestPaddingIsLeftOut(t *testing.T) {
	b := newBench(t, true)
	_, to := b.subscribe(true)
	padding := func(seq uint16) {
		p := append(raw(96, seq, b.ts, nil), 0, 0, 0, 4)
		p[0] |= 0x20
		if err := b.enc.Ingest(p, b.now, nil); err != nil {
			t.Fatal(err)
		}
		b.writer.drain()
	}
	padding(1)
	b.send(2, keyFrame)
	padding(3)
	padding(4)
	b.send(5, interFrame)
	b.send(7, interFrame)
	padding(6) // its number is taken already: the receiver must get it
	if got := seqs(to.packets); !slices.Equal(got, []uint16{0, 1, 3, 2}) {
		t.Errorf("numbers %v", got)
	}
	if to.packets[3].payload != "" {
		t.Errorf("padding was forwarded: %q", to.packets[3].payload)
	}
}

func TestRefuses(t *testing.T) {
	b := newBench(t, true)
	_, to := b.subscribe(true)
	b.send(1, keyFrame)
	b.send(1, keyFrame)
	if err := b.enc.Ingest(raw(97, 2, 0, interFrame), b.now, nil); err != nil {
		t.Error(err)
	}
	for _, bad := range [][]byte{nil, {0x80}, raw(96, 3, 0, nil)[:11], append(raw(96, 3, 0, nil), make([]byte, MaxPacket)...)} {
		if err := b.enc.Ingest(bad, b.now, nil); !errors.Is(err, ErrMalformed) {
			t.Errorf("Ingest(%d bytes): %v", len(bad), err)
		}
	}
	b.writer.drain()
	stats := b.enc.Stats()
	want := Drops{DropMalformed: 4, DropForeignPayload: 1, DropDuplicate: 1}
	if stats.Drops != want || len(to.packets) != 1 {
		t.Errorf("drops %v, %d packets", stats.Drops, len(to.packets))
	}
	for d := Drop(0); d < drops; d++ {
		if d.String() == "" || d.String() == "unknown" {
			t.Errorf("reason %d has no name", d)
		}
	}
}

// TestSenderReports checks that what two streams of one source show together stays together at the receiver.
func TestSenderReports(t *testing.T) {
	b := newBench(t, true)
	_, toVideo := b.subscribe(true)
	timeline := new(feedback.Timeline)
	b.enc.config.Timeline = timeline
	sound := NewEncoding(EncodingConfig{Codec: "opus", ClockRate: 48_000, PayloadType: 111, Upstream: b.up, Timeline: timeline})
	toAudio := &sink{}
	audio := NewSubscription(SubscriptionConfig{ClockRate: 48_000, SSRC: 0xbbbb, Sink: toAudio, Writer: b.writer})
	audio.SetSource(sound, b.now)

	// The source's wall clock is an hour ahead. At its time T, video is at 900,000 and audio at 480,000.
	at := feedback.ToNTP(start + int64(time.Hour))
	b.ts = 900_000
	b.send(1, keyFrame)
	if err := sound.Ingest(raw(111, 1, 480_000, []byte("x")), b.now, nil); err != nil {
		t.Fatal(err)
	}
	b.writer.drain()
	b.now += 20 * ms
	b.enc.SenderReport(feedback.SenderReport{NTP: at, Timestamp: 900_000}, b.now)
	b.now += 130 * ms // audio's report takes longer; that changes nothing
	sound.SenderReport(feedback.SenderReport{NTP: at, Timestamp: 480_000}, b.now)
	b.writer.drain()
	if len(toVideo.reports) != 1 || len(toAudio.reports) != 1 {
		t.Fatalf("%d and %d reports", len(toVideo.reports), len(toAudio.reports))
	}
	// What the receiver computes as the time of the first packets must be the same.
	when := func(sr feedback.SenderReport, first out, rate int64) int64 {
		return feedback.FromNTP(sr.NTP) - int64(int32(sr.Timestamp-first.header.Timestamp))*int64(time.Second)/rate
	}
	v := when(toVideo.reports[0], toVideo.packets[0], 90_000)
	a := when(toAudio.reports[0], toAudio.packets[0], 48_000)
	if d := v - a; d > ms || d < -ms {
		t.Errorf("video and audio are %v apart", time.Duration(d))
	}
	if toVideo.reports[0].Packets != 1 || toVideo.reports[0].Octets != uint32(len(keyFrame)) {
		t.Errorf("counts %+v", toVideo.reports[0])
	}
	// A later subscriber is told with its first packet.
	_, late := b.subscribe(true)
	b.send(2, keyFrame)
	if len(late.reports) != 1 {
		t.Errorf("the late one has %d reports", len(late.reports))
	}
}

func TestReceiverReport(t *testing.T) {
	b := newBench(t, true)
	if _, ok := b.enc.Report(source, b.now); ok {
		t.Error("a report about nothing")
	}
	for seq := range uint16(100) {
		if seq%4 != 3 {
			b.send(seq, keyFrame)
		}
	}
	b.enc.SenderReport(feedback.SenderReport{NTP: 0x1234_5678_9abc_def0}, b.now)
	r, ok := b.enc.Report(source, b.now+500*ms)
	if !ok || r.SSRC != source || r.Highest != 98 || r.Lost != 24 || r.FractionLost != uint8(24*256/99) {
		t.Errorf("%+v, %v", r, ok)
	}
	if r.LastSR != 0x5678_9abc || r.Delay != 32768 {
		t.Errorf("last SR %x, delay %d", r.LastSR, r.Delay)
	}
}

func TestWriterEnds(t *testing.T) {
	b := newBench(t, false)
	w := NewWriter(func() int64 { return b.now }, nil)
	to := &sink{}
	got := make(chan struct{}, 100)
	s := NewSubscription(SubscriptionConfig{ClockRate: 48_000, Sink: notify{to, got}, Writer: w})
	s.SetSource(b.enc, b.now)
	for seq := range uint16(50) {
		if err := b.enc.Ingest(raw(111, seq, 1, []byte("x")), b.now, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 50 {
		<-got
	}
	w.Close()
	w.Close()
	if err := b.enc.Ingest(raw(111, 51, 1, []byte("x")), b.now, nil); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if len(to.packets) != 50 || s.controls.Load() != 0 {
		t.Errorf("%d packets, %d queued", len(to.packets), s.controls.Load())
	}
}

type notify struct {
	*sink
	got chan struct{}
}

func (n notify) WriteRTP(raw []byte, seqAt int) error {
	defer func() { n.got <- struct{}{} }()
	return n.sink.WriteRTP(raw, seqAt)
}

// FuzzReceive gives a subscription any RTCP, and an encoding any packet.
func FuzzReceive(f *testing.F) {
	f.Add(feedback.AppendNACK(nil, 1, 0xaaaa, []uint16{1, 2, 3, 40}), raw(96, 2, 3, keyFrame))
	f.Add(feedback.AppendPLI(nil, 1, 0xaaaa), raw(96, 2, 3, interFrame))
	f.Add(feedback.AppendReceiverReport(nil, 1, []feedback.Report{{SSRC: 0xaaaa, Lost: -5}}), raw(96, 40_000, 3, interFrame))
	f.Fuzz(func(t *testing.T, compound, packet []byte) {
		b := newBench(t, true)
		s, to := b.subscribe(true)
		b.send(1, keyFrame)
		s.Receive(compound, b.now)
		_ = b.enc.Ingest(packet, b.now, nil)
		for p, rest, ok := feedback.Next(compound); ok; p, rest, ok = feedback.Next(rest) {
			if sr, ok := p.SenderReport(); ok {
				b.enc.SenderReport(sr, b.now)
			}
		}
		b.writer.drain()
		if len(to.packets) > 3 {
			t.Errorf("%d packets out of 2", len(to.packets))
		}
	})
}
