package room

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/layout"
	"portico/shared/portalproto"
)

// fakeMixers makes mixers that keep what they are told.
type fakeMixers struct {
	mu      sync.Mutex
	specs   []MixerSpec
	mixes   map[string]Mix    // by stream; the last of each
	follows map[string]string // by stream: where it was told to be
	told    int               // how often any was told
	closed  []string
	notYet  error // the answer of Ready

	closing, goOn chan struct{} // if set, Close tells and waits
}

type fakeMixer struct {
	of     *fakeMixers
	stream string
}

func (f *fakeMixers) OpenMixer(spec MixerSpec) Mixer {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.specs = append(f.specs, spec)
	return &fakeMixer{f, spec.Stream}
}

func (m *fakeMixer) Update(mix Mix) {
	m.of.mu.Lock()
	defer m.of.mu.Unlock()
	m.of.mixes[m.stream] = mix
	delete(m.of.follows, m.stream)
	m.of.told++
}

func (m *fakeMixer) Follow(edge string) {
	m.of.mu.Lock()
	defer m.of.mu.Unlock()
	m.of.follows[m.stream] = edge
}

func (m *fakeMixer) Ready() error {
	m.of.mu.Lock()
	defer m.of.mu.Unlock()
	return m.of.notYet
}

func (m *fakeMixer) Close() {
	if m.of.goOn != nil {
		m.of.closing <- struct{}{}
		<-m.of.goOn
	}
	m.of.mu.Lock()
	defer m.of.mu.Unlock()
	m.of.closed = append(m.of.closed, m.stream)
}

// mixingHouse is a house whose rooms are mixed: a default room, with four presenters and a viewer who watches.
type mixingHouse struct {
	*house
	mixers  *fakeMixers
	watcher *fakeMember
	streams []string // of p1 to p4 and those that published after them
}

const common = roomID + "-common"

func newMixingHouse(t *testing.T, change func(*conference.Room)) *mixingHouse {
	h := newHouse(t, func(r *conference.Room) {
		roles := r.Roles
		*r = conference.DefaultRoom()
		r.ID, r.Roles = roomID, append(r.Roles, roles[len(roles)-1])
		if change != nil {
			change(r)
		}
	})
	m := &mixingHouse{house: h, mixers: &fakeMixers{mixes: map[string]Mix{}, follows: map[string]string{}}}
	h.d.options.Mixers = m.mixers
	m.watcher, _ = h.join("watcher", "viewer")
	return m
}

// publish lets n more participants publish audio and video; they are called p1, p2, ….
func (h *mixingHouse) publish(n int) {
	h.t.Helper()
	for range n {
		owner := fmt.Sprintf("p%d", len(h.streams)+1)
		h.join(owner, "presenter")
		h.streams = append(h.streams, h.publishAV(owner))
	}
	h.watcher.take()
}

// s is the stream of the n-th participant.
func (h *mixingHouse) s(n int) string { return h.streams[n-1] }

// do performs a stream-control request of the stream's owner.
func (h *mixingHouse) do(n int, op portalproto.Operation, region string) error {
	h.t.Helper()
	err := h.control(fmt.Sprintf("p%d", n), portalproto.StreamControl{ID: h.s(n), Operation: op, View: "common", Region: region})
	h.settle()
	return err
}

func (h *mixingHouse) mix(streams ...int) {
	h.t.Helper()
	for _, n := range streams {
		wantText(h.t, "mix", h.do(n, portalproto.Mix, ""), "<nil>")
	}
}

// last is what the mixer of a view was told last.
func (h *mixingHouse) last(stream string) Mix {
	h.t.Helper()
	h.settle()
	h.mixers.mu.Lock()
	defer h.mixers.mu.Unlock()
	return h.mixers.mixes[stream]
}

// events are what the watcher was told since the last look: "layout" with its streams, "active" with a stream, or the whole.
func (h *mixingHouse) events() []string {
	h.t.Helper()
	h.settle()
	var list []string
	for _, line := range h.watcher.take() {
		name, data, _ := strings.Cut(line, " ")
		v, err := jsonvalue.Parse([]byte(data), jsonvalue.Limits{})
		if err != nil {
			h.t.Fatal(err)
		}
		switch field := v.Path("data", "field").Text(); {
		case name == "stream" && field == "video.layout" && v.Get("id").Text() == common:
			list = append(list, "layout "+h.notation(v.Path("data", "value")))
		case name == "stream" && field == "activeInput" && v.Get("id").Text() == common:
			list = append(list, "active "+h.named(v.Path("data", "value").Text()))
		default:
			list = append(list, line)
		}
	}
	return list
}

// notation writes a layout as "1:S1@0/2,0/2,1/2 …"; an empty region has "-".
func (h *mixingHouse) notation(v jsonvalue.Value) string {
	h.t.Helper()
	scene, err := layout.ReadScene(v)
	if err != nil {
		h.t.Fatal(err)
	}
	var parts []string
	for _, p := range scene {
		a := p.Region.Area
		parts = append(parts, p.Region.ID+":"+h.named(p.Stream)+"@"+a.Left.String()+","+a.Top.String()+","+a.Width.String())
	}
	return strings.Join(parts, " ")
}

// shown is who is in the regions of the room's mixed stream, in their order.
func (h *mixingHouse) shown() string {
	h.t.Helper()
	var names []string
	for _, p := range listed(h.d.Streams(h.t.Context(), roomID)) {
		if p.ID == common {
			for i := range p.Layout.Len() {
				names = append(names, h.named(p.Layout.Index(i).Get("stream").Text()))
			}
		}
	}
	return strings.Join(names, " ")
}

func (h *mixingHouse) named(stream string) string {
	if stream == "" {
		return "-"
	}
	if i := slices.Index(h.streams, stream); i >= 0 {
		return fmt.Sprintf("S%d", i+1)
	}
	return stream
}

func (h *mixingHouse) stream(id string) conference.Stream {
	h.t.Helper()
	list := listed(h.d.Streams(h.t.Context(), roomID))
	i := slices.IndexFunc(list, func(s conference.Stream) bool { return s.ID == id })
	if i < 0 {
		h.t.Fatalf("no stream %s in %v", id, list)
	}
	return list[i]
}

func TestMixersAreOpenedAndClosed(t *testing.T) {
	h := newMixingHouse(t, func(r *conference.Room) {
		quiet := conference.DefaultView()
		quiet.Label, quiet.Video = "quiet", nil
		again := conference.DefaultView()
		again.Audio.VAD = false
		r.Views = append(r.Views, quiet, again)
	})
	var opened []string
	for _, s := range h.mixers.specs {
		opened = append(opened, fmt.Sprintf("%s %s video=%v vad=%v", s.Room, s.Stream, s.View.Video != nil, s.View.Audio.VAD))
	}
	wantAll(t, "of two views with one label the last counts", opened,
		roomID+" "+common+" video=true vad=false", roomID+" "+roomID+"-quiet video=false vad=true")
	h.d.Close()
	slices.Sort(h.mixers.closed)
	wantAll(t, "closed", h.mixers.closed, common, roomID+"-quiet")
}

// TestT_92_MixRefused: what cannot be mixed, and where.
func TestT_92_MixRefused(t *testing.T) {
	h := newMixingHouse(t, nil)
	h.publish(2)
	boss, _ := h.join("boss", "admin")
	connecting, err := h.d.Publish(t.Context(), roomID, "p1", portalproto.PublishRequest{Tracks: avTracks})
	if err != nil {
		t.Fatal(err)
	}
	control := func(who, stream string, op portalproto.Operation, view string) error {
		return h.control(who, portalproto.StreamControl{ID: stream, Operation: op, View: view, Region: "1"})
	}
	wantText(t, "view", control("p1", h.s(1), portalproto.Mix, "nope"), "Invalid view")
	wantText(t, "unmix", control("p1", h.s(1), portalproto.Unmix, "nope"), "Invalid view")
	wantText(t, "region of a view", control("p1", h.s(1), portalproto.SetRegion, "nope"), "Invalid mix view")
	wantText(t, "region in a view", control("p1", h.s(1), portalproto.GetRegion, "nope"), "Invalid mix view")
	wantText(t, "not mixed", control("p1", h.s(1), portalproto.SetRegion, "common"), "Invalid input stream_id.")
	wantText(t, "not mixed", control("p1", h.s(1), portalproto.GetRegion, "common"), "Invalid input stream_id.")
	wantText(t, "other's", control("p2", h.s(1), portalproto.Mix, "common"), "unauthorized")
	wantText(t, "connecting", control("p1", connecting.ID, portalproto.Mix, "common"), "Stream is NOT ready")
	wantText(t, "nothing", control("p1", "nope", portalproto.Mix, "common"), "Stream does NOT exist")
	wantText(t, "mixed", control("p1", common, portalproto.Mix, "common"), "unauthorized")
	wantText(t, "mixed, admin", control("boss", common, portalproto.Mix, "common"), "Stream is Mixed")
	wantText(t, "unmix of what is not mixed", control("p1", h.s(1), portalproto.Unmix, "common"), "<nil>")
	boss.take()
	wantText(t, "admin", control("boss", h.s(1), portalproto.Mix, "common"), "<nil>")
	wantText(t, "again", control("p1", h.s(1), portalproto.Mix, "common"), "<nil>")
	wantAll(t, "one layout", boss.take(), `stream {"id":"`+common+`","status":"update","data":{"field":"video.layout","value":[`+
		`{"stream":"`+h.s(1)+`","region":{"id":"1","shape":"rectangle","area":{"left":"0/1","top":"0/1","width":"1/1","height":"1/1"}}}]}}`)
}

// TestWithoutMixers: the views are listed, and nothing else can be done with them.
func TestWithoutMixers(t *testing.T) {
	h := newHouse(t, nil)
	_, j := h.join("a", "presenter")
	s := h.publishAV("a")
	if len(j.Streams) != 1 || j.Streams[0].ID != common || j.Streams[0].Tracks[1].Optional.Resolutions != nil {
		t.Errorf("streams %+v", j.Streams)
	}
	wantText(t, "mix", h.control("a", portalproto.StreamControl{ID: s, Operation: portalproto.Mix, View: "common"}), "Audio mixer is NOT ready.")
	_, err := h.d.Subscribe(t.Context(), roomID, "a", av(common))
	wantText(t, "subscribe", err, "Audio mixer is NOT ready.")
	_, err = h.d.ChangeStream(t.Context(), roomID, common, []StreamChange{SetLayout{}})
	wantText(t, "layout", err, "Video mixer is NOT ready.")
}

// TestNotReady: a mix that nobody runs at the moment cannot be subscribed to; what belongs into it can be changed all the same.
func TestNotReady(t *testing.T) {
	h := newMixingHouse(t, nil)
	h.publish(1)
	h.mixers.notYet = errors.New("no relay has room")
	h.mix(1)
	_, err := h.d.Subscribe(t.Context(), roomID, "watcher", av(common))
	wantText(t, "both", err, "Audio mixer is NOT ready.")
	_, err = h.d.Subscribe(t.Context(), roomID, "watcher", portalproto.SubscribeRequest{Tracks: av(common).Tracks[1:]})
	wantText(t, "video", err, "Video mixer is NOT ready.")
	if n := h.d.Count(t.Context()); n.Subscriptions != 0 {
		t.Errorf("%d subscriptions are left", n.Subscriptions)
	}
	wantText(t, "a bad wish is told first", h.watch(portalproto.Wanted{Framerate: 48}),
		"Target video stream does NOT satisfy:Framerate is not acceptable")
	h.mixers.notYet = nil
	wantText(t, "then", h.watch(portalproto.Wanted{}), "<nil>")
}

// TestComingBackWhileTheRoomEnds: the mixed streams of the room that ends are gone before those of the new one, which have the same
// names, are opened.
func TestComingBackWhileTheRoomEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newMixingHouse(t, nil)
		h.mixers.closing, h.mixers.goOn = make(chan struct{}), make(chan struct{})
		h.d.Leave(t.Context(), roomID, "watcher")
		<-h.mixers.closing // the time has passed
		joined := make(chan error)
		go func() {
			_, err := h.d.Join(t.Context(), Join{Room: roomID, Participant: "b", Role: "presenter", Member: &fakeMember{}})
			joined <- err
		}()
		gaveUp, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := h.d.Join(gaveUp, Join{Room: roomID, Participant: "c", Role: "presenter", Member: &fakeMember{}}); err == nil {
			t.Error("joined a room that ends")
		}
		synctest.Wait()
		if n := len(h.mixers.specs); n != 1 {
			t.Errorf("%d views were opened while the first was there", n)
		}
		close(h.mixers.goOn)
		if err := <-joined; err != nil {
			t.Error(err)
		}
		if n := len(h.mixers.specs); n != 2 {
			t.Errorf("%d views were opened", n)
		}
		h.mixers.goOn = nil // the end of the test closes the room
	})
}
