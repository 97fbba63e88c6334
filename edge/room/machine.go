package room

import (
	"slices"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// machine is the room controller as a pure state machine: every method checks, changes the state and adds to effects what is
// to happen outside, in order. It does no I/O, knows no clock and takes ids from its caller; one goroutine at a time uses it.
type machine struct {
	config   conference.Room
	limits   Limits
	order    []string // participant ids in join order
	here     []string // those of them that are on this edge
	members  map[string]*member
	streams  []*publication // in the order of publishing, connecting ones included
	views    []*view
	mixes    bool // somebody mixes the views, and makes other forms of streams
	began    bool // somebody has joined
	selected []selectedStream
	subs     map[string]*subscription
	byMember map[string]int // live sessions of each participant
	roster   roster
	effects  []effect

	clustered bool   // other edges are told what is on this one
	leads     bool   // this edge is the room's home
	chooser   string // the edge where the loudest audio is chosen, while that is another one
	// resuming are the publications that are on their way from another edge to this one, by their stream, which is still listed as it was.
	resuming map[string]*publication
	// superseded are sessions whose stream is on another edge now, and their owners; moved are participants that have something here
	// still, though they are elsewhere. The media layer is left to end it.
	superseded map[string]string
	moved      map[string]bool
}

// member is a participant. edge is where it is, empty for here; generation is that of its entry. Its listing counts here only.
type member struct {
	described
	listing
	edge       string
	generation uint64
}

// publication is a forward stream; its id is the session's. edge is where it is published, empty for here; generation is that of its
// entry. One of another edge is ready, and has no transport.
type publication struct {
	stream     conference.Stream
	transport  string
	ready      bool
	failed     bool // its session has ended, and its owner is on another edge: it may be there already
	edge       string
	generation uint64
}

type subscription struct {
	id, owner, transport string
	tracks               []subscribed
	data                 string // id of the data stream it is fed by, instead of tracks
}

// progress is news of a session to its owner.
func (p *publication) progress(status portalproto.ProgressStatus, reason string) portalproto.Progress {
	return progress(p.transport, p.stream.ID, p.stream.Data, status, reason)
}

func (s *subscription) progress(status portalproto.ProgressStatus, reason string) portalproto.Progress {
	return progress(s.transport, s.id, s.data != "", status, reason)
}

// progress names a session in the form its transport has: one of data is known by its own id alone (portal protocol 7.3).
func progress(transport, session string, data bool, status portalproto.ProgressStatus, reason string) portalproto.Progress {
	if data {
		transport, session = session, ""
	}
	return portalproto.Progress{Transport: transport, Session: session, Status: status, Reason: reason}
}

// subscribed is one track of a subscription.
type subscribed struct {
	request portalproto.SubscribeTrack // as it was asked for, and updated since
	stream  string                     // id of the stream it is fed by
	view    string                     // label of the view, if that is a mixed one
	source  MediaSource                // as the media layer knows it
	active  bool
}

// effect is one thing to do outside the state machine.
type effect struct {
	to     string // notify: the participant
	notify portalproto.Notification

	media func(Media) // otherwise: something for the media layer

	candidate string // otherwise: a publication whose audio may be selected

	mix  *Mix // otherwise: what is in a view now
	view string

	follow *string // otherwise: the edge where the view is made, or, without one, where the loudest audio is chosen; empty: here

	entry *Entry // otherwise: something to tell the other edges; its owner is this one
	gone  *Key   // otherwise: something that they need not know any more

	moved string // otherwise: a participant that is on another edge now

	ask *command // otherwise: something to ask the home for, whose answer is of no interest

	tick bool // otherwise: machine.tick is to be called after rosterPace

	orphan string // otherwise: machine.orphaned is to be called with it after orphanTime
}

// newMachine is a room without anyone in it. mixes says that there are mixers, clustered that it may be on other edges too. faults are
// what it does without.
func newMachine(config conference.Room, limits Limits, mixes, clustered bool) (m *machine, faults []error) {
	m = &machine{
		config: config, limits: limits, mixes: mixes, clustered: clustered, leads: !clustered,
		members: map[string]*member{}, subs: map[string]*subscription{}, byMember: map[string]int{},
		resuming: map[string]*publication{}, superseded: map[string]string{}, moved: map[string]bool{},
		roster: roster{shown: map[string]bool{}},
	}
	if config.SelectActiveAudio {
		m.selected = newSelected()
	}
	m.views, faults = newViews(&m.config, mixes)
	return m, faults
}

// take hands over the effects gathered since the last call.
func (m *machine) take() []effect {
	e := m.effects
	m.effects = nil
	return e
}

func (m *machine) tell(to string, n portalproto.Notification) {
	m.effects = append(m.effects, effect{to: to, notify: n})
}

func (m *machine) tellAll(n portalproto.Notification) {
	for _, id := range m.here {
		m.tell(id, n)
	}
}

func (m *machine) do(f func(Media)) { m.effects = append(m.effects, effect{media: f}) }

// tellStreams, like tellParticipant, is silenced by the room's configuration (rooms-and-media 3.4).
func (m *machine) tellStreams(n portalproto.Notification) {
	if m.config.Notifying.StreamChange {
		m.tellAll(n)
	}
}

// join admits a participant (portal protocol 2.3 rows 12 and 13): the others are told, the answer shows the room with it. In a cluster
// the home has given it a place already. One that comes from another edge is no news to anyone.
func (m *machine) join(j *Join) (Joined, error) {
	if err := m.mayJoin(j); err != nil {
		return Joined{}, err
	}
	if !m.began {
		m.began = true
		for _, v := range m.views {
			v.stream.Origin = j.Origin
		}
	}
	who := m.members[j.Participant]
	if who == nil {
		r, _ := m.config.RoleNamed(j.Role)
		who = &member{described: described{client: j.Client, participant: conference.Participant{
			ID: j.Participant, User: j.User, Role: j.Role, Permission: conference.Permission{Publish: r.Publish, Subscribe: r.Subscribe},
		}}}
		m.members[j.Participant] = who
		m.order = append(m.order, j.Participant)
		m.arrived(who.participant)
	}
	who.edge, who.generation = "", max(j.Generation, 1)
	delete(m.moved, j.Participant)
	m.here = append(m.here, j.Participant)
	m.announceMember(who)
	return m.show(who, j.Thin), nil
}

// mayJoin checks what can be checked before the home is asked.
func (m *machine) mayJoin(j *Join) error {
	who := m.members[j.Participant]
	switch {
	case j.Resume && who == nil:
		return portalproto.ErrNoClient
	case j.Resume && who.edge != "" && j.Generation > 0 && j.Generation <= who.generation: // it was taken over again meanwhile
		return portalproto.ErrClusterUnavailable
	case j.Resume && who.edge != "":
		return nil
	case who != nil:
		return portalproto.ErrAlreadyInRoom
	case !m.clustered && len(m.members) >= m.participantLimit():
		return portalproto.ErrRoomFull
	}
	if _, ok := m.config.RoleNamed(j.Role); !ok {
		return portalproto.ErrInvalidRole
	}
	return nil
}

// participantLimit is how many participants there may be.
func (m *machine) participantLimit() int {
	if n := m.config.ParticipantLimit; n > 0 {
		return min(n, m.limits.Participants)
	}
	return m.limits.Participants
}

// local is a participant of this edge, or nil.
func (m *machine) local(id string) *member {
	if who := m.members[id]; who != nil && who.edge == "" {
		return who
	}
	return nil
}

// show gives a member the room as it is. thin says that it makes do with a thin roster.
func (m *machine) show(self *member, thin bool) Joined {
	m.seat(self, thin)
	j := Joined{Self: self.participant, RoomID: m.config.ID, Views: []string{}, Adapts: m.config.EnableBandwidthAdaptation}
	if thin {
		j.Count, j.Thin = self.count, self.thin
	}
	for _, v := range m.views {
		j.Views = append(j.Views, v.config.Label)
	}
	j.Participants, j.Streams = m.listed(self), m.list()
	return j
}

func (m *machine) participants() []conference.Participant {
	list := make([]conference.Participant, len(m.order))
	for i, id := range m.order {
		list[i] = m.members[id].participant
	}
	return list
}

// list is the streams that anyone may subscribe to (management API 8.2).
func (m *machine) list() []conference.Stream {
	var list []conference.Stream
	for _, v := range m.views {
		list = append(list, v.stream)
	}
	for i := range m.selected {
		list = append(list, m.selected[i].Stream)
	}
	for _, p := range m.streams {
		if p.ready {
			list = append(list, p.stream)
		}
	}
	return list
}

// leave is the leave sequence of portal protocol 6.9: media first, then the participant, then its streams.
func (m *machine) leave(id string) bool {
	if m.local(id) == nil {
		return false
	}
	m.here = slices.DeleteFunc(slices.Clone(m.here), func(o string) bool { return o == id })
	m.withdraw(ParticipantEntry, id)
	m.remove(id)
	return true
}

// remove forgets a participant, wherever it is, and what it has here.
func (m *machine) remove(id string) {
	m.closeParticipant(id)
	delete(m.members, id)
	m.order = slices.DeleteFunc(slices.Clone(m.order), func(o string) bool { return o == id })
	m.departed(id)
	for _, p := range m.streams { // removeStream leaves this slice as it is
		if p.stream.Owner == id && p.edge == "" {
			m.removeStream(p)
		}
	}
}

// closeParticipant ends the media that a participant has here, without telling anyone.
func (m *machine) closeParticipant(id string) {
	m.do(func(media Media) { media.CloseParticipant(id) })
	for sid, s := range m.subs {
		if s.owner == id {
			delete(m.subs, sid)
		}
	}
	delete(m.byMember, id)
	delete(m.moved, id)
	for stream, p := range m.resuming {
		if p.stream.Owner == id {
			delete(m.resuming, stream)
		}
	}
	for session, owner := range m.superseded {
		if owner == id {
			delete(m.superseded, session)
		}
	}
}

// removeStream forgets a publication, ends what it feeds, takes it out of the views and tells everyone, in that order; the media is the caller's to stop.
func (m *machine) removeStream(p *publication) {
	m.forget(p)
	m.endSubscriptionsTo(p.stream.ID)
	m.unmixAll(p)
	m.streamRemoved(p)
}

// streamRemoved tells that a stream is gone, and after it its owner, for those who knew it by that alone.
func (m *machine) streamRemoved(p *publication) {
	if !p.ready {
		return
	}
	m.tellStreams(portalproto.StreamRemoved{ID: p.stream.ID})
	m.showPublisher(p.stream.Owner)
	if p.edge == "" {
		m.withdraw(StreamEntry, p.stream.ID)
	}
}

// forget takes a publication from the lists.
func (m *machine) forget(p *publication) {
	if m.resuming[p.stream.ID] == p {
		delete(m.resuming, p.stream.ID)
		m.release(p.stream.Owner)
		return
	}
	m.streams = slices.DeleteFunc(slices.Clone(m.streams), func(q *publication) bool { return q == p })
	if p.edge == "" {
		m.release(p.stream.Owner)
	}
}

func (m *machine) endSubscriptionsTo(stream string) {
	for id, s := range m.subs {
		if s.fedBy(stream) {
			m.endSubscription(s, portalproto.ReasonSourceLoss)
			m.do(func(media Media) { media.Stop(id) })
		}
	}
}

// fedBy tells whether a subscription is fed by a stream.
func (s *subscription) fedBy(stream string) bool {
	return s.data == stream || slices.ContainsFunc(s.tracks, func(t subscribed) bool { return t.stream == stream })
}

// endSubscription forgets a subscription and tells its owner why.
func (m *machine) endSubscription(s *subscription, reason string) {
	delete(m.subs, s.id)
	m.release(s.owner)
	m.tell(s.owner, s.progress(portalproto.ProgressError, reason))
}

// reserve counts a new session of a participant against its limit.
func (m *machine) reserve(owner string) error {
	if m.byMember[owner] >= m.limits.Sessions {
		return portalproto.ErrTooManySessions
	}
	m.byMember[owner]++
	return nil
}

func (m *machine) release(owner string) {
	if m.byMember[owner] > 0 {
		m.byMember[owner]--
	}
}

// text passes a message on (portal protocol 6.1). elsewhere says that other edges have receivers too, or the only one.
func (m *machine) text(from, to string, message jsonvalue.Value) (elsewhere bool, err error) {
	if m.local(from) == nil {
		return false, portalproto.ErrNotJoinedRoom
	}
	switch {
	case to == internalParticipant: // exists in every room and swallows what it is told (6.10)
		return false, nil
	case to != portalproto.All && m.members[to] == nil:
		return false, portalproto.NoParticipant(to)
	}
	m.tellText(from, to, message)
	return m.clustered && (to == portalproto.All || m.members[to].edge != ""), nil
}

// tellText tells those receivers of a message that are here.
func (m *machine) tellText(from, to string, message jsonvalue.Value) {
	switch {
	case to == portalproto.All:
		m.tellAll(portalproto.TextMessage{From: from, To: portalproto.All, Message: message})
	case m.local(to) != nil:
		m.meet(m.members[to], from)
		m.tell(to, portalproto.TextMessage{From: from, To: portalproto.Me, Message: message})
	}
}

// internalParticipant owns what operators create; it is never listed. adminRole lets its holders control others' sessions.
const (
	internalParticipant = "admin"
	adminRole           = "admin"
)

// mayControl tells whether a participant may touch what owner owns.
func (m *machine) mayControl(participant, owner string) bool {
	return participant == owner || m.members[participant].participant.Role == adminRole
}

// destroy ends every session with the reason and forgets everyone (rooms-and-media 3.5), here or everywhere: then it is told on the other
// edges too. gone are those who were here.
func (m *machine) destroy(reason string, everywhere bool) (gone []string) {
	for _, p := range m.own() {
		m.tell(p.stream.Owner, p.progress(portalproto.ProgressError, reason))
		if p.ready {
			m.withdraw(StreamEntry, p.stream.ID)
		}
	}
	for _, s := range m.subs {
		m.tell(s.owner, s.progress(portalproto.ProgressError, reason))
	}
	gone = m.here
	for _, id := range gone {
		m.withdraw(ParticipantEntry, id)
		m.do(func(media Media) { media.CloseParticipant(id) })
	}
	for id := range m.moved {
		m.do(func(media Media) { media.CloseParticipant(id) })
	}
	for _, p := range m.streams {
		if p.edge != "" {
			m.remoteEnded(p)
		}
	}
	m.order, m.here, m.streams, m.members, m.subs = nil, nil, nil, map[string]*member{}, map[string]*subscription{}
	clear(m.byMember)
	clear(m.resuming)
	clear(m.superseded)
	clear(m.moved)
	clear(m.roster.shown)
	m.roster.thin = false
	for _, v := range m.views {
		if everywhere {
			m.clear(v)
		}
	}
	return gone
}

// own is what is published here, or is about to be.
func (m *machine) own() []*publication {
	var list []*publication
	for _, p := range m.streams {
		if p.edge == "" {
			list = append(list, p)
		}
	}
	for _, p := range m.resuming {
		list = append(list, p)
	}
	return list
}

// idle tells whether nothing keeps the room alive here; streams that the room itself makes do not. The home of others is not idle.
func (m *machine) idle() bool {
	alone := len(m.here) == 0 && len(m.own()) == 0 && len(m.subs) == 0
	return alone && !(m.clustered && m.leads && len(m.order)+len(m.streams) > 0)
}
