package rtc

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/edge/sfu"
	"portico/edge/sfu/feedback"
	"portico/shared/conference"
)

// relayed carries the tracks of a publication from one Engine to another, as package cascade does over links.
type relayed struct {
	t        *testing.T
	from, to *Engine
	remote   *Remote

	mu     sync.Mutex
	taps   map[string]*Tap
	pulls  map[string]int    // how often each was begun
	ids    map[string]string // of the tracks at the source, where they are others
	delay  chan struct{}     // pulls wait for it; nil: for nothing
	lose   func(packet []byte) bool
	ended  chan string
	closed bool
}

// bridge is the way of one track.
type bridge struct {
	x  *relayed
	in *Intake
}

func (b *bridge) WriteRTP(packet []byte, _ int) error {
	b.x.mu.Lock()
	lost := b.x.lose != nil && b.x.lose(packet)
	b.x.mu.Unlock()
	if !lost {
		b.in.Ingest(packet)
	}
	return nil
}

func (b *bridge) WriteRTCP(compound []byte) error {
	b.in.Control(compound)
	return nil
}

var linkExtensions = sfu.Extensions{AudioLevel: 1, DependencyDescriptor: 2}

func relay(t *testing.T, from, to *Engine, session string, tracks []conference.Track) *relayed {
	t.Helper()
	x := &relayed{t: t, from: from, to: to, taps: make(map[string]*Tap), pulls: make(map[string]int), ended: make(chan string, 100)}
	x.open(session, tracks)
	t.Cleanup(x.close)
	return x
}

func (x *relayed) open(session string, tracks []conference.Track) {
	x.t.Helper()
	var err error
	spec := RemoteSpec{Session: session, Participant: "far", Tracks: remoteTracks(tracks), Wanted: x.wanted}
	if x.remote, err = x.to.OpenRemote(spec); err != nil {
		x.t.Fatal(err)
	}
}

func remoteTracks(tracks []conference.Track) (list []RemoteTrack) {
	for _, track := range tracks {
		list = append(list, RemoteTrack{
			ID: track.ID, Kind: track.Kind, Mid: track.Mid, Rid: track.Rid, Source: track.Source, Format: track.Format,
			Size: track.Parameters.Resolution, Muted: track.Inactive,
		})
	}
	return list
}

func (x *relayed) close() {
	x.mu.Lock()
	x.closed = true
	x.mu.Unlock()
	x.remote.Close()
	x.cut()
}

// wanted pulls, or lets go.
func (x *relayed) wanted(track string, on bool) {
	if x.delay != nil && on {
		go func() {
			<-x.delay
			x.pull(track)
		}()
		return
	}
	if on {
		x.pull(track)
		return
	}
	x.mu.Lock()
	tap := x.taps[track]
	delete(x.taps, track)
	x.mu.Unlock()
	if tap != nil {
		tap.Close()
	}
}

func (x *relayed) pull(track string) {
	x.mu.Lock()
	if x.closed {
		x.mu.Unlock()
		return
	}
	x.pulls[track]++
	of := track
	if id := x.ids[track]; id != "" {
		of = id
	}
	x.mu.Unlock()
	b := &bridge{x: x}
	var way atomic.Pointer[Tap]
	types := map[string]uint8{"vp8": 96, "opus": 111, "vp9": 98}
	var format conference.Format
	for _, p := range x.remote.describeForTest() {
		if p.id == track {
			format = p.format
		}
	}
	in, err := x.remote.Begin(track, IntakeSpec{
		SSRC: 77, PayloadType: types[format.Codec], Redundant: 63, Extensions: linkExtensions,
		Send: func(compound []byte) {
			if tap := way.Load(); tap != nil {
				tap.Receive(compound)
			}
		},
	})
	if err != nil {
		return // it has ended meanwhile
	}
	b.in = in
	tap, err := x.from.OpenTap(TapSpec{
		Tracks: []string{of}, Whole: true, Sink: b, SSRC: 77, PayloadType: func(f conference.Format) uint8 { return types[f.Codec] },
		Redundant: 63, Extensions: linkExtensions, Ended: func() { x.ended <- track },
	})
	if err != nil {
		x.t.Errorf("tapping %s: %v", of, err)
		return
	}
	way.Store(tap)
	x.mu.Lock()
	old := x.taps[track]
	x.taps[track] = tap
	x.mu.Unlock()
	if old != nil {
		old.Close()
	}
}

func (r *Remote) describeForTest() []*published {
	r.engine.mu.Lock()
	defer r.engine.mu.Unlock()
	return r.published()
}

// cut ends all that comes, as a lost link does.
func (x *relayed) cut() {
	x.mu.Lock()
	taps := x.taps
	x.taps = make(map[string]*Tap)
	x.mu.Unlock()
	for _, tap := range taps {
		tap.Close()
	}
}

func (x *relayed) pulled() (list []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id := range x.taps {
		list = append(list, id)
	}
	slices.Sort(list)
	return list
}

func tracksAt(e *Engine, session string) []conference.Track {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sessions[session].describe()
}

// both subscribes to sound and picture.
func both(c *client, session, audio, video string) (sound, picture received) {
	c.t.Helper()
	c.receive(conference.Audio)
	c.receive(conference.Video)
	c.subscribe(session, SubTrack{Kind: conference.Audio, Mid: "0", From: audio}, SubTrack{Kind: conference.Video, Mid: "1", From: video})
	c.negotiate()
	c.up()
	for range 2 {
		if r := c.arrived(); r.track.Kind().String() == "audio" {
			sound = r
		} else {
			picture = r
		}
	}
	return sound, picture
}

// TestRemote: a publication of another edge is had like one here. It is pulled while somebody wants it, once however many do, begins with a
// key frame, what gets lost on the way is sent again, and it is let go after a while.
func TestRemote(t *testing.T) {
	origin, far := newEngine(t, nil), newEngine(t, nil)
	alice := newSource(t, origin, "alice")
	alice.start()
	x := relay(t, origin, far, "alice-pub", tracksAt(origin, "alice-pub"))
	if len(x.pulled()) != 0 {
		t.Error("pulled though nobody wants it")
	}
	lost := 0
	x.mu.Lock()
	x.lose = func(packet []byte) bool {
		if packet[1]&0x7f == 96 && packet[3]%16 == 7 && lost < 40 { // some of them again when they are sent again
			lost++
			return true
		}
		return false
	}
	x.mu.Unlock()
	bob := newClient(t, far, "bob")
	sound, picture := both(bob, "sub", "alice-pub-0", "alice-pub-1")
	last := bob.read(picture.track)
	if !bytes.Equal(last.Payload, keyFrame) {
		t.Error("the first is no key frame")
	}
	bob.read(sound.track)
	carol := newClient(t, far, "carol")
	_, late := both(carol, "sub2", "alice-pub-0", "alice-pub-1")
	if p := carol.read(late.track); !bytes.Equal(p.Payload, keyFrame) {
		t.Error("the first of who came late is no key frame")
	}
	for seen := map[uint16]bool{}; len(seen) < 100; {
		p := bob.read(picture.track)
		seen[p.SequenceNumber] = true
	}
	x.mu.Lock()
	if lost == 0 || x.pulls["alice-pub-0"] != 1 || x.pulls["alice-pub-1"] != 1 {
		t.Errorf("%d lost, pulled %v", lost, x.pulls)
	}
	x.mu.Unlock()
	q, ok := far.Quality("alice-pub", "")
	if !ok || q.Participant != "far" || len(q.Tracks) != 2 || len(q.Subscriptions) != 2 {
		t.Errorf("%v %+v", ok, q)
	}
	if s := far.Stats(); s.Remotes != 1 || s.Pulled != 2 || s.PacketsRequested == 0 {
		t.Errorf("%+v", s)
	}
	far.SetSubscriptionActive("sub", conference.Video, false)
	far.Stop("sub2")
	waitFor(t, "the picture is let go", func() bool { return slices.Equal(x.pulled(), []string{"alice-pub-0"}) })
	far.SetSubscriptionActive("sub", conference.Video, true)
	waitFor(t, "it is pulled again", func() bool { return len(x.pulled()) == 2 })
	for number := last.SequenceNumber; number == last.SequenceNumber; {
		last = bob.read(picture.track)
	}
	x.remote.Close()
	bob.next("session failed")
	waitFor(t, "all is let go", func() bool { return len(x.pulled()) == 0 })
	bob.quiet()
}

// drain reads what comes until the client ends: it reports what it reads.
func drain(r received) {
	go func() {
		for b := make([]byte, 1500); ; {
			if _, _, err := r.track.Read(b); err != nil {
				return
			}
		}
	}()
}

// TestRemoteLayers: layers of a simulcast are pulled as they are wanted.
func TestRemoteLayers(t *testing.T) {
	origin, far := newEngine(t, nil), newEngine(t, nil)
	send := simulcast(t, newClient(t, origin, "alice"))
	stop := make(chan struct{})
	var done sync.WaitGroup
	t.Cleanup(func() { close(stop); done.Wait() })
	done.Go(func() { // both layers fit at once
		ticker := time.NewTicker(30 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				send()
			}
		}
	})
	waitFor(t, "sizes", func() bool {
		tracks := tracksAt(origin, "sim")
		return tracks[0].Parameters.Resolution.Width*tracks[1].Parameters.Resolution.Width > 0
	})
	x := relay(t, origin, far, "sim", tracksAt(origin, "sim"))
	bob := newClient(t, far, "bob")
	bob.receive(conference.Video)
	small := conference.Resolution{Width: 640, Height: 360}
	bob.subscribe("sub", SubTrack{Kind: conference.Video, Mid: "0", From: "sim-0:q", Adapt: true, Display: small})
	bob.negotiate()
	bob.up()
	drain(bob.arrived())
	has := func(rid string) func() bool {
		return func() bool {
			q, _ := far.Quality("sim", "")
			if len(q.Subscriptions) == 0 || len(q.Subscriptions[0].Tracks) == 0 {
				return false
			}
			current := q.Subscriptions[0].Tracks[0].Current
			return current != nil && current.Rid == rid
		}
	}
	waitFor(t, "the small layer", has("q"))
	if got := x.pulled(); !slices.Equal(got, []string{"sim-0:q"}) {
		t.Errorf("pulled: %v", got)
	}
	far.SetDisplay("sub", conference.Resolution{Width: 1280, Height: 720})
	waitFor(t, "the large layer", has("f"))
	waitFor(t, "the small one is let go", func() bool { return slices.Equal(x.pulled(), []string{"sim-0:f"}) })
	far.SetDisplay("sub", conference.Resolution{Width: 320, Height: 180})
	waitFor(t, "the small layer again", has("q"))
	waitFor(t, "the large one is let go", func() bool { return slices.Equal(x.pulled(), []string{"sim-0:q"}) })
	bob.quiet()
}

func TestRemoteErrors(t *testing.T) {
	e := newEngine(t, nil)
	newSource(t, e, "alice")
	wanted := func(string, bool) {}
	audio := RemoteTrack{ID: "x-0", Kind: conference.Audio, Format: formatOpus}
	for name, c := range map[string]struct {
		spec RemoteSpec
		want error
	}{
		"no session":       {RemoteSpec{Tracks: []RemoteTrack{audio}}, ErrIDInUse},
		"no id":            {RemoteSpec{Session: "x", Tracks: []RemoteTrack{{Kind: conference.Audio, Format: formatOpus}}}, ErrBadTracks},
		"twice":            {RemoteSpec{Session: "x", Tracks: []RemoteTrack{audio, audio}}, ErrBadTracks},
		"codec":            {RemoteSpec{Session: "x", Tracks: []RemoteTrack{{ID: "x-0", Kind: conference.Audio, Format: formatVP8}}}, ErrBadTracks},
		"kind":             {RemoteSpec{Session: "x", Tracks: []RemoteTrack{{ID: "x-0", Kind: "smell", Format: formatVP8}}}, ErrBadTracks},
		"too many":         {RemoteSpec{Session: "x", Tracks: make([]RemoteTrack, maxRemoteTracks+1)}, ErrBadTracks},
		"another one's id": {RemoteSpec{Session: "x", Tracks: []RemoteTrack{{ID: "alice-pub-0", Kind: conference.Audio, Format: formatOpus}}}, ErrIDInUse},
	} {
		c.spec.Wanted = wanted
		if _, err := e.OpenRemote(c.spec); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r, err := e.OpenRemote(RemoteSpec{Session: "x", Tracks: []RemoteTrack{audio}, Wanted: wanted})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.OpenRemote(RemoteSpec{Session: "x", Wanted: wanted}); !errors.Is(err, ErrIDInUse) {
		t.Error(err)
	}
	if _, err := r.Begin("y", IntakeSpec{}); !errors.Is(err, ErrNoSuchTrack) {
		t.Error(err)
	}
	if _, err := e.OpenTap(TapSpec{Tracks: []string{"x-0"}, Local: true, Sink: new(bucket)}); !errors.Is(err, ErrNoSuchTrack) {
		t.Error(err)
	}
	in, err := r.Begin("x-0", IntakeSpec{SSRC: 5, PayloadType: 111, Send: func([]byte) {}})
	if err != nil {
		t.Fatal(err)
	}
	for _, junk := range [][]byte{nil, {0x80}, make([]byte, 12), bytes.Repeat([]byte{0xff}, 2000)} {
		in.Ingest(junk)
		in.Control(junk)
	}
	if s := in.Stats(); s.Strange != 4 || s.Packets != 0 {
		t.Errorf("%+v", s)
	}
	r.Close()
	r.Close()
	in.Close()
	if err := r.Update([]RemoteTrack{audio}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if s := e.Stats(); s.Remotes != 0 || s.Tracks != 2 {
		t.Errorf("%+v", s)
	}
}

// TestRemoteReports: sender reports come through, so that sound and pictures stay together, and reports of what arrives go back.
func TestRemoteReports(t *testing.T) {
	e := newEngine(t, nil)
	var sent [][]byte
	r, err := e.OpenRemote(RemoteSpec{
		Session: "x", Tracks: []RemoteTrack{{ID: "x-0", Kind: conference.Audio, Format: formatOpus}}, Wanted: func(string, bool) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	in, err := r.Begin("x-0", IntakeSpec{SSRC: 5, PayloadType: 111, Send: func(b []byte) { sent = append(sent, b) }})
	if err != nil {
		t.Fatal(err)
	}
	packet := append([]byte{0x80, 111, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5}, 1, 2, 3)
	for i := range 10 {
		packet[3] = byte(2 * i)
		in.Ingest(packet)
	}
	in.Control(feedback.AppendSenderReport(nil, feedback.SenderReport{SSRC: 5, NTP: feedback.ToNTP(e.Now() - int64(time.Second)), Timestamp: 7}))
	in.Report()
	nacks, reports := 0, 0
	for _, b := range sent {
		p, _, ok := feedback.Next(b)
		if !ok {
			t.Fatalf("%x", b)
		}
		p.NACK(func(uint16) { nacks++ })
		p.Reports(func(r feedback.Report) {
			if reports++; r.SSRC != 5 || r.FractionLost == 0 || r.LastSR == 0 {
				t.Errorf("%+v", r)
			}
		})
	}
	if nacks != 9 || reports != 1 || in.Stats().Lost == 0 {
		t.Errorf("%d packets asked for, %d reports, %+v", nacks, reports, in.Stats())
	}
}

// TestRemoteIsNotCountedOn: a layer that does not come when it is pulled is done without for a while.
func TestRemoteIsNotCountedOn(t *testing.T) {
	f := &remoteFlow{}
	const second = int64(time.Second)
	for _, c := range []struct {
		now    int64
		pulled bool
		rests  bool
	}{{100 * second, false, true}, {100*second + int64(comesWithin) - 1, true, true}, {100*second + int64(comesWithin), true, false}} {
		if f.pulled = c.pulled; f.pulled {
			f.since = 100 * second
		}
		if f.rests(c.now) != c.rests {
			t.Errorf("%+v", c)
		}
	}
	f.pulled, f.silent = false, 105*second
	if f.rests(105*second-1) || !f.rests(105*second) {
		t.Error("it is counted on at the wrong time")
	}
}

// TestRemoteLayersOfSeveral: however many there are on another edge, each layer goes there once; one that nobody wants any more, here or
// there, is let go, and its publisher is told.
func TestRemoteLayersOfSeveral(t *testing.T) {
	origin, far := newEngine(t, nil), newEngine(t, nil)
	alice := newClient(t, origin, "alice")
	keepAt(t, simulcast(t, alice))
	waitFor(t, "sizes", func() bool {
		tracks := tracksAt(origin, "sim")
		return tracks[0].Parameters.Resolution.Width*tracks[1].Parameters.Resolution.Width > 0
	})
	origin.mu.Lock()
	origin.sessions["sim"].lines[0].obeys = true
	origin.mu.Unlock()
	x := relay(t, origin, far, "sim", tracksAt(origin, "sim"))
	small, large := conference.Resolution{Width: 320, Height: 180}, conference.Resolution{Width: 1280, Height: 720}
	var subs []*client
	for i, size := range []conference.Resolution{small, large, small, large} {
		c := newClient(t, far, "bob"+string(rune('0'+i)))
		c.receive(conference.Video)
		c.subscribe("sub-"+c.name, SubTrack{Kind: conference.Video, Mid: "0", From: "sim-0:q", Adapt: true, Display: size})
		c.negotiate()
		c.up()
		drain(c.arrived())
		subs = append(subs, c)
	}
	both := []string{"sim-0:f", "sim-0:q"}
	waitFor(t, "both layers", func() bool { return slices.Equal(x.pulled(), both) })
	taps := func(track string) int {
		origin.mu.Lock()
		defer origin.mu.Unlock()
		return len(origin.tracks[track].taps)
	}
	for _, track := range both {
		if n := taps(track); n != 1 {
			t.Errorf("%s goes there %d times", track, n)
		}
	}
	for _, c := range subs {
		far.SetDisplay("sub-"+c.name, small)
	}
	waitFor(t, "the large one is let go", func() bool { return slices.Equal(x.pulled(), both[1:]) && taps(both[0]) == 0 })
	waitFor(t, "its publisher is told", func() bool {
		origin.mu.Lock()
		defer origin.mu.Unlock()
		return origin.tracks[both[0]].off && !origin.tracks[both[1]].off
	})
	far.SetDisplay("sub-"+subs[2].name, large)
	waitFor(t, "it is wanted again", func() bool {
		origin.mu.Lock()
		defer origin.mu.Unlock()
		return !origin.tracks[both[0]].off && slices.Equal(x.pulled(), both)
	})
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.pulls[both[0]] != 2 || x.pulls[both[1]] != 1 {
		t.Errorf("pulled %v times", x.pulls)
	}
}
