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
	members  map[string]*member
	streams  []*publication // in the order of publishing, connecting ones included
	views    []*view
	mixes    bool                // somebody mixes the views, and makes other forms of streams
	began    bool                // somebody has joined
	selected []conference.Stream // of the loudest audio; nil: the room has none
	subs     map[string]*subscription
	byMember map[string]int // live sessions of each participant
	effects  []effect
}

type member struct {
	participant conference.Participant
}

// publication is a forward stream; its id is the session's.
type publication struct {
	stream    conference.Stream
	transport string
	ready     bool
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
}

// newMachine is a room without anyone in it. mixes says that there are mixers. faults are what it does without.
func newMachine(config conference.Room, limits Limits, mixes bool) (m *machine, faults []error) {
	m = &machine{
		config: config, limits: limits, mixes: mixes,
		members: map[string]*member{}, subs: map[string]*subscription{}, byMember: map[string]int{},
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
	for _, id := range m.order {
		m.tell(id, n)
	}
}

func (m *machine) do(f func(Media)) { m.effects = append(m.effects, effect{media: f}) }

// tellParticipants and tellStreams are silenced by the room's configuration (rooms-and-media 3.4).
func (m *machine) tellParticipants(n portalproto.Notification) {
	if m.config.Notifying.ParticipantActivities {
		m.tellAll(n)
	}
}

func (m *machine) tellStreams(n portalproto.Notification) {
	if m.config.Notifying.StreamChange {
		m.tellAll(n)
	}
}

// join admits a participant (portal protocol 2.3 rows 12 and 13): the others are told, the answer shows the room with it.
func (m *machine) join(id, user, role string, origin conference.Origin) (Joined, error) {
	if _, there := m.members[id]; there {
		return Joined{}, portalproto.ErrAlreadyInRoom
	}
	if m.config.ParticipantLimit > 0 && len(m.members) >= m.config.ParticipantLimit {
		return Joined{}, portalproto.ErrRoomFull
	}
	if len(m.members) >= m.limits.Participants {
		return Joined{}, portalproto.ErrRoomFull
	}
	r, ok := m.config.RoleNamed(role)
	if !ok {
		return Joined{}, portalproto.ErrInvalidRole
	}
	if !m.began {
		m.began = true
		for _, v := range m.views {
			v.stream.Origin = origin
		}
	}
	p := conference.Participant{ID: id, User: user, Role: role, Permission: conference.Permission{Publish: r.Publish, Subscribe: r.Subscribe}}
	m.tellParticipants(portalproto.ParticipantJoined{Participant: p})
	m.members[id] = &member{participant: p}
	m.order = append(m.order, id)
	return m.snapshot(p), nil
}

func (m *machine) snapshot(self conference.Participant) Joined {
	j := Joined{Self: self, RoomID: m.config.ID, Views: []string{}, Adapts: m.config.EnableBandwidthAdaptation}
	for _, v := range m.views {
		j.Views = append(j.Views, v.config.Label)
	}
	j.Participants, j.Streams = m.participants(), m.list()
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
	list = append(list, m.selected...)
	for _, p := range m.streams {
		if p.ready {
			list = append(list, p.stream)
		}
	}
	return list
}

// leave is the leave sequence of portal protocol 6.9: media first, then the participant, then its streams.
func (m *machine) leave(id string) bool {
	if _, ok := m.members[id]; !ok {
		return false
	}
	m.do(func(media Media) { media.CloseParticipant(id) })
	for sid, s := range m.subs {
		if s.owner == id {
			delete(m.subs, sid)
		}
	}
	delete(m.members, id)
	delete(m.byMember, id)
	m.order = slices.DeleteFunc(slices.Clone(m.order), func(o string) bool { return o == id })
	m.tellParticipants(portalproto.ParticipantLeft{ID: id})
	for _, p := range m.streams { // removeStream leaves this slice as it is
		if p.stream.Owner == id {
			m.removeStream(p)
		}
	}
	return true
}

// removeStream forgets a publication, ends what it feeds, takes it out of the views and tells everyone, in that order; the media is the caller's to stop.
func (m *machine) removeStream(p *publication) {
	m.forget(p)
	m.endSubscriptionsTo(p.stream.ID)
	m.unmixAll(p)
	if p.ready {
		m.tellStreams(portalproto.StreamRemoved{ID: p.stream.ID})
	}
}

func (m *machine) forget(p *publication) {
	m.streams = slices.DeleteFunc(slices.Clone(m.streams), func(q *publication) bool { return q == p })
	m.release(p.stream.Owner)
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

// text passes a message on (portal protocol 6.1).
func (m *machine) text(from, to string, message jsonvalue.Value) error {
	if m.members[from] == nil {
		return portalproto.ErrNotJoinedRoom
	}
	switch {
	case to == portalproto.All:
		m.tellAll(portalproto.TextMessage{From: from, To: portalproto.All, Message: message})
	case to == internalParticipant: // exists in every room and swallows what it is told (6.10)
	case m.members[to] == nil:
		return portalproto.NoParticipant(to)
	default:
		m.tell(to, portalproto.TextMessage{From: from, To: portalproto.Me, Message: message})
	}
	return nil
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

// destroy ends every session with the reason and forgets everyone (rooms-and-media 3.5).
func (m *machine) destroy(reason string) []string {
	for _, p := range m.streams {
		if m.members[p.stream.Owner] != nil {
			m.tell(p.stream.Owner, p.progress(portalproto.ProgressError, reason))
		}
	}
	for _, s := range m.subs {
		m.tell(s.owner, s.progress(portalproto.ProgressError, reason))
	}
	gone := m.order
	for _, id := range gone {
		m.do(func(media Media) { media.CloseParticipant(id) })
	}
	m.order, m.streams, m.members, m.subs = nil, nil, map[string]*member{}, map[string]*subscription{}
	for _, v := range m.views {
		m.clear(v)
	}
	return gone
}

// idle tells whether nothing keeps the room alive; streams that the room itself makes do not.
func (m *machine) idle() bool { return len(m.members) == 0 && len(m.streams) == 0 && len(m.subs) == 0 }
