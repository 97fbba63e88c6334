package rtc

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"portico/edge/sfu"
	"portico/edge/sfu/speakers"
	"portico/shared/conference"
)

// withLevels registers the default codecs and the audio level extension.
func withLevels(m *webrtc.MediaEngine) error {
	if err := m.RegisterDefaultCodecs(); err != nil {
		return err
	}
	return m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: extAudioLevel}, webrtc.RTPCodecTypeAudio)
}

// choir is one client with many microphones, each a publication of its own named "mic-<n>".
type choir struct {
	*client
	mics  []*webrtc.TrackLocalStaticRTP
	level uint8 // id of the extension
	round int
}

func newChoir(t *testing.T, e *Engine, mics int) *choir {
	c := &choir{client: newClientWith(t, e, "choir", withLevels)}
	var sender *webrtc.RTPSender
	for i := range mics {
		mic := c.track(conference.Audio)
		c.mics = append(c.mics, mic)
		sender = c.send(mic).Sender()
		c.publish(fmt.Sprint("mic-", i), decls(i, conference.Audio))
	}
	c.negotiate()
	c.up()
	for range mics - 1 {
		c.next("session ready")
	}
	for _, x := range sender.GetParameters().HeaderExtensions {
		if x.URI == extAudioLevel {
			c.level = uint8(x.ID)
		}
	}
	if c.level == 0 {
		t.Fatal("no audio levels were negotiated")
	}
	return c
}

// sing sends one packet from every microphone: the loud ones at -10 dBov and, in their order, 10 less each; the others at -60.
func (c *choir) sing(loud ...int) {
	c.t.Helper()
	c.round++
	for i, mic := range c.mics {
		level := byte(60)
		if at := slices.Index(loud, i); at >= 0 {
			level = byte(10 + 10*at)
		}
		h := rtp.Header{Version: 2, SequenceNumber: uint16(1000*i + c.round), Timestamp: uint32(1_000_000*i + 960*c.round)}
		if err := h.SetExtension(c.level, []byte{0x80 | level}); err != nil {
			c.t.Fatal(err)
		}
		if err := mic.WriteRTP(&rtp.Packet{Header: h, Payload: []byte{byte(i), byte(c.round >> 8), byte(c.round)}}); err != nil {
			c.t.Fatal(err)
		}
	}
}

// podium is a selector of three slots and what it reports.
type podium struct {
	*Selector
	t    *testing.T
	news chan slotNews
	now  [3]slotNews
}

func newPodium(t *testing.T, e *Engine) *podium {
	t.Helper()
	p := &podium{t: t, news: make(chan slotNews, 1000)}
	s, err := e.OpenSelector(SelectorSpec{Tracks: []string{"slot-0", "slot-1", "slot-2"}, Changed: func(slot int, publication string, major bool) {
		p.news <- slotNews{slot, publication, major}
	}})
	if err != nil {
		t.Fatal(err)
	}
	p.Selector = s
	t.Cleanup(s.Close)
	return p
}

// until waits for the slots to hold the publications, the first of them as the major one, while between is done every 20 ms.
func (p *podium) until(between func(), publications ...string) {
	p.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(patience); ; {
		var in []string
		for _, n := range p.now {
			if n.major {
				in = slices.Insert(in, 0, n.publication)
			} else {
				in = append(in, n.publication)
			}
		}
		if slices.Sort(in[1:]); slices.Equal(in, publications) {
			return
		}
		select {
		case n := <-p.news:
			p.now[n.slot] = n
		case <-ticker.C:
			between()
		case <-deadline:
			p.t.Fatalf("in the slots are %q, want %q", in, publications)
		}
	}
}

// slotOf is where a publication is.
func (p *podium) slotOf(publication string) int {
	return slices.IndexFunc(p.now[:], func(n slotNews) bool { return n.publication == publication })
}

// audience subscribes a client to the three slots, on mids 0 to 2.
func audience(t *testing.T, e *Engine, name string) *client {
	t.Helper()
	c := newClientWith(t, e, name, withLevels)
	var tracks []SubTrack
	for i := range 3 {
		c.receive(conference.Audio)
		tracks = append(tracks, SubTrack{Kind: conference.Audio, Mid: fmt.Sprint(i), From: fmt.Sprint("slot-", i)})
	}
	c.subscribe(name, tracks...)
	c.negotiate()
	c.up()
	return c
}

// TestHundredMicrophonesAreThreeStreams: of a hundred open microphones each listener gets the three loudest, and no packet more;
// when others become loud, theirs go on in the same streams without a break.
func TestHundredMicrophonesAreThreeStreams(t *testing.T) {
	const mics, listeners, rounds = 100, 2, 25
	e := newEngine(t, nil)
	hall := newPodium(t, e)
	choir := newChoir(t, e, mics)
	for i := range mics {
		hall.Add(fmt.Sprint("mic-", i))
	}
	sing := func(loud ...int) { // and wait for it to arrive, as what is lost on the way would look like a break
		in := e.Stats().PacketsIn
		choir.sing(loud...)
		waitFor(t, "what was sung", func() bool { return e.Stats().PacketsIn == in+mics })
	}
	clients := []*client{audience(t, e, "bob"), audience(t, e, "carol")}
	hall.until(func() { sing(17, 42, 93) }, "mic-17", "mic-42", "mic-93")
	waitFor(t, "the first packets", func() bool {
		sing(17, 42, 93)
		return e.Stats().PacketsOut > 10*listeners*3
	})
	heard := make([]map[*webrtc.TrackRemote]byte, listeners)
	for i, c := range clients {
		heard[i] = make(map[*webrtc.TrackRemote]byte)
		for range 3 {
			heard[i][c.arrived().track] = 0
		}
	}
	hear := func() { // all that was sung
		for i, c := range clients {
			for track := range heard[i] {
				heard[i][track] = unbroken(t, c, track, choir.round)
			}
		}
	}
	hear()

	before := e.Stats().PacketsOut
	for range rounds {
		sing(17, 42, 93)
	}
	hear()
	// A packet is counted when it has been written: the last may be heard before that.
	waitFor(t, "the last packet's count", func() bool { return e.Stats().PacketsOut-before >= rounds*listeners*3 })
	if out := e.Stats().PacketsOut - before; out != rounds*listeners*3 {
		t.Errorf("%d packets went out for %d of %d microphones; want %d", out, rounds*mics, mics, rounds*listeners*3)
	}

	slot := hall.slotOf("mic-93")
	hall.until(func() { sing(55, 17, 42) }, "mic-55", "mic-17", "mic-42")
	if hall.slotOf("mic-55") != slot {
		t.Errorf("the new one is in slot %d, not in the freed one, %d", hall.slotOf("mic-55"), slot)
	}
	for range 10 {
		sing(55, 17, 42)
	}
	hear()
	for _, of := range heard {
		if got := slices.Sorted(maps.Values(of)); !slices.Equal(got, []byte{17, 42, 55}) {
			t.Errorf("heard at the end: %v", got)
		}
	}
}

// unbroken reads a stream up to the round last, and checks that numbers and timestamps go on across changes of the microphone; it
// returns who is heard at the end.
func unbroken(t *testing.T, c *client, track *webrtc.TrackRemote, last int) byte {
	t.Helper()
	p := c.read(track)
	for {
		mic, round := p.Payload[0], int(p.Payload[1])<<8|int(p.Payload[2])
		if round == last {
			return mic
		}
		next := c.read(track)
		if next.SequenceNumber != p.SequenceNumber+1 {
			t.Errorf("round %d: number %d after %d", round, next.SequenceNumber, p.SequenceNumber)
		}
		passed := int32(next.Timestamp - p.Timestamp)
		if same := next.Payload[0] == mic; same && passed%960 != 0 || passed <= 0 || passed > 48_000 {
			t.Errorf("round %d: %d ticks from microphone %d to %d", round, passed, mic, next.Payload[0])
		}
		p = next
	}
}

// TestSelectorFollowsItsPublications: what ends makes room, what is muted is not heard, and other codecs are no candidates.
func TestSelectorFollowsItsPublications(t *testing.T) {
	e := newEngine(t, nil)
	hall := newPodium(t, e)
	choir := newChoir(t, e, 4)
	pcmu := newClientWith(t, e, "pcmu", func(m *webrtc.MediaEngine) error {
		return m.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypePCMU, ClockRate: 8000}, PayloadType: 0}, webrtc.RTPCodecTypeAudio)
	})
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU, ClockRate: 8000}, "a", "s")
	if err != nil {
		t.Fatal(err)
	}
	pcmu.send(track)
	pcmu.publish("phone", decls(0, conference.Audio))
	pcmu.negotiate()
	pcmu.up()
	for _, publication := range []string{"phone", "mic-0", "mic-1", "mic-2", "mic-3", "mic-3", "nobody's"} {
		hall.Add(publication)
	}
	hall.until(func() { choir.sing(3, 2, 1) }, "mic-3", "mic-1", "mic-2")
	e.SetActive("mic-0-3", false)
	hall.until(func() { choir.sing(3, 2, 1, 0) }, "mic-2", "mic-0", "mic-1")
	e.Stop("mic-2")
	e.Stop("mic-1")
	hall.until(func() { choir.sing(0) }, "mic-0", "", "mic-3")
	choir.quiet()
}

// TestSubscriptionOfASlot: it is one like any other, with or without anybody in the slot, and ends with the selector.
func TestSubscriptionOfASlot(t *testing.T) {
	e := newEngine(t, nil)
	hall := newPodium(t, e)
	bob := newClientWith(t, e, "bob", withLevels)
	for _, from := range []string{"slot-9", ""} {
		if err := bob.trySubscribe("bad", SubTrack{Kind: conference.Audio, Mid: "0", From: from}); !errors.Is(err, ErrNoSuchTrack) {
			t.Errorf("%q: %v", from, err)
		}
		bob.transport = ""
	}
	if err := bob.trySubscribe("bad", SubTrack{Kind: conference.Video, Mid: "0", From: "slot-0"}); !errors.Is(err, ErrNoSuchTrack) {
		t.Errorf("as video: %v", err)
	}
	bob.transport = ""
	bob.receive(conference.Audio)
	bob.subscribe("bob", SubTrack{Kind: conference.Audio, Mid: "0", From: "slot-0"})
	bob.negotiate()
	bob.up()
	choir := newChoir(t, e, 1)
	hall.Add("mic-0")
	hall.until(func() { choir.sing(0) }, "mic-0", "", "")
	waitFor(t, "the first packet", func() bool { choir.sing(0); return e.Stats().PacketsOut > 0 })
	bob.read(bob.arrived().track)
	e.SetSubscriptionActive("bob", conference.Audio, false)
	waitFor(t, "a paused packet", func() bool { choir.sing(0); return e.Stats().Drops[sfu.DropPaused] > 0 })
	e.SetActive("slot-0", false) // it is not the Engine's to mute
	hall.Close()
	hall.Close()
	if got := bob.next("session failed"); got.text != ReasonSourceLoss {
		t.Errorf("%v", got)
	}
	if err := bob.trySubscribe("again", SubTrack{Kind: conference.Audio, Mid: "1", From: "slot-0"}); !errors.Is(err, ErrNoSuchTrack) {
		t.Errorf("after the end: %v", err)
	}
	hall.Add("mic-0")
	bob.quiet()
}

func TestOpenSelectorRefuses(t *testing.T) {
	e := newEngine(t, nil)
	newPodium(t, e)
	changed := func(int, string, bool) {}
	for _, c := range []struct {
		tracks []string
		want   error
	}{{nil, ErrBadTracks}, {make([]string, maxSlots+1), ErrBadTracks}, {[]string{""}, ErrIDInUse}, {[]string{"slot-1"}, ErrIDInUse},
		{[]string{"x", "x"}, ErrIDInUse}} {
		if _, err := e.OpenSelector(SelectorSpec{Tracks: c.tracks, Changed: changed}); !errors.Is(err, c.want) {
			t.Errorf("%q: %v", c.tracks, err)
		}
	}
	other := newEngine(t, nil)
	left, err := other.OpenSelector(SelectorSpec{Tracks: []string{"slot-1"}, Changed: changed})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	left.Close() // again: the Engine did
	if _, err := other.OpenSelector(SelectorSpec{Tracks: []string{"x"}, Changed: changed}); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestDiscontinuousTransmission: a pause in speech is a gap in time and none in the numbers. Nothing is missed or asked for, and
// timestamps keep their distance across it, and across muting at the source.
func TestDiscontinuousTransmission(t *testing.T) {
	e := newEngine(t, nil)
	alice := newSource(t, e, "alice")
	bob := newClient(t, e, "bob")
	bob.receive(conference.Audio)
	bob.subscribe("bob", SubTrack{Kind: conference.Audio, Mid: "0", From: "alice-pub-0"})
	bob.negotiate()
	bob.up()
	seq, ts := uint16(65_530), uint32(1<<32-2000)
	say := func(pause uint32, marker bool) {
		seq++
		ts += pause
		if err := alice.audio.WriteRTP(&rtp.Packet{
			Header: rtp.Header{Version: 2, Marker: marker, SequenceNumber: seq, Timestamp: ts}, Payload: []byte{0x78, byte(seq)},
		}); err != nil {
			t.Fatal(err)
		}
	}
	say(960, true)
	r := bob.arrived()
	last := bob.read(r.track)
	follows := func(pause uint32, marker bool) {
		t.Helper()
		p := bob.read(r.track)
		if p.SequenceNumber != last.SequenceNumber+1 || p.Timestamp != last.Timestamp+pause || p.Marker != marker {
			t.Errorf("number %d after %d, %d ticks on instead of %d, marker %v", p.SequenceNumber, last.SequenceNumber,
				int32(p.Timestamp-last.Timestamp), pause, p.Marker)
		}
		last = p
	}
	for _, pause := range []uint32{960, 19_200, 19_200, 960, 480_000, 960} { // comfort noise comes every 400 ms
		say(pause, pause > 960)
		follows(pause, pause > 960)
	}
	e.SetActive("alice-pub-0", false)
	for range 3 {
		say(960, false)
	}
	waitFor(t, "muted packets", func() bool { return e.Stats().Drops[sfu.DropMuted] == 3 })
	e.SetActive("alice-pub-0", true)
	say(960, false)
	follows(4*960, false)
	if n := alice.reports(func(p rtcp.Packet) bool { _, ok := p.(*rtcp.TransportLayerNack); return ok }); n != 0 || e.Stats().PacketsRequested != 0 {
		t.Errorf("%d packets were asked for, by %d NACKs", e.Stats().PacketsRequested, n)
	}
}

// TestOpusParametersAreMirrored: what a client offers of error correction, discontinuous transmission and channels is agreed to,
// as the other end decodes whatever comes. Redundant audio (RFC 2198) stands where the client has it: it sends what comes first.
func TestOpusParametersAreMirrored(t *testing.T) {
	const parameters = "maxaveragebitrate=64000;minptime=10;sprop-stereo=1;stereo=1;useinbandfec=1;usedtx=1"
	offer := strings.Replace(chromium("audio"), "minptime=10;useinbandfec=1", parameters, 1)
	for _, formats := range []string{"111 63", "63 111"} {
		answer, err := answerTo(strings.Replace(offer, "SAVPF 111 63", "SAVPF "+formats, 1))
		if err != nil {
			t.Fatal(err)
		}
		m := parsed(t, answer).MediaDescriptions[0]
		if attribute(m, "fmtp") != "111 "+parameters || strings.Join(m.MediaName.Formats, " ") != formats || !strings.Contains(answer, "a=fmtp:63 111/111\r\n") {
			t.Errorf("offered %s, answered\n%s", formats, answer)
		}
	}
}

// hearing is a track that is a candidate, as its reader sees it.
func hearing() *published {
	p := &published{engine: new(Engine)}
	p.engine.selectors.candidates.Store(p, speakers.New(1).Add())
	return p
}

func TestHearingAllocatesNothing(t *testing.T) {
	p := hearing()
	now := int64(1)
	if n := testing.AllocsPerRun(1000, func() { now++; p.heard(30, true, now) }); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}

func BenchmarkHeard(b *testing.B) {
	p := hearing()
	b.ReportAllocs()
	now := int64(1)
	for b.Loop() {
		now++
		p.heard(30, true, now)
	}
}
