package jobs

import (
	"encoding/binary"
	"slices"
	"sync"
	"testing"
	"time"

	"portico/edge/rtc"
	"portico/edge/sfu"
	"portico/shared/conference"
	"portico/shared/relayproto"
)

// fakeMedia is a media engine of which the tests make the tracks.
type fakeMedia struct {
	mu     sync.Mutex
	feeds  map[string]bool
	tracks map[string]*fakeTrack
	taps   map[*fakeTap]bool
	writer *sfu.Writer
}

// fakeTrack is a published track.
type fakeTrack struct {
	format   conference.Format
	encoding *sfu.Encoding
	size     conference.Resolution
	seq      uint16
}

func (f *fakeTrack) RequestPackets([]uint16) {}
func (f *fakeTrack) RequestKeyFrame()        {}

type fakeTap struct {
	*sfu.Subscription
	media  *fakeMedia
	spec   rtc.TapSpec
	format conference.Format

	mu      sync.Mutex
	display conference.Resolution
	active  bool
}

func newMedia(t testing.TB) *fakeMedia {
	m := &fakeMedia{
		feeds: make(map[string]bool), tracks: make(map[string]*fakeTrack), taps: make(map[*fakeTap]bool),
	}
	m.writer = sfu.NewWriter(m.Now, nil)
	t.Cleanup(m.writer.Close)
	return m
}

var started = time.Now()

func (m *fakeMedia) Now() int64 { return started.UnixNano() + int64(time.Since(started)) }

func (m *fakeMedia) publish(id string, kind conference.Kind, format conference.Format) *fakeTrack {
	f := &fakeTrack{format: format}
	f.encoding = sfu.NewEncoding(sfu.EncodingConfig{
		Video: kind == conference.Video, Codec: format.Codec, ClockRate: relayproto.ClockRate(format.Codec), PayloadType: 100, Upstream: f,
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tracks[id] = f
	return f
}

// send lets the publisher of a track send one packet, at first a key frame.
func (m *fakeMedia) send(t testing.TB, f *fakeTrack) {
	t.Helper()
	f.seq++
	p := make([]byte, 12, 40)
	p[0], p[1] = 0x80, 100|0x80
	binary.BigEndian.PutUint16(p[2:], f.seq)
	binary.BigEndian.PutUint32(p[4:], uint32(f.seq)*900)
	payload := []byte{0x10, 0xd1, 0x09, 0x0d, 1, 2, 3}
	if f.seq == 1 {
		payload = []byte{0x10, 0xd0, 0x09, 0x0d, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01, 0x00, 0x47, 0x08}
	}
	if err := f.encoding.Ingest(append(p, payload...), m.Now(), nil); err != nil {
		t.Error(err)
	}
}

type fakeFeed struct {
	media *fakeMedia
	track string
}

func (f fakeFeed) Close() {
	f.media.mu.Lock()
	defer f.media.mu.Unlock()
	delete(f.media.feeds, f.track)
}

func (m *fakeMedia) OpenFeed(track string, _ conference.Kind) (Feed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.feeds[track] {
		return nil, rtc.ErrIDInUse
	}
	m.feeds[track] = true
	return fakeFeed{m, track}, nil
}

func (m *fakeMedia) TrackSize(track string) (conference.Resolution, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.tracks[track]
	if f == nil {
		return conference.Resolution{}, false
	}
	return f.size, true
}

func (m *fakeMedia) OpenTap(spec rtc.TapSpec) (Tap, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.tracks[spec.Tracks[0]]
	if f == nil {
		return nil, rtc.ErrNoSuchTrack
	}
	tap := &fakeTap{media: m, spec: spec, format: f.format, display: spec.Display, active: true}
	tap.Subscription = sfu.NewSubscription(sfu.SubscriptionConfig{
		Video: f.format.Codec == "vp8", SSRC: spec.SSRC, ClockRate: relayproto.ClockRate(f.format.Codec), PayloadType: spec.PayloadType(f.format),
		Extensions: spec.Extensions, Sink: spec.Sink, Writer: m.writer,
	})
	tap.SetSource(f.encoding, m.Now())
	m.taps[tap] = true
	return tap, nil
}

// tapped are the taps of a track.
func (m *fakeMedia) tapped(track string) (list []*fakeTap) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for tap := range m.taps {
		if tap.spec.Tracks[0] == track {
			list = append(list, tap)
		}
	}
	return list
}

func (t *fakeTap) Format() conference.Format { return t.format }
func (t *fakeTap) Receive(compound []byte)   { t.Subscription.Receive(compound, t.media.Now()) }

func (t *fakeTap) SetDisplay(size conference.Resolution) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.display = size
}

func (t *fakeTap) SetActive(active bool) {
	t.mu.Lock()
	t.active = active
	t.mu.Unlock()
	t.Subscription.SetActive(active, t.media.Now())
}

func (t *fakeTap) state() (conference.Resolution, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.display, t.active
}

func (t *fakeTap) Close() {
	t.media.mu.Lock()
	delete(t.media.taps, t)
	t.media.mu.Unlock()
	t.Subscription.Close()
}

// viewer is a subscription that gets an output, and notes what comes of it.
type viewer struct {
	t     testing.TB
	media *fakeMedia
	sub   *sfu.Subscription
	rtc.Output

	mu        sync.Mutex
	encodings []*sfu.Encoding
	troubles  []string
	packets   [][]byte
}

func (v *viewer) WriteRTP(packet []byte, _ int) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.packets = append(v.packets, slices.Clone(packet))
	return nil
}

func (v *viewer) WriteRTCP([]byte) error { return nil }

// view opens an output and subscribes to it.
func view(t testing.TB, j *Jobs, m *fakeMedia, c rtc.Conversion) *viewer {
	t.Helper()
	v := &viewer{t: t, media: m}
	v.sub = sfu.NewSubscription(sfu.SubscriptionConfig{
		Video: c.Kind == conference.Video, SSRC: 7, ClockRate: relayproto.ClockRate(c.Format.Codec), PayloadType: 120, Sink: v, Writer: m.writer,
	})
	c.Feed = func(e *sfu.Encoding) {
		v.mu.Lock()
		v.encodings = append(v.encodings, e)
		v.mu.Unlock()
		v.sub.SetSource(e, m.Now())
	}
	c.Trouble = func(why string) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.troubles = append(v.troubles, why)
	}
	v.Output = j.Open(c)
	t.Cleanup(v.end)
	return v
}

func (v *viewer) end() {
	v.Close()
	v.sub.Close()
}

func (v *viewer) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.packets)
}

// gets waits for so many more packets.
func (v *viewer) gets(n int) {
	v.t.Helper()
	from := v.count()
	waitFor(v.t, "packets", func() bool { return v.count() >= from+n })
}

// feeds is how many encodings it was given, and the last.
func (v *viewer) feeds() (n int, last *sfu.Encoding) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if n = len(v.encodings); n > 0 {
		last = v.encodings[n-1]
	}
	return n, last
}
