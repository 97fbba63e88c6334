package room

import (
	"slices"
	"strings"
	"testing"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

func TestOneRoomOnTwoEdges(t *testing.T) {
	w := newTown(t, nil, "a", "b")
	anna, _ := w.join("a", "anna", "presenter")
	stream := w.publish("a", "anna")
	anna.take()
	bob, joined := w.join("b", "bob", "presenter")
	if len(joined.Participants) != 2 || joined.Self.ID != "bob" || !slices.Equal(ids(joined.Streams), []string{common, stream}) {
		t.Errorf("joined: %+v", joined)
	}
	wantAll(t, "anna", anna.take(), `participant {"action":"join","data":{"id":"bob","user":"user-bob","role":"presenter"}}`)
	wantAll(t, "bob", bob.take())
	theirs := w.publish("b", "bob")
	got := anna.take()
	if len(got) != 1 || !strings.HasPrefix(got[0], `stream {"id":"`+theirs+`","status":"add"`) || !strings.Contains(got[0], `"optional":{"format"`) {
		t.Errorf("anna is told %v", got)
	}
	w.same("a", "b")
	// Sound and picture of the other edge, in the words of the media layer.
	ack, err := w.houses["b"].d.Subscribe(t.Context(), roomID, "bob", av(stream))
	if err != nil {
		t.Fatal(err)
	}
	calls := w.houses["b"].media.seen()
	remote := slices.Index(calls, "remote "+stream+" at a")
	if use := slices.IndexFunc(calls, func(c string) bool { return strings.HasPrefix(c, "subscribe ") }); remote < 0 || use < remote {
		t.Errorf("media of b: %q", calls)
	}
	bob.take()
	w.leave("a", "anna")
	wantAll(t, "bob", bob.take(), `participant {"action":"leave","data":"anna"}`,
		`progress {"id":"`+ack.ID+`","sessionId":"`+ack.ID+`","status":"error","data":"Source stream loss"}`,
		`stream {"id":"`+stream+`","status":"remove"}`)
	if calls := w.houses["b"].media.seen(); !slices.Contains(calls, "remote "+stream+" ended") || !slices.Contains(calls, "stop "+ack.ID) {
		t.Errorf("media of b: %q", calls)
	}
	w.same("a", "b")
}

func TestTextBetweenEdges(t *testing.T) {
	w := newTown(t, nil, "a", "b", "c")
	anna, _ := w.join("a", "anna", "presenter")
	bob, _ := w.join("b", "bob", "presenter")
	cleo, _ := w.join("c", "cleo", "presenter")
	text := func(edge, from, to, message string) error {
		defer w.settle()
		return w.houses[edge].d.Text(t.Context(), roomID, from, to, jsonvalue.Of(message))
	}
	for _, m := range []*fakeMember{anna, bob, cleo} {
		m.take()
	}
	wantText(t, "to all", text("b", "bob", "all", "hi"), "<nil>")
	for _, m := range []*fakeMember{anna, bob, cleo} {
		wantAll(t, "to all", m.take(), `text {"from":"bob","to":"all","message":"hi"}`)
	}
	wantText(t, "to one", text("a", "anna", "cleo", "you"), "<nil>")
	wantAll(t, "cleo", cleo.take(), `text {"from":"anna","to":"me","message":"you"}`)
	wantAll(t, "bob", bob.take())
	wantText(t, "nobody", text("a", "anna", "dora", "?"), "Target participant does NOT exist: dora")
	wantText(t, "from elsewhere", text("a", "bob", "all", "?"), "Participant has not joined")
}

// TestMixFromAfar: views are made at the home, whoever mixes; everyone sees the same arrangement, and it stays when the home goes.
func TestMixFromAfar(t *testing.T) {
	w := newTown(t, nil, "a", "b", "c")
	anna, _ := w.join("a", "anna", "presenter")
	bob, _ := w.join("b", "bob", "presenter")
	w.join("c", "cleo", "presenter")
	one, two, three := w.publish("a", "anna"), w.publish("b", "bob"), w.publish("c", "cleo")
	w.mix("b", "bob", two)
	w.mix("a", "anna", one)
	w.mix("c", "cleo", three)
	anna.take()
	bob.take()
	region := portalproto.StreamControl{ID: three, Operation: portalproto.SetRegion, View: "common", Region: "1"}
	wantText(t, "region", w.control("c", "cleo", region), "<nil>")
	told := bob.take()
	if len(told) != 1 || !strings.Contains(told[0], `"field":"video.layout"`) || !slices.Equal(told, anna.take()) {
		t.Errorf("bob is told %q", told)
	}
	w.same("a", "b", "c")
	if got, err := w.houses["b"].d.StreamControl(t.Context(), roomID, "bob", portalproto.StreamControl{ID: two, Operation: portalproto.GetRegion, View: "common"}); got != "3" || err != nil {
		t.Errorf("bob is in region %q: %v", got, err)
	}
	inputs := func(edge string) (list []string) {
		for _, in := range w.mixers[edge].mixes[common].Inputs {
			list = append(list, in.Stream+" of "+in.Participant)
		}
		return list
	}
	wantAll(t, "mixed at a", inputs("a"), two+" of bob", one+" of anna", three+" of cleo")
	if w.mixers["b"].follows[common] != "a" || w.mixers["a"].follows[common] != "" || w.mixers["b"].told != 0 {
		t.Errorf("b follows %q", w.mixers["b"].follows[common])
	}
	w.moveHome("b")
	wantAll(t, "bob after the change", bob.take())
	wantAll(t, "anna after the change", anna.take())
	wantAll(t, "mixed at b", inputs("b"), two+" of bob", one+" of anna", three+" of cleo")
	if w.mixers["a"].follows[common] != "b" || w.mixers["c"].follows[common] != "b" || w.mixers["b"].follows[common] != "" {
		t.Errorf("a follows %q, c %q", w.mixers["a"].follows[common], w.mixers["c"].follows[common])
	}
	w.same("a", "b", "c")
	wantText(t, "unmix", w.control("a", "anna", portalproto.StreamControl{ID: one, Operation: portalproto.Unmix, View: "common"}), "<nil>")
	w.same("a", "b", "c")
	wantAll(t, "mixed at b", inputs("b"), two+" of bob", three+" of cleo")
	w.leave("c", "cleo")
	w.same("a", "b")
	wantAll(t, "mixed at b", inputs("b"), two+" of bob")
	wantText(t, "view", w.control("a", "anna", portalproto.StreamControl{ID: one, Operation: portalproto.Mix, View: "other"}), "Invalid view")
	wantText(t, "not one's own", w.control("a", "anna", portalproto.StreamControl{ID: two, Operation: portalproto.Mix, View: "common"}), "unauthorized")
}

// TestHomeDies: the next home goes on with the arrangement that it knows, an explicit layout included, and the streams of the dead edge
// leave when the cluster gives it up.
func TestHomeDies(t *testing.T) {
	w := newTown(t, nil, "a", "b", "c")
	w.join("a", "anna", "presenter")
	bob, _ := w.join("b", "bob", "presenter")
	w.join("c", "cleo", "presenter")
	one, two, three := w.publish("a", "anna"), w.publish("b", "bob"), w.publish("c", "cleo")
	w.mix("a", "anna", one)
	w.mix("b", "bob", two)
	w.mix("c", "cleo", three)
	layout := SetLayout{scene(t, `[{"stream":"`+three+`","region":{"id":"x","shape":"rectangle","area":{"left":"0","top":"0","width":"1/2","height":"1"}}},
		{"stream":"`+one+`","region":{"id":"y","shape":"rectangle","area":{"left":"1/2","top":"0","width":"1/2","height":"1"}}}]`)}
	if _, err := w.houses["b"].d.ChangeStream(t.Context(), roomID, common, []StreamChange{layout}); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.same("a", "b", "c")
	bob.take()
	w.kill("a")
	w.moveHome("c")
	wantAll(t, "bob", bob.take())
	if got := w.mixers["c"].mixes[common]; len(got.Inputs) != 3 || len(got.Scene) != 2 || got.Scene[0].Stream != three || got.Scene[1].Region.ID != "y" || got.Resets != 1 {
		t.Errorf("mixed at c: %+v", got)
	}
	w.expire("a")
	wantAll(t, "bob", kinds(bob.take()), "participant leave", "stream remove "+one, "stream update "+common+" video.layout")
	w.same("b", "c")
	if got := w.mixers["c"].mixes[common]; got.Scene[0].Stream != three || got.Scene[1].Stream != two {
		t.Errorf("in the place of who has gone: %+v", got.Scene)
	}
}

// TestResume: a participant comes to another edge with its streams, and nobody else notices.
func TestResume(t *testing.T) {
	for _, alive := range []bool{true, false} {
		w := newTown(t, nil, "a", "b", "c")
		bob, _ := w.join("b", "bob", "presenter")
		cleo, _ := w.join("c", "cleo", "presenter")
		anna, _ := w.join("a", "anna", "presenter")
		stream := w.publish("a", "anna")
		w.mix("a", "anna", stream)
		ack, err := w.houses["c"].d.Subscribe(t.Context(), roomID, "cleo", av(stream))
		if err != nil {
			t.Fatal(err)
		}
		if !alive {
			w.kill("a")
		}
		bob.take()
		cleo.take()
		again, joined := w.resume("b", "anna", 2)
		if joined.Self.User != "user-anna" || joined.Self.Role != "presenter" || len(joined.Participants) != 3 || len(joined.Streams) != 2 {
			t.Errorf("resumed: %+v", joined)
		}
		if alive && !anna.moved {
			t.Error("the edge before was not told")
		}
		w.republish("b", "anna", stream)
		wantAll(t, "bob", bob.take())
		wantAll(t, "cleo", cleo.take())
		wantAll(t, "anna", kinds(again.take()), "progress ready")
		calls := w.houses["c"].media.seen()
		if calls[len(calls)-1] != "remote "+stream+" at b" || slices.Contains(calls, "stop "+ack.ID) {
			t.Errorf("media of c: %q", calls)
		}
		if !alive {
			w.expire("a")
		} else {
			calls = w.houses["a"].media.seen()
			if calls[len(calls)-1] != "remote "+stream+" at b" || slices.Contains(calls, "close anna") || slices.Contains(calls, "stop "+stream) {
				t.Errorf("media of a: %q", calls)
			}
			// The transport of before ends, and nobody is told of it.
			w.houses["a"].media.events[stream].SessionFailed(stream, stream, "gone")
			w.settle()
			w.same("a", "b", "c")
		}
		w.same("b", "c")
		wantAll(t, "cleo", cleo.take())
		_, err = w.houses["c"].d.Join(t.Context(), Join{Room: roomID, Participant: "anna", Member: &fakeMember{}, Resume: true, Generation: 2})
		wantText(t, "replayed", err, portalproto.ErrClusterUnavailable.Text)
		_, err = w.houses["c"].d.Join(t.Context(), Join{Room: roomID, Participant: "nobody", Member: &fakeMember{}, Resume: true, Generation: 2})
		wantText(t, "unknown", err, portalproto.ErrNoClient.Text)
		w.leave("b", "anna")
		wantAll(t, "cleo", sorted(kinds(cleo.take())), "participant leave", "progress error", "stream remove "+stream, "stream update "+common+" video.layout")
	}
}

// TestResumedTwice: two who take over a participant at one edge do not both have it; who was first keeps it, and may be shown the room anew.
func TestResumedTwice(t *testing.T) {
	w := newTown(t, nil, "a", "b")
	w.join("a", "anna", "presenter")
	bob, _ := w.join("b", "bob", "presenter")
	first, _ := w.resume("b", "anna", 2)
	second := &fakeMember{}
	_, err := w.houses["b"].d.Join(t.Context(), Join{Room: roomID, Participant: "anna", Member: second, Resume: true, Generation: 3})
	wantText(t, "the second", err, portalproto.ErrClusterUnavailable.Text)
	if _, err = w.houses["b"].d.Join(t.Context(), Join{Room: roomID, Participant: "anna", Member: first, Resume: true}); err != nil {
		t.Errorf("anew: %v", err)
	}
	bob.take()
	w.publish("b", "bob")
	wantAll(t, "the first", kinds(first.take()), kinds(bob.take())[1:]...)
	wantAll(t, "the second", second.take())
	w.same("a", "b")
}

// TestLeftBehind: the media of a publisher who has gone to another edge end here before this edge hears of those there, or those never come.
func TestLeftBehind(t *testing.T) {
	for _, comes := range []bool{true, false} {
		w := newTown(t, nil, "a", "b")
		w.join("a", "anna", "presenter")
		bob, _ := w.join("b", "bob", "presenter")
		stream := w.publish("a", "anna")
		w.resume("b", "anna", 2)
		bob.take()
		w.houses["a"].media.events[stream].SessionFailed(stream, stream, "gone")
		w.settle()
		wantAll(t, "bob", bob.take())
		if comes {
			w.republish("b", "anna", stream)
		}
		c := w.houses["a"].d.find(roomID)
		c.post(func() { c.machine.orphaned(stream) }) // as after orphanTime
		w.settle()
		if told := kinds(bob.take()); slices.Contains(told, "stream remove "+stream) == comes {
			t.Errorf("the media came again: %t; bob is told %q", comes, told)
		}
		w.same("a", "b")
	}
}

// TestRenew: what would let a participant be taken over is void once it is known to be here, and nobody vouches for one that is elsewhere.
func TestRenew(t *testing.T) {
	w := newTown(t, nil, "a", "b")
	w.join("a", "anna", "presenter")
	renew := func(edge string, generation uint64) error {
		defer w.settle()
		return w.houses[edge].d.Renew(t.Context(), roomID, "anna", generation)
	}
	wantText(t, "here", renew("a", 3), "<nil>")
	_, err := w.houses["b"].d.Join(t.Context(), Join{Room: roomID, Participant: "anna", Member: &fakeMember{}, Resume: true, Generation: 3})
	wantText(t, "by what is void", err, portalproto.ErrClusterUnavailable.Text)
	w.resume("b", "anna", 4)
	wantText(t, "elsewhere", renew("a", 5), portalproto.ErrClusterUnavailable.Text)
	wantText(t, "there", renew("b", 5), "<nil>")
}

// TestMovedAndForgotten: what a participant that is elsewhere still has here ends with the room here, for which it does not leave.
func TestMovedAndForgotten(t *testing.T) {
	w := newTown(t, nil, "a", "b")
	w.join("b", "bob", "presenter")
	w.join("a", "anna", "presenter")
	w.resume("b", "anna", 2)
	d := w.houses["a"].d
	if calls := w.houses["a"].media.seen(); slices.Contains(calls, "close anna") {
		t.Errorf("at once: %q", calls)
	}
	d.mu.Lock()
	e := d.rooms[roomID]
	d.mu.Unlock()
	d.expire(roomID, e)
	if calls := w.houses["a"].media.seen(); d.find(roomID) != nil || !slices.Contains(calls, "close anna") {
		t.Errorf("media of a: %q", calls)
	}
}

// TestResumedWithoutItsStream: a stream that its owner does not take along stays where it is, until it ends there or the owner leaves.
func TestResumedWithoutItsStream(t *testing.T) {
	w := newTown(t, nil, "a", "b")
	w.join("a", "anna", "presenter")
	bob, _ := w.join("b", "bob", "presenter")
	stream := w.publish("a", "anna")
	w.resume("b", "anna", 2)
	w.same("a", "b")
	bob.take()
	wantText(t, "unpublish", w.houses["b"].d.Unpublish(t.Context(), roomID, "anna", stream, func() {}), "<nil>")
	w.settle()
	wantAll(t, "bob", kinds(bob.take()), "stream remove "+stream)
	w.same("a", "b")

	w.join("a", "cleo", "presenter")
	stream = w.publish("a", "cleo")
	w.resume("b", "cleo", 5)
	bob.take()
	w.leave("b", "cleo")
	wantAll(t, "bob", kinds(bob.take()), "participant leave", "stream remove "+stream)
	if calls := w.houses["a"].media.seen(); !slices.Contains(calls, "close cleo") {
		t.Errorf("media of a: %q", calls)
	}
	w.same("a", "b")
}

// TestRefusals: what the home refuses is refused; a room that cannot be reached is said to be so.
func TestRefusals(t *testing.T) {
	w := newTown(t, func(r *conference.Room) { r.ParticipantLimit, r.InputLimit = 2, 1 }, "a", "b")
	join := func(edge, id, token string) error {
		_, err := w.houses[edge].d.Join(t.Context(), Join{Room: roomID, Participant: id, User: id, Role: "presenter", Member: &fakeMember{}, TokenID: token})
		w.settle()
		return err
	}
	wantText(t, "first", join("a", "anna", "t1"), "<nil>")
	wantText(t, "the same token", join("b", "bob", "t1"), "Invalid token")
	wantText(t, "the same id", join("b", "anna", "t2"), "Participant already in room")
	wantText(t, "second", join("b", "bob", "t3"), "<nil>")
	wantText(t, "third", join("b", "cleo", "t4"), "Room is full")
	w.publish("a", "anna")
	_, err := w.houses["b"].d.Publish(t.Context(), roomID, "bob", portalproto.PublishRequest{Tracks: avTracks})
	wantText(t, "second input", err, "Too many inputs")
	w.leave("b", "bob")
	w.mesh.mu.Lock()
	w.mesh.parted["a"].home = ""
	w.mesh.mu.Unlock()
	wantText(t, "no home", join("b", "dora", "t5"), portalproto.ErrClusterUnavailable.Text)
}

// TestPartition: both sides go on; then one home stays, nobody is put out, and what one side has mixed is mixed.
func TestPartition(t *testing.T) {
	w := newTown(t, nil, "a", "b")
	anna, _ := w.join("a", "anna", "presenter")
	bob, _ := w.join("b", "bob", "presenter")
	one, two := w.publish("a", "anna"), w.publish("b", "bob")
	w.mix("a", "anna", one)
	anna.take()
	bob.take()
	w.split("b", "b")
	wantAll(t, "anna", anna.take())
	wantAll(t, "bob", bob.take())
	w.mix("b", "bob", two)
	cleo, _ := w.join("b", "cleo", "presenter")
	w.leave("a", "anna")
	dora, _ := w.join("a", "dora", "presenter")
	bob.take()
	w.heal("a")
	w.same("a", "b")
	if got := w.mixers["a"].mixes[common]; len(got.Inputs) != 1 || got.Inputs[0].Stream != two {
		t.Errorf("mixed at a: %+v", got)
	}
	wantAll(t, "who left meanwhile, and who came, told to bob", kinds(bob.take())[:2], "participant join", "participant leave")
	for _, m := range []*fakeMember{bob, cleo, dora} {
		if m.dropped || m.moved {
			t.Error("somebody was put out")
		}
	}
}

// TestStaleHome: a home that stood still does not bring back what was done meanwhile.
func TestStaleHome(t *testing.T) {
	w := newTown(t, nil, "a", "b")
	w.join("a", "anna", "presenter")
	w.join("b", "bob", "presenter")
	one, two := w.publish("a", "anna"), w.publish("b", "bob")
	w.mix("a", "anna", one)
	w.mix("b", "bob", two)
	w.moveHome("b")
	wantText(t, "unmix", w.control("a", "anna", portalproto.StreamControl{ID: one, Operation: portalproto.Unmix, View: "common"}), "<nil>")
	w.moveHome("a")
	w.moveHome("b")
	w.same("a", "b")
	if got := w.mixers["b"].mixes[common].Inputs; len(got) != 1 || got[0].Stream != two {
		t.Errorf("mixed at b: %+v", got)
	}
}

// TestOperatorFromAfar: an operator's calls work on every edge, also on one that the room is not on.
func TestOperatorFromAfar(t *testing.T) {
	for _, at := range []string{"a", "b", "c"} {
		w := newTown(t, nil, "a", "b", "c")
		anna, _ := w.join("a", "anna", "presenter")
		bob, _ := w.join("b", "bob", "presenter")
		one, two := w.publish("a", "anna"), w.publish("b", "bob")
		anna.take()
		bob.take()
		d, no := w.houses[at].d, false
		if got := listed(d.Participants(t.Context(), roomID)); len(got) != 2 || !got[0].Permission.Publish.Audio {
			t.Errorf("at %s: participants %+v", at, got)
		}
		if got := ids(listed(d.Streams(t.Context(), roomID))); !slices.Equal(got, []string{common, one, two}) {
			t.Errorf("at %s: streams %q", at, got)
		}
		for _, id := range []string{"anna", "bob"} {
			p, err := d.ChangePermission(t.Context(), roomID, id, PermissionChange{PublishAudio: &no})
			if err != nil || p.ID != id || p.Permission.Publish.Audio || !p.Permission.Publish.Video {
				t.Errorf("at %s: %+v, %v", at, p, err)
			}
		}
		w.settle()
		for edge, id := range map[string]string{"a": "anna", "b": "bob"} {
			_, err := w.houses[edge].d.Publish(t.Context(), roomID, id, portalproto.PublishRequest{Tracks: avTracks})
			wantText(t, "publish", err, "unauthorized")
		}
		for _, id := range []string{one, two} {
			s, err := d.ChangeStream(t.Context(), roomID, id, []StreamChange{SetStatus{conference.Video, false}, MixInto{"common"}})
			if err != nil || s.ID != id || !slices.Equal(s.InViews, []string{"common"}) || !s.Tracks[1].Inactive {
				t.Errorf("at %s: %+v, %v", at, s, err)
			}
		}
		w.settle()
		w.same("a", "b")
		wantAll(t, "anna", kinds(anna.take()), "stream update "+common+" video.layout", "stream update "+one+" video.status",
			"stream update "+common+" video.layout", "stream update "+two+" video.status")
		if calls := w.houses["b"].media.seen(); !slices.Contains(calls, "active "+one+"-1 false") {
			t.Errorf("media of b: %q", calls)
		}
		if in := w.mixers["a"].mixes[common].Inputs; len(in) != 2 || !in[0].VideoMuted || !in[1].VideoMuted {
			t.Errorf("mixed: %+v", in)
		}
		if _, err := d.ChangeStream(t.Context(), roomID, common, []StreamChange{Occupy{Region: 0, Stream: two}}); err != nil {
			t.Errorf("at %s: %v", at, err)
		}
		_, err := d.ChangeStream(t.Context(), roomID, common, []StreamChange{MixInto{"common"}})
		wantText(t, "mix of a mix", err, "Stream is Mixed")
		wantText(t, "delete", d.DeleteStream(t.Context(), roomID, two), "<nil>")
		wantText(t, "again", d.DeleteStream(t.Context(), roomID, two), "Stream does NOT exist")
		wantText(t, "drop", d.DropParticipant(t.Context(), roomID, "bob"), "<nil>")
		w.settle()
		if !bob.dropped {
			t.Errorf("at %s: bob was not dropped", at)
		}
		w.same("a", "b")
		d.Destroy(roomID)
		w.settle()
		if !anna.dropped {
			t.Errorf("at %s: the room was not destroyed", at)
		}
		if got := listed(d.Participants(t.Context(), roomID)); len(got) != 0 {
			t.Errorf("at %s: %+v", at, got)
		}
	}
}

// TestAdminFromAfar: an admin controls the streams of others on other edges; who is none does not.
func TestAdminFromAfar(t *testing.T) {
	w := newTown(t, nil, "a", "b")
	w.join("a", "anna", "presenter")
	boss, _ := w.join("b", "boss", "admin")
	w.join("b", "bob", "presenter")
	stream := w.publish("a", "anna")
	boss.take()
	pause := portalproto.StreamControl{ID: stream, Operation: portalproto.Pause, Media: conference.MediaSet{Audio: true}}
	wantText(t, "bob", w.control("b", "bob", pause), "unauthorized")
	wantText(t, "boss", w.control("b", "boss", pause), "<nil>")
	wantAll(t, "boss", boss.take(), `stream {"id":"`+stream+`","status":"update","data":{"field":"audio.status","value":"inactive"}}`)
	acked := false
	wantText(t, "unpublish by bob", w.houses["b"].d.Unpublish(t.Context(), roomID, "bob", stream, func() {}), "unauthorized")
	wantText(t, "unpublish", w.houses["b"].d.Unpublish(t.Context(), roomID, "boss", stream, func() { acked = true }), "<nil>")
	w.settle()
	if !acked {
		t.Error("not acknowledged")
	}
	wantAll(t, "boss", kinds(boss.take()), "stream remove "+stream)
	w.same("a", "b")
}

// TestLoudestElsewhere: the loudest are chosen at the home among the streams of all edges, and all edges tell who it is.
func TestLoudestElsewhere(t *testing.T) {
	w := newTown(t, func(r *conference.Room) { r.SelectActiveAudio = true }, "a", "b")
	choosers := map[string]*fakeSelectors{"a": {}, "b": {}}
	for edge, f := range choosers {
		w.houses[edge].d.options.Selectors = f
	}
	w.join("a", "anna", "presenter")
	bob, _ := w.join("b", "bob", "presenter")
	one, two := w.publish("a", "anna"), w.publish("b", "bob")
	bob.take()
	choosers["a"].is(w.houses["a"], 0, two, true)
	w.settle()
	wantAll(t, "bob", bob.take(), `stream {"id":"active-audio-0","status":"update","data":{"field":"activeInput","value":{"id":"`+two+`","volume":"major"}}}`)
	w.same("a", "b")
	tracks := "[" + strings.Join([]string{roomID + "-active-audio-0", roomID + "-active-audio-1", roomID + "-active-audio-2"}, " ") + "]"
	wantAll(t, "chooser of a", choosers["a"].seen(w.houses["a"]), "open "+tracks, "follow ", "add "+one, "add "+two)
	wantAll(t, "chooser of b", choosers["b"].seen(w.houses["b"]), "open "+tracks, "follow a")
	w.moveHome("b")
	wantAll(t, "bob after the change", bob.take())
	wantAll(t, "chooser of a", choosers["a"].seen(w.houses["a"]), "follow b")
	wantAll(t, "chooser of b", choosers["b"].seen(w.houses["b"]), "follow ", "add "+one, "add "+two)
}

// TestListener: who may speak hears a mix of another edge without its own sound.
func TestListener(t *testing.T) {
	w := newTown(t, nil, "a", "b")
	w.join("a", "anna", "presenter")
	w.join("b", "bob", "presenter")
	w.join("b", "vera", "viewer")
	for id, want := range map[string]string{"bob": " for bob", "vera": ""} {
		ack, err := w.houses["b"].d.Subscribe(t.Context(), roomID, id, portalproto.SubscribeRequest{Tracks: []portalproto.SubscribeTrack{{
			Kind: conference.Audio, Mid: "0", From: common}}})
		if err != nil {
			t.Fatal(err)
		}
		calls := w.houses["b"].media.seen()
		if last := calls[len(calls)-1]; !strings.HasPrefix(last, "subscribe "+ack.ID+" "+ack.ID+" [{audio 0 "+common+"-audio in opus") || strings.Contains(last, " for ") != (want != "") {
			t.Errorf("%s: %q", id, last)
		}
	}
}

// TestLeavesInGoodOrder: an edge whose last participant leaves leaves the room; the others take over.
func TestEdgeLeaves(t *testing.T) {
	w := newTown(t, nil, "a", "b")
	anna, _ := w.join("a", "anna", "presenter")
	bob, _ := w.join("b", "bob", "presenter")
	stream := w.publish("b", "bob")
	w.mix("b", "bob", stream)
	w.leave("a", "anna")
	bob.take()
	anna.take()
	w.houses["a"].d.Close()
	w.settle()
	wantAll(t, "bob", bob.take())
	if got := w.mixers["b"].mixes[common].Inputs; len(got) != 1 || w.roster("b") == "" {
		t.Errorf("mixed at b: %+v", got)
	}
}
