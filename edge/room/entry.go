package room

import (
	"errors"
	"slices"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/layout"
	"portico/shared/portalproto"
)

// What the edges of a room tell each other of it: the values of entries, as JSON. Members that a reader does not know are ignored, so
// that the next version may have more; what it needs has to be there and make sense, since the writer may be of another version.
//
//	participant  {"id", "user", "role", "permission": {"publish": {"audio", "video"}, "subscribe": …}, "client"?: anything}
//	stream       StreamInfo of portal protocol 9.4, whose inViews are left out
//	mix          {"inputs": [stream…], "shown"?: [number of an input…], "fixed"?: true, "layout"?, "active"?, "origin"?: {"isp", "region"},
//	              "resets", "revision", "base"}
//	selected     {"active", "major"?: true}; a mix too, of one of the streams of the loudest audio

// errEntry says that a value, a note or a command makes no sense.
var errEntry = errors.New("makes no sense")

// Bounds of what another edge may say.
const (
	maxID        = 128 // bytes of an id, role, label and the like
	maxName      = 4 << 10
	maxTracks    = 64 // of one stream
	maxMixInputs = 1024
	maxFormat    = 32 // bytes of a codec's or profile's name
)

// entryLimits bound the JSON of one entry.
var entryLimits = jsonvalue.Limits{Depth: 32, Values: 1 << 14}

// described is a participant as its entry has it.
type described struct {
	participant conference.Participant
	client      jsonvalue.Value // Join.Client
}

func (d described) encode() []byte {
	return d.participant.Value().With("client", d.client).Append(nil)
}

func decodeParticipantEntry(b []byte) (d described, err error) {
	v, err := parseEntry(b)
	if err != nil {
		return d, err
	}
	if d.participant, err = readParticipant(v); err != nil {
		return d, err
	}
	d.client = v.Get("client")
	return d, nil
}

func readParticipant(v jsonvalue.Value) (p conference.Participant, err error) {
	right := func(name string) conference.MediaSet {
		set := v.Path("permission", name)
		return conference.MediaSet{Audio: set.Get("audio").Bool(), Video: set.Get("video").Bool()}
	}
	p = conference.Participant{
		ID: v.Get("id").Text(), User: v.Get("user").Text(), Role: v.Get("role").Text(),
		Permission: conference.Permission{Publish: right("publish"), Subscribe: right("subscribe")},
	}
	if !short(p.ID, maxID) || len(p.User) > maxName || !short(p.Role, maxName) {
		return p, errEntry
	}
	return p, nil
}

// encodeStreamEntry leaves out what every edge works out by itself: what tracks can be converted to, and the views the stream is in.
// Attributes are what may be too long for an entry: then others see none.
func encodeStreamEntry(s conference.Stream) []byte {
	s.Tracks = slices.Clone(s.Tracks)
	for i := range s.Tracks {
		s.Tracks[i].Optional = conference.Optional{}
	}
	s.InViews = []string{}
	b := portalproto.EncodeStream(&s, portalproto.Receiver{}).Append(nil)
	if len(b) > MaxValue {
		s.Attributes = jsonvalue.Value{}
		b = portalproto.EncodeStream(&s, portalproto.Receiver{}).Append(nil)
	}
	return b
}

func decodeStreamEntry(b []byte) (s conference.Stream, err error) {
	v, err := parseEntry(b)
	if err != nil {
		return s, err
	}
	if v.Path("media", "tracks").Len() > maxTracks {
		return s, errEntry
	}
	s, ok := portalproto.DecodeStream(v)
	attributes := s.Attributes.Kind()
	if !ok || len(s.ID) > maxID || s.Type != conference.Forward || !short(s.Owner, maxID) || !short(s.Via, maxID) ||
		attributes != jsonvalue.Absent && attributes != jsonvalue.Object || s.Data == (len(s.Tracks) > 0) {
		return s, errEntry
	}
	ids := map[string]bool{}
	for i := range s.Tracks {
		t := &s.Tracks[i]
		if !readableTrack(t) || ids[t.ID] {
			return s, errEntry
		}
		ids[t.ID], t.Optional = true, conference.Optional{}
	}
	s.InViews, s.ActiveInput, s.Layout, s.Label = []string{}, "", jsonvalue.Value{}, ""
	return s, nil
}

func readableTrack(t *conference.Track) bool {
	r := t.Parameters.Resolution
	return short(t.ID, 2*maxID) && (t.Kind == conference.Audio || t.Kind == conference.Video) && len(t.Mid) <= maxID && len(t.Rid) <= maxID &&
		len(t.Source) <= maxID && short(t.Format.Codec, maxFormat) && len(t.Format.Profile) <= maxFormat &&
		t.Format.SampleRate >= 0 && t.Format.ChannelNum >= 0 && r.Width >= 0 && r.Height >= 0 && t.Parameters.Framerate >= 0
}

// mixState is what of a view is the same wherever its home is.
type mixState struct {
	inputs []string     // in the order of mixing
	shown  []string     // those with video, as an Arrangement lists its inputs
	fixed  bool         // somebody has set the layout
	scene  layout.Scene // what was told last
	active string       // who is the loudest; empty for nobody
	origin conference.Origin
	resets int
	// revision counts the changes of the view over all its homes; base is what it was when the present home took over.
	revision, base uint64
}

// encode leaves out the inputs that were mixed last when all of them do not fit: a new home will not have them.
func (s *mixState) encode() []byte {
	some := *s
	some.inputs = some.inputs[:min(len(some.inputs), maxMixInputs)]
	for {
		kept := make(map[string]bool, len(some.inputs))
		for _, id := range some.inputs {
			kept[id] = true
		}
		some.shown = slices.DeleteFunc(slices.Clone(s.shown), func(id string) bool { return !kept[id] })
		if b := some.appended(); len(b) <= MaxValue || len(some.inputs) == 0 {
			return b
		}
		some.inputs = some.inputs[:len(some.inputs)/2]
	}
}

func (s *mixState) appended() []byte {
	at := make(map[string]int, len(s.inputs))
	for i, id := range s.inputs {
		at[id] = i
	}
	shown := make([]jsonvalue.Value, 0, len(s.shown))
	for _, id := range s.shown {
		shown = append(shown, jsonvalue.OfInt(int64(at[id])))
	}
	var fixed, active jsonvalue.Value
	if s.fixed {
		fixed = jsonvalue.OfBool(true)
	}
	if s.active != "" {
		active = jsonvalue.Of(s.active)
	}
	return jsonvalue.OfObject(
		jsonvalue.M("inputs", jsonvalue.OfStrings(s.inputs)), jsonvalue.M("shown", jsonvalue.OfArray(shown...)),
		jsonvalue.M("fixed", fixed), jsonvalue.M("layout", s.scene.Value()), jsonvalue.M("active", active),
		jsonvalue.M("origin", jsonvalue.OfObject(
			jsonvalue.M("isp", jsonvalue.Of(s.origin.ISP)), jsonvalue.M("region", jsonvalue.Of(s.origin.Region)))),
		jsonvalue.M("resets", jsonvalue.OfInt(int64(s.resets))),
		jsonvalue.M("revision", jsonvalue.OfInt(int64(s.revision))), jsonvalue.M("base", jsonvalue.OfInt(int64(s.base))),
	).Append(nil)
}

func decodeMixEntry(b []byte) (*mixState, error) {
	v, err := parseEntry(b)
	if err != nil {
		return nil, err
	}
	inputs, shown := v.Get("inputs"), v.Get("shown")
	if inputs.Kind() != jsonvalue.Array || inputs.Len() > maxMixInputs || shown.Len() > inputs.Len() {
		return nil, errEntry
	}
	s := &mixState{
		fixed: v.Get("fixed").Bool(), active: v.Get("active").Text(),
		origin: conference.Origin{ISP: v.Path("origin", "isp").Text(), Region: v.Path("origin", "region").Text()},
	}
	seen := map[string]bool{}
	for i := range inputs.Len() {
		id := inputs.Index(i).Text()
		if !short(id, maxID) || seen[id] {
			return nil, errEntry
		}
		seen[id] = true
		s.inputs = append(s.inputs, id)
	}
	twice := map[int64]bool{}
	for i := range shown.Len() {
		n, ok := shown.Index(i).Int()
		if !ok || n < 0 || n >= int64(len(s.inputs)) || twice[n] {
			return nil, errEntry
		}
		twice[n] = true
		s.shown = append(s.shown, s.inputs[n])
	}
	if s.scene, err = layout.ReadScene(v.Get("layout")); err != nil {
		return nil, errEntry
	}
	resets, ok1 := count(v.Get("resets"))
	revision, ok2 := count(v.Get("revision"))
	base, ok3 := count(v.Get("base"))
	s.resets, s.revision, s.base = int(resets), revision, base
	if !ok1 || !ok2 || !ok3 || len(s.active) > maxID || len(s.origin.ISP) > maxName || len(s.origin.Region) > maxName {
		return nil, errEntry
	}
	return s, nil
}

// selectedState is who is in one of the streams of the loudest audio.
type selectedState struct {
	active string // "unknown" for nobody
	major  bool
}

func (s selectedState) encode() []byte {
	var major jsonvalue.Value
	if s.major {
		major = jsonvalue.OfBool(true)
	}
	return jsonvalue.OfObject(jsonvalue.M("active", jsonvalue.Of(s.active)), jsonvalue.M("major", major)).Append(nil)
}

func decodeSelectedEntry(b []byte) (s selectedState, err error) {
	v, err := parseEntry(b)
	s = selectedState{v.Get("active").Text(), v.Get("major").Bool()}
	if err != nil || !short(s.active, maxID) {
		return s, errEntry
	}
	return s, nil
}

func parseEntry(b []byte) (jsonvalue.Value, error) {
	if len(b) > MaxValue {
		return jsonvalue.Value{}, errEntry
	}
	v, err := jsonvalue.Parse(b, entryLimits)
	if err != nil || v.Kind() != jsonvalue.Object {
		return jsonvalue.Value{}, errEntry
	}
	return v, nil
}

// count reads a number that counts something.
func count(v jsonvalue.Value) (uint64, bool) {
	n, ok := v.Int()
	return uint64(n), ok && n >= 0 && n < 1<<53
}

// short tells whether there is a text, of that many bytes at most.
func short(s string, most int) bool { return s != "" && len(s) <= most }
