package room

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// told is what a machine wants to happen outside since the last look: what participants are told without its contents, entries, and the
// names of the other effects.
func told(m *machine) (list []string) {
	for _, e := range m.take() {
		switch {
		case e.entry != nil:
			list = append(list, "put "+e.entry.ID)
		case e.gone != nil:
			list = append(list, "remove "+e.gone.ID)
		case e.moved != "":
			list = append(list, "moved "+e.moved)
		case e.follow != nil:
			list = append(list, "follow "+*e.follow)
		case e.mix != nil:
			list = append(list, "mix")
		case e.tick:
			list = append(list, "tick")
		case e.ask != nil:
			list = append(list, "ask "+string(e.ask.op)+" "+e.ask.control.ID)
		case e.media != nil, e.candidate != "":
		default:
			event, data := e.notify.Encode(portalproto.Receiver{Version: portalproto.V12})
			list = append(list, e.to+": "+kinds([]string{event + " " + data.String()})[0])
		}
	}
	return list
}

func memberNews(id, edge string, generation uint64) news {
	return news{key: Key{ParticipantEntry, id}, owner: edge, generation: generation, participant: described{
		participant: conference.Participant{ID: id, User: id, Role: "presenter", Permission: conference.Permission{
			Publish: conference.MediaSet{Audio: true, Video: true}, Subscribe: conference.MediaSet{Audio: true, Video: true}}}}}
}

func streamNews(id, owner, edge string, generation uint64, change func(*conference.Stream)) news {
	s := conference.Stream{ID: id, Type: conference.Forward, Owner: owner, Via: viaWebRTC, InViews: []string{}, Tracks: avOf(id)}
	if change != nil {
		change(&s)
	}
	return news{key: Key{StreamEntry, id}, owner: edge, generation: generation, stream: s}
}

func goneNews(kind EntryKind, id string) news { return news{key: Key{kind, id}} }

// clusteredMachine has "me" in it, who has published "mine".
func clusteredMachine(t *testing.T) *machine {
	t.Helper()
	config := conference.DefaultRoom()
	config.ID = roomID
	m, _ := newMachine(config, Limits{Participants: 10, Sessions: 10, Pictures: 4}, true, true)
	if _, err := m.join(&Join{Participant: "me", User: "me", Role: "presenter"}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.publish("me", "mine", portalproto.PublishRequest{Tracks: avTracks}); err != nil {
		t.Fatal(err)
	}
	m.sessionReady("mine", avOf("mine"))
	wantAll(t, "beginning", told(m), "put me", "me: progress ready", "me: stream add mine", "put mine")
	return m
}

// TestByDifference: each step is what other edges say, and what comes of it.
func TestByDifference(t *testing.T) {
	paused := func(s *conference.Stream) { s.Tracks[0].Inactive = true }
	larger := func(s *conference.Stream) {
		s.Tracks[1].Parameters.Resolution = conference.Resolution{Width: 1280, Height: 720}
	}
	m := clusteredMachine(t)
	for _, step := range []struct {
		name string
		news []news
		want []string
	}{
		{"somebody comes with a stream, in any order", []news{streamNews("s", "far", "b", 1, nil), memberNews("far", "b", 1)},
			[]string{"me: participant join", "me: stream add s"}},
		{"the same again", []news{memberNews("far", "b", 1), streamNews("s", "far", "b", 1, nil)}, nil},
		{"on another edge", []news{memberNews("far", "c", 2), streamNews("s", "far", "c", 2, nil)}, nil},
		{"paused", []news{streamNews("s", "far", "c", 2, paused)}, []string{"me: stream update s audio.status"}},
		{"and again", []news{streamNews("s", "far", "c", 2, paused)}, nil},
		{"larger, and not paused", []news{streamNews("s", "far", "c", 2, larger)}, []string{"me: stream update s ."}},
		{"of before it was here", []news{streamNews("mine", "me", "b", 0, nil), memberNews("me", "b", 0)}, nil},
		{"what is here has gone elsewhere", []news{goneNews(StreamEntry, "mine"), goneNews(ParticipantEntry, "me")}, nil},
		{"unknown things have gone", []news{goneNews(StreamEntry, "x"), goneNews(ParticipantEntry, "x"), goneNews(MixEntry, common)}, nil},
		{"everything goes", []news{goneNews(StreamEntry, "s"), goneNews(ParticipantEntry, "far")}, []string{"me: participant leave", "me: stream remove s"}},
	} {
		m.apply(step.news)
		wantAll(t, step.name, told(m), step.want...)
	}
	if !slices.Equal(m.order, []string{"me"}) || len(m.streams) != 1 || len(m.here) != 1 {
		t.Errorf("left: %v, %v", m.order, m.streams)
	}
}

// TestMovedAway: what was here is on another edge, however that becomes known, and is told as little as possible.
func TestMovedAway(t *testing.T) {
	for name, order := range map[string][]int{"moved first": {0, 1, 2, 3}, "changes first": {2, 3, 0, 1}, "changes alone": {2, 3}} {
		m := clusteredMachine(t)
		steps := []func(){
			func() { m.hasMoved(Key{ParticipantEntry, "me"}) }, func() { m.hasMoved(Key{StreamEntry, "mine"}) },
			func() { m.apply([]news{memberNews("me", "b", 2)}) }, func() { m.apply([]news{streamNews("mine", "me", "b", 2, nil)}) },
		}
		for _, i := range order {
			steps[i]()
		}
		wantAll(t, name, told(m), "moved me")
		if m.local("me") != nil || m.published("mine") != nil || m.publication("mine").edge != "b" || m.byMember["me"] != 0 {
			t.Errorf("%s: still here", name)
		}
		_, err := m.publish("me", "other", portalproto.PublishRequest{Tracks: avTracks})
		wantText(t, name+": publish", err, "Participant has not joined")
		m.sessionFailed("mine", "gone")
		wantAll(t, name+": the end of its media", told(m))
		m.apply([]news{goneNews(ParticipantEntry, "me"), goneNews(StreamEntry, "mine")})
		wantAll(t, name+": the end", told(m))
		if !m.idle() || len(m.moved)+len(m.superseded)+len(m.order)+len(m.streams) != 0 {
			t.Errorf("%s: something is left", name)
		}
	}
}

// TestBackAgain: a participant comes back to an edge where its media of before have not ended: its stream is a new one then.
func TestBackAgain(t *testing.T) {
	m := clusteredMachine(t)
	m.apply([]news{memberNews("me", "b", 2), streamNews("mine", "me", "b", 2, nil)})
	if _, err := m.join(&Join{Participant: "me", Resume: true, Generation: 3}); err != nil {
		t.Fatal(err)
	}
	told(m)
	p, err := m.publish("me", "new", portalproto.PublishRequest{Tracks: avTracks, Resume: "mine"})
	if err != nil || p.stream.ID != "new" {
		t.Errorf("published as %v, %v", p, err)
	}
	m.abandon("new")
	m.sessionFailed("mine", "gone") // of the transport of before
	if p, err = m.publish("me", "newer", portalproto.PublishRequest{Tracks: avTracks, Resume: "mine"}); err != nil || p.stream.ID != "mine" {
		t.Errorf("published as %v, %v", p, err)
	}
	if again, err := m.publish("me", "newest", portalproto.PublishRequest{Tracks: avTracks, Resume: "mine"}); err != nil || again.stream.ID != "newest" {
		t.Errorf("twice: %v, %v", again, err)
	}
	// The owner's place elsewhere goes before the stream is here: then it is a new one.
	m.apply([]news{goneNews(StreamEntry, "mine")})
	wantAll(t, "gone", told(m), "me: stream remove mine")
	m.sessionReady("mine", avOf("mine"))
	wantAll(t, "ready", told(m), "me: progress ready", "me: stream add mine", "put mine")
	if p.generation != 3 {
		t.Errorf("generation %d", p.generation)
	}
}

// TestResumeRefused: nobody takes another's stream, or one that nobody has.
func TestResumeRefused(t *testing.T) {
	m := clusteredMachine(t)
	m.apply([]news{memberNews("far", "b", 1), streamNews("s", "far", "b", 1, nil)})
	for _, stream := range []string{"s", "mine", "x", common, ""} {
		p, err := m.publish("me", "new"+stream, portalproto.PublishRequest{Tracks: avTracks, Resume: stream})
		if err != nil || p.stream.ID != "new"+stream {
			t.Errorf("%s: published as %v, %v", stream, p, err)
		}
	}
}

// TestTracksOfAnotherName: a subscription goes on with the track that stands for its own.
func TestTracksOfAnotherName(t *testing.T) {
	m := clusteredMachine(t)
	simulcast := func(transport string) func(*conference.Stream) {
		return func(s *conference.Stream) {
			s.Tracks = avOf(transport)
			second := s.Tracks[1]
			s.Tracks[1].ID, s.Tracks[1].Rid = transport+"-1:q", "q"
			second.ID, second.Rid = transport+"-1:f", "f"
			s.Tracks = append(s.Tracks, second)
		}
	}
	m.apply([]news{memberNews("far", "b", 1), streamNews("s", "far", "b", 1, simulcast("t1"))})
	sub, err := m.subscribe("me", "sub", portalproto.SubscribeRequest{Tracks: []portalproto.SubscribeTrack{
		{Kind: conference.Video, Mid: "0", From: "t1-1:f"}, {Kind: conference.Audio, Mid: "1", From: "s"}}})
	if err != nil {
		t.Fatal(err)
	}
	told(m)
	m.apply([]news{streamNews("s", "far", "c", 2, simulcast("t2"))})
	wantAll(t, "told", told(m), "me: stream update s .")
	if sub.tracks[0].source.Track != "t2-1:f" || sub.tracks[1].source.Track != "t2-0" {
		t.Errorf("tracks %+v", sub.tracks)
	}
	m.apply([]news{streamNews("s", "far", "c", 2, nil)}) // without layers
	if sub.tracks[0].source.Track != "s-1" {
		t.Errorf("tracks %+v", sub.tracks)
	}
}

// TestRivalHome: of two edges that think they are the home each outbids the other, until one is told that it is not.
func TestRivalHome(t *testing.T) {
	m := clusteredMachine(t)
	m.lead(true, "")
	wantAll(t, "lead", told(m), "mix", "put "+common)
	rival := news{key: Key{MixEntry, common}, owner: "b", generation: 9, mix: &mixState{inputs: []string{"mine"}, shown: []string{"mine"}, revision: 3}}
	m.apply([]news{rival})
	wantAll(t, "outbid", told(m), "put "+common)
	if v := m.views[0]; v.generation != 10 || len(v.inputs) != 0 {
		t.Errorf("view %+v", v)
	}
	rival.generation = 4
	m.apply([]news{rival})
	wantAll(t, "already", told(m))
	m.lead(false, "b")
	wantAll(t, "not any more", told(m), "remove "+common, "follow b")
	rival.generation = 11
	m.apply([]news{rival})
	wantAll(t, "the other's", told(m))
	if got := m.publication("mine").stream.InViews; !slices.Equal(got, []string{"common"}) {
		t.Errorf("in views %q", got)
	}
	for _, step := range []struct {
		name string
		err  error
	}{{"mix", m.mix(m.publication("mine"), "common")}, {"unmix", m.unmix(m.publication("mine"), "common")},
		{"region", m.setRegion(m.publication("mine"), "common", "1")}} {
		if _, at := step.err.(elsewhere); !at {
			t.Errorf("%s: %v", step.name, step.err)
		}
	}
	m.loudest("common", "mine")
	wantAll(t, "a late word of the mixer", told(m))
}

// TestHomeOfOthers: an edge may be the home of a room that nobody of it is in, as long as there is somebody.
func TestHomeOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, "a", "b")
		if err := w.houses["a"].d.Host(t.Context(), roomID); err != nil {
			t.Fatal(err)
		}
		w.join("b", "bob", "presenter")
		stream := w.publish("b", "bob")
		w.mix("b", "bob", stream)
		time.Sleep(time.Hour) // synthetic time
		if in := w.mixers["a"].mixes[common].Inputs; len(in) != 1 || in[0].Stream != stream {
			t.Errorf("mixed: %+v", in)
		}
		w.leave("b", "bob")
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, edge := range []string{"a", "b"} {
			if w.houses[edge].d.find(roomID) != nil {
				t.Errorf("the room at %s did not end", edge)
			}
		}
	})
}

// TestCommandsThatCome: what another edge asks for is checked; what nobody can do here is not passed on for ever.
func TestCommandsThatCome(t *testing.T) {
	w := newTown(t, nil, "a", "b")
	w.join("a", "anna", "presenter")
	w.join("b", "bob", "presenter")
	stream := w.publish("b", "bob")
	at := w.mesh.seats["a"].part
	ask := func(c command) string {
		b, err := at.Command(t.Context(), "b", c.encode())
		if err != nil {
			t.Fatal(err)
		}
		_, err = decodeReply(b)
		if err != nil {
			return err.Error()
		}
		return "ok"
	}
	for _, c := range []struct {
		name string
		command
		want string
	}{
		{"pause of what is not here", command{op: opControl, here: true, control: portalproto.StreamControl{
			ID: stream, Operation: portalproto.Pause, Media: conference.MediaSet{Audio: true}}}, portalproto.ErrClusterUnavailable.Text},
		{"delete of it", command{op: opDelete, here: true, stream: stream}, portalproto.ErrClusterUnavailable.Text},
		{"drop", command{op: opDrop, here: true, participant: "bob"}, portalproto.ErrClusterUnavailable.Text},
		{"permission", command{op: opPermission, here: true, participant: "bob"}, portalproto.ErrClusterUnavailable.Text},
		{"of nobody", command{op: opPermission, here: true, participant: "x"}, portalproto.ErrNotJoinedRoom.Text},
		{"unpublish of nothing", command{op: opUnpublish, here: true, stream: "x"}, portalproto.ErrNoStream.Text},
		{"mix", command{op: opControl, here: true, control: portalproto.StreamControl{ID: stream, Operation: portalproto.Mix, View: "common"}}, "ok"},
	} {
		if got := ask(c.command); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if _, err := at.Command(t.Context(), "b", []byte(`{"op":"fly"}`)); err == nil {
		t.Error("nonsense was answered")
	}
	at.Note([]byte(`{}`))
	at.Apply([]Change{{Now: &Entry{Key: Key{StreamEntry, "x"}, Owner: "b", Value: []byte(`{}`)}}})
	w.same("a", "b")
}

// TestCommandBeforeItsStream: the home waits for the word of a stream that it is to mix.
func TestCommandBeforeItsStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, "a")
		w.join("a", "anna", "presenter")
		mix := command{op: opControl, here: true, control: portalproto.StreamControl{ID: "s", Operation: portalproto.Mix, View: "common"}}
		answer := make(chan string)
		ask := func() {
			b, err := w.mesh.seats["a"].part.Command(t.Context(), "b", mix.encode())
			if err != nil {
				t.Error(err)
			}
			answer <- string(b)
		}
		go ask()
		synctest.Wait()
		s := testStream()
		s.ID, s.Tracks = "s", avOf("s")
		w.mesh.seats["a"].part.Apply([]Change{{Now: &Entry{Key: Key{StreamEntry, "s"}, Owner: "b", Generation: 1, Value: encodeStreamEntry(s)}}})
		if got := <-answer; got != `{}` {
			t.Errorf("answer %s", got)
		}
		mix.control.ID = "never"
		begin := time.Now()
		go ask()
		if got := <-answer; !strings.Contains(got, "Stream does NOT exist") || time.Since(begin) != patience {
			t.Errorf("answer %s after %v", got, time.Since(begin))
		}
	})
}

func TestTextTooLong(t *testing.T) {
	w := newTown(t, nil, "a", "b")
	w.join("a", "anna", "presenter")
	bob, _ := w.join("b", "bob", "presenter")
	err := w.houses["a"].d.Text(t.Context(), roomID, "anna", "bob", jsonvalue.Of(strings.Repeat("x", MaxNote)))
	wantText(t, "too long", err, "Message is too long")
	w.settle()
	wantAll(t, "bob", bob.take())
}
