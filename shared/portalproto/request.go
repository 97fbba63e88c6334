package portalproto

import (
	"strconv"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
)

// TransportRef names the transport a session shall use: an empty ID asks for a new one.
type TransportRef struct {
	Type string // "webrtc" or "quic"
	ID   string
}

// The types of transports.
const (
	transportWebRTC = "webrtc"
	TransportQUIC   = "quic"
)

// PublishRequest asks to publish (portal protocol 6.2).
type PublishRequest struct {
	Tracks     []PublishTrack
	Attributes jsonvalue.Value // an object, or absent
	Data       bool
	Transport  TransportRef
	// Resume is the id of a stream that the participant had on another edge before it was moved: it goes on under that id. An addition of
	// ours.
	Resume string
}

// PublishTrack declares one m-line of the offer to come.
type PublishTrack struct {
	Kind            conference.Kind
	Mid             string
	Source          string
	ScalabilityMode string // as in WebRTC SVC, such as "L3T3"; empty when not said
	// Layers says that the client turns layers of simulcast off and on as ProgressLayers tells it. An addition to the protocol: a member
	// of the track that others ignore.
	Layers bool
}

// SubscribeRequest asks to subscribe (portal protocol 6.5).
type SubscribeRequest struct {
	Tracks    []SubscribeTrack
	DataFrom  string // stream whose data is wanted
	Transport TransportRef
}

// SubscribeTrack asks for one track on one m-line of the offer to come.
type SubscribeTrack struct {
	Kind   conference.Kind
	Mid    string
	From   string             // stream id or track id
	Rid    string             // layer of a simulcast source, as versions before 1.2 ask for it; ignored when there is none such
	Format *conference.Format // nil: as the source
	Wanted Wanted
}

// Wanted are the video parameters a subscriber asks for; zero fields are not asked for.
type Wanted struct {
	Resolution       conference.Resolution
	Framerate        float64 // pictures a second
	Bitrate          string  // as the client wrote it: a factor ("x0.8") or a number of kbit/s
	KeyFrameInterval float64 // seconds
}

var trackSources = []string{"mic", "camera", "screen-cast", "raw-file", "encoded-file"}

var transportSchema = closedObject(nil, prop{"type", aString}, prop{"id", aString})

var publishSchema = closedObject([]string{"media"},
	prop{"media", &schema{types: []string{"object", "null"}, required: []string{"tracks"}, closed: true, props: []prop{
		{"tracks", &schema{types: []string{"array"}, items: &schema{types: []string{"object"}, props: []prop{
			{"type", oneOf(audioKind, videoKind)}, {"mid", aString}, {"source", &schema{enum: trackSources}},
		}}}},
	}}},
	prop{"attributes", anObject},
	prop{"data", aBoolean},
	prop{"transport", transportSchema},
	prop{"resume", aString})

var resolutionSchema = closedObject([]string{"width", "height"}, prop{"width", aNumber}, prop{"height", aNumber})

var wantedSchema = closedObject(nil,
	prop{"resolution", resolutionSchema},
	prop{"framerate", aNumber},
	prop{"bitrate", &schema{types: []string{"string", "number"}}},
	prop{"keyFrameInterval", aNumber})

var formatSchema = &schema{anyOf: []schema{
	*closedObject([]string{"codec"},
		prop{"codec", oneOf("pcmu", "pcma", "opus", "g722", "iSAC", "iLBC", "aac", "ac3", "nellymoser")},
		prop{"sampleRate", aNumber}, prop{"channelNum", aNumber}),
	*closedObject([]string{"codec"},
		prop{"codec", oneOf("h264", "h265", "vp8", "vp9")},
		prop{"profile", oneOf("CB", "B", "M", "E", "H")}),
}}

var subscribeSchema = closedObject([]string{"media"},
	prop{"media", &schema{types: []string{"object", "null"}, required: []string{"tracks"}, closed: true, props: []prop{
		{"tracks", &schema{types: []string{"array"}, items: &schema{types: []string{"object"}, props: []prop{
			{"type", oneOf(audioKind, videoKind)}, {"mid", aString}, {"from", aString}, {"format", formatSchema}, {"parameters", wantedSchema},
		}}}},
	}}},
	prop{"data", closedObject([]string{"from"}, prop{"from", aString})},
	prop{"transport", transportSchema})

// objectRequest is the refusal of a request whose data is no object at all.
func objectRequest(v jsonvalue.Value) error { return anObject.check(v) }

// DecodePublish checks and reads the data of a publish request. Errors are *Error.
func DecodePublish(v jsonvalue.Value, version Version) (PublishRequest, error) {
	if err := objectRequest(v); err != nil {
		return PublishRequest{}, err
	}
	if version < V12 {
		return decodeFlatPublish(v)
	}
	if err := publishSchema.check(v); err != nil {
		return PublishRequest{}, err
	}
	r := PublishRequest{Attributes: v.Get("attributes"), Data: v.Get("data").Bool(), Transport: decodeTransport(v.Get("transport")), Resume: v.Get("resume").Text()}
	tracks := v.Path("media", "tracks")
	for i := range tracks.Len() {
		t := tracks.Index(i)
		r.Tracks = append(r.Tracks, PublishTrack{
			Kind: conference.Kind(t.Get("type").Text()), Mid: t.Get("mid").Text(),
			Source: t.Get("source").Text(), ScalabilityMode: t.Get("scalabilityMode").Text(),
			Layers: t.Get("layers").Bool(),
		})
	}
	return r, nil
}

// DecodeSubscribe checks and reads the data of a subscribe request. Errors are *Error.
func DecodeSubscribe(v jsonvalue.Value, version Version) (SubscribeRequest, error) {
	if err := objectRequest(v); err != nil {
		return SubscribeRequest{}, err
	}
	if version < V12 {
		return decodeFlatSubscribe(v)
	}
	if err := subscribeSchema.check(v); err != nil {
		return SubscribeRequest{}, err
	}
	r := SubscribeRequest{DataFrom: v.Path("data", "from").Text(), Transport: decodeTransport(v.Get("transport"))}
	tracks := v.Path("media", "tracks")
	for i := range tracks.Len() {
		t := tracks.Index(i)
		st := SubscribeTrack{
			Kind: conference.Kind(t.Get("type").Text()), Mid: t.Get("mid").Text(), From: t.Get("from").Text(),
			Wanted: decodeWanted(t.Get("parameters")),
		}
		if f := t.Get("format"); f.Exists() {
			format := decodeFormat(f)
			st.Format = &format
		}
		r.Tracks = append(r.Tracks, st)
	}
	return r, nil
}

func decodeTransport(v jsonvalue.Value) TransportRef {
	return TransportRef{Type: v.Get("type").Text(), ID: v.Get("id").Text()}
}

func (t TransportRef) encode() jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("type", jsonvalue.Of(t.Type)), jsonvalue.M("id", optionalText(t.ID)))
}

func decodeWanted(v jsonvalue.Value) Wanted {
	w := Wanted{Resolution: decodeResolution(v.Get("resolution"))}
	w.Framerate, _ = v.Get("framerate").Float()
	w.KeyFrameInterval, _ = v.Get("keyFrameInterval").Float()
	switch b := v.Get("bitrate"); b.Kind() {
	case jsonvalue.String:
		w.Bitrate = b.Text()
	case jsonvalue.Number:
		w.Bitrate = b.String()
	}
	return w
}

func (w Wanted) encode() jsonvalue.Value {
	if w == (Wanted{}) {
		return jsonvalue.Value{}
	}
	bitrate := optionalText(w.Bitrate)
	if f, err := strconv.ParseFloat(w.Bitrate, 64); err == nil {
		bitrate = jsonvalue.OfFloat(f)
	}
	return jsonvalue.OfObject(
		jsonvalue.M("resolution", encodeResolution(w.Resolution)),
		jsonvalue.M("framerate", optionalFloat(w.Framerate)),
		jsonvalue.M("bitrate", bitrate),
		jsonvalue.M("keyFrameInterval", optionalFloat(w.KeyFrameInterval)))
}

// Encode is the data of the request as a client sends it; absent fields are left out, never null.
func (r PublishRequest) Encode() jsonvalue.Value {
	tracks := make([]jsonvalue.Value, len(r.Tracks))
	for i, t := range r.Tracks {
		tracks[i] = jsonvalue.OfObject(
			jsonvalue.M("type", jsonvalue.Of(string(t.Kind))), jsonvalue.M("mid", jsonvalue.Of(t.Mid)),
			jsonvalue.M("source", optionalText(t.Source)), jsonvalue.M("scalabilityMode", optionalText(t.ScalabilityMode)),
			jsonvalue.M("layers", optionalTrue(t.Layers)))
	}
	return jsonvalue.OfObject(
		jsonvalue.M("media", mediaOf(tracks, r.Data)),
		jsonvalue.M("attributes", r.Attributes),
		jsonvalue.M("data", optionalTrue(r.Data)),
		jsonvalue.M("transport", r.Transport.encode()),
		jsonvalue.M("resume", optionalText(r.Resume)))
}

// Encode is the data of the request as a client sends it.
func (r SubscribeRequest) Encode() jsonvalue.Value {
	tracks := make([]jsonvalue.Value, len(r.Tracks))
	for i, t := range r.Tracks {
		var format jsonvalue.Value
		if t.Format != nil {
			format = encodeFormat(*t.Format)
		}
		tracks[i] = jsonvalue.OfObject(
			jsonvalue.M("type", jsonvalue.Of(string(t.Kind))), jsonvalue.M("mid", jsonvalue.Of(t.Mid)),
			jsonvalue.M("from", jsonvalue.Of(t.From)), jsonvalue.M("format", format), jsonvalue.M("parameters", t.Wanted.encode()))
	}
	var data jsonvalue.Value
	if r.DataFrom != "" {
		data = jsonvalue.OfObject(jsonvalue.M("from", jsonvalue.Of(r.DataFrom)))
	}
	return jsonvalue.OfObject(
		jsonvalue.M("media", mediaOf(tracks, r.DataFrom != "")), jsonvalue.M("data", data), jsonvalue.M("transport", r.Transport.encode()))
}

// mediaOf is the media member of a request: null for a session of data alone.
func mediaOf(tracks []jsonvalue.Value, data bool) jsonvalue.Value {
	if data && len(tracks) == 0 {
		return jsonvalue.NullValue()
	}
	return jsonvalue.OfObject(jsonvalue.M("tracks", jsonvalue.OfArray(tracks...)))
}

// SessionAck is the answer to publish and subscribe.
type SessionAck struct {
	ID        string // session id; of a publication also the stream id
	Transport string // equal to ID when the session opened the transport
}

// Encode is the data of the acknowledgement.
func (a SessionAck) Encode() jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("id", jsonvalue.Of(a.ID)), jsonvalue.M("transportId", jsonvalue.Of(a.Transport)))
}

// DecodeSessionAck reads it; ok is false when an id is missing.
func DecodeSessionAck(v jsonvalue.Value) (a SessionAck, ok bool) {
	a = SessionAck{ID: v.Get("id").Text(), Transport: v.Get("transportId").Text()}
	return a, a.ID != "" && a.Transport != ""
}

// Text asks to send a message to all participants of the room ("all") or to one.
type Text struct {
	To      string
	Message jsonvalue.Value // anything; absent when the client sent none
}

// All is the receiver that means everyone in the room, the sender included.
const All = "all"

// DecodeText reads a text request (portal protocol 6.1). Errors are *Error.
func DecodeText(v jsonvalue.Value) (Text, error) {
	t := Text{To: v.Get("to").Text(), Message: v.Get("message")}
	if t.To == "" {
		return Text{}, ErrInvalidReceiver
	}
	return t, nil
}

// Encode is the data of the request.
func (t Text) Encode() jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("to", jsonvalue.Of(t.To)), jsonvalue.M("message", t.Message))
}

// DecodeStreamID reads the data of unpublish (portal protocol 6.3): {id}. Errors are *Error.
func DecodeStreamID(v jsonvalue.Value) (string, error) {
	if id := v.Get("id").Text(); isID(id) {
		return id, nil
	}
	return "", ErrInvalidStreamID
}

// DecodeSubscriptionID reads the data of unsubscribe (portal protocol 6.6): {id}. Errors are *Error.
func DecodeSubscriptionID(v jsonvalue.Value) (string, error) {
	if id := v.Get("id").Text(); isID(id) {
		return id, nil
	}
	return "", ErrSubscriptionID
}

// EncodeID is the data of unpublish and unsubscribe.
func EncodeID(id string) jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("id", jsonvalue.Of(id)))
}

// isID is ^[0-9a-zA-Z-]+$.
func isID(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-') {
			return false
		}
	}
	return s != ""
}

func optionalText(s string) jsonvalue.Value {
	if s == "" {
		return jsonvalue.Value{}
	}
	return jsonvalue.Of(s)
}

func optionalTrue(b bool) jsonvalue.Value {
	if !b {
		return jsonvalue.Value{}
	}
	return jsonvalue.OfBool(true)
}

func optionalFloat(f float64) jsonvalue.Value {
	if f == 0 {
		return jsonvalue.Value{}
	}
	return jsonvalue.OfFloat(f)
}

func optionalInt(n int) jsonvalue.Value {
	if n == 0 {
		return jsonvalue.Value{}
	}
	return jsonvalue.OfInt(int64(n))
}
