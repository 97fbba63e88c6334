package room

import (
	"slices"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// What is on other edges. It is listed and told of like what is here, but by difference: a change that says what is known already, be it
// of an entry that another edge has taken over, tells nobody anything.

// news is a change to an entry of another edge, decoded.
type news struct {
	key        Key
	owner      string // empty: the entry has gone
	generation uint64

	participant described
	stream      conference.Stream
	mix         *mixState
	selected    selectedState
}

// readChange decodes a change; ok is false for one that makes no sense, which is not to have any effect.
func readChange(c Change) (n news, ok bool) {
	switch {
	case c.Now == nil && c.Was == nil:
		return n, false
	case c.Now == nil:
		return news{key: c.Was.Key}, true
	}
	n = news{key: c.Now.Key, owner: c.Now.Owner, generation: c.Now.Generation}
	var err error
	named := n.key.ID
	switch n.key.Kind {
	case ParticipantEntry:
		n.participant, err = decodeParticipantEntry(c.Now.Value)
		named = n.participant.participant.ID
	case StreamEntry:
		n.stream, err = decodeStreamEntry(c.Now.Value)
		named = n.stream.ID
	case MixEntry:
		if isSelected(n.key.ID) {
			n.selected, err = decodeSelectedEntry(c.Now.Value)
			break
		}
		n.mix, err = decodeMixEntry(c.Now.Value)
	default:
		err = errEntry
	}
	return n, err == nil && n.owner != "" && named == n.key.ID
}

// turns is the order in which changes that came together take effect, so that they are told as if they had happened in one place: who
// has come before what it publishes, and who has left before what it has published.
func (n *news) turn() int {
	gone := n.owner == ""
	switch {
	case n.key.Kind == ParticipantEntry && !gone:
		return 0
	case n.key.Kind == ParticipantEntry:
		return 1
	case n.key.Kind == StreamEntry && !gone:
		return 2
	case n.key.Kind == MixEntry:
		return 3
	}
	return 4
}

// apply takes changes of other edges.
func (m *machine) apply(list []news) {
	slices.SortStableFunc(list, func(a, b news) int { return a.turn() - b.turn() })
	for i := range list {
		n := &list[i]
		gone := n.owner == ""
		switch n.key.Kind {
		case ParticipantEntry:
			if gone {
				m.memberGone(n.key.ID)
			} else {
				m.memberThere(n)
			}
		case StreamEntry:
			if gone {
				m.streamGone(n.key.ID)
			} else {
				m.streamThere(n)
			}
		case MixEntry:
			if !gone { // what the room makes does not go
				m.madeThere(n)
			}
		}
	}
}

// whole takes all that is on other edges, in place of changes that are not known: list is what could be read of what is there.
func (m *machine) whole(list []news, there map[Key]bool) {
	for _, id := range m.order {
		if key := (Key{ParticipantEntry, id}); m.members[id].edge != "" && !there[key] {
			list = append(list, news{key: key})
		}
	}
	for _, p := range m.streams {
		if key := (Key{StreamEntry, p.stream.ID}); p.edge != "" && !there[key] {
			list = append(list, news{key: key})
		}
	}
	m.apply(list)
}

// memberThere is a participant on another edge, or what has changed of it.
func (m *machine) memberThere(n *news) {
	who := m.members[n.key.ID]
	if who == nil {
		who = &member{described: n.participant, edge: n.owner, generation: n.generation}
		m.members[n.key.ID] = who
		m.order = append(m.order, n.key.ID)
		m.arrived(who.participant)
		return
	}
	if who.edge == "" {
		if n.generation < who.generation {
			return // it has come here since
		}
		m.moveMember(who)
	}
	who.described, who.edge, who.generation = n.participant, n.owner, n.generation
}

func (m *machine) memberGone(id string) {
	if who := m.members[id]; who != nil && who.edge != "" {
		m.remove(id)
	}
}

// nowhere is the edge of what has moved while nobody has said where to.
const nowhere = "?"

// hasMoved says that another edge has an entry of this one.
func (m *machine) hasMoved(key Key) {
	switch key.Kind {
	case ParticipantEntry:
		if who := m.local(key.ID); who != nil {
			m.moveMember(who)
		}
	case StreamEntry:
		if p := m.publication(key.ID); p != nil && p.edge == "" && p.ready {
			m.moveStream(p)
		}
	}
}

// moveMember parts this edge from a participant that is elsewhere now, without telling anybody. What it has here goes on until its
// transports end, or it leaves.
func (m *machine) moveMember(who *member) {
	id := who.participant.ID
	who.edge = nowhere
	m.here = slices.DeleteFunc(slices.Clone(m.here), func(o string) bool { return o == id })
	m.moved[id] = true
	m.effects = append(m.effects, effect{moved: id})
}

func (m *machine) moveStream(p *publication) {
	p.edge = nowhere
	m.release(p.stream.Owner)
	if !p.failed {
		m.superseded[p.stream.ID] = p.stream.Owner
	}
}

// streamThere is a stream on another edge, or what has changed of it.
func (m *machine) streamThere(n *news) {
	id := n.key.ID
	p := m.publication(id)
	n.stream.Tracks = m.offered(n.stream.Tracks)
	if p == nil {
		p = &publication{stream: n.stream, ready: true, edge: n.owner, generation: n.generation}
		m.relabel(p)
		m.streams = append(m.streams, p)
		m.remote(p)
		m.streamAdded(p)
		m.offerAudio(p)
		m.mixedAnew(p)
		return
	}
	if p.edge == "" {
		if !p.ready || n.generation < p.generation {
			return // it has come here since
		}
		m.moveStream(p)
	}
	was := p.stream
	n.stream.InViews = was.InViews
	p.stream = n.stream
	moved := p.edge != n.owner
	p.edge, p.generation = n.owner, n.generation
	if moved || !slices.EqualFunc(was.Tracks, p.stream.Tracks, sameMedia) {
		m.remote(p)
		m.offerAudio(p)
	}
	m.changed(p, &was)
	if was.Owner != p.stream.Owner {
		m.showPublisher(was.Owner)
		m.showPublisher(p.stream.Owner)
	}
}

// changed follows a change of a stream that did not happen here: everyone is told what is different, if anything is.
func (m *machine) changed(p *publication, was *conference.Stream) {
	m.refeed(was, &p.stream)
	same := slices.EqualFunc(was.Tracks, p.stream.Tracks, sameMedia) && jsonvalue.Equal(was.Attributes, p.stream.Attributes)
	paused := map[conference.Kind]bool{}
	for i := range p.stream.Tracks {
		t := &p.stream.Tracks[i]
		if i < len(was.Tracks) && same && t.Inactive != was.Tracks[i].Inactive {
			paused[t.Kind] = true
			if p.edge != "" {
				id, active := t.ID, !t.Inactive
				m.do(func(media Media) { media.SetActive(id, active) })
			}
		}
	}
	if !same {
		stream := p.stream
		m.tellStreams(portalproto.StreamUpdated{ID: stream.ID, Field: portalproto.FieldAll, Stream: &stream})
	}
	for _, of := range []struct {
		kind  conference.Kind
		field string
	}{{conference.Audio, portalproto.FieldAudioStatus}, {conference.Video, portalproto.FieldVideoStatus}} {
		if t, ok := p.stream.Track(p.stream.ID, of.kind); ok && paused[of.kind] {
			m.tellStreams(portalproto.StreamUpdated{ID: p.stream.ID, Field: of.field, Value: statusValue(!t.Inactive)})
		}
	}
	if !same || len(paused) > 0 {
		m.mixedAnew(p)
	}
}

// sameMedia compares tracks but for whether they are paused, and for what could be made of them, which follows from the rest.
func sameMedia(a, b conference.Track) bool {
	return a.ID == b.ID && a.Kind == b.Kind && a.Source == b.Source && a.Mid == b.Mid && a.Rid == b.Rid && a.Format == b.Format &&
		a.Parameters == b.Parameters
}

// refeed lets the subscriptions of a stream whose tracks have other ids now name these: each the one of its kind and rid. The media
// layer does the same by itself.
func (m *machine) refeed(was, now *conference.Stream) {
	for _, s := range m.subs {
		for i := range s.tracks {
			t := &s.tracks[i]
			if t.stream != was.ID {
				continue
			}
			at := slices.IndexFunc(was.Tracks, func(o conference.Track) bool { return o.ID == t.source.Track })
			if at < 0 {
				continue
			}
			if id := counterpart(was.Tracks[at], now); id != "" && id != t.source.Track {
				s.tracks = slices.Clone(s.tracks)
				s.tracks[i].source.Track = id
			}
		}
	}
}

// counterpart is the id of a stream's track that stands for one that the stream had before.
func counterpart(was conference.Track, now *conference.Stream) (id string) {
	for _, t := range now.Tracks {
		if t.Kind == was.Kind && (id == "" || t.Rid == was.Rid) {
			id = t.ID
			if t.Rid == was.Rid {
				return id
			}
		}
	}
	return id
}

func (m *machine) streamGone(id string) {
	if p := m.publication(id); p != nil && p.edge != "" {
		m.removeStream(p)
		m.remoteEnded(p)
	}
}

// remote makes a stream of another edge known to the media layer.
func (m *machine) remote(p *publication) {
	if p.edge == nowhere {
		return
	}
	r := RemoteStream{
		Room: m.config.ID, Stream: p.stream.ID, Participant: p.stream.Owner, Edge: p.edge, Tracks: p.stream.Tracks, Data: p.stream.Data,
	}
	m.do(func(media Media) { media.Remote(r) })
	for _, t := range p.stream.Tracks {
		if id := t.ID; t.Inactive {
			m.do(func(media Media) { media.SetActive(id, false) })
		}
	}
}

func (m *machine) remoteEnded(p *publication) {
	id := p.stream.ID
	m.do(func(media Media) { media.RemoteEnded(id) })
}

// announceMember and announceStream tell the other edges of something that is on this one; withdraw takes it back.
func (m *machine) announceMember(who *member) {
	if m.clustered {
		m.put(Key{ParticipantEntry, who.participant.ID}, who.generation, who.encode())
	}
}

// renew gives the entry of a participant that is here a higher generation, if it has not got that yet.
func (m *machine) renew(id string, generation uint64) {
	if who := m.local(id); who != nil && m.clustered && generation > who.generation {
		who.generation = generation
		m.announceMember(who)
	}
}

func (m *machine) announceStream(p *publication) {
	if m.clustered && p.ready {
		m.put(Key{StreamEntry, p.stream.ID}, p.generation, encodeStreamEntry(p.stream))
	}
}

func (m *machine) put(key Key, generation uint64, value []byte) {
	m.effects = append(m.effects, effect{entry: &Entry{Key: key, Generation: generation, Value: value}})
}

func (m *machine) withdraw(kind EntryKind, id string) {
	if m.clustered {
		m.effects = append(m.effects, effect{gone: &Key{kind, id}})
	}
}
