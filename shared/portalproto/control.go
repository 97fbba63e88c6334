package portalproto

import (
	"portico/shared/conference"
	"portico/shared/jsonvalue"
)

// Operation is what a stream-control or subscription-control request does.
type Operation string

// The operations (portal protocol 6.4 and 6.7).
const (
	Pause     Operation = "pause"
	Play      Operation = "play"
	Mix       Operation = "mix"
	Unmix     Operation = "unmix"
	SetRegion Operation = "set-region"
	GetRegion Operation = "get-region"
	Update    Operation = "update"
)

// StreamControl changes a stream (portal protocol 6.4).
type StreamControl struct {
	ID        string
	Operation Operation
	Media     conference.MediaSet // pause and play: the kinds meant
	View      string              // mix, unmix and the regions: a view's label
	Region    string              // set-region
}

// EncodeControlled is the data of the answer to a stream-control request (portal protocol 6.4): the region that GetRegion has found, or
// just "ok" (quirk Q-04).
func EncodeControlled(operation Operation, region string) jsonvalue.Value {
	if operation == GetRegion {
		return jsonvalue.OfObject(jsonvalue.M("region", jsonvalue.Of(region)))
	}
	return jsonvalue.Of(StatusOK)
}

// DecodeRegion reads the answer to GetRegion; ok is false when it names none.
func DecodeRegion(v jsonvalue.Value) (region string, ok bool) {
	region = v.Get("region").Text()
	return region, region != ""
}

// SubscriptionControl changes a subscription (portal protocol 6.7).
type SubscriptionControl struct {
	ID        string
	Operation Operation
	Media     conference.MediaSet // pause and play: the kinds meant; update: the kinds named
	AudioFrom string              // update: new source; empty: unchanged
	VideoFrom string
	Wanted    Wanted // update: new video parameters
}

var mediaNames = oneOf("audio", "video", "av")

var streamControlSchema = schema{types: []string{"object"}, required: []string{"id", "operation", "data"}, anyOf: []schema{
	{props: []prop{{"id", aString}, {"operation", oneOf(string(Mix), string(Unmix), string(GetRegion))}, {"data", aString}}, closed: true},
	{props: []prop{{"id", aString}, {"operation", oneOf(string(SetRegion))}, {"data", closedObject([]string{"view", "region"},
		prop{"view", aString}, prop{"region", &schema{types: []string{"string"}, nonEmpty: true}})}}, closed: true},
	{props: []prop{{"id", aString}, {"operation", oneOf(string(Pause), string(Play))}, {"data", mediaNames}}, closed: true},
}}

var subscriptionControlSchema = schema{types: []string{"object"}, required: []string{"id", "operation", "data"}, anyOf: []schema{
	{props: []prop{{"id", aString}, {"operation", oneOf(string(Update))}, {"data", closedObject(nil,
		prop{"audio", closedObject([]string{"from"}, prop{"from", aString})},
		prop{"video", closedObject(nil, prop{"from", aString}, prop{"parameters", wantedSchema})})}}, closed: true},
	{props: []prop{{"id", aString}, {"operation", oneOf(string(Pause), string(Play))}, {"data", mediaNames}}, closed: true},
}}

// DecodeStreamControl checks and reads a stream-control request. Errors are *Error.
func DecodeStreamControl(v jsonvalue.Value) (StreamControl, error) {
	if err := streamControlSchema.check(v); err != nil {
		return StreamControl{}, err
	}
	data := v.Get("data")
	c := StreamControl{ID: v.Get("id").Text(), Operation: Operation(v.Get("operation").Text())}
	switch c.Operation {
	case Pause, Play:
		c.Media = decodeMediaName(data)
	case SetRegion:
		c.View, c.Region = data.Get("view").Text(), data.Get("region").Text()
	default:
		c.View = data.Text()
	}
	return c, nil
}

// Encode is the data of the request.
func (c StreamControl) Encode() jsonvalue.Value {
	var data jsonvalue.Value
	switch c.Operation {
	case Pause, Play:
		data = encodeMediaName(c.Media)
	case SetRegion:
		data = jsonvalue.OfObject(jsonvalue.M("view", jsonvalue.Of(c.View)), jsonvalue.M("region", jsonvalue.Of(c.Region)))
	default:
		data = jsonvalue.Of(c.View)
	}
	return encodeControl(c.ID, c.Operation, data)
}

// DecodeSubscriptionControl checks and reads a subscription-control request. Errors are *Error.
func DecodeSubscriptionControl(v jsonvalue.Value) (SubscriptionControl, error) {
	if err := subscriptionControlSchema.check(v); err != nil {
		return SubscriptionControl{}, err
	}
	data := v.Get("data")
	c := SubscriptionControl{ID: v.Get("id").Text(), Operation: Operation(v.Get("operation").Text())}
	if c.Operation == Update {
		c.Media = conference.MediaSet{Audio: data.Get("audio").Exists(), Video: data.Get("video").Exists()}
		c.AudioFrom, c.VideoFrom = data.Path("audio", "from").Text(), data.Path("video", "from").Text()
		c.Wanted = decodeWanted(data.Path("video", "parameters"))
	} else {
		c.Media = decodeMediaName(data)
	}
	return c, nil
}

// Encode is the data of the request.
func (c SubscriptionControl) Encode() jsonvalue.Value {
	if c.Operation != Update {
		return encodeControl(c.ID, c.Operation, encodeMediaName(c.Media))
	}
	var audio, video jsonvalue.Value
	if c.Media.Audio {
		audio = jsonvalue.OfObject(jsonvalue.M("from", jsonvalue.Of(c.AudioFrom)))
	}
	if c.Media.Video {
		video = jsonvalue.OfObject(jsonvalue.M("from", optionalText(c.VideoFrom)), jsonvalue.M("parameters", c.Wanted.encode()))
	}
	return encodeControl(c.ID, Update, jsonvalue.OfObject(jsonvalue.M("audio", audio), jsonvalue.M("video", video)))
}

func encodeControl(id string, op Operation, data jsonvalue.Value) jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("id", jsonvalue.Of(id)), jsonvalue.M("operation", jsonvalue.Of(string(op))), jsonvalue.M("data", data))
}

func decodeMediaName(v jsonvalue.Value) conference.MediaSet {
	name := v.Text()
	return conference.MediaSet{Audio: name != videoKind, Video: name != audioKind}
}

func encodeMediaName(m conference.MediaSet) jsonvalue.Value {
	switch {
	case m.Audio && m.Video:
		return jsonvalue.Of("av")
	case m.Audio:
		return jsonvalue.Of(audioKind)
	}
	return jsonvalue.Of(videoKind)
}

// SignalType is the kind of a signaling message about a transport.
type SignalType string

// The signaling messages (portal protocol 6.8).
const (
	SignalOffer             SignalType = "offer"
	SignalAnswer            SignalType = "answer"
	SignalCandidate         SignalType = "candidate"
	SignalRemovedCandidates SignalType = "removed-candidates"
)

// Signaling is SDP or ICE candidates about one transport.
type Signaling struct {
	Transport  string
	Type       SignalType
	SDP        string
	Candidates []Candidate // one for SignalCandidate
}

// Candidate is an ICE candidate as a client sends it, with or without "a=" in front; empty text ends the candidates.
type Candidate struct {
	Text  string
	Mid   string
	MLine int
}

// DecodeSignaling checks and reads a soac request. Errors are *Error.
func DecodeSignaling(v jsonvalue.Value) (Signaling, error) {
	id, signaling := v.Get("id"), v.Get("signaling")
	if id.Kind() != jsonvalue.String {
		return Signaling{}, ErrInvalidSOACID
	}
	if !signaling.Truthy() {
		return Signaling{}, ErrInvalidSignaling
	}
	s := Signaling{Transport: id.Text(), Type: SignalType(signaling.Get("type").Text()), SDP: signaling.Get("sdp").Text()}
	switch s.Type {
	case SignalOffer, SignalAnswer:
	case SignalCandidate:
		s.Candidates = []Candidate{decodeCandidate(signaling.Get("candidate"))}
	case SignalRemovedCandidates:
		list := signaling.Get("candidates")
		for i := range list.Len() {
			s.Candidates = append(s.Candidates, decodeCandidate(list.Index(i)))
		}
	default:
		return Signaling{}, ErrInvalidSignalType
	}
	return s, nil
}

func decodeCandidate(v jsonvalue.Value) Candidate {
	line, _ := v.Get("sdpMLineIndex").Int()
	if line < 0 || line > 1<<16 {
		line = 0
	}
	return Candidate{Text: v.Get("candidate").Text(), Mid: v.Get("sdpMid").Text(), MLine: int(line)}
}

// Encode is the data of the request.
func (s Signaling) Encode() jsonvalue.Value {
	members := []jsonvalue.Member{jsonvalue.M("type", jsonvalue.Of(string(s.Type)))}
	switch s.Type {
	case SignalCandidate:
		if len(s.Candidates) > 0 {
			members = append(members, jsonvalue.M("candidate", s.Candidates[0].encode()))
		}
	case SignalRemovedCandidates:
		list := make([]jsonvalue.Value, len(s.Candidates))
		for i, c := range s.Candidates {
			list[i] = c.encode()
		}
		members = append(members, jsonvalue.M("candidates", jsonvalue.OfArray(list...)))
	default:
		members = append(members, jsonvalue.M("sdp", jsonvalue.Of(s.SDP)))
	}
	return jsonvalue.OfObject(jsonvalue.M("id", jsonvalue.Of(s.Transport)), jsonvalue.M("signaling", jsonvalue.OfObject(members...)))
}

func (c Candidate) encode() jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("candidate", jsonvalue.Of(c.Text)),
		jsonvalue.M("sdpMid", jsonvalue.Of(c.Mid)), jsonvalue.M("sdpMLineIndex", jsonvalue.OfInt(int64(c.MLine))))
}
