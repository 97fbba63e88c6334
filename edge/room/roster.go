package room

import (
	"slices"
	"time"

	"portico/shared/conference"
	"portico/shared/portalproto"
)

// The thin roster. Where there are more than Limits.Roster participants, those members that asked for it are told only of participants
// that publish something, and of those that write to them, and of how many there are; see portalproto.Roster. All others are told of
// everybody, always. A room that shrinks is told of in full again only when it is a fifth below the limit.

const (
	// rosterPace is how often members are told how many there are, at most.
	rosterPace = time.Second
	// maxCrossing is about how many comings and goings are told at a time because the roster has become thin or full: more would hold up
	// the room.
	maxCrossing = 20_000
	// maxMet is how many participants without a stream a member of a thin roster knows because they have written to it.
	maxMet = 64
)

// roster is what the machine has to know for it.
type roster struct {
	thin    bool            // there are many
	shown   map[string]bool // who publishes something
	pending bool            // tick is going to be called
}

// listing is how a member of this edge is told of others.
type listing struct {
	asked bool     // it makes do with few where there are many
	thin  bool     // it does, now
	met   []string // whom it knows because they have written to it, the oldest first
	count int      // how many it was told that there are
}

// seat begins the list of a member that is shown the room.
func (m *machine) seat(who *member, asked bool) {
	who.listing = listing{asked: asked, thin: asked && m.roster.thin, count: len(m.order)}
}

// sees tells whether a member is told of a participant.
func (m *machine) sees(who *member, id string) bool {
	return !who.thin || id == who.participant.ID || m.roster.shown[id] || slices.Contains(who.met, id)
}

// listed are the participants that a member is told of.
func (m *machine) listed(who *member) []conference.Participant {
	list := m.participants()
	if who.thin {
		list = slices.DeleteFunc(list, func(p conference.Participant) bool { return !m.sees(who, p.ID) })
	}
	return list
}

// tellSeeing tells something of a participant to all who are told of it.
func (m *machine) tellSeeing(id string, n portalproto.Notification) {
	for _, to := range m.here {
		if who := m.members[to]; m.sees(who, id) {
			m.tellParticipant(to, n)
		}
	}
}

// tellParticipant tells one member what tellParticipants tells all.
func (m *machine) tellParticipant(to string, n portalproto.Notification) {
	if m.config.Notifying.ParticipantActivities {
		m.tell(to, n)
	}
}

// arrived tells of a participant that has been added to the others.
func (m *machine) arrived(p conference.Participant) {
	m.tellSeeing(p.ID, portalproto.ParticipantJoined{Participant: p})
	m.showPublisher(p.ID) // its streams may have been there before it
	m.counted()
}

// departed tells of one that has been taken from them.
func (m *machine) departed(id string) {
	m.tellSeeing(id, portalproto.ParticipantLeft{ID: id})
	delete(m.roster.shown, id)
	for _, to := range m.here {
		who := m.members[to]
		who.met = slices.DeleteFunc(who.met, func(other string) bool { return other == id })
	}
	m.counted()
}

// showPublisher tells the members of a thin roster of a participant that has begun or has ceased to publish.
func (m *machine) showPublisher(id string) {
	is := m.members[id]
	publishes := is != nil && slices.ContainsFunc(m.streams, func(p *publication) bool { return p.ready && p.stream.Owner == id })
	if publishes == m.roster.shown[id] {
		return
	}
	var n portalproto.Notification = portalproto.ParticipantLeft{ID: id}
	if publishes {
		n = portalproto.ParticipantJoined{Participant: is.participant}
	}
	delete(m.roster.shown, id)
	for _, to := range m.here {
		if who := m.members[to]; !m.sees(who, id) {
			m.tellParticipant(to, n)
		}
	}
	if publishes {
		m.roster.shown[id] = true
	}
}

// streamAdded tells of a new stream, and before of its owner those who have not been told of it.
func (m *machine) streamAdded(p *publication) {
	m.showPublisher(p.stream.Owner)
	m.tellStreams(portalproto.StreamAdded{Stream: p.stream})
}

// meet tells a member of a thin roster who it is that writes to it.
func (m *machine) meet(who *member, from string) {
	is := m.members[from]
	if is == nil || m.sees(who, from) {
		return
	}
	m.tellParticipant(who.participant.ID, portalproto.ParticipantJoined{Participant: is.participant})
	if who.met = append(who.met, from); len(who.met) <= maxMet {
		return
	}
	oldest := who.met[0]
	who.met = slices.Delete(who.met, 0, 1)
	if !m.sees(who, oldest) {
		m.tellParticipant(who.participant.ID, portalproto.ParticipantLeft{ID: oldest})
	}
}

// counted follows a change of how many participants there are.
func (m *machine) counted() {
	switch n, limit := len(m.order), m.limits.Roster; {
	case n > limit:
		m.roster.thin = true
	case n < limit-limit/5:
		m.roster.thin = false
	}
	m.tickLater()
}

// tickLater has tick called if it has anything to do.
func (m *machine) tickLater() {
	if m.roster.pending || !slices.ContainsFunc(m.here, func(id string) bool { return m.stale(m.members[id]) }) {
		return
	}
	m.roster.pending = true
	m.effects = append(m.effects, effect{tick: true})
}

// stale tells whether there is something to tell a member of the roster as such.
func (m *machine) stale(who *member) bool {
	return who.asked && (who.thin != m.roster.thin || who.thin && who.count != len(m.order))
}

// tick tells members what has become of the roster: no more often than at rosterPace.
func (m *machine) tick() {
	m.roster.pending = false
	crossed := 0
	for _, id := range m.here {
		switch who := m.members[id]; {
		case !m.stale(who):
		case who.thin == m.roster.thin:
			m.tellRoster(who)
		case crossed < maxCrossing:
			crossed += m.cross(who)
		}
	}
	m.tickLater()
}

// cross makes the roster of a member thin or full, and tells how many came or went by that.
func (m *machine) cross(who *member) (told int) {
	var unseen []string
	who.thin = true
	for _, id := range m.order {
		if !m.sees(who, id) {
			unseen = append(unseen, id)
		}
	}
	who.thin, who.met = m.roster.thin, nil
	if who.thin {
		m.tellRoster(who)
	}
	for _, id := range unseen {
		var n portalproto.Notification = portalproto.ParticipantLeft{ID: id}
		if !who.thin {
			n = portalproto.ParticipantJoined{Participant: m.members[id].participant}
		}
		m.tellParticipant(who.participant.ID, n)
	}
	if !who.thin {
		m.tellRoster(who)
	}
	return len(unseen)
}

func (m *machine) tellRoster(who *member) {
	who.count = len(m.order)
	m.tellParticipant(who.participant.ID, portalproto.Roster{Count: who.count, Thin: who.thin})
}
