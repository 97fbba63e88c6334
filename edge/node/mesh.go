package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"portico/edge/cascade"
	"portico/edge/mesh"
	"portico/edge/peers"
	"portico/edge/portal"
	"portico/edge/room"
	"portico/edge/rtc"
	"portico/shared/link"
	"portico/shared/placement"
	"portico/shared/portalproto"
	"portico/shared/roster"
)

// openMesh makes the links to other edges and what goes over them. Nothing is taken or sent before joinCluster.
func (n *Node) openMesh() error {
	if n.members == nil {
		return nil
	}
	var err error
	n.peers, err = peers.New(peers.Options{
		Identity: n.members.id, Address: n.members.link, Log: n.log,
		Listen: func(o link.Options) (*link.Listener, error) { return link.Listen(n.udp.Links(), n.members.id, o) },
	})
	if err != nil {
		return err
	}
	n.mesh = mesh.New(mesh.Options{
		Peers: n.peers, Self: n.members.self, Grace: n.cfg.Cluster.Grace, Limit: n.roomLimit, Host: n.wake, Log: n.log,
		TokenLife: 2 * portal.TokenLifetime,
	})
	n.cascade = cascade.New(cascade.Options{
		Links: n.peers, Media: remote{n}, Mixers: n.jobs, Converter: n.jobs, Parent: n.parent, Log: n.log,
	})
	n.presence = &presence{rooms: map[string]map[string]int{}, changed: n.cascade.Reparent}
	return nil
}

// hostTime bounds the wait for a room to wake.
const hostTime = 10 * time.Second

// wake has a room active here that this edge is the home of, for participants on other edges.
func (n *Node) wake(room string) {
	ctx, cancel := context.WithTimeout(context.Background(), hostTime)
	defer cancel()
	if err := n.rooms.Host(ctx, room); err != nil {
		n.log.Warn("room has its home here, and cannot be active", "room", room, "error", err)
	}
}

// parent names the edge that a stream is pulled from.
func (n *Node) parent(room, stream, origin string) string {
	owners := n.presence.of(room)
	self := n.members.self.ID
	edges := slices.DeleteFunc(n.members.Edges(), func(e placement.Edge) bool { return e.ID != self && !owners[e.ID] })
	return placement.Parent(stream, origin, self, edges)
}

// presence is which other edges have something in the rooms of this one.
type presence struct {
	changed func() // the edges of some room are others

	mu    sync.Mutex // guards rooms
	rooms map[string]map[string]int
}

// of gives the edges of a room.
func (p *presence) of(room string) map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	edges := make(map[string]bool, len(p.rooms[room]))
	for edge := range p.rooms[room] {
		edges[edge] = true
	}
	return edges
}

// take counts what has come and gone.
func (p *presence) take(room string, changes []roster.Change) {
	p.mu.Lock()
	owners := p.rooms[room]
	if owners == nil {
		owners = map[string]int{}
		p.rooms[room] = owners
	}
	before := len(owners)
	others := false
	for _, c := range changes {
		if c.Now != nil {
			owners[c.Now.Owner]++
			others = others || owners[c.Now.Owner] == 1
		}
		if c.Was != nil && owners[c.Was.Owner] > 0 {
			if owners[c.Was.Owner]--; owners[c.Was.Owner] == 0 {
				delete(owners, c.Was.Owner)
			}
		}
	}
	others = others || len(owners) != before
	p.mu.Unlock()
	if others {
		p.changed()
	}
}

func (p *presence) leave(room string) {
	p.mu.Lock()
	delete(p.rooms, room)
	p.mu.Unlock()
}

// remote is the media engine as the cascade sees it. It asks for nothing before the rooms and the other edges, which come later, do.
type remote struct{ n *Node }

func (r remote) OpenRemote(s rtc.RemoteSpec) (*rtc.Remote, error) { return r.n.engine.OpenRemote(s) }
func (r remote) OpenTap(s rtc.TapSpec) (*rtc.Tap, error)          { return r.n.engine.OpenTap(s) }
func (r remote) OpenOutlet(s rtc.OutletSpec) (*rtc.Outlet, error) { return r.n.engine.OpenOutlet(s) }
func (r remote) OpenSelector(s rtc.SelectorSpec) (*rtc.Selector, error) {
	return r.n.engine.OpenSelector(s)
}
func (r remote) Known(track string) bool { return r.n.engine.Known(track) }
func (r remote) Now() int64              { return r.n.engine.Now() }

// limitTime bounds the wait for a room's configuration while somebody joins.
const limitTime = 500 * time.Millisecond

// roomLimit is how many participants a room may have that this edge is the home of.
func (n *Node) roomLimit(id string) int {
	ctx, cancel := context.WithTimeout(context.Background(), limitTime)
	defer cancel()
	limit := n.cfg.Limits.RoomParticipants
	if config, err := n.roomConfig(ctx, id); err == nil && config.ParticipantLimit > 0 {
		limit = min(limit, config.ParticipantLimit)
	}
	return limit
}

// cluster is what the rooms get: nothing without one.
func (n *Node) cluster() room.Cluster {
	if n.mesh == nil {
		return nil
	}
	return rooms{n.mesh, n.presence}
}

// rooms is the mesh as the rooms see it.
type rooms struct {
	mesh     *mesh.Mesh
	presence *presence
}

func (r rooms) Enter(id, region string, p room.Part) room.Membership {
	return membership{r.mesh.Enter(id, region, part{p, id, r.presence}), id, r.presence}
}

func (r rooms) Command(ctx context.Context, id string, body []byte) ([]byte, error) {
	answer, err := r.mesh.Command(ctx, id, body)
	if errors.Is(err, mesh.ErrNoRoom) {
		err = room.ErrNoRoom
	}
	return answer, err
}

// membership is an edge's part in one room, as the room sees it.
type membership struct {
	*mesh.Membership
	room     string
	presence *presence
}

func (m membership) Close() {
	m.Membership.Close()
	m.presence.leave(m.room)
}

// refusals are the portal's words for what a room's home says.
var refusals = []struct {
	err  error
	says *portalproto.Error
}{
	{mesh.ErrRoomFull, portalproto.ErrRoomFull},
	{mesh.ErrTokenUsed, portalproto.ErrInvalidToken},
	{mesh.ErrTaken, portalproto.ErrAlreadyInRoom},
	{mesh.ErrUnknownParticipant, portalproto.ErrNoClient},
	// Another edge has had the participant since, perhaps for this client: it goes on looking for itself.
	{mesh.ErrReplayed, portalproto.ErrClusterUnavailable},
}

func (m membership) Admit(ctx context.Context, a room.Admission) (room.Admitted, error) {
	admission := roster.Admission{Participant: a.Participant, Generation: a.Generation, Resume: a.Resume, Token: a.TokenID}
	if a.TokenID != "" {
		admission.Created = a.Created.Unix()
	}
	admitted, err := m.Membership.Admit(ctx, admission)
	return room.Admitted{Before: admitted.Before}, inWords(err)
}

// inWords puts a refusal of a room's home into the portal's words. Other errors stay what they are.
func inWords(err error) error {
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return r.says
		}
	}
	return err
}

// Put implements room.Membership. What the mesh refuses, the room has kept within its bounds.
func (m membership) Put(key room.Key, generation uint64, value []byte) {
	_ = m.Membership.Put(keyTo(key), generation, value)
}

func (m membership) Remove(key room.Key) { m.Membership.Remove(keyTo(key)) }

func (m membership) Owner(ctx context.Context, key room.Key, body []byte) ([]byte, error) {
	return m.Membership.Owner(ctx, keyTo(key), body)
}

// part is a room as the mesh sees it.
type part struct {
	room.Part
	room     string
	presence *presence
}

func (p part) Apply(changes []roster.Change) {
	p.presence.take(p.room, changes)
	list := make([]room.Change, len(changes))
	for i, c := range changes {
		list[i] = room.Change{Was: entryFrom(c.Was), Now: entryFrom(c.Now)}
	}
	p.Part.Apply(list)
}

func (p part) Whole(entries []roster.Entry, leads bool) {
	list := make([]room.Entry, len(entries))
	for i := range entries {
		list[i] = *entryFrom(&entries[i])
	}
	p.Part.Whole(list, leads)
}

func (p part) Moved(key roster.Key) { p.Part.Moved(keyFrom(key)) }

// kinds are the kinds of entries in both words.
var kinds = map[room.EntryKind]roster.Kind{
	room.ParticipantEntry: roster.Participant, room.StreamEntry: roster.Stream, room.MixEntry: roster.Mix,
}

func keyTo(k room.Key) roster.Key { return roster.Key{Kind: kinds[k.Kind], ID: k.ID} }

func keyFrom(k roster.Key) room.Key {
	for kind, other := range kinds {
		if other == k.Kind {
			return room.Key{Kind: kind, ID: k.ID}
		}
	}
	return room.Key{ID: k.ID}
}

func entryFrom(e *roster.Entry) *room.Entry {
	if e == nil {
		return nil
	}
	return &room.Entry{Key: keyFrom(e.Key), Owner: e.Owner, Generation: e.Generation, Value: e.Value}
}
