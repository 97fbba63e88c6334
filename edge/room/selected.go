package room

import (
	"slices"
	"strconv"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// Selectors opens the choice of a room's loudest audio (rooms-and-media 6.3); package rtc satisfies it through the node.
type Selectors interface {
	// OpenSelector makes the tracks, which subscriptions can name from then on, and feeds each from one of the loudest of the
	// publications given to the AudioSelector. changed is told who that is: a publication, empty for nobody, and whether it is
	// the loudest of all. Calls of changed come one at a time and do not block. OpenSelector does not wait for the network.
	OpenSelector(tracks []string, changed func(slot int, publication string, major bool)) (AudioSelector, error)
}

// AudioSelector chooses the loudest audio of one room.
type AudioSelector interface {
	// Add makes a publication's audio one to be chosen from, until it ends.
	Add(publication string)
	// Follow says that the choice is made at that edge from now on, the room's home, and what is chosen comes from there; with an empty
	// edge it is made here again.
	Follow(edge string)
	// Close ends it and its tracks; changed is called no more when it returns.
	Close()
}

// selectedStreams is how many streams carry the loudest audio, and the beginning of their ids, which are the same in all rooms.
const (
	selectedStreams = 3
	selectedPrefix  = "active-audio-"
)

// Of a selected stream.
const (
	viaSelecting = "selecting"
	unknown      = "unknown"
)

// selectedStream is one of the loudest audio: who is in it, and whether nobody is louder. generation is that of its entry.
type selectedStream struct {
	conference.Stream
	major      bool
	generation uint64
}

// newSelected is the streams of the loudest audio as they are at first. What they carry is in whatever codec it was published.
func newSelected() []selectedStream {
	list := make([]selectedStream, selectedStreams)
	for i := range list {
		list[i].Stream = conference.Stream{
			ID: selectedPrefix + strconv.Itoa(i), Type: conference.Forward, Owner: unknown, Via: viaSelecting, InViews: []string{},
			ActiveInput: unknown, Tracks: []conference.Track{{Kind: conference.Audio, Format: conference.Format{Codec: unknown}}},
		}
	}
	return list
}

// selectedTracks are the tracks of the selected streams as the media layer knows them, where rooms must not meet.
func (m *machine) selectedTracks() []string {
	var tracks []string
	for i := range m.selected {
		tracks = append(tracks, m.config.ID+"-"+m.selected[i].ID)
	}
	return tracks
}

// selectedSource is the track of the selected stream that a request means, if it means one. Its format is not looked at: nobody
// knows what will be in it, and nothing of it is converted (rooms-and-media 8.2).
func (m *machine) selectedSource(t portalproto.SubscribeTrack) (conference.Track, bool) {
	if i := m.selectedIndex(t.From); i >= 0 && t.Kind == conference.Audio {
		track := m.selected[i].Tracks[0]
		track.ID = m.selectedTracks()[i]
		return track, true
	}
	return conference.Track{}, false
}

// selectedIndex is the place of the selected stream with that id, negative when it is none.
func (m *machine) selectedIndex(id string) int {
	return slices.IndexFunc(m.selected, func(s selectedStream) bool { return s.ID == id })
}

// offerAudio makes a publication that is ready a candidate for the selected streams, if it can be one.
func (m *machine) offerAudio(p *publication) {
	if m.selected != nil && m.leads && p.stream.Via == viaWebRTC && p.stream.Has(conference.Audio) {
		m.effects = append(m.effects, effect{candidate: p.stream.ID})
	}
}

// activeInput is the media layer's word of who is in a selected stream now, and whether nobody is louder.
func (m *machine) activeInput(slot int, publication string, major bool) {
	if slot < 0 || slot >= len(m.selected) || !m.leads {
		return
	}
	if publication == "" {
		publication = unknown
	} else if p := m.publication(publication); p == nil || !p.ready {
		return // it has ended; who comes in its place is told soon
	}
	s := &m.selected[slot]
	s.ActiveInput, s.major = publication, major
	m.tellSelected(s)
	m.announceSelected(s)
}

func (m *machine) tellSelected(s *selectedStream) {
	volume := "minor"
	if s.major {
		volume = "major"
	}
	m.tellStreams(portalproto.StreamUpdated{ID: s.ID, Field: portalproto.FieldActiveInput, Value: jsonvalue.OfObject(
		jsonvalue.M("id", jsonvalue.Of(s.ActiveInput)), jsonvalue.M("volume", jsonvalue.Of(volume)))})
}

// openSelector starts the choice of the loudest audio, if the room wants it.
func (c *controller) openSelector(s Selectors) error {
	if len(c.machine.selected) == 0 {
		return nil
	}
	selector, err := s.OpenSelector(c.machine.selectedTracks(), func(slot int, publication string, major bool) {
		c.post(func() { c.machine.activeInput(slot, publication, major) })
	})
	if err != nil {
		return err
	}
	c.selector = selector
	return nil
}
