package room

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// crowdedMachine has "thin" and "full" in it and p1, p2, … of another edge, as many as there are in all. Above 10 the roster is thin.
func crowdedMachine(t *testing.T, all int) *machine {
	t.Helper()
	config := conference.DefaultRoom()
	config.ID = roomID
	m, _ := newMachine(config, Limits{Participants: 10_000, Sessions: 10, Pictures: 4, Roster: 10}, true, true)
	enter(t, m, "thin", true)
	enter(t, m, "full", false)
	m.apply(people(1, all-2))
	told(m)
	return m
}

func enter(t *testing.T, m *machine, id string, thin bool) Joined {
	t.Helper()
	j, err := m.join(&Join{Participant: id, User: id, Role: "presenter", Thin: thin})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// people are participants of another edge, from and to included.
func people(from, to int) (list []news) {
	for i := from; i <= to; i++ {
		list = append(list, memberNews("p"+strconv.Itoa(i), "b", 1))
	}
	return list
}

func goneFrom(from, to int) (list []news) {
	for i := from; i <= to; i++ {
		list = append(list, goneNews(ParticipantEntry, "p"+strconv.Itoa(i)))
	}
	return list
}

// heard is what one participant was told since the last look: ids that joined and left, streams, and the roster.
func heard(m *machine, who string) string {
	var list []string
	for _, e := range m.take() {
		if e.to != who || e.notify == nil {
			continue
		}
		switch n := e.notify.(type) {
		case portalproto.ParticipantJoined:
			list = append(list, "+"+n.Participant.ID)
		case portalproto.ParticipantLeft:
			list = append(list, "-"+n.ID)
		case portalproto.StreamAdded:
			list = append(list, "stream "+n.Stream.ID)
		case portalproto.StreamRemoved:
			list = append(list, "end of "+n.ID)
		case portalproto.TextMessage:
			list = append(list, n.From+" says "+n.Message.Text())
		case portalproto.Roster:
			list = append(list, fmt.Sprintf("%d %v", n.Count, n.Thin))
		}
	}
	return strings.Join(list, ", ")
}

func wantHeard(t *testing.T, m *machine, what, who, want string) {
	t.Helper()
	if got := heard(m, who); got != want {
		t.Errorf("%s: told %q, want %q", what, got, want)
	}
}

// TestCrowded: each step is what happens in the room, and what one member is told.
func TestCrowded(t *testing.T) {
	text := func(from, to string) func(m *machine) {
		return func(m *machine) { m.tellText(from, to, jsonvalue.Of("hi")) }
	}
	apply := func(list ...news) func(m *machine) { return func(m *machine) { m.apply(list) } }
	for _, who := range []string{"thin", "full"} {
		m := crowdedMachine(t, 10)
		if m.local("thin").thin || len(m.effects) > 0 {
			t.Fatal("thin too soon")
		}
		for _, step := range []struct {
			what string
			do   func(m *machine)
			thin string // what the member is told that asked for a thin roster
			full string // and the other one
		}{
			{"one too many", apply(people(9, 9)...), "+p9", "+p9"},
			{"thin", (*machine).tick, "11 true, -full, -p1, -p2, -p3, -p4, -p5, -p6, -p7, -p8, -p9", ""},
			{"nothing has happened", (*machine).tick, "", ""},
			{"two more", apply(people(10, 11)...), "", "+p10, +p11"},
			{"counted", (*machine).tick, "13 true", ""},
			{"somebody publishes", apply(streamNews("s1", "p1", "b", 1, nil)), "+p1, stream s1", "stream s1"},
			{"a second stream", apply(streamNews("s2", "p1", "b", 1, nil)), "stream s2", "stream s2"},
			{"one ends", apply(goneNews(StreamEntry, "s1")), "end of s1", "end of s1"},
			{"both have", apply(goneNews(StreamEntry, "s2")), "end of s2, -p1", "end of s2"},
			{"a text to all", text("p2", portalproto.All), "p2 says hi", "p2 says hi"},
			{"a text to one", text("p2", "thin"), "+p2, p2 says hi", ""},
			{"and another", text("p2", "thin"), "p2 says hi", ""},
			{"of a publisher by then", apply(streamNews("s3", "p2", "b", 1, nil)), "stream s3", "stream s3"},
			{"that ends", apply(goneNews(StreamEntry, "s3")), "end of s3", "end of s3"},
			{"from nobody", text("nobody", "thin"), "nobody says hi", ""},
			{"somebody leaves before its stream is known", apply(streamNews("s4", "p3", "b", 1, nil), goneNews(ParticipantEntry, "p3")),
				"stream s4", "-p3, stream s4"},
			{"which ends", apply(goneNews(StreamEntry, "s4")), "end of s4", "end of s4"},
			{"who has written leaves", apply(goneNews(ParticipantEntry, "p2")), "-p2", "-p2"},
			{"who publishes is known late", apply(streamNews("s5", "late", "b", 1, nil)), "stream s5", "stream s5"},
			{"late", apply(memberNews("late", "b", 1)), "+late", "+late"},
			{"another owner", apply(streamNews("s5", "p4", "b", 2, nil)), "-late, +p4", ""},
			{"back to ten", apply(append(goneFrom(5, 5), goneNews(ParticipantEntry, "late"))...), "", "-p5, -late"},
			{"still thin", (*machine).tick, "10 true", ""},
			{"eight", apply(goneFrom(6, 7)...), "", "-p6, -p7"},
			{"still thin", (*machine).tick, "8 true", ""},
			{"seven", apply(goneFrom(8, 8)...), "", "-p8"},
			{"full", (*machine).tick, "+full, +p1, +p9, +p10, +p11, 7 false", ""},
			{"as before", apply(people(20, 20)...), "+p20", "+p20"},
		} {
			m.take()
			step.do(m)
			want := step.thin
			if who == "full" {
				want = step.full
			}
			wantHeard(t, m, who+": "+step.what, who, want)
		}
	}
}

// TestPublisherLeaves: who leaves while it publishes leaves first, and then its stream ends, for everybody alike.
func TestPublisherLeaves(t *testing.T) {
	m := crowdedMachine(t, 11)
	m.tick()
	m.apply([]news{streamNews("s", "p1", "b", 1, nil)})
	enter(t, m, "mine", false)
	if _, err := m.publish("mine", "own", portalproto.PublishRequest{Tracks: avTracks}); err != nil {
		t.Fatal(err)
	}
	m.take()
	m.sessionReady("own", avOf("own"))
	wantHeard(t, m, "here", "thin", "+mine, stream own")
	m.leave("mine")
	wantHeard(t, m, "here", "thin", "-mine, end of own")
	m.apply([]news{goneNews(ParticipantEntry, "p1"), goneNews(StreamEntry, "s")})
	wantHeard(t, m, "elsewhere", "thin", "-p1, end of s")
	if len(m.roster.shown) != 0 {
		t.Errorf("left: %v", m.roster.shown)
	}
}

// TestShownThin: who enters a crowded room, or comes from another edge, or asks again, is shown what it will be told of.
func TestShownThin(t *testing.T) {
	m := crowdedMachine(t, 11)
	m.apply([]news{streamNews("s", "p1", "b", 1, nil)})
	check := func(what string, j Joined, thin bool, want ...string) {
		t.Helper()
		ids := make([]string, len(j.Participants))
		for i, p := range j.Participants {
			ids[i] = p.ID
		}
		count := len(m.order)
		if !thin {
			count = 0
		}
		if j.Thin != thin || j.Count != count || len(want) > 0 && !slices.Equal(ids, want) || len(want) == 0 && len(ids) != len(m.order) {
			t.Errorf("%s: %v of %d, thin: %v", what, ids, j.Count, j.Thin)
		}
	}
	check("asks", enter(t, m, "new", true), true, "p1", "new")
	check("does not", enter(t, m, "old", false), false)
	m.take()
	m.tick()
	wantHeard(t, m, "is not told what it knows", "old", "")
	m.apply([]news{memberNews("new", "c", 2)})
	j, err := m.join(&Join{Participant: "new", Resume: true, Generation: 3, Thin: true})
	if err != nil {
		t.Fatal(err)
	}
	check("back", j, true, "p1", "new")
	m.tellText("p2", "new", jsonvalue.Of("hi"))
	check("asks again", m.show(m.local("new"), true), true, "p1", "new")
	m.take()
	m.tellText("p2", "new", jsonvalue.Of("hi"))
	wantHeard(t, m, "is told again", "new", "+p2, p2 says hi")
	check("asks no more", m.show(m.local("new"), false), false)
	m.hasMoved(Key{ParticipantEntry, "new"})
	m.take()
	m.apply(people(100, 101))
	m.tick()
	wantHeard(t, m, "is not here", "new", "")
	if _, gone := m.destroy("", true), m.roster; gone.thin || len(gone.shown) > 0 {
		t.Errorf("left: %v", gone)
	}
}

// TestManyWrite: of those who write to a member only so many are kept.
func TestManyWrite(t *testing.T) {
	m := crowdedMachine(t, 200)
	m.tick()
	for i := 1; i <= maxMet; i++ {
		m.tellText("p"+strconv.Itoa(i), "thin", jsonvalue.Of("hi"))
	}
	m.take()
	m.tellText("p150", "thin", jsonvalue.Of("hi"))
	wantHeard(t, m, "one too many", "thin", "+p150, -p1, p150 says hi")
	m.apply([]news{streamNews("s", "p2", "b", 1, nil)})
	m.take()
	m.tellText("p151", "thin", jsonvalue.Of("hi"))
	wantHeard(t, m, "the oldest publishes", "thin", "+p151, p151 says hi")
	m.apply([]news{goneNews(StreamEntry, "s")})
	wantHeard(t, m, "not any more", "thin", "end of s, -p2")
	if n := len(m.local("thin").met); n != maxMet {
		t.Errorf("%d are kept", n)
	}
}

// TestCrossingInTurns: a large room is not held up by telling everybody at once.
func TestCrossingInTurns(t *testing.T) {
	const members = 300
	m := crowdedMachine(t, 2)
	m.limits.Roster = 2 * members
	for i := range members {
		enter(t, m, "m"+strconv.Itoa(i), true)
	}
	m.apply(people(1, members))
	m.take()
	if !m.roster.thin || !m.roster.pending {
		t.Fatal("not crowded")
	}
	turns := 0
	for m.roster.pending {
		turns++
		m.tick()
		if n := len(m.take()); n > maxCrossing+2*members+members {
			t.Fatalf("%d notifications in one turn", n)
		}
	}
	for _, id := range m.here {
		if who := m.members[id]; who.thin != who.asked {
			t.Errorf("%s: thin %v", id, who.thin)
		}
	}
	const each = 2 * members // who is not seen any more
	if want := (members + 1 + maxCrossing/each) / (maxCrossing/each + 1); turns != want {
		t.Errorf("%d turns, want %d", turns, want)
	}
}

// TestSilentRoster: a room that does not tell who comes and goes does not do so because of its size.
func TestSilentRoster(t *testing.T) {
	m := crowdedMachine(t, 10)
	m.config.Notifying.ParticipantActivities = false
	m.apply(people(9, 12))
	m.tick()
	m.apply([]news{streamNews("s", "p1", "b", 1, nil)})
	m.tellText("p2", "thin", jsonvalue.Of("hi"))
	m.apply(goneFrom(3, 12))
	m.tick()
	wantHeard(t, m, "silent", "thin", "stream s, p2 says hi")
}

// TestRosterPace: members are told once a second how many there are, and nothing runs when there is nothing to tell.
func TestRosterPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.d.options.Limits.Roster = 2
		thin := &fakeMember{}
		join := func(id string, m *fakeMember) Joined {
			j, err := h.d.Join(context.Background(), Join{Room: roomID, Participant: id, User: id, Role: "presenter", Member: m, Thin: m == thin})
			if err != nil {
				t.Fatal(err)
			}
			return j
		}
		if j := join("thin", thin); j.Thin || j.Count != 1 {
			t.Errorf("%+v", j)
		}
		join("a", &fakeMember{})
		thin.take()
		begin := time.Now()
		for i := range 10 {
			join("b"+strconv.Itoa(i), &fakeMember{})
			time.Sleep(300 * time.Millisecond)
		}
		synctest.Wait()
		var rosters []string
		for _, line := range thin.take() {
			if strings.HasPrefix(line, "roster ") {
				rosters = append(rosters, line)
			}
		}
		// After 1 s for the first that is too many, and then one for each second in which somebody came.
		wantAll(t, "told", rosters, `roster {"count":6,"thin":true}`, `roster {"count":10,"thin":true}`)
		time.Sleep(time.Hour)
		synctest.Wait()
		wantAll(t, "at last", thin.take(), `roster {"count":12,"thin":true}`)
		if time.Since(begin) < time.Hour {
			t.Error("no time has passed")
		}
		h.d.Leave(context.Background(), roomID, "b0")
		h.d.Close() // while something is to be told yet
	})
}
