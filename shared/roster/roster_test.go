package roster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/shared/placement"
)

func key(id string) Key { return Key{Participant, id} }

func at(number uint64) placement.Epoch {
	return placement.Epoch{Number: number, Home: placement.Name{ID: "home", Boot: 1}}
}

func put(t *testing.T, o *Own, generation uint64, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := o.Put(key(id), generation, []byte(id+"'s")); err != nil {
			t.Fatal(err)
		}
	}
}

func announce(t *testing.T, x *Index, u Update, now time.Duration) Answer {
	t.Helper()
	a, err := x.Announce(u, now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// has gives who is in a directory, and where.
func has(entries []Entry) string {
	var list []string
	for _, e := range entries {
		list = append(list, fmt.Sprintf("%s@%s/%d", e.ID, e.Owner, e.Generation))
	}
	return strings.Join(list, " ")
}

func TestOwn(t *testing.T) {
	o := NewOwn("a", 1)
	put(t, o, 1, "p", "q", "r")
	put(t, o, 1, "p") // as it was
	if o.Version() != 3 {
		t.Errorf("version %d", o.Version())
	}
	o.Remove(key("q"))
	o.Remove(key("nobody"))
	u := o.Since(1)
	if u.From != 1 || u.To != 4 || u.Full || has(u.Put) != "r@a/1" || len(u.Removed) != 1 || u.Removed[0] != (Gone{key("q"), "a", 1, 1}) {
		t.Errorf("%+v", u)
	}
	if u := o.Since(4); !u.Empty() {
		t.Errorf("%+v", u)
	}
	if u := o.Since(9); !u.Full || has(u.Put) != "p@a/1 r@a/1" {
		t.Errorf("of a version that never was: %+v", u)
	}
	for i := range 3 * ownLog {
		put(t, o, 1, fmt.Sprint("x", i))
		o.Remove(key(fmt.Sprint("x", i)))
	}
	if u := o.Since(o.Version() - ownLog); u.Full || len(u.Put) != 0 || len(u.Removed) != ownLog/2 {
		t.Errorf("full %v, %d removed", u.Full, len(u.Removed))
	}
	if u := o.Since(o.Version() - ownLog - 1); !u.Full || has(u.Put) != "p@a/1 r@a/1" {
		t.Errorf("of long ago: %+v", u)
	}
	for name, err := range map[string]error{
		"lower":    o.Put(key("p"), 0, nil),
		"no id":    o.Put(key(""), 1, nil),
		"long id":  o.Put(key(strings.Repeat("i", MaxID+1)), 1, nil),
		"kind":     o.Put(Key{9, "p"}, 1, nil),
		"value":    o.Put(key("v"), 1, make([]byte, MaxValue+1)),
		"no owner": NewOwn("", 1).Put(key("p"), 1, nil),
	} {
		if !errors.Is(err, ErrBad) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if o.Yield(Gone{key("p"), "a", 1, 1}) || o.Yield(Gone{key("p"), "Z", 1, 1}) || o.Yield(Gone{key("nobody"), "b", 1, 1}) {
		t.Error("it gives up what is its own")
	}
	if !o.Yield(Gone{key("p"), "b", 1, 1}) || o.Yield(Gone{key("p"), "b", 1, 1}) || o.Len() != 1 {
		t.Error("it does not yield")
	}
	if e, ok := o.Get(key("r")); !ok || string(e.Value) != "r's" {
		t.Errorf("%+v", e)
	}
}

func TestAdmit(t *testing.T) {
	x := NewIndex(at(1), Config{}, 0)
	ask := func(id, owner, request string, generation uint64, resume bool, limit int, now time.Duration) (Admitted, error) {
		return x.Admit(Admission{Participant: id, Owner: owner, Request: request, Generation: generation, Resume: resume}, limit, now)
	}
	refused := func(want error, id, owner, request string, generation uint64, resume bool, now time.Duration) {
		t.Helper()
		if _, err := ask(id, owner, request, generation, resume, 3, now); !errors.Is(err, want) {
			t.Errorf("%s at %s, generation %d: %v, want %v", id, owner, generation, err, want)
		}
	}
	granted := func(before, id, owner, request string, generation uint64, resume bool, now time.Duration) {
		t.Helper()
		if a, err := ask(id, owner, request, generation, resume, 3, now); err != nil || a.Before != before {
			t.Errorf("%s at %s, generation %d: %+v, %v", id, owner, generation, a, err)
		}
	}
	refused(ErrBad, "", "a", "1", 1, false, 0)
	refused(ErrNotYet, "p", "a", "1", 2, true, 0) // it may be known soon
	granted("", "p", "a", "1", 1, false, 0)
	granted("", "p", "a", "1", 1, false, 0) // asked again
	refused(ErrTaken, "p", "a", "2", 1, false, 0)
	refused(ErrTaken, "p", "b", "1", 1, false, 0)
	granted("", "q", "a", "1", 1, false, 0)
	a := NewOwn("a", 1)
	put(t, a, 1, "p")
	announce(t, x, a.Full(), 0)
	granted("", "r", "b", "1", 1, false, 0)
	refused(ErrRoomFull, "s", "b", "1", 1, false, 0) // two are only promised
	if _, err := ask("s", "b", "1", 1, false, -1, 0); err != nil {
		t.Error("without a limit:", err)
	}
	x.Expire(16 * time.Second)
	granted("", "t", "b", "1", 1, false, 16*time.Second) // the promises were not kept
	refused(ErrTaken, "p", "b", "1", 1, false, 0)

	// p goes to b.
	refused(ErrReplayed, "p", "b", "1", 1, true, 0)
	granted("a", "p", "b", "1", 2, true, 0)
	granted("a", "p", "b", "1", 2, true, 0) // asked again
	refused(ErrReplayed, "p", "c", "1", 2, true, 0)
	granted("a", "p", "b", "2", 2, true, 0) // the attempt before came to nothing there: the edge itself sees to it that there is only one
	granted("a", "p", "c", "1", 3, true, 0) // it went on
	c := NewOwn("c", 1)
	put(t, c, 3, "p")
	announce(t, x, c.Full(), 0)
	refused(ErrReplayed, "p", "c", "9", 3, true, 0)
	if out := announce(t, x, a.Full(), 0).Outdone; len(out) != 1 || out[0] != (Gone{key("p"), "c", 1, 3}) {
		t.Errorf("outdone: %+v", out)
	}

	// It leaves, and stays away.
	c.Remove(key("p"))
	announce(t, x, c.Since(1), 20*time.Second)
	refused(ErrReplayed, "p", "d", "1", 3, true, 20*time.Second)
	refused(ErrUnknownParticipant, "p", "d", "1", 4, true, 20*time.Second)
	refused(ErrTaken, "p", "d", "1", 3, false, 20*time.Second)
	if out := announce(t, x, a.Full(), 20*time.Second).Outdone; len(out) != 1 || x.Len() != 0 {
		t.Errorf("a lower claim comes back: %+v, %s", out, has(x.Entries()))
	}
	refused(ErrUnknownParticipant, "nobody", "d", "1", 2, true, 20*time.Second)
	// One that resumes before its first entry came.
	granted("", "u", "a", "1", 1, false, 20*time.Second)
	granted("a", "u", "b", "1", 2, true, 20*time.Second)
}

func TestOwnerIsLost(t *testing.T) {
	second := func(n int) time.Duration { return time.Duration(n) * time.Second }
	expire := func(x *Index, from, to int) {
		for i := from; i <= to; i++ {
			x.Expire(second(i))
		}
	}
	fresh := func() (*Index, *Own, *Own) {
		x, a, b := NewIndex(at(1), Config{}, 0), NewOwn("a", 1), NewOwn("b", 1)
		put(t, a, 1, "p")
		put(t, b, 1, "q")
		announce(t, x, a.Full(), 0)
		announce(t, x, b.Full(), 0)
		return x, a, b
	}
	t.Run("and comes back", func(t *testing.T) {
		x, a, _ := fresh()
		x.Lost("a", 0)
		expire(x, 1, 59)
		put(t, a, 1, "r")
		if answer := announce(t, x, a.Since(1), second(59)); answer.NeedFull {
			t.Error("it has to say everything again")
		}
		if expire(x, 60, 200); has(x.Entries()) != "p@a/1 q@b/1 r@a/1" || x.Seq() != 3 {
			t.Error(has(x.Entries()))
		}
	})
	t.Run("for good", func(t *testing.T) {
		x, _, _ := fresh()
		x.Lost("a", 0)
		if expire(x, 1, 60); has(x.Entries()) != "p@a/1 q@b/1" {
			t.Error("early:", has(x.Entries()))
		}
		if expire(x, 61, 62); has(x.Entries()) != "q@b/1" || len(x.Absent()) != 0 {
			t.Error(has(x.Entries()))
		}
	})
	t.Run("for longer than the grace time", func(t *testing.T) {
		x, a, _ := fresh()
		x.Lost("a", 0)
		expire(x, 1, 70)
		if answer := announce(t, x, a.Since(1), second(70)); !answer.NeedFull {
			t.Error("no full update is asked for")
		}
		if announce(t, x, a.Full(), second(70)); has(x.Entries()) != "p@a/1 q@b/1" {
			t.Error(has(x.Entries()))
		}
	})
	t.Run("and starts again", func(t *testing.T) {
		x, _, _ := fresh()
		again := NewOwn("a", 2)
		put(t, again, 1, "s")
		announce(t, x, again.Full(), second(1))
		if expire(x, 1, 61); has(x.Entries()) != "p@a/1 q@b/1 s@a/1" {
			t.Error("the former life is forgotten:", has(x.Entries()))
		}
		put(t, again, 2, "p") // resumes where it was
		announce(t, x, again.Since(1), second(61))
		if expire(x, 62, 70); has(x.Entries()) != "p@a/2 q@b/1 s@a/1" {
			t.Error(has(x.Entries()))
		}
		if _, err := x.Announce(Update{Owner: "a", Life: 1, Full: true}, second(70)); !errors.Is(err, ErrStale) {
			t.Error("a former life:", err)
		}
	})
	t.Run("and its participant is on the way to another", func(t *testing.T) {
		x, _, b := fresh()
		x.Lost("a", 0)
		expire(x, 1, 58)
		if _, err := x.Admit(Admission{Participant: "p", Owner: "b", Generation: 2, Resume: true}, -1, second(58)); err != nil {
			t.Fatal(err)
		}
		expire(x, 59, 65)
		seq := x.Seq()
		put(t, b, 2, "p")
		announce(t, x, b.Since(1), second(65))
		if d := x.Since(2); has(d.Put) != "p@b/2" || len(d.Removed) != 0 || x.Seq() != seq+1 {
			t.Errorf("%+v", d)
		}
	})
	t.Run("and the home sleeps", func(t *testing.T) {
		x, _, _ := fresh()
		x.Lost("a", 0)
		expire(x, 1, 30)
		if expire(x, 300, 329); x.Len() != 2 {
			t.Error("time counted in which nobody was awake")
		}
		if expire(x, 330, 332); x.Len() != 1 {
			t.Error("it stays for ever")
		}
	})
	t.Run("in good order", func(t *testing.T) {
		x, a, _ := fresh()
		x.Withdrawn("a", 1)
		x.Withdrawn("a", 1)
		if has(x.Entries()) != "q@b/1" || x.Participants() != 1 {
			t.Error(has(x.Entries()))
		}
		if announce(t, x, a.Full(), 0); has(x.Entries()) != "p@a/1 q@b/1" {
			t.Error(has(x.Entries()))
		}
	})
}

// A home that knows nothing hears of all, and tells no follower that anybody left.
func TestRebuild(t *testing.T) {
	old := NewIndex(at(1), Config{}, 0)
	a, b := NewOwn("a", 1), NewOwn("b", 1)
	put(t, a, 1, "p", "gone")
	put(t, b, 1, "q")
	for _, o := range []*Own{a, b} {
		announce(t, old, o.Full(), 0)
	}
	a.Remove(key("gone"))
	c := NewCopy()
	c.Apply(old.Full())
	announce(t, old, a.Since(2), 0)
	c.Apply(old.Since(3))

	x := NewIndex(at(2), Config{}, 0)
	if x.Knows(c.Position()) || !x.Knows(Position{}) {
		t.Error("what is known")
	}
	x.Hearsay(c.Hearsay(), 0)
	if !x.Knows(c.Position()) || x.Knows(Position{at(1), 99}) {
		t.Error("what is known afterwards")
	}
	// Somebody who has not heard that it is gone.
	x.Hearsay(Hearsay{Position: Position{at(1), 99}, Entries: []Entry{{Key: key("gone"), Owner: "a", Life: 1, Generation: 1}}}, 0)
	put(t, a, 1, "r")
	announce(t, x, a.Full(), 0)
	changes, gap := c.Apply(x.Full())
	if gap || len(changes) != 1 || changes[0].Was != nil || changes[0].Now.ID != "r" {
		t.Errorf("%+v", changes)
	}
	// b never comes.
	if list := x.Absent(); !slices.Equal(list, []Holder{{"b", 1}}) {
		t.Errorf("%+v", list)
	}
	x.Back("b", 1, 0)
	for i := range 8 {
		x.Expire(time.Duration(i) * time.Second)
	}
	if has(x.Entries()) != "p@a/1 r@a/1" {
		t.Error(has(x.Entries()))
	}
	if changes, _ := c.Apply(x.Since(c.Position().Seq)); len(changes) != 1 || changes[0].Now != nil || changes[0].Was.ID != "q" {
		t.Errorf("%+v", changes)
	}
}

// Of both sides of a partition one directory becomes; nobody leaves and comes again.
func TestMerge(t *testing.T) {
	a, b := NewOwn("a", 1), NewOwn("b", 1)
	put(t, a, 1, "p")
	put(t, b, 1, "q")
	low, high := NewIndex(at(5), Config{}, 0), NewIndex(at(6), Config{}, 0)
	for _, x := range []*Index{low, high} {
		announce(t, x, a.Full(), 0)
		announce(t, x, b.Full(), 0)
	}
	low.Lost("a", 0)
	high.Lost("b", 0)
	put(t, a, 1, "news")
	put(t, b, 1, "more")
	announce(t, high, a.Since(1), 0)
	announce(t, low, b.Since(1), 0)
	of := map[string]*Copy{"a": NewCopy(), "b": NewCopy()}
	of["a"].Apply(high.Full())
	of["b"].Apply(low.Full())
	high.Hearsay(of["b"].Hearsay(), 0)
	announce(t, high, b.Full(), 0)
	for owner, news := range map[string]string{"a": "more@b/1", "b": "news@a/1"} {
		d := high.Since(of[owner].Position().Seq)
		if owner == "b" {
			d = high.Full()
		}
		changes, _ := of[owner].Apply(d)
		if len(changes) != 1 || changes[0].Was != nil || has([]Entry{*changes[0].Now}) != news {
			t.Errorf("%s: %+v", owner, changes)
		}
	}
	if !slices.Equal(of["a"].Owners(), []string{"a", "b"}) {
		t.Error(of["a"].Owners())
	}
}

// What an owner has removed on one side of a partition goes on the other, which only knows that the owner is lost.
func TestMergeRemoved(t *testing.T) {
	a, b := NewOwn("a", 1), NewOwn("b", 1)
	put(t, a, 1, "p", "q")
	put(t, b, 1, "r")
	low, high := NewIndex(at(5), Config{}, 0), NewIndex(at(6), Config{}, 0)
	for _, o := range []*Own{a, b} {
		announce(t, low, o.Full(), 0)
		announce(t, high, o.Full(), 0)
	}
	high.Lost("a", 0)
	a.Remove(key("p"))
	announce(t, low, a.Since(2), 0)
	high.Hearsay(low.Known(), 0)
	if got := has(high.Entries()); got != "q@a/1 r@b/1" {
		t.Error(got)
	}
	// The word of an owner that is present goes before what anybody has heard.
	high.Hearsay(Hearsay{Position: Position{at(5), 99}, Gone: []Gone{{key("r"), "b", 1, 1}}}, 0)
	if got := has(high.Entries()); got != "q@a/1 r@b/1" {
		t.Error(got)
	}
}

func TestBounds(t *testing.T) {
	x := NewIndex(at(1), Config{Entries: 3, Bytes: 100}, 0)
	a := NewOwn("a", 1)
	put(t, a, 1, "p", "q", "r", "s")
	if _, err := x.Announce(a.Full(), 0); !errors.Is(err, ErrTooMany) || x.Len() != 3 {
		t.Errorf("%v, %d entries", err, x.Len())
	}
	if _, err := x.Admit(Admission{Participant: "t", Owner: "b"}, -1, 0); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	a.Remove(key("q"))
	if err := a.Put(key("p"), 1, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Announce(a.Since(4), 0); !errors.Is(err, ErrTooMany) || x.Len() != 2 {
		t.Errorf("%v, %d entries", err, x.Len())
	}
	for name, u := range map[string]Update{
		"nobody's":   {Life: 1, Full: true},
		"backwards":  {Owner: "a", Life: 1, From: 9, To: 8},
		"another's":  {Owner: "b", Life: 1, To: 1, Full: true, Put: []Entry{{Key: key("p"), Owner: "a", Life: 1}}},
		"other life": {Owner: "c", Life: 1, To: 1, Full: true, Put: []Entry{{Key: key("p"), Life: 2}}},
		"long":       {Owner: "d", Life: 1, To: 1, Full: true, Put: []Entry{{Key: key("p"), Value: make([]byte, MaxValue+1)}}},
	} {
		if _, err := x.Announce(u, 0); !errors.Is(err, ErrBad) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if x.Len() != 2 {
		t.Error(has(x.Entries()))
	}
	g := newGraves(10)
	for i := range 100 {
		g.add(Gone{Key: key(fmt.Sprint(i)), Owner: "a"})
		for range 20 { // one that comes and goes
			g.remove(key("x"))
			g.add(Gone{Key: key("x"), Owner: "a"})
		}
	}
	if len(g.of) > 10 || len(g.queue) > 41 {
		t.Errorf("%d graves, %d in the queue", len(g.of), len(g.queue))
	}
	if _, ok := g.get(key("x")); !ok {
		t.Error("the last one is not known")
	}
}

func TestCopyAndGaps(t *testing.T) {
	x, a, c := NewIndex(at(2), Config{}, 0), NewOwn("a", 1), NewCopy()
	put(t, a, 1, "p")
	announce(t, x, a.Full(), 0)
	if _, gap := c.Apply(x.Since(0)); !gap || c.Len() != 0 {
		t.Error("a new epoch begins with all of it")
	}
	c.Apply(x.Full())
	put(t, a, 1, "q")
	announce(t, x, a.Since(1), 0)
	put(t, a, 1, "r")
	announce(t, x, a.Since(2), 0)
	if _, gap := c.Apply(x.Since(2)); !gap {
		t.Error("no gap")
	}
	if changes, gap := c.Apply(x.Since(0)); gap || len(changes) != 2 { // more than it needs
		t.Errorf("%+v", changes)
	}
	if changes, gap := c.Apply(Delta{Epoch: at(1), To: 99, Full: true}); gap || len(changes) > 0 || c.Len() != 3 {
		t.Error("a lower epoch counts")
	}
	if e, ok := c.Get(key("q")); !ok || string(e.Value) != "q's" {
		t.Errorf("%+v", e)
	}
	ours, theirs := &Entry{Key: key("p"), Owner: "a", Life: 1}, &Entry{Key: key("p"), Owner: "b", Life: 1}
	if _, ok := (Change{Now: ours}).Foreign("a", 1); ok {
		t.Error("its own is foreign")
	}
	if d, ok := (Change{Was: ours, Now: theirs}).Foreign("a", 1); !ok || d.Was != nil || d.Now != theirs {
		t.Errorf("%+v", d)
	}
	if d, ok := (Change{Was: ours}).Foreign("a", 2); !ok || d.Was != ours {
		t.Error("what a former life had is not foreign")
	}
	var k Kind
	if err := k.UnmarshalText([]byte("mix")); err != nil || k != Mix || k.String() != "mix" {
		t.Error(k, err)
	}
	if err := k.UnmarshalText([]byte("")); err == nil {
		t.Error("no kind is one")
	}
	if _, err := Kind(0).MarshalText(); err == nil || Kind(9).String() != "none" {
		t.Error("a kind that is none is written")
	}
}

// An owner hears that what it has was given up elsewhere, though the home has changed since, and its own word came first.
func TestOutdoneByHearsay(t *testing.T) {
	a, x := NewOwn("a", 1), NewIndex(at(3), Config{}, 0)
	put(t, a, 1, "p", "q")
	announce(t, x, a.Full(), 0)
	x.Hearsay(Hearsay{Position: Position{at(2), 9}, Gone: []Gone{{key("p"), "b", 1, 2}}}, 0)
	d := x.Full()
	if lost := a.Outdone(&d); !slices.Equal(lost, []Key{key("p")}) || a.Len() != 1 {
		t.Errorf("%v is lost", lost)
	}
	if lost := a.Outdone(&d); len(lost) > 0 {
		t.Errorf("%v is lost again", lost)
	}
	for i := range 2 * fullGraves {
		removed := []Gone{{Key: key(fmt.Sprint(i))}}
		announce(t, x, Update{Owner: "c", Life: 1, From: uint64(i), To: uint64(i + 1), Full: i == 0, Removed: removed}, 0)
	}
	isLast := func(g Gone) bool { return g.ID == fmt.Sprint(2*fullGraves-1) }
	if d := x.Full(); len(d.Removed) != fullGraves || !slices.ContainsFunc(d.Removed, isLast) {
		t.Errorf("%d were removed lately", len(d.Removed))
	}
}
