package room

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"portico/shared/conference"
	"portico/shared/portalproto"
)

// fakeMesh joins Directories as the cluster does, in one process and at once: entries are in one place for all edges that reach each
// other, and whoever has something to hear of them hears it before the call that caused it returns.
type fakeMesh struct {
	mu     sync.Mutex
	seats  map[string]*fakeSeat // by edge
	tokens map[string]bool
	parted map[string]*fakePart // by edge
	refuse error                // the answer to every Admit
	gone   map[Key]uint64       // generations of what was removed
	silent map[string]bool      // edges that answer no command
}

// fakePart is what one part of a cluster has of the room.
type fakePart struct {
	home    string
	entries map[Key]Entry
}

// fakeSeat is one edge's Membership.
type fakeSeat struct {
	mesh *fakeMesh
	edge string
	part Part
	sent []string // commands to the home, for tests

	asked   []string // and to owners
	resyncs int
}

type fakeCluster struct {
	mesh *fakeMesh
	edge string
}

func (f fakeCluster) Enter(_, region string, part Part) Membership {
	m := f.mesh
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &fakeSeat{mesh: m, edge: f.edge, part: part}
	m.seats[f.edge] = s
	at := m.parted[f.edge]
	var changes []Change
	for _, key := range slices.SortedFunc(maps.Keys(at.entries), byID) {
		if e := at.entries[key]; e.Owner != f.edge {
			changes = append(changes, Change{Now: &e})
		}
	}
	part.Apply(changes)
	if at.home == "" {
		at.home = f.edge
		part.Lead(true)
	}
	return s
}

func byID(a, b Key) int { return strings.Compare(a.ID, b.ID) }

func (f fakeCluster) Command(ctx context.Context, _ string, body []byte) ([]byte, error) {
	f.mesh.mu.Lock()
	home := f.mesh.seats[f.mesh.parted[f.edge].home]
	f.mesh.mu.Unlock()
	if home == nil {
		return nil, ErrNoRoom
	}
	return home.part.Command(ctx, f.edge, body)
}

func (s *fakeSeat) at() *fakePart { return s.mesh.parted[s.edge] }

// others are the seats of the same part, in order.
func (s *fakeSeat) others() (list []*fakeSeat) {
	for _, edge := range slices.Sorted(maps.Keys(s.mesh.seats)) {
		if edge != s.edge && s.mesh.parted[edge] == s.at() {
			list = append(list, s.mesh.seats[edge])
		}
	}
	return list
}

func (s *fakeSeat) Admit(ctx context.Context, a Admission) (Admitted, error) {
	s.mesh.mu.Lock()
	defer s.mesh.mu.Unlock()
	if s.mesh.refuse != nil {
		return Admitted{}, s.mesh.refuse
	}
	if s.at().home == "" {
		return Admitted{}, errors.New("no home")
	}
	people := 0
	for key := range s.at().entries {
		if key.Kind == ParticipantEntry {
			people++
		}
	}
	was, there := s.at().entries[Key{ParticipantEntry, a.Participant}]
	switch {
	case a.TokenID != "" && s.mesh.tokens[a.TokenID]:
		return Admitted{}, portalproto.ErrInvalidToken
	case a.Resume && !there:
		return Admitted{}, portalproto.ErrNoClient
	case a.Resume && a.Generation <= was.Generation:
		return Admitted{}, portalproto.ErrClusterUnavailable
	case !a.Resume && there:
		return Admitted{}, portalproto.ErrAlreadyInRoom
	case !a.Resume && people >= a.Limit:
		return Admitted{}, portalproto.ErrRoomFull
	}
	s.mesh.tokens[a.TokenID] = a.TokenID != ""
	return Admitted{Before: was.Owner}, nil
}

func (s *fakeSeat) Resync() {
	s.mesh.mu.Lock()
	defer s.mesh.mu.Unlock()
	var list []Entry
	for _, key := range slices.SortedFunc(maps.Keys(s.at().entries), byID) {
		if e := s.at().entries[key]; e.Owner != s.edge {
			list = append(list, e)
		}
	}
	s.resyncs++
	s.part.Whole(list, s.at().home == s.edge)
}

func (s *fakeSeat) Synced(context.Context) error { return nil }

func (s *fakeSeat) Put(key Key, generation uint64, value []byte) {
	s.mesh.mu.Lock()
	defer s.mesh.mu.Unlock()
	if len(value) > MaxValue {
		panic("value too long")
	}
	s.mesh.put(s.at(), Entry{Key: key, Owner: s.edge, Generation: generation, Value: value})
}

// put takes an entry into one part, and tells those who are concerned; mu is held.
func (m *fakeMesh) put(at *fakePart, e Entry) {
	if e.Generation <= m.gone[e.Key] {
		panic("put again: " + e.ID)
	}
	was, there := at.entries[e.Key]
	if there && was.Owner != e.Owner && (was.Generation > e.Generation || was.Generation == e.Generation && was.Owner > e.Owner) {
		m.seats[e.Owner].part.Moved(e.Key)
		return
	}
	at.entries[e.Key] = e
	change := Change{Now: &e}
	if there {
		change.Was = &was
	}
	for edge, seat := range m.seats {
		if m.parted[edge] != at || edge == e.Owner {
			continue
		}
		if there && was.Owner == edge {
			seat.part.Moved(e.Key)
		}
		seat.part.Apply([]Change{change})
	}
}

func (s *fakeSeat) Remove(key Key) {
	s.mesh.mu.Lock()
	defer s.mesh.mu.Unlock()
	if e, ok := s.at().entries[key]; ok && e.Owner == s.edge {
		s.mesh.drop(s.at(), []Key{key})
	}
}

// drop removes entries from one part, in one go; mu is held.
func (m *fakeMesh) drop(at *fakePart, keys []Key) {
	slices.SortFunc(keys, byID)
	for edge, seat := range m.seats {
		if m.parted[edge] != at {
			continue
		}
		var changes []Change
		for _, key := range keys {
			if was := at.entries[key]; was.Owner != edge {
				changes = append(changes, Change{Was: &was})
			}
		}
		seat.part.Apply(changes)
	}
	for _, key := range keys {
		m.gone[key] = max(m.gone[key], at.entries[key].Generation)
		delete(at.entries, key)
	}
}

func (s *fakeSeat) Note(_ context.Context, to string, body []byte) error {
	s.mesh.mu.Lock()
	defer s.mesh.mu.Unlock()
	for _, other := range s.others() {
		if to == "" || s.at().entries[Key{ParticipantEntry, to}].Owner == other.edge {
			other.part.Note(body)
		}
	}
	return nil
}

func (s *fakeSeat) Home(ctx context.Context, body []byte) ([]byte, error) {
	s.mesh.mu.Lock()
	home := s.mesh.seats[s.at().home]
	s.sent = append(s.sent, "home "+string(body))
	s.mesh.mu.Unlock()
	if home == nil {
		return nil, errors.New("no home")
	}
	return home.part.Command(ctx, s.edge, body)
}

func (s *fakeSeat) Owner(ctx context.Context, key Key, body []byte) ([]byte, error) {
	s.mesh.mu.Lock()
	owner := s.mesh.seats[s.at().entries[key].Owner]
	s.asked = append(s.asked, "owner "+string(body))
	silent := owner != nil && s.mesh.silent[owner.edge]
	s.mesh.mu.Unlock()
	if silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if owner == nil {
		return nil, errors.New("no owner")
	}
	return owner.part.Command(ctx, s.edge, body)
}

func (s *fakeSeat) Leads() bool { return s.HomeEdge() == s.edge }

func (s *fakeSeat) HomeEdge() string {
	s.mesh.mu.Lock()
	defer s.mesh.mu.Unlock()
	return s.at().home
}

func (s *fakeSeat) Close() {
	s.mesh.mu.Lock()
	defer s.mesh.mu.Unlock()
	delete(s.mesh.seats, s.edge)
	s.mesh.dropAll(s.edge)
	if at := s.at(); at.home == s.edge {
		at.home = ""
		if others := s.others(); len(others) > 0 {
			at.home = others[0].edge
			others[0].part.Lead(true)
		}
	}
}

// dropAll removes what an edge has; mu is held.
func (m *fakeMesh) dropAll(edge string) {
	var keys []Key
	for key, e := range m.parted[edge].entries {
		if e.Owner == edge {
			keys = append(keys, key)
		}
	}
	m.drop(m.parted[edge], keys)
}

// town is a room that lives on several edges, each a house.
type town struct {
	t      *testing.T
	mesh   *fakeMesh
	houses map[string]*house
	mixers map[string]*fakeMixers
}

// newTown makes the edges of the names.
func newTown(t *testing.T, change func(*conference.Room), edges ...string) *town {
	w := &town{
		t: t, mesh: &fakeMesh{seats: map[string]*fakeSeat{}, tokens: map[string]bool{}, gone: map[Key]uint64{}, parted: map[string]*fakePart{}},
		houses: map[string]*house{}, mixers: map[string]*fakeMixers{},
	}
	whole := &fakePart{entries: map[Key]Entry{}}
	for _, edge := range edges {
		h := newHouse(t, func(r *conference.Room) {
			roles := r.Roles
			*r = conference.DefaultRoom()
			r.ID, r.Roles = roomID, append(r.Roles, roles[len(roles)-1])
			if change != nil {
				change(r)
			}
		})
		w.mesh.parted[edge] = whole
		w.houses[edge], w.mixers[edge] = h, &fakeMixers{mixes: map[string]Mix{}, follows: map[string]string{}}
		h.d.options.Cluster, h.d.options.Mixers = fakeCluster{w.mesh, edge}, w.mixers[edge]
		plain := h.d.options.NewID
		h.d.options.NewID = func() string { return edge + plain() }
	}
	return w
}

// settle waits until all edges have heard what the others have said.
func (w *town) settle() {
	w.t.Helper()
	for range 4 {
		for _, h := range w.houses {
			if h.d.find(roomID) != nil {
				h.settle()
			}
		}
	}
}

// join lets a participant in at an edge.
func (w *town) join(edge, id, role string) (*fakeMember, Joined) {
	w.t.Helper()
	m, j := w.houses[edge].join(id, role)
	w.settle()
	return m, j
}

// resume lets a participant that is in the room come to another edge.
func (w *town) resume(edge, id string, generation uint64) (*fakeMember, Joined) {
	w.t.Helper()
	m := &fakeMember{}
	j, err := w.houses[edge].d.Join(w.t.Context(), Join{Room: roomID, Participant: id, Member: m, Resume: true, Generation: generation})
	if err != nil {
		w.t.Fatalf("resumption of %s at %s: %v", id, edge, err)
	}
	w.settle()
	return m, j
}

func (w *town) publish(edge, owner string) string {
	w.t.Helper()
	id := w.houses[edge].publishAV(owner)
	w.settle()
	return id
}

// republish goes on with a stream at another edge.
func (w *town) republish(edge, owner, stream string) {
	w.t.Helper()
	h := w.houses[edge]
	ack, err := h.d.Publish(w.t.Context(), roomID, owner, portalproto.PublishRequest{Tracks: avTracks, Resume: stream})
	if err != nil || ack.ID != stream {
		w.t.Fatalf("republished as %v: %v", ack, err)
	}
	h.ready(stream, avOf(stream))
	w.settle()
}

func (w *town) leave(edge, id string) {
	w.houses[edge].d.Leave(w.t.Context(), roomID, id)
	w.settle()
}

func (w *town) control(edge, who string, c portalproto.StreamControl) error {
	w.t.Helper()
	err := w.houses[edge].control(who, c)
	w.settle()
	return err
}

func (w *town) mix(edge, who, stream string) {
	w.t.Helper()
	wantText(w.t, "mix", w.control(edge, who, portalproto.StreamControl{ID: stream, Operation: portalproto.Mix, View: "common"}), "<nil>")
}

// moveHome makes another edge the home.
func (w *town) moveHome(edge string) {
	w.t.Helper()
	w.mesh.mu.Lock()
	at := w.mesh.parted[edge]
	before := w.mesh.seats[at.home]
	at.home = edge
	w.mesh.seats[edge].part.Lead(true)
	if before != nil {
		before.part.Lead(false)
	}
	w.mesh.mu.Unlock()
	w.settle()
}

// kill ends an edge without a word; its entries stay until expire.
func (w *town) kill(edge string) {
	w.mesh.mu.Lock()
	defer w.mesh.mu.Unlock()
	delete(w.mesh.seats, edge)
	delete(w.houses, edge)
}

func (w *town) expire(edge string) {
	w.mesh.mu.Lock()
	w.mesh.dropAll(edge)
	w.mesh.mu.Unlock()
	w.settle()
}

// split cuts edges off, which have a home of their own then.
func (w *town) split(home string, edges ...string) {
	w.mesh.mu.Lock()
	apart := &fakePart{home: home, entries: maps.Clone(w.mesh.parted[home].entries)}
	for _, edge := range edges {
		w.mesh.parted[edge] = apart
	}
	w.mesh.seats[home].part.Lead(true)
	w.mesh.mu.Unlock()
	w.settle()
}

// heal makes all one again; the home of the first part stays.
func (w *town) heal(stays string) {
	w.mesh.mu.Lock()
	whole := w.mesh.parted[stays]
	was := map[string]map[Key]Entry{}
	all := map[Key]Entry{}
	losers := map[string]bool{}
	for edge, at := range w.mesh.parted {
		was[edge] = maps.Clone(at.entries)
		if at != whole {
			losers[at.home] = true
		}
		for key, e := range at.entries {
			o, there := all[key]
			if e.Owner == edge && (!there || o.Generation < e.Generation || o.Generation == e.Generation && o.Owner < e.Owner) {
				all[key] = e
			}
		}
	}
	whole.entries = all
	for edge, seat := range w.mesh.seats {
		w.mesh.parted[edge] = whole
		var changes []Change
		for _, key := range slices.SortedFunc(maps.Keys(all), byID) {
			if e := all[key]; e.Owner != edge && fmt.Sprint(was[edge][key]) != fmt.Sprint(e) {
				changes = append(changes, Change{Now: &e})
			}
		}
		for key, e := range was[edge] {
			if _, there := all[key]; !there && e.Owner != edge {
				changes = append(changes, Change{Was: &e})
			}
		}
		seat.part.Apply(changes)
	}
	for edge := range losers {
		w.mesh.seats[edge].part.Lead(false)
	}
	w.mesh.mu.Unlock()
	w.settle()
}

// roster is who and what an edge lists, sorted.
func (w *town) roster(edge string) string {
	w.t.Helper()
	h := w.houses[edge]
	var list []string
	for _, p := range listed(h.d.Participants(w.t.Context(), roomID)) {
		list = append(list, p.ID)
	}
	for _, s := range listed(h.d.Streams(w.t.Context(), roomID)) {
		list = append(list, s.ID+fmt.Sprint(s.InViews)+s.Layout.String()+s.ActiveInput)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// same checks that all edges list the same.
func (w *town) same(edges ...string) {
	w.t.Helper()
	for _, edge := range edges[1:] {
		if a, b := w.roster(edges[0]), w.roster(edge); a != b {
			w.t.Errorf("%s lists\n%s\n%s\n%s", edges[0], a, edge, b)
		}
	}
}
