package rtc

import (
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"portico/edge/sfu"
	"portico/edge/sfu/bitrate"
	"portico/shared/conference"
)

var (
	formatVP8  = conference.Format{Codec: "vp8"}
	formatVP9  = conference.Format{Codec: "vp9"}
	formatH264 = conference.Format{Codec: "h264", Profile: "CB"}
	formatOpus = conference.Format{Codec: "opus", SampleRate: 48000, ChannelNum: 2}
)

// fakeConverter makes nothing: tests feed its outputs.
type fakeConverter struct{ opened chan *fakeOutput }

func (f *fakeConverter) Open(c Conversion) Output {
	o := &fakeOutput{wish: c, closed: make(chan struct{})}
	f.opened <- o
	return o
}

type fakeOutput struct {
	wish   Conversion
	closed chan struct{}
	target int

	mu       sync.Mutex
	ceilings []int
}

func (o *fakeOutput) Close()      { close(o.closed) }
func (o *fakeOutput) Target() int { return o.target }
func (o *fakeOutput) SetCeiling(kbps int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ceilings = append(o.ceilings, kbps)
}

func (o *fakeOutput) ended(t *testing.T) {
	t.Helper()
	select {
	case <-o.closed:
	case <-time.After(patience):
		t.Fatal("the output is not let go of")
	}
}

func (o *fakeOutput) open(t *testing.T) {
	t.Helper()
	select {
	case <-o.closed:
		t.Error("the output is let go of")
	default:
	}
}

func newConverter(t *testing.T) (*Engine, *fakeConverter) {
	t.Helper()
	f := &fakeConverter{opened: make(chan *fakeOutput, 16)}
	return newEngine(t, func(c *Config) { c.Converter = f }), f
}

// next waits for the next output.
func (f *fakeConverter) next(t *testing.T) *fakeOutput {
	t.Helper()
	select {
	case o := <-f.opened:
		return o
	case <-time.After(patience):
		t.Fatal("no output is asked for")
	}
	return nil
}

func (f *fakeConverter) none(t *testing.T) {
	t.Helper()
	select {
	case o := <-f.opened:
		t.Errorf("an output is asked for: %+v", o.wish)
	default:
	}
}

// made is an encoding that comes out of the converter.
type made struct {
	*sfu.Encoding
	engine *Engine
	seq    uint16
	ssrc   uint32

	mu   sync.Mutex
	keys int
}

func newMade(e *Engine, ssrc uint32) *made {
	m := &made{engine: e, ssrc: ssrc}
	m.Encoding = sfu.NewEncoding(sfu.EncodingConfig{Video: true, Codec: "vp8", ClockRate: 90000, PayloadType: 96, NACK: true, Upstream: m})
	return m
}

func (m *made) RequestPackets([]uint16) {}
func (m *made) RequestKeyFrame() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys++
}

// pump sends frames, the first a key frame, until stop.
func (m *made) pump(t *testing.T, stop <-chan struct{}) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for n := 0; ; n++ {
		payload := interFrame
		if n%10 == 0 {
			payload = keyFrame
		}
		p := make([]byte, 12, 600)
		p[0], p[1] = 0x80, 96|0x80
		m.seq++
		binary.BigEndian.PutUint16(p[2:], m.seq)
		binary.BigEndian.PutUint32(p[4:], uint32(m.seq)*900)
		binary.BigEndian.PutUint32(p[8:], m.ssrc)
		if err := m.Ingest(append(p, payload...), m.engine.now(), nil); err != nil && !errors.Is(err, sfu.ErrClosed) {
			t.Error(err)
		}
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
	}
}

// start pumps in the background until it is stopped.
func (m *made) start(t *testing.T) (stop func()) {
	end := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() { m.pump(t, end) })
	var once sync.Once
	stop = func() { once.Do(func() { close(end); done.Wait(); m.Close() }) }
	t.Cleanup(stop)
	return stop
}

// follow reads packets until one that fits, and checks that they are one stream.
func (c *client) follow(track *webrtc.TrackRemote, last *uint16, enough func(payload []byte) bool) {
	c.t.Helper()
	for range 1000 {
		p := c.read(track)
		if *last != 0 && p.SequenceNumber != *last+1 {
			c.t.Fatalf("after packet %d comes %d", *last, p.SequenceNumber)
		}
		*last = p.SequenceNumber
		if enough(p.Payload) {
			return
		}
	}
	c.t.Fatal("what was meant to come does not")
}

// TestFeed: the media of a feed's subscription are made in the first format offered of those wanted; another encoding goes on where the
// one before was; they end with the feed.
func TestFeed(t *testing.T) {
	e, converter := newConverter(t)
	feed, err := e.OpenFeed("mix-video", conference.Video)
	if err != nil {
		t.Fatal(err)
	}
	bob := newClient(t, e, "bob")
	bob.receive(conference.Video)
	bob.subscribe("sub", SubTrack{Kind: conference.Video, Mid: "0", From: "mix-video", Making: Making{
		Formats: []conference.Format{formatH264, formatVP8}, Resolution: conference.Resolution{Width: 320, Height: 240}, Framerate: 12,
		Bitrate: "x0.8", KeyFrameInterval: 5, Listener: "bob",
	}})
	bob.negotiate() // VP8 comes first
	bob.up()
	out := converter.next(t)
	w := out.wish
	if w.Track != "mix-video" || w.Kind != conference.Video || w.Format != formatVP8 || w.Resolution.Width != 320 || w.Framerate != 12 ||
		w.Bitrate != "x0.8" || w.KeyFrameInterval != 5 || w.Listener != "bob" {
		t.Errorf("%+v", w)
	}
	w.Trouble("no relay")
	waitForEvent(t, e, "sub", EventConversion, "no relay", "video")
	first := newMade(e, 1)
	stop := first.start(t)
	w.Feed(first.Encoding)
	track := bob.arrived().track
	last := uint16(0)
	n := 0
	bob.follow(track, &last, func([]byte) bool { n++; return n > 20 })
	stop()
	second := newMade(e, 2)
	defer second.start(t)()
	w.Feed(second.Encoding)
	n = 0
	bob.follow(track, &last, func(p []byte) bool { // what was on its way, and then a key frame
		if n++; slices.Equal(p, keyFrame) {
			return second.Stats().Packets > 0
		}
		return false
	})
	q, _ := e.SubscriptionQuality("sub")
	if len(q.Tracks) != 1 || q.Tracks[0].Made != Mixed || q.Tracks[0].Format != formatVP8 || q.Tracks[0].From != "mix-video" {
		t.Errorf("%+v", q.Tracks)
	}
	waitFor(t, "the picture's size", func() bool {
		q, _ := e.SubscriptionQuality("sub")
		return q.Tracks[0].Source != nil && q.Tracks[0].Source.Width == 640
	})
	out.open(t)
	feed.Close()
	feed.Close()
	if failed := bob.next("session failed"); failed.session != "sub" || failed.text != ReasonSourceLoss {
		t.Error(failed)
	}
	out.ended(t)
	if err := bob.trySubscribe("again", SubTrack{Kind: conference.Video, Mid: "1", From: "mix-video"}); !errors.Is(err, ErrNoSuchTrack) {
		t.Error(err)
	}
	w.Feed(second.Encoding) // too late for anything
}

// TestOutputsEndWithTheirSubscriptions, however these end.
func TestOutputsEndWithTheirSubscriptions(t *testing.T) {
	e, converter := newConverter(t)
	if _, err := e.OpenFeed("mix-video", conference.Video); err != nil {
		t.Fatal(err)
	}
	if _, err := e.OpenFeed("mix-video", conference.Video); !errors.Is(err, ErrIDInUse) {
		t.Error(err)
	}
	if _, err := e.OpenFeed("x", "data"); !errors.Is(err, ErrBadTracks) {
		t.Error(err)
	}
	making := Making{Formats: []conference.Format{formatVP8}}
	for i, end := range []func(){func() { e.Stop("sub") }, func() { e.CloseParticipant("bob") }} {
		bob := newClient(t, e, "bob")
		bob.receive(conference.Video)
		session := []string{"sub", "other"}[i]
		bob.subscribe(session, SubTrack{Kind: conference.Video, Mid: "0", From: "mix-video", Making: making})
		bob.negotiate()
		bob.up()
		out := converter.next(t)
		end()
		out.ended(t)
		e.CloseParticipant("bob")
	}
}

// TestTranscoding: a published track is forwarded if it is what was asked for and what the client can do, and else made.
func TestTranscoding(t *testing.T) {
	e, converter := newConverter(t)
	alice := newSource(t, e, "alice")
	alice.start()
	waitFor(t, "the picture's size", func() bool { size, ok := e.TrackSize("alice-pub-1"); return ok && size.Width == 640 })
	h264Only := func(m *webrtc.MediaEngine) error {
		return m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: 102, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeH264, ClockRate: 90000, SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
		}}, webrtc.RTPCodecTypeVideo)
	}
	for name, c := range map[string]struct {
		register func(*webrtc.MediaEngine) error
		making   Making
		made     conference.Format // empty: forwarded
		fails    bool
	}{
		"nothing asked":         {},
		"as it is":              {making: Making{Resolution: conference.Resolution{Width: 640, Height: 360}, Bitrate: "x1.0"}},
		"own format among them": {making: Making{Formats: []conference.Format{formatVP9, formatVP8}}},
		"another format":        {making: Making{Formats: []conference.Format{formatVP9}}, made: formatVP9},
		"another size":          {making: Making{Resolution: conference.Resolution{Width: 320, Height: 180}}, made: formatVP8},
		"another rate":          {making: Making{Framerate: 15, Formats: []conference.Format{formatVP8, formatH264}}, made: formatVP8},
		"the client cannot":     {h264Only, Making{Formats: []conference.Format{formatVP8, {Codec: "H264"}, formatVP9}}, formatH264, false},
		"nobody can":            {h264Only, Making{Formats: []conference.Format{formatVP8, formatVP9}}, conference.Format{}, true},
	} {
		bob := newClientWith(t, e, name, c.register)
		bob.receive(conference.Video)
		bob.subscribe(name, SubTrack{Kind: conference.Video, Mid: "0", From: "alice-pub-1", Making: c.making})
		bob.negotiate()
		switch {
		case c.fails:
			if failed := bob.next("session failed"); failed.text != ReasonNoVideo {
				t.Errorf("%s: %v", name, failed)
			}
		case c.made == conference.Format{}:
			bob.up()
			bob.read(bob.arrived().track)
			converter.none(t)
		default:
			bob.up()
			out := converter.next(t)
			if out.wish.Format != c.made || out.wish.Track != "alice-pub-1" {
				t.Errorf("%s: %+v", name, out.wish)
			}
			if q, _ := e.SubscriptionQuality(name); q.Tracks[0].Made != Transcoded || q.Tracks[0].Current != nil {
				t.Errorf("%s: %+v", name, q.Tracks)
			}
		}
		e.CloseParticipant(name)
	}
}

// TestWithoutConverter nothing is made.
func TestWithoutConverter(t *testing.T) {
	e := newEngine(t, nil)
	newSource(t, e, "alice")
	if _, err := e.OpenFeed("mix-audio", conference.Audio); err != nil {
		t.Fatal(err)
	}
	bob := newClient(t, e, "bob")
	bob.receive(conference.Video)
	bob.subscribe("sub", SubTrack{Kind: conference.Video, Mid: "0", From: "alice-pub-1", Making: Making{Framerate: 15}})
	bob.receive(conference.Audio)
	bob.subscribe("mixed", SubTrack{Kind: conference.Audio, Mid: "1", From: "mix-audio", Making: Making{Formats: []conference.Format{formatOpus}}})
	bob.negotiate()
	for _, want := range []string{ReasonNoVideo, ReasonNoAudio} {
		if failed := bob.next("session failed"); failed.text != want {
			t.Error(failed)
		}
	}
}

// TestChange: a subscription gets another source, or the same made otherwise, in the same stream, and keeps what it has until then.
func TestChange(t *testing.T) {
	e, converter := newConverter(t)
	alice := newSource(t, e, "alice")
	alice.start()
	if _, err := e.OpenFeed("mix-video", conference.Video); err != nil {
		t.Fatal(err)
	}
	bob := newClient(t, e, "bob")
	bob.receive(conference.Video)
	own := SubTrack{Kind: conference.Video, Mid: "0", From: "alice-pub-1"}
	bob.subscribe("sub", own)
	bob.negotiate()
	bob.up()
	track := bob.arrived().track
	last, n := uint16(0), 0
	more := func([]byte) bool { n++; return n%10 == 0 }
	bob.follow(track, &last, more)

	badChanges(t, e)
	converter.none(t)
	bob.follow(track, &last, more)

	to := SubTrack{Kind: conference.Video, Mid: "0", From: "mix-video", Making: Making{Formats: []conference.Format{formatVP8}}}
	if err := e.Change("sub", to); err != nil {
		t.Fatal(err)
	}
	mix := converter.next(t)
	bob.follow(track, &last, more) // still alice
	small := to
	small.Making.Resolution = conference.Resolution{Width: 320, Height: 240}
	source := newMade(e, 1)
	defer source.start(t)()
	mix.wish.Feed(source.Encoding)
	waitFor(t, "the mix", func() bool {
		q, _ := e.SubscriptionQuality("sub")
		return q.Tracks[0].Made == Mixed && q.Tracks[0].Source != nil
	})
	if err := e.Change("sub", small); err != nil {
		t.Fatal(err)
	}
	other := converter.next(t)
	if other.wish.Resolution.Width != 320 {
		t.Errorf("%+v", other.wish)
	}
	mix.open(t)
	bob.follow(track, &last, more)
	again := newMade(e, 2)
	defer again.start(t)()
	other.wish.Feed(again.Encoding)
	mix.ended(t)
	bob.follow(track, &last, more)
	testChangeBack(t, e, bob, func(enough func([]byte) bool) { bob.follow(track, &last, enough) }, other)
}

// badChanges are those that change nothing.
func badChanges(t *testing.T, e *Engine) {
	t.Helper()
	for _, bad := range []struct {
		to   SubTrack
		want error
	}{
		{SubTrack{Kind: conference.Video, From: "mix-video", Making: Making{Formats: []conference.Format{formatVP9}}}, ErrNoFormat},
		{SubTrack{Kind: conference.Video, From: "nothing"}, ErrNoSuchTrack},
		{SubTrack{Kind: conference.Video, From: "alice-pub-0"}, ErrNoSuchTrack},
		{SubTrack{Kind: conference.Audio, From: "alice-pub-0"}, ErrNoSuchTrack},
	} {
		if err := e.Change("sub", bad.to); !errors.Is(err, bad.want) {
			t.Errorf("%+v: %v", bad.to, err)
		}
	}
}

// testChangeBack goes on with what was a source and is one no more, and back to one that is forwarded.
func testChangeBack(t *testing.T, e *Engine, bob *client, follow func(enough func([]byte) bool), made *fakeOutput) {
	e.Stop("alice-pub") // which is no source of bob's any more
	follow(func([]byte) bool { return true })
	bob.quiet()
	newSource(t, e, "carol").start()
	if err := e.Change("sub", SubTrack{Kind: conference.Video, From: "carol-pub-1"}); err != nil {
		t.Fatal(err)
	}
	made.ended(t)
	follow(func(p []byte) bool { return slices.Equal(p, keyFrame) })
	if q, _ := e.SubscriptionQuality("sub"); q.Tracks[0].Made != "" || q.Tracks[0].From != "carol-pub-1" {
		t.Errorf("%+v", q.Tracks)
	}
	e.Stop("carol-pub")
	if failed := bob.next("session failed"); failed.text != ReasonSourceLoss {
		t.Error(failed)
	}
}

// TestCeilings: what is left of the network beside other media is told to the converter, when it changes by enough, once a second.
func TestCeilings(t *testing.T) {
	e, _ := newConverter(t)
	out := &fakeOutput{target: 2000}
	line := func(kind conference.Kind, c *conversion, rate bitrate.Bitrate) steeredLine {
		return steeredLine{line: &mline{kind: kind}, made: c, layers: []bitrate.Layer{{Bitrate: rate}}}
	}
	c := &conversion{engine: e, output: out}
	s := steering{lines: []steeredLine{
		line(conference.Audio, nil, 50_000), line(conference.Video, c, 600_000), line(conference.Video, nil, 450_000),
	}, grants: make([]bitrate.Grant, 3)}
	if got := s.missing(); got != 1_400_000 {
		t.Errorf("%d missing", got)
	}
	now := int64(0)
	tell := func(rate bitrate.Bitrate, after time.Duration, want ...int) {
		t.Helper()
		now += int64(after)
		s.tellCeilings(bitrate.Budget{Rate: rate}, now)
		if !slices.Equal(out.ceilings, want) {
			t.Errorf("%v, want %v", out.ceilings, want)
		}
	}
	s.tellCeilings(bitrate.Budget{Rate: 500_000, Starting: true}, 0)
	tell(1_500_000, 0, 900)
	tell(1_600_000, 2*time.Second, 900)
	tell(2_500_000, time.Second/2, 900, 1800)
	tell(1_000_000, time.Second/2, 900, 1800)
	tell(1_000_000, time.Second/2, 900, 1800, 450)
	tell(100_000, time.Second, 900, 1800, 450, 50)
	s.lines[1].paused = true
	tell(1_500_000, time.Second, 900, 1800, 450, 50)
}

// TestChangeOfWhatAdapts: a simulcast goes on as it is, and adapts, until what is to be made of it comes, and that is not chosen from.
func TestChangeOfWhatAdapts(t *testing.T) {
	e, converter := newConverter(t)
	keepAt(t, simulcast(t, newClient(t, e, "alice")))
	bob := newClient(t, e, "bob")
	bob.receive(conference.Video)
	large := SubTrack{Kind: conference.Video, Mid: "0", From: "sim-0:q", Adapt: true, Display: conference.Resolution{Width: 1280, Height: 720}}
	bob.subscribe("sub", large)
	bob.negotiate()
	bob.up()
	bob.arrived()
	current := func(rid string) func() bool {
		return func() bool {
			q, _ := e.SubscriptionQuality("sub")
			return len(q.Tracks) == 1 && q.Tracks[0].Current != nil && q.Tracks[0].Current.Rid == rid
		}
	}
	waitFor(t, "the large layer", current("f"))
	slow := large
	slow.Making.Framerate = 15
	if err := e.Change("sub", slow); err != nil {
		t.Fatal(err)
	}
	out := converter.next(t)
	if q, _ := e.SubscriptionQuality("sub"); q.Tracks[0].Target == nil || q.Tracks[0].Target.Rid != "f" {
		t.Errorf("while it waits: %+v", q.Tracks[0].Target)
	}
	e.SetDisplay("sub", conference.Resolution{Width: 640, Height: 360})
	waitFor(t, "the small layer", current("q"))
	source := newMade(e, 1)
	defer source.start(t)()
	out.wish.Feed(source.Encoding)
	waitFor(t, "what was made", func() bool {
		q, _ := e.SubscriptionQuality("sub")
		return q.Tracks[0].Made == Transcoded && q.Tracks[0].Current != nil && q.Tracks[0].Current.Rid == ""
	})
	e.mu.Lock()
	l := e.sessions["sub"].lines[0]
	e.mu.Unlock()
	x := steeredLine{ // as of a round that began before
		line: l, out: l.out, sources: []*sfu.Encoding{newMade(e, 2).Encoding}, adapts: true, layers: []bitrate.Layer{{Temporal: -1}},
	}
	x.apply(bitrate.Grant{}, e.now())
	if q, _ := e.SubscriptionQuality("sub"); q.Tracks[0].Reason != sfu.ReasonAsked {
		t.Errorf("an old choice was carried out: %v", q.Tracks[0].Reason)
	}
}
