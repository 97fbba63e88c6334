package room

import (
	"slices"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/layout"
	"portico/shared/portalproto"
)

// What one edge of a room asks another to do, as JSON. The one that is asked answers with what came of it, or with the refusal that the
// client is to see. Whether the client may ask for it is the asking edge's to check.
//
//	{"op": "control", "control": stream-control request}   {"op": "delete" | "unpublish", "stream"}
//	{"op": "change", "stream", "changes": [change…]}       {"op": "drop", "participant"}
//	{"op": "permission", "participant", "publish"?: {"audio"?, "video"?}, "subscribe"?: …}
//	{"op": "participants" | "streams", "from": n}          {"op": "destroy"}
//	{"op": "subscription", "control": subscription-control request}   {"op": "unsubscribe", "session"}
//	{"op": "quality", "stream", "participant"?}
//
// and "here": true when the edge that is asked must do it itself. A change is {"mix": view}, {"unmix": view}, {"active": bool, "kind"},
// {"layout": […]} or {"region": n, "stream"}. Answers are
//
//	{"refused"?, "region"?, "participant"?, "stream"?, "participants"?: […], "streams"?: […], "more"?: true, "quality"?: {…}}

type op string

const (
	opControl      op = "control"
	opUnpublish    op = "unpublish"
	opChange       op = "change"
	opDelete       op = "delete"
	opPermission   op = "permission"
	opDrop         op = "drop"
	opParticipants op = "participants"
	opStreams      op = "streams"
	opDestroy      op = "destroy"
	opSubscription op = "subscription"
	opUnsubscribe  op = "unsubscribe"
	opQuality      op = "quality"
)

// command is a request; of its fields those count that its op needs.
type command struct {
	op          op
	here        bool
	stream      string
	participant string
	control     portalproto.StreamControl
	changes     []StreamChange
	permission  PermissionChange
	from        int // of a list: how many are known already

	session      string
	subscription portalproto.SubscriptionControl
}

// reply is the answer.
type reply struct {
	region       string
	participant  conference.Participant
	stream       conference.Stream
	participants []conference.Participant
	streams      []conference.Stream
	more         bool // of a list: there are others behind
	quality      jsonvalue.Value
}

// maxPage is about how many bytes of a list go into one answer, and maxChanges how many changes into one command.
const (
	maxPage    = 256 << 10
	maxChanges = 1000
)

// commandLimits bound the JSON of a command or an answer.
var commandLimits = jsonvalue.Limits{Depth: 48, Values: 1 << 17}

func (c *command) encode() []byte {
	members := []jsonvalue.Member{
		jsonvalue.M("op", jsonvalue.Of(string(c.op))), jsonvalue.M("here", orNothing(c.here)),
		jsonvalue.M("stream", textOrNothing(c.stream)), jsonvalue.M("participant", textOrNothing(c.participant)),
	}
	switch c.op {
	case opControl:
		members = append(members, jsonvalue.M("control", c.control.Encode()))
	case opChange:
		list := make([]jsonvalue.Value, len(c.changes))
		for i, change := range c.changes {
			list[i] = change.value()
		}
		members = append(members, jsonvalue.M("changes", jsonvalue.OfArray(list...)))
	case opPermission:
		members = append(members, jsonvalue.M("publish", rights(c.permission.PublishAudio, c.permission.PublishVideo)),
			jsonvalue.M("subscribe", rights(c.permission.SubscribeAudio, c.permission.SubscribeVideo)))
	case opParticipants, opStreams:
		members = append(members, jsonvalue.M("from", jsonvalue.OfInt(int64(c.from))))
	case opSubscription:
		members = append(members, jsonvalue.M("control", c.subscription.Encode()))
	case opUnsubscribe:
		members = append(members, jsonvalue.M("session", jsonvalue.Of(c.session)))
	}
	return jsonvalue.OfObject(members...).Append(nil)
}

func decodeCommand(b []byte) (c command, err error) {
	v, err := parseCommand(b)
	if err != nil {
		return c, err
	}
	c = command{op: op(v.Get("op").Text()), here: v.Get("here").Bool(), stream: v.Get("stream").Text(), participant: v.Get("participant").Text()}
	ok := len(c.stream) <= maxID && len(c.participant) <= maxID
	switch c.op {
	case opControl:
		c.control, err = portalproto.DecodeStreamControl(v.Get("control"))
		ok = ok && err == nil
	case opUnpublish, opDelete:
		ok = ok && c.stream != ""
	case opChange:
		var read bool
		c.changes, read = readChanges(v.Get("changes"))
		ok = ok && read && c.stream != ""
	case opDrop:
		ok = ok && c.participant != ""
	case opPermission:
		var one, two bool
		p := &c.permission
		p.PublishAudio, p.PublishVideo, one = readRights(v.Get("publish"))
		p.SubscribeAudio, p.SubscribeVideo, two = readRights(v.Get("subscribe"))
		ok = ok && one && two && c.participant != ""
	case opParticipants, opStreams:
		from, read := count(v.Get("from"))
		c.from = int(from)
		ok = ok && read
	case opDestroy:
	case opSubscription:
		c.subscription, err = portalproto.DecodeSubscriptionControl(v.Get("control"))
		ok = ok && err == nil
	case opUnsubscribe:
		c.session = v.Get("session").Text()
		ok = ok && short(c.session, maxID)
	case opQuality:
		ok = ok && c.stream != ""
	default:
		ok = false
	}
	if !ok {
		return command{}, errEntry
	}
	return c, nil
}

func readChanges(v jsonvalue.Value) (list []StreamChange, ok bool) {
	if v.Kind() != jsonvalue.Array || v.Len() > maxChanges {
		return nil, false
	}
	for i := range v.Len() {
		c := readChangeOf(v.Index(i))
		if c == nil {
			return nil, false
		}
		list = append(list, c)
	}
	return list, true
}

// readChangeOf reads one change of a stream; nil when it is none.
func readChangeOf(v jsonvalue.Value) StreamChange {
	kind := conference.Kind(v.Get("kind").Text())
	switch {
	case v.Get("mix").Exists():
		return MixInto{v.Get("mix").Text()}
	case v.Get("unmix").Exists():
		return UnmixFrom{v.Get("unmix").Text()}
	case v.Get("active").Kind() == jsonvalue.Bool && (kind == conference.Audio || kind == conference.Video):
		return SetStatus{Kind: kind, Active: v.Get("active").Bool()}
	case v.Get("layout").Exists():
		if scene, err := layout.ReadLayout(v.Get("layout")); err == nil {
			return SetLayout{scene}
		}
	case v.Get("region").Exists():
		if n, ok := count(v.Get("region")); ok && n < layout.MaxRegions {
			return Occupy{Region: int(n), Stream: v.Get("stream").Text()}
		}
	}
	return nil
}

func (c MixInto) value() jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("mix", jsonvalue.Of(c.View)))
}

func (c UnmixFrom) value() jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("unmix", jsonvalue.Of(c.View)))
}

func (c SetStatus) value() jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("active", jsonvalue.OfBool(c.Active)), jsonvalue.M("kind", jsonvalue.Of(string(c.Kind))))
}

// value writes the coordinates as they were given: they are in the form of ReadLayout already.
func (c SetLayout) value() jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("layout", c.Scene.Value()))
}

func (c Occupy) value() jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("region", jsonvalue.OfInt(int64(c.Region))), jsonvalue.M("stream", jsonvalue.Of(c.Stream)))
}

func rights(audio, video *bool) jsonvalue.Value {
	right := func(b *bool) (v jsonvalue.Value) {
		if b != nil {
			v = jsonvalue.OfBool(*b)
		}
		return v
	}
	if audio == nil && video == nil {
		return jsonvalue.Value{}
	}
	return jsonvalue.OfObject(jsonvalue.M("audio", right(audio)), jsonvalue.M("video", right(video)))
}

func readRights(v jsonvalue.Value) (audio, video *bool, ok bool) {
	if !v.Exists() {
		return nil, nil, true
	}
	ok = v.Kind() == jsonvalue.Object
	right := func(v jsonvalue.Value) *bool {
		if !v.Exists() {
			return nil
		}
		ok = ok && v.Kind() == jsonvalue.Bool
		b := v.Bool()
		return &b
	}
	return right(v.Get("audio")), right(v.Get("video")), ok
}

// encodeReply writes what came of a command; refused is why nothing did, as the client is to see it.
func encodeReply(r reply, refused error) []byte {
	if refused != nil {
		text := portalproto.ErrUnknown.Text
		if e, ok := refused.(*portalproto.Error); ok {
			text = e.Text
		}
		return jsonvalue.OfObject(jsonvalue.M("refused", jsonvalue.Of(text))).Append(nil)
	}
	var participant, stream, participants, streams jsonvalue.Value
	if r.participant.ID != "" {
		participant = r.participant.Value()
	}
	if r.stream.ID != "" {
		stream = portalproto.EncodeStream(&r.stream, portalproto.Receiver{})
	}
	if r.participants != nil {
		list := make([]jsonvalue.Value, len(r.participants))
		for i := range r.participants {
			list[i] = r.participants[i].Value()
		}
		participants = jsonvalue.OfArray(list...)
	}
	if r.streams != nil {
		list := make([]jsonvalue.Value, len(r.streams))
		for i := range r.streams {
			list[i] = portalproto.EncodeStream(&r.streams[i], portalproto.Receiver{})
		}
		streams = jsonvalue.OfArray(list...)
	}
	return jsonvalue.OfObject(
		jsonvalue.M("region", textOrNothing(r.region)), jsonvalue.M("participant", participant), jsonvalue.M("stream", stream),
		jsonvalue.M("participants", participants), jsonvalue.M("streams", streams), jsonvalue.M("more", orNothing(r.more)),
		jsonvalue.M("quality", r.quality)).Append(nil)
}

// decodeReply reads it; a refusal comes as the *portalproto.Error that it was.
func decodeReply(b []byte) (r reply, err error) {
	v, err := parseCommand(b)
	if err != nil {
		return r, err
	}
	if text := v.Get("refused").Text(); text != "" {
		return r, &portalproto.Error{Text: text}
	}
	r.region, r.more = v.Get("region").Text(), v.Get("more").Bool()
	if q := v.Get("quality"); q.Kind() == jsonvalue.Object {
		r.quality = q
	}
	if p := v.Get("participant"); p.Exists() {
		if r.participant, err = readParticipant(p); err != nil {
			return reply{}, err
		}
	}
	if s := v.Get("stream"); s.Exists() {
		r.stream, _ = portalproto.DecodeStream(s)
	}
	for i := range v.Get("participants").Len() {
		p, err := readParticipant(v.Get("participants").Index(i))
		if err != nil {
			return reply{}, err
		}
		r.participants = append(r.participants, p)
	}
	for i := range v.Get("streams").Len() {
		s, ok := portalproto.DecodeStream(v.Get("streams").Index(i))
		if !ok {
			return reply{}, errEntry
		}
		r.streams = append(r.streams, s)
	}
	return r, nil
}

// page cuts a list to what fits into one answer.
func page[T any](list []T, bytes func(*T) int) (part []T, more bool) {
	size := 0
	for i := range list {
		if size += bytes(&list[i]); size > maxPage && i > 0 {
			return slices.Clip(list[:i]), true
		}
	}
	return list, false
}

func parseCommand(b []byte) (jsonvalue.Value, error) {
	if len(b) > MaxNote {
		return jsonvalue.Value{}, errEntry
	}
	v, err := jsonvalue.Parse(b, commandLimits)
	if err != nil || v.Kind() != jsonvalue.Object {
		return jsonvalue.Value{}, errEntry
	}
	return v, nil
}

// note is a text for participants of another edge, or the word that the room is no more.
type note struct {
	destroy  bool
	from, to string
	message  jsonvalue.Value
}

func (n note) encode() []byte {
	if n.destroy {
		return jsonvalue.OfObject(jsonvalue.M("destroy", jsonvalue.OfBool(true))).Append(nil)
	}
	return jsonvalue.OfObject(
		jsonvalue.M("from", jsonvalue.Of(n.from)), jsonvalue.M("to", jsonvalue.Of(n.to)), jsonvalue.M("message", n.message)).Append(nil)
}

func decodeNote(b []byte) (n note, err error) {
	v, err := parseCommand(b)
	if err != nil {
		return n, err
	}
	if v.Get("destroy").Bool() {
		return note{destroy: true}, nil
	}
	n = note{from: v.Get("from").Text(), to: v.Get("to").Text(), message: v.Get("message")}
	if !short(n.from, maxID) || !short(n.to, maxID) {
		return note{}, errEntry
	}
	return n, nil
}

func textOrNothing(s string) (v jsonvalue.Value) {
	if s != "" {
		v = jsonvalue.Of(s)
	}
	return v
}

func orNothing(b bool) (v jsonvalue.Value) {
	if b {
		v = jsonvalue.OfBool(true)
	}
	return v
}

func participantSize(p *conference.Participant) int {
	return 200 + len(p.ID) + len(p.User) + len(p.Role)
}

// streamSize is about how long a stream is as JSON.
func streamSize(s *conference.Stream) int {
	return 500 + 1000*len(s.Tracks) + s.Attributes.Size() + s.Layout.Size()
}
