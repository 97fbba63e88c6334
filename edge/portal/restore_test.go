package portal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/edge/room"
	"portico/edge/store"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
	"portico/shared/token"
)

// townRooms are the rooms of two portals as a cluster makes them: participants are taken over from one to the other.
type townRooms struct {
	*slowRooms
	mu   sync.Mutex
	here map[string]room.Join // by participant; the last
	edge map[string]string
	// renewed, if set, is told of Renew.
	renewed  chan uint64
	renewing chan struct{} // if set, Renew waits for it
	deaf     bool          // edges do not hear that another one has a participant of theirs
}

// edgeRooms are those of one edge.
type edgeRooms struct {
	*townRooms
	name string
}

func (r edgeRooms) Join(ctx context.Context, j room.Join) (room.Joined, error) {
	r.mu.Lock()
	was, known := r.here[j.Participant]
	edge := r.edge[j.Participant]
	r.mu.Unlock()
	if !j.Resume {
		joined, err := r.slowRooms.Join(ctx, j)
		r.keep(j)
		return joined, err
	}
	if !known {
		return room.Joined{}, portalproto.ErrNoClient
	}
	if edge != r.name {
		if j.Generation <= was.Generation {
			return room.Joined{}, portalproto.ErrClusterUnavailable
		}
		if !r.deaf {
			was.Member.Moved()
		}
		was.Generation = j.Generation
	}
	r.Leave(ctx, j.Room, j.Participant)
	j.Known(was.Client)
	was.Member, was.Thin = j.Member, j.Thin
	joined, err := r.slowRooms.Join(ctx, was)
	r.keep(was)
	return joined, err
}

func (r edgeRooms) keep(j room.Join) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.here[j.Participant], r.edge[j.Participant] = j, r.name
}

// newTown is two portals in one cluster.
func newTown(t *testing.T, change ...func(*Options)) (a, b *fixture) {
	rooms := &townRooms{here: map[string]room.Join{}, edge: map[string]string{}}
	on := func(edge, other string) func(*Options) {
		return func(o *Options) {
			if rooms.slowRooms == nil {
				rooms.slowRooms = o.Rooms.(*slowRooms)
			}
			o.Rooms, o.Edge = edgeRooms{rooms, edge}, edge
			o.Edges = func() []string { return []string{"https://" + other} }
		}
	}
	a = newFixture(t, append([]func(*Options){on("a", "b")}, change...)...)
	b = newFixture(t, append([]func(*Options){on("b", "a")}, change...)...)
	b.n = 500
	a.portal.linger, b.portal.linger = 20*time.Millisecond, 20*time.Millisecond
	return a, b
}

func restoring(ticket string) string {
	return portalproto.Relogin{Ticket: ticket, Restore: true, Migrate: true}.Encode().String()
}

// answered is the data of an acknowledgement.
func answered(t *testing.T, ack string) jsonvalue.Value {
	t.Helper()
	v, err := jsonvalue.Parse([]byte(ack), jsonvalue.Limits{})
	if err != nil || v.Index(0).Text() != "ok" {
		t.Fatalf("ack %s", ack)
	}
	return v.Index(1)
}

func TestRestore(t *testing.T) {
	a, b := newTown(t)
	client, ticket := a.loggedIn("anna", "JavaScript", "5.1")
	other := b.connect()
	want(t, "without asking for it", other.request("relogin", quoted(ticket)), `["error","Client does NOT exist"]`)
	next := b.connect()
	result, ok := portalproto.DecodeReloginResult(answered(t, next.request("relogin", restoring(ticket))))
	if !ok || result.Moved == nil || result.Moved.Participant.ID != client.id || result.Moved.Participant.User != "anna" ||
		result.Moved.RoomID != roomID || len(result.Moved.Participants) != 1 || !slices.Equal(result.Edges, []string{"https://a"}) || len(result.Messages) != 0 {
		t.Fatalf("answer %+v", result)
	}
	if got := client.until(t, "41"); slices.Contains(got, "drop null") {
		t.Errorf("the connection before was told %q", got)
	}
	next.opened()
	// Its own ticket is as good as any, and the sessions of this edge go on with it.
	next.h.Closed("transport lost")
	again := b.connect()
	result, ok = portalproto.DecodeReloginResult(answered(t, again.request("relogin", quoted(result.Ticket))))
	if !ok || result.Moved != nil {
		t.Errorf("resumed at the same edge: %+v", result)
	}
	// The ticket of before does not bring it back to the edge of before.
	want(t, "replayed", a.connect().request("relogin", restoring(ticket)), `["error","`+portalproto.ErrClusterUnavailable.Text+`"]`)
	forged := token.MintTicket([]byte(key), token.Ticket{ParticipantID: client.id, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Minute)})
	want(t, "without a state", a.connect().request("relogin", restoring(forged.Encode())), `["error","Client does NOT exist"]`)
}

// Renew implements Rooms.
func (r edgeRooms) Renew(_ context.Context, _, participant string, generation uint64) error {
	if r.renewing != nil {
		<-r.renewing
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.edge[participant] != r.name {
		return portalproto.ErrClusterUnavailable
	}
	j := r.here[participant]
	j.Generation = max(j.Generation, generation)
	r.here[participant] = j
	if r.renewed != nil {
		r.renewed <- generation
	}
	return nil
}

// TestTicketAfterTheMove: an edge that has not heard that another one has a participant by now does not take a ticket of before.
func TestTicketAfterTheMove(t *testing.T) {
	a, b := newTown(t)
	a.portal.options.Rooms.(edgeRooms).townRooms.deaf = true
	client, ticket := a.loggedIn("anna", "JavaScript", "5.1")
	next := b.connect()
	if result, ok := portalproto.DecodeReloginResult(answered(t, next.request("relogin", restoring(ticket)))); !ok || result.Moved == nil {
		t.Fatalf("answer %+v", result)
	}
	next.opened()
	want(t, "replayed", a.connect().request("relogin", restoring(ticket)), `["error","`+portalproto.ErrClusterUnavailable.Text+`"]`)
	if a.portal.Participants() != 1 {
		t.Error("it did know the participant")
	}
	client.h.Closed("transport lost")
}

// TestLogoutWhileResuming: whoever logs out while the edge makes sure that it has them leaves.
func TestLogoutWhileResuming(t *testing.T) {
	a, _ := newTown(t)
	renewing := make(chan struct{})
	a.portal.options.Rooms.(edgeRooms).townRooms.renewing = renewing
	client, ticket := a.loggedIn("anna", "JavaScript", "5.1")
	client.h.Closed("transport lost")
	back := a.connect()
	answer := back.start("relogin", restoring(ticket))
	want(t, "logout", back.request("logout", ""), `["ok"]`)
	close(renewing)
	want(t, "relogin", <-answer, `["error","`+portalproto.ErrEarlyLeft.Text+`"]`)
	if n := a.portal.Participants(); n != 0 {
		t.Errorf("%d participants are left", n)
	}
}

// TestTicketAhead: a ticket of an edge whose clock is ahead is taken, and one that is over is not.
func TestTicketAhead(t *testing.T) {
	f := newFixture(t)
	for after, ok := range map[time.Duration]bool{0: true, skew / 2: true, 2 * skew: false, -2 * time.Minute: false} {
		begin := time.Now().Add(after)
		ticket := token.MintTicket([]byte(key), token.Ticket{ParticipantID: "anna", NotBefore: begin, NotAfter: begin.Add(90 * time.Second)})
		if _, err := f.portal.check(ticket.Encode()); (err == nil) != ok {
			t.Errorf("valid from %v: %v", after, err)
		}
	}
}

// TestTicketSpent: a ticket that was exchanged at its own edge is not taken at another one.
func TestTicketSpent(t *testing.T) {
	a, b := newTown(t)
	renewed := make(chan uint64, 1)
	a.portal.options.Rooms.(edgeRooms).townRooms.renewed = renewed
	client, ticket := a.loggedIn("anna", "JavaScript", "5.1")
	client.h.Closed("transport lost")
	back := a.connect()
	result, ok := portalproto.DecodeReloginResult(answered(t, back.request("relogin", restoring(ticket))))
	if !ok || result.Moved != nil {
		t.Fatalf("answer %+v", result)
	}
	if got := <-renewed; got != 2 {
		t.Errorf("renewed to %d", got)
	}
	want(t, "spent", b.connect().request("relogin", restoring(ticket)), `["error","`+portalproto.ErrClusterUnavailable.Text+`"]`)
	result, ok = portalproto.DecodeReloginResult(answered(t, b.connect().request("relogin", restoring(result.Ticket))))
	if !ok || result.Moved == nil {
		t.Errorf("with the newest ticket: %+v", result)
	}
}

// waitingLog tells when a line was logged.
type waitingLog struct {
	slog.Handler
	line  string
	heard chan struct{}
}

func (w waitingLog) Enabled(context.Context, slog.Level) bool { return true }
func (w waitingLog) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w waitingLog) WithGroup(string) slog.Handler            { return w }
func (w waitingLog) Handle(_ context.Context, r slog.Record) error {
	if r.Message == w.line {
		w.heard <- struct{}{}
	}
	return nil
}

// TestRestoreUnheard: a client that did not hear that it was taken over asks again, and is answered as if it was now.
func TestRestoreUnheard(t *testing.T) {
	taken := waitingLog{slog.DiscardHandler, "connection lost", make(chan struct{}, 10)}
	a, b := newTown(t, func(o *Options) { o.Log = slog.New(taken) })
	client, ticket := a.loggedIn("anna", "JavaScript", "5.1")
	b.portal.options.Rooms.(edgeRooms).gate = make(chan struct{})
	lost := b.connect()
	ack := lost.start("relogin", restoring(ticket))
	lost.h.Closed("gave up")
	close(b.portal.options.Rooms.(edgeRooms).gate)
	client.until(t, "41")
	<-taken.heard
	if n := b.portal.Participants(); n != 1 {
		t.Errorf("%d participants", n)
	}
	select {
	case got := <-ack:
		t.Errorf("a connection that is gone was answered %s", got)
	default:
	}
	next := b.connect()
	result, _ := portalproto.DecodeReloginResult(answered(t, next.request("relogin", restoring(ticket))))
	if result.Moved == nil || result.Moved.Participant.ID != client.id {
		t.Errorf("answer %+v", result)
	}
	next.opened()
	// The answer was lost on the way, and something was told since: it is in the next answer.
	other := b.joined("bob", "presenter")
	last := b.connect()
	result, _ = portalproto.DecodeReloginResult(answered(t, last.request("relogin", restoring(ticket))))
	if result.Moved == nil || len(result.Moved.Participants) != 2 || len(result.Messages) != 0 {
		t.Errorf("answer %+v", result)
	}
	next.until(t, "41")
	other.take()
	last.opened()
	last.h.Closed("lost")
	result, _ = portalproto.DecodeReloginResult(answered(t, b.connect().request("relogin", `{"ticket":`+quoted(result.Ticket)+`}`)))
	if result.Moved != nil || len(result.Messages) > 0 && result.Messages[0].Seq != 1 {
		t.Errorf("answer %+v", result)
	}
}

// TestRestoreOverrun: a participant that goes to a third edge, or is put out, while it is being taken over is not kept here.
func TestRestoreOverrun(t *testing.T) {
	for _, end := range []func(room.Member){room.Member.Moved, room.Member.Drop} {
		a, b := newTown(t)
		_, ticket := a.loggedIn("anna", "JavaScript", "5.1")
		b.portal.options.Rooms = overrun{b.portal.options.Rooms, end}
		c := b.connect()
		want(t, "overrun", c.request("relogin", restoring(ticket)), `["error","`+portalproto.ErrClusterUnavailable.Text+`"]`)
		if n := b.portal.Participants(); n != 0 {
			t.Errorf("%d participants are kept", n)
		}
	}
}

// overrun are rooms that end each participant before they say that it has joined.
type overrun struct {
	Rooms
	end func(room.Member)
}

func (o overrun) Join(ctx context.Context, j room.Join) (room.Joined, error) {
	joined, err := o.Rooms.Join(ctx, j)
	if err == nil {
		o.end(j.Member)
	}
	return joined, err
}

// TestIsForeign: tickets of another edge, and those of this one from before the participant went away and came back, are from before.
func TestIsForeign(t *testing.T) {
	keys := token.Keys{Current: []byte(key)}
	p := &participant{portal: &Portal{options: Options{Edge: "b", TicketKeys: func() token.Keys { return keys }}}, base: 5}
	for _, c := range []struct {
		edge       string
		generation uint64
		want       bool
	}{{"a", 4, true}, {"a", 9, true}, {"b", 5, true}, {"b", 6, false}} {
		ticket := keys.SealState(keys.MintTicket(token.Ticket{ParticipantID: "x"}), token.State{Room: roomID, Edge: c.edge, Generation: c.generation}, token.Nonce{})
		if got := p.isForeign(ticket); got != c.want {
			t.Errorf("%s %d: %v", c.edge, c.generation, got)
		}
	}
}

func TestMove(t *testing.T) {
	a, _ := newTown(t, object)
	moving := a.connect()
	data := strings.Replace(login(a.token("anna", "presenter", 0)), `"protocol"`, `"migrate":true,"protocol"`, 1)
	moving.request("login", data)
	moving.opened()
	staying := a.joined("bob", "presenter")
	moving.take()
	staying.take()
	if n := a.portal.Move(10 * time.Second); n != 1 {
		t.Errorf("%d are to move", n)
	}
	got := moving.take()
	event, text, _ := strings.Cut(got[0], " ")
	v, err := jsonvalue.Parse([]byte(text), jsonvalue.Limits{})
	n, ok := portalproto.DecodeNotification(event, v)
	if m, is := n.(portalproto.Move); err != nil || !ok || !is || m.Deadline != 10*time.Second || !slices.Equal(m.Edges, []string{"https://b"}) || m.Ticket == "" {
		t.Errorf("told %q", got)
	}
	if got := staying.take(); len(got) != 0 {
		t.Errorf("who does not move is told %q", got)
	}
}

func TestFull(t *testing.T) {
	full := true
	a, b := newTown(t, func(o *Options) { o.Full = func() bool { return full } })
	tok := a.token("anna", "presenter", 0)
	want(t, "login", a.connect().request("login", login(tok)), `["error","Server is overloaded, try again later",{"edges":["https://b"]}]`)
	full = false
	c := a.connect()
	ticket := answered(t, c.request("login", login(tok))).Get("reconnectionTicket").Text()
	full = true
	want(t, "restore", b.connect().request("relogin", restoring(ticket)), `["error","Server is overloaded, try again later",{"edges":["https://a"]}]`)
	c.opened()
	c.h.Closed("lost")
	answered(t, a.connect().request("relogin", restoring(ticket))) // who is here already has its place
}

// TestThin: who asks for a thin roster has one in a large room, here and on another edge; who does not, never.
func TestThin(t *testing.T) {
	a, b := newTown(t)
	a.rooms.Directory = room.NewDirectory(room.Options{ // with which both edges are made
		Config: testConfig, Media: noMedia{}, NewID: func() string { return "s" }, Limits: room.Limits{Roster: 2},
		Log: slog.New(slog.DiscardHandler),
	})
	thinLogin := func() string {
		return strings.Replace(login(a.token("anna", "presenter", 0)), `"protocol"`, `"thin":true,"protocol"`, 1)
	}
	check := func(what string, v jsonvalue.Value, listed int, count int64, thin bool) {
		t.Helper()
		told, _ := v.Get("count").Int()
		if n := v.Path("room", "participants").Len(); n != listed || told != count || v.Get("thin").Bool() != thin ||
			v.Get("count").Exists() != (count > 0) {
			t.Errorf("%s: %d are listed in %s", what, n, v)
		}
	}
	first := a.connect()
	check("alone", answered(t, first.request("login", thinLogin())), 1, 1, false)
	first.opened()
	plain := a.connect()
	check("not asking", answered(t, plain.request("login", login(a.token("bob", "presenter", 0)))), 2, 0, false)
	plain.opened()
	third := a.connect()
	answer := answered(t, third.request("login", thinLogin()))
	check("in a crowd", answer, 1, 3, true)
	third.opened()
	first.until(t, `roster {"count":3,"thin":true}`)
	late := a.connect()
	check("not asking", answered(t, late.request("login", login(a.token("carl", "presenter", 0)))), 4, 0, false)
	late.opened()
	for _, line := range plain.take() {
		if strings.HasPrefix(line, "roster") || strings.Contains(line, "leave") {
			t.Errorf("who did not ask is told %s", line)
		}
	}
	data := portalproto.Relogin{Ticket: answer.Get("reconnectionTicket").Text(), Restore: true, Thin: true}.Encode().String()
	moved := b.connect()
	check("moved", answered(t, moved.request("relogin", data)).Get("moved"), 1, 4, true)
	// Its answer was lost: it asks again.
	again := b.connect()
	check("again", answered(t, again.request("relogin", data)).Get("moved"), 1, 4, true)
	plainly := b.connect()
	data = portalproto.Relogin{Ticket: answer.Get("reconnectionTicket").Text(), Restore: true}.Encode().String()
	check("not any more", answered(t, plainly.request("relogin", data)).Get("moved"), 4, 0, false)
}

func TestRotated(t *testing.T) {
	for n, want := range []string{"[a b c d e]", "[b a c d e]", "[c a b d e]", "[a b c d e]"} {
		if got := fmt.Sprint(rotated([]string{"a", "b", "c", "d", "e"}, n)); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	if got := fmt.Sprint(rotated([]string{"a"}, 7)); got != "[a]" {
		t.Error(got)
	}
}

// awayTokens is a store that can be away.
type awayTokens struct {
	*memoryTokens
	away bool
}

func (s *awayTokens) ConsumeToken(ctx context.Context, id string) (store.TokenRecord, error) {
	if s.away {
		return store.TokenRecord{}, store.ErrAway
	}
	return s.memoryTokens.ConsumeToken(ctx, id)
}

// TestSealedTokens: a token that carries its record admits once, whether the store answers or not.
func TestSealedTokens(t *testing.T) {
	tokens := &awayTokens{memoryTokens: &memoryTokens{records: map[string]store.TokenRecord{}}}
	now := time.Now()
	admit := func() func(context.Context, jsonvalue.Value) (Grant, error) {
		return AdmitByToken([]byte(key), tokens, func() time.Time { return now })
	}
	minted := 0
	mint := func(r store.TokenRecord, stored bool) (string, token.Token) {
		minted++
		r.ID, r.User, r.Role, r.Room = fmt.Sprintf("%024x", minted), "anna", "presenter", roomID
		tk := token.Token{TokenID: r.ID, Host: "h:1", Record: token.SealRecord([]byte(key), r.ID, store.EncodeRecord(r), token.Nonce{byte(minted)})}
		if stored {
			tokens.records[r.ID] = r
		}
		tk = token.Mint([]byte(key), tk)
		return tk.Encode(), tk
	}
	edge, other := admit(), admit()
	use := func(by func(context.Context, jsonvalue.Value) (Grant, error), text string) string {
		g, err := by(t.Context(), jsonvalue.Of(text))
		if err != nil {
			return err.Error()
		}
		return g.User + " " + g.Room + " " + fmt.Sprint(len(g.TokenID), g.Created.UnixMilli() == now.UnixMilli())
	}
	const ok = "anna " + roomID + " 24 true"
	fresh := store.TokenRecord{Created: now}
	one, _ := mint(fresh, true)
	want(t, "first", use(edge, one), ok)
	want(t, "twice", use(edge, one), "Invalid token")
	want(t, "elsewhere", use(other, one), "Invalid token")
	tokens.away = true
	two, _ := mint(fresh, true)
	want(t, "while the store is away", use(edge, two), ok)
	want(t, "twice", use(edge, two), "Invalid token")
	tokens.away = false
	unstored := fresh
	unstored.Unstored = true
	three, _ := mint(unstored, false)
	want(t, "not stored", use(edge, three), ok)
	want(t, "twice", use(edge, three), "Invalid token")
	old := fresh
	old.Created = now.Add(-TokenLifetime - time.Second)
	four, _ := mint(old, true)
	want(t, "old", use(edge, four), "Expired")
	five, tk := mint(fresh, true)
	_, other5 := mint(fresh, true)
	tk.Record = other5.Record
	want(t, "with another's record", use(edge, tk.Encode()), "Invalid token")
	want(t, "the right one", use(edge, five), ok)
	if _, err := edge(t.Context(), jsonvalue.Of("x")); errors.As(err, new(*portalproto.Error)) == false {
		t.Error(err)
	}
}
