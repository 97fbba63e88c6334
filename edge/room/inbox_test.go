package room

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// hold keeps a house's room from doing anything until the function that it gives is called.
func (h *house) hold() (release func()) {
	h.t.Helper()
	begun, gate := make(chan struct{}), make(chan struct{})
	h.controller().post(func() {
		close(begun)
		<-gate
	})
	<-begun
	return func() { close(gate) }
}

func (h *house) controller() *controller {
	h.t.Helper()
	c := h.d.find(roomID)
	if c == nil {
		h.t.Fatal("the room is not active")
	}
	return c
}

// TestOverflow: more than a room can keep comes from another edge while it stands still, and much of it is dropped; afterwards it is what
// the others are all the same, and nobody is told what has not changed.
func TestOverflow(t *testing.T) {
	w := newTown(t, nil, "a", "b")
	w.join("a", "anna", "presenter")
	w.join("a", "carol", "presenter")
	bob, _ := w.join("b", "bob", "presenter")
	w.join("b", "ben", "presenter")
	gone, stays := w.publish("a", "carol"), w.publish("a", "anna")
	bob.take()
	a, b := w.houses["a"], w.houses["b"]
	release := b.hold()
	w.mesh.mu.Lock()
	entry := w.mesh.parted["a"].entries[Key{ParticipantEntry, "anna"}]
	w.mesh.mu.Unlock()
	for range maxWaiting + 10 {
		w.mesh.seats["a"].Put(entry.Key, entry.Generation, entry.Value)
	}
	inbox := &b.controller().inbox
	inbox.mu.Lock()
	if !inbox.missed || len(inbox.words) > maxNotes {
		t.Errorf("%d words wait", len(inbox.words))
	}
	inbox.mu.Unlock()
	a.d.Leave(t.Context(), roomID, "carol")
	a.join("dave", "presenter")
	a.publishAV("dave")
	if _, err := a.d.Join(t.Context(), Join{Room: roomID, Participant: "ben", Member: &fakeMember{}, Resume: true, Generation: 7}); err != nil {
		t.Fatal(err)
	}
	if err := a.d.Text(t.Context(), roomID, "dave", portalproto.All, jsonvalue.Of("hello")); err != nil {
		t.Fatal(err)
	}
	release()
	w.settle()
	if n := w.mesh.seats["b"].resyncs; n != 1 {
		t.Errorf("compared %d times", n)
	}
	w.same("a", "b")
	told := kinds(bob.take())
	slices.Sort(told)
	added := fmt.Sprintf("stream add %ss%d", "a", a.ids)
	wantAll(t, "bob", told, "participant join", "participant leave", added, "stream remove "+gone, "text")
	if p := b.controller().machine.publication(stays); p == nil || p.edge != "a" {
		t.Errorf("the stream that stays: %+v", p)
	}
	if who := b.controller().machine.members["ben"]; who == nil || who.edge != "a" || b.controller().members["ben"] != nil {
		t.Errorf("who has moved: %+v", who)
	}
	// And what comes later comes as always.
	w.leave("a", "dave")
	w.same("a", "b")
	if n := w.mesh.seats["b"].resyncs; n != 1 {
		t.Errorf("compared %d times", n)
	}
}

// TestOverflowOfLead: who is the home is known after an overflow too, and only the home says what is mixed.
func TestOverflowOfLead(t *testing.T) {
	for _, to := range []string{"a", "b"} {
		w := newTown(t, nil, "a", "b")
		w.join("a", "anna", "presenter")
		w.join("b", "bob", "presenter")
		stream := w.publish("a", "anna")
		from := map[string]string{"a": "b", "b": "a"}[to]
		w.moveHome(from)
		b := w.houses["b"]
		release := b.hold()
		for range maxWaiting + 10 {
			part{b.controller()}.Apply(nil)
		}
		w.mesh.mu.Lock()
		at := w.mesh.parted["a"]
		at.home = to
		w.mesh.seats[to].part.Lead(true)
		w.mesh.seats[from].part.Lead(false)
		w.mesh.mu.Unlock()
		release()
		w.settle()
		for _, edge := range []string{"a", "b"} {
			if leads := w.houses[edge].controller().machine.leads; leads != (edge == to) {
				t.Errorf("%s leads: %t", edge, leads)
			}
		}
		w.mix("a", "anna", stream)
		w.same("a", "b")
		if in := w.mixers[to].mixes[common].Inputs; len(in) != 1 {
			t.Errorf("mixed at %s: %+v", to, in)
		}
	}
}

// TestOverflowOfTwoLeads: an edge that was the home, is it again, and has not heard that another was in between, is heeded as the home all
// the same, and mixes what that has mixed.
func TestOverflowOfTwoLeads(t *testing.T) {
	w := newTown(t, nil, "a", "b")
	w.join("a", "anna", "presenter")
	w.join("b", "bob", "presenter")
	stream := w.publish("a", "anna")
	w.moveHome("b")
	b := w.houses["b"]
	release := b.hold()
	lead := func(edge, other string) {
		w.mesh.mu.Lock()
		defer w.mesh.mu.Unlock()
		w.mesh.parted["a"].home = edge
		w.mesh.seats[edge].part.Lead(true)
		w.mesh.seats[other].part.Lead(false)
	}
	lead("a", "b")
	w.houses["a"].settle()
	wantText(t, "mix", w.houses["a"].control("anna", portalproto.StreamControl{ID: stream, Operation: portalproto.Mix, View: "common"}), "<nil>")
	for range maxWaiting + 10 {
		part{b.controller()}.Apply(nil)
	}
	lead("b", "a")
	w.houses["a"].settle()
	release()
	w.settle()
	w.same("a", "b")
	if in := w.mixers["b"].mixes[common].Inputs; len(in) != 1 || w.mesh.seats["b"].resyncs != 1 {
		t.Errorf("mixed at b: %+v, compared %d times", in, w.mesh.seats["b"].resyncs)
	}
}

// TestMailboxFull: the room's own mailbox is full of other things; what other edges say is taken all the same.
func TestMailboxFull(t *testing.T) {
	w := newTown(t, nil, "a", "b")
	w.join("a", "anna", "presenter")
	w.join("b", "bob", "presenter")
	c := w.houses["b"].controller()
	release := w.houses["b"].hold()
	for range 1<<16 + 1 {
		c.post(func() {})
	}
	w.houses["a"].join("dave", "presenter")
	release()
	w.settle()
	w.same("a", "b")
	if w.mesh.seats["b"].resyncs != 0 {
		t.Error("it was compared, and nothing was lost")
	}
}

// TestInbox: words come in their order, notes are bounded apart from changes, and what cannot be said again is kept.
func TestInbox(t *testing.T) {
	var b inbox
	var got []string
	say := func(text string) func(*machine) { return func(*machine) { got = append(got, text) } }
	drain := func() (lost int) {
		n, lost := b.begin()
		for ; n > 0; n-- {
			b.next()(nil)
		}
		return lost
	}
	remind := b.add(word{do: say("change"), weight: maxWaiting})
	if again := b.add(word{do: say("note"), bytes: 7}); !remind || again {
		t.Errorf("reminded %t, %t", remind, again)
	}
	for range maxNotes - 1 {
		b.add(word{do: func(*machine) {}})
	}
	b.add(word{do: say("too many")})
	b.add(word{do: say("moved"), always: true})
	b.add(word{do: say("too much"), weight: 1})
	if b.ask() != true || b.ask() {
		t.Error("changes are not bounded, or asked for again and again")
	}
	b.add(word{do: say("of no use now"), weight: 1})
	b.whole(func(_ *machine, turned bool) { say(fmt.Sprint("all ", turned))(nil) })
	b.add(word{do: say("after"), weight: 1})
	if lost := drain(); lost != 1 {
		t.Errorf("%d notes are lost", lost)
	}
	wantAll(t, "words", got, "note", "moved", "all false", "after")
	if b.ask() || b.weight != 0 || b.notes != 0 || b.bytes != 0 {
		t.Errorf("left: %d and %d notes of %d bytes", b.weight, b.notes, b.bytes)
	}
	if !b.add(word{do: say("long"), bytes: maxNoteBytes}) {
		t.Error("not reminded")
	}
	got = nil
	b.add(word{do: say("too long"), bytes: 1})
	if lost := drain(); lost != 1 || drain() != 0 {
		t.Errorf("%d notes are lost", lost)
	}
	b.add(word{do: say("new"), bytes: 1})
	drain()
	wantAll(t, "words", got, "long", "new")
	if !b.end() || b.end() {
		t.Error("the end is news once")
	}
	if b.ended(); !b.end() {
		t.Error("and once more after it was taken")
	}
}

// TestInboxGivesWay: an edge that says more and more while the room takes what it has said does not keep the room from all else, and what
// is told because of it goes out meanwhile.
func TestInboxGivesWay(t *testing.T) {
	w := newTown(t, nil, "a", "b")
	w.join("a", "anna", "presenter")
	bob, _ := w.join("b", "bob", "presenter")
	bob.take()
	h := w.houses["b"]
	release := h.hold()
	p, said, turns := part{h.controller()}, 0, 0
	var more func(m *machine)
	more = func(m *machine) {
		m.tellText("anna", "bob", jsonvalue.Of("hello"))
		if said++; turns == 0 && said < 1000 {
			p.heed(word{do: more})
		}
	}
	p.heed(word{do: more})
	var told int
	h.controller().post(func() { turns, told = said, len(bob.take()) })
	release()
	w.settle()
	if err := h.controller().run(context.Background(), func() error { return nil }); err != nil || turns == 0 || turns > 2 || told != turns-1 {
		t.Errorf("%v: the room had its turn after %d words, of which %d were told of before", err, turns, told)
	}
}

// TestInboxPanics: a word that breaks off takes no other with it.
func TestInboxPanics(t *testing.T) {
	w := newTown(t, nil, "a", "b")
	w.join("a", "anna", "presenter")
	bob, _ := w.join("b", "bob", "presenter")
	bob.take()
	h := w.houses["b"]
	release, ran := h.hold(), false
	p := part{h.controller()}
	p.heed(word{do: func(*machine) { panic("a mistake of ours") }})
	p.heed(word{do: func(m *machine) { m.tellText("anna", "bob", jsonvalue.Of("hello")) }})
	h.controller().post(func() { ran = true })
	release()
	w.settle()
	if err := h.controller().run(context.Background(), func() error { return nil }); err != nil || !ran {
		t.Errorf("%v, the next thing ran: %t", err, ran)
	}
	wantAll(t, "bob", kinds(bob.take()), "text")
}
