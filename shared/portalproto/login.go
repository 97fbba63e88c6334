package portalproto

import (
	"strconv"
	"strings"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
)

// Login asks to join the room of a token (portal protocol 2.3).
type Login struct {
	Token    jsonvalue.Value // as received: the portal tells a token that is no string from one that is not there
	SDK      SDK
	Protocol Version
	// Migrate says that the client goes to another edge when Move asks it to. An addition of ours.
	Migrate bool
	// Thin says that the client makes do with a thin roster where there are many participants: see Roster. An addition of ours.
	Thin bool
}

// SDK is what a client says of itself; it decides on reconnection and on a few kindnesses to old clients.
type SDK struct{ Type, Version string }

// deprecatedSDK is the one SDK version that is refused by name.
const deprecatedSDK = "3.5"

// DecodeLogin checks rows 2 to 5 of portal protocol 2.3 in their order. Errors are *Error.
func DecodeLogin(v jsonvalue.Value) (Login, error) {
	if v.Kind() != jsonvalue.Object {
		return Login{}, ErrInvalidLogin
	}
	if !v.Get("protocol").Exists() {
		return Login{}, ErrDeprecatedClient // clients of 3.4 and before (3.5)
	}
	version, ok := parseVersion(v.Get("protocol"))
	if !ok {
		return Login{}, ErrUnknownProtocol
	}
	sdk := v.Path("userAgent", "sdk")
	if sdk.Get("version").Text() == deprecatedSDK {
		return Login{}, ErrDeprecatedClient
	}
	if !sdk.Get("type").Truthy() || !sdk.Get("version").Truthy() {
		return Login{}, ErrUserAgent
	}
	return Login{
		Token:    v.Get("token"),
		SDK:      SDK{Type: sdk.Get("type").Text(), Version: sdk.Get("version").Text()},
		Protocol: version,
		Migrate:  v.Get("migrate").Bool(),
		Thin:     v.Get("thin").Bool(),
	}, nil
}

// Encode is the data of the login request as a client sends it.
func (l Login) Encode() jsonvalue.Value {
	return jsonvalue.OfObject(
		jsonvalue.M("token", l.Token),
		jsonvalue.M("userAgent", jsonvalue.OfObject(jsonvalue.M("sdk", jsonvalue.OfObject(
			jsonvalue.M("type", jsonvalue.Of(l.SDK.Type)), jsonvalue.M("version", jsonvalue.Of(l.SDK.Version)))))),
		jsonvalue.M("protocol", jsonvalue.Of(l.Protocol.String())),
		jsonvalue.M("migrate", optionalTrue(l.Migrate)),
		jsonvalue.M("thin", optionalTrue(l.Thin)))
}

// Resumable tells whether a client of this kind is given reconnection: exactly the SDK types of OWT (portal protocol 2.1).
func (s SDK) Resumable() bool {
	switch s.Type {
	case "JavaScript", "C++", "Objective-C", "Android":
		return true
	}
	return false
}

// ICEServer is a STUN or TURN server handed to clients, in the words of RTCIceServer.
type ICEServer struct {
	URLs       []string
	Username   string
	Credential string // expires; never logged
}

// TakesReloginObject tells whether a client of this kind understands the relogin answer of version 1.2: the JavaScript, C++ and
// Objective-C releases up to 5.1 do not (portal protocol 5.7).
func (s SDK) TakesReloginObject() bool {
	switch s.Type {
	case "JavaScript", "C++", "Objective-C":
		return !atMost51(s.Version)
	}
	return true
}

// atMost51 tells whether a version "major.minor…" is 5.1 or before; anything that is no version counts as old.
func atMost51(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	m, err := strconv.Atoi(major)
	if err != nil || m != 5 {
		return err != nil || m < 5
	}
	n, err := strconv.Atoi(minor)
	return err != nil || n <= 1
}

// LoginResult is the answer to login: who the client is, and the room as it stands.
type LoginResult struct {
	Participant  conference.Participant
	RoomID       string
	Views        []string
	Participants []conference.Participant // the client itself among them
	Streams      []conference.Stream
	Ticket       string // reconnection ticket; empty: none
	WebTransport string // token for WebTransport; empty: none

	// Additions of ours; OWT clients do not look at them.
	ICEServers         []ICEServer
	Edges              []string // other edges to resume on, the best first: "http(s)://host:port"
	Adapts             bool     // videos of the room adapt to each subscriber's network and display
	Count              int      // participants of the room, for clients that asked for Thin; 0 for others
	Thin               bool     // Participants are not all: see Roster
	WebTransportHashes []string // SHA-256 of certificates to take for WebTransport, base64; none: those that are signed
	WebTransportURL    string   // where WebTransport is meant, for a client whose join token names another edge
}

// Encode is the result as that receiver understands it.
func (r LoginResult) Encode(to Receiver) jsonvalue.Value {
	participants := make([]jsonvalue.Value, len(r.Participants))
	for i, p := range r.Participants {
		participants[i] = encodeParticipant(p)
	}
	streams := make([]jsonvalue.Value, len(r.Streams))
	for i := range r.Streams {
		streams[i] = EncodeStream(&r.Streams[i], to)
	}
	return jsonvalue.OfObject(
		jsonvalue.M("id", jsonvalue.Of(r.Participant.ID)),
		jsonvalue.M("user", jsonvalue.Of(r.Participant.User)),
		jsonvalue.M("role", jsonvalue.Of(r.Participant.Role)),
		jsonvalue.M("permission", encodePermission(r.Participant.Permission)),
		jsonvalue.M("room", jsonvalue.OfObject(
			jsonvalue.M("id", jsonvalue.Of(r.RoomID)),
			jsonvalue.M("views", jsonvalue.OfStrings(r.Views)),
			jsonvalue.M("participants", jsonvalue.OfArray(participants...)),
			jsonvalue.M("streams", jsonvalue.OfArray(streams...)))),
		jsonvalue.M("reconnectionTicket", optionalText(r.Ticket)),
		jsonvalue.M("webTransportToken", optionalText(r.WebTransport)),
		jsonvalue.M("iceServers", encodeICEServers(r.ICEServers)),
		jsonvalue.M("edges", encodeEdges(r.Edges)),
		jsonvalue.M("enableBandwidthAdaptation", optionalTrue(r.Adapts)),
		jsonvalue.M("count", optionalCount(r.Count)),
		jsonvalue.M("thin", optionalTrue(r.Thin)),
		jsonvalue.M("webTransportUrl", optionalText(r.WebTransportURL)),
		jsonvalue.M("webTransportCertificateHashes", EncodeHashes(r.WebTransportHashes)))
}

// DecodeLoginResult reads a login's answer; ok is false when it names no participant or no room. Entries of its lists that
// make no sense are left out.
func DecodeLoginResult(v jsonvalue.Value) (r LoginResult, ok bool) {
	r.Participant = conference.Participant{
		ID: v.Get("id").Text(), User: v.Get("user").Text(), Role: v.Get("role").Text(), Permission: decodePermission(v.Get("permission")),
	}
	room := v.Get("room")
	r.RoomID = room.Get("id").Text()
	r.Views = texts(room.Get("views"))
	for i := range room.Get("participants").Len() {
		if p := decodeParticipant(room.Get("participants").Index(i)); p.ID != "" {
			r.Participants = append(r.Participants, p)
		}
	}
	for i := range room.Get("streams").Len() {
		if s, ok := DecodeStream(room.Get("streams").Index(i)); ok {
			r.Streams = append(r.Streams, s)
		}
	}
	r.Ticket = v.Get("reconnectionTicket").Text()
	r.WebTransport = v.Get("webTransportToken").Text()
	r.ICEServers = decodeICEServers(v.Get("iceServers"))
	r.Edges = decodeEdges(v.Get("edges"))
	r.Adapts = v.Get("enableBandwidthAdaptation").Bool()
	r.Count, _ = decodeCount(v.Get("count"))
	r.Thin = v.Get("thin").Bool()
	r.WebTransportHashes = decodeHashes(v.Get("webTransportCertificateHashes"))
	r.WebTransportURL = v.Get("webTransportUrl").Text()
	return r, r.Participant.ID != "" && room.Kind() == jsonvalue.Object
}

func texts(v jsonvalue.Value) []string {
	if v.Kind() == jsonvalue.String {
		return []string{v.Text()}
	}
	var list []string
	for i := range v.Len() {
		if s := v.Index(i); s.Kind() == jsonvalue.String {
			list = append(list, s.Text())
		}
	}
	return list
}

func encodeParticipant(p conference.Participant) jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("id", jsonvalue.Of(p.ID)),
		jsonvalue.M("user", jsonvalue.Of(p.User)), jsonvalue.M("role", jsonvalue.Of(p.Role)))
}

func decodeParticipant(v jsonvalue.Value) conference.Participant {
	return conference.Participant{ID: v.Get("id").Text(), User: v.Get("user").Text(), Role: v.Get("role").Text()}
}

func encodePermission(p conference.Permission) jsonvalue.Value {
	set := func(m conference.MediaSet) jsonvalue.Value {
		return jsonvalue.OfObject(jsonvalue.M("video", jsonvalue.OfBool(m.Video)), jsonvalue.M("audio", jsonvalue.OfBool(m.Audio)))
	}
	return jsonvalue.OfObject(jsonvalue.M("publish", set(p.Publish)), jsonvalue.M("subscribe", set(p.Subscribe)))
}

func decodePermission(v jsonvalue.Value) conference.Permission {
	set := func(v jsonvalue.Value) conference.MediaSet {
		return conference.MediaSet{Video: v.Get("video").Bool(), Audio: v.Get("audio").Bool()}
	}
	return conference.Permission{Publish: set(v.Get("publish")), Subscribe: set(v.Get("subscribe"))}
}

// Missed is a notification as a returning client is given it: what it was when it was sent, with its number (portal protocol 5.5).
type Missed struct {
	Event string
	Data  jsonvalue.Value // absent: the event has none
	Seq   int64           // 1, 2, 3, … for each participant
}

// ReloginResult is the answer to relogin in version 1.2: a new ticket and what is still buffered, delivered before or not.
type ReloginResult struct {
	Ticket   string
	Messages []Missed
	// Additions of ours: credentials may have expired meanwhile, and a WebTransport connection that was lost needs a new token.
	ICEServers         []ICEServer
	WebTransport       string // empty: none, or the connection stands
	WebTransportHashes []string
	Edges              []string // as in LoginResult
	// Moved is set when this edge has taken the participant over from another one: the participant and the room as a login finds them,
	// with nothing published or subscribed to from here yet. Messages is empty then.
	Moved *LoginResult
}

// Encode is the data of the acknowledgement.
func (r ReloginResult) Encode() jsonvalue.Value {
	messages := make([]jsonvalue.Value, len(r.Messages))
	for i, m := range r.Messages {
		messages[i] = jsonvalue.OfObject(jsonvalue.M("event", jsonvalue.Of(m.Event)), jsonvalue.M("data", m.Data), jsonvalue.M("seq", jsonvalue.OfInt(m.Seq)))
	}
	var moved jsonvalue.Value
	if r.Moved != nil {
		moved = r.Moved.Encode(Receiver{Version: V12})
	}
	return jsonvalue.OfObject(jsonvalue.M("ticket", jsonvalue.Of(r.Ticket)), jsonvalue.M("messages", jsonvalue.OfArray(messages...)),
		jsonvalue.M("iceServers", encodeICEServers(r.ICEServers)),
		jsonvalue.M("webTransportToken", optionalText(r.WebTransport)),
		jsonvalue.M("webTransportCertificateHashes", EncodeHashes(r.WebTransportHashes)),
		jsonvalue.M("edges", encodeEdges(r.Edges)),
		jsonvalue.M("moved", moved))
}

// DecodeReloginResult reads the answer in both its forms: the object of 1.2, or just a ticket, after which what was missed
// comes as ordinary notifications. ok is false when there is no ticket.
func DecodeReloginResult(v jsonvalue.Value) (r ReloginResult, ok bool) {
	if v.Kind() == jsonvalue.String {
		return ReloginResult{Ticket: v.Text()}, v.Text() != ""
	}
	r.Ticket = v.Get("ticket").Text()
	messages := v.Get("messages")
	for i := range messages.Len() {
		m := messages.Index(i)
		if seq, isInt := m.Get("seq").Int(); isInt && m.Get("event").Text() != "" {
			r.Messages = append(r.Messages, Missed{Event: m.Get("event").Text(), Data: m.Get("data"), Seq: seq})
		}
	}
	r.ICEServers = decodeICEServers(v.Get("iceServers"))
	r.WebTransport = v.Get("webTransportToken").Text()
	r.WebTransportHashes = decodeHashes(v.Get("webTransportCertificateHashes"))
	r.Edges = decodeEdges(v.Get("edges"))
	if moved := v.Get("moved"); moved.Exists() {
		login, whole := DecodeLoginResult(moved)
		if !whole {
			return r, false
		}
		r.Moved = &login
	}
	return r, r.Ticket != ""
}

// WebTransportGrant is what a client needs to open a WebTransport connection beside its address (portal protocol 4.6).
type WebTransportGrant struct {
	Token  string
	Hashes []string // as in LoginResult
}

// Encode is the data of the acknowledgement.
func (g WebTransportGrant) Encode() jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("webTransportToken", jsonvalue.Of(g.Token)),
		jsonvalue.M("webTransportCertificateHashes", EncodeHashes(g.Hashes)))
}

// DecodeWebTransportGrant reads it; ok is false when there is no token.
func DecodeWebTransportGrant(v jsonvalue.Value) (g WebTransportGrant, ok bool) {
	g = WebTransportGrant{Token: v.Get("webTransportToken").Text(), Hashes: decodeHashes(v.Get("webTransportCertificateHashes"))}
	return g, g.Token != ""
}

func encodeICEServers(servers []ICEServer) jsonvalue.Value {
	if len(servers) == 0 {
		return jsonvalue.Value{}
	}
	list := make([]jsonvalue.Value, len(servers))
	for i, s := range servers {
		list[i] = jsonvalue.OfObject(jsonvalue.M("urls", jsonvalue.OfStrings(s.URLs)),
			jsonvalue.M("username", optionalText(s.Username)), jsonvalue.M("credential", optionalText(s.Credential)))
	}
	return jsonvalue.OfArray(list...)
}

func decodeICEServers(v jsonvalue.Value) []ICEServer {
	var list []ICEServer
	for i := range v.Len() {
		s := v.Index(i)
		list = append(list, ICEServer{URLs: texts(s.Get("urls")), Username: s.Get("username").Text(), Credential: s.Get("credential").Text()})
	}
	return list
}

const hashAlgorithm = "sha-256"

// EncodeHashes writes hashes of certificates in the words of WebTransportHash, whose value is bytes: here they are base64. None is absent.
func EncodeHashes(hashes []string) jsonvalue.Value {
	if len(hashes) == 0 {
		return jsonvalue.Value{}
	}
	return listOf(hashes, func(h string) jsonvalue.Value {
		return jsonvalue.OfObject(jsonvalue.M("algorithm", jsonvalue.Of(hashAlgorithm)), jsonvalue.M("value", jsonvalue.Of(h)))
	})
}

func decodeHashes(v jsonvalue.Value) []string {
	var list []string
	for i := range v.Len() {
		if h := v.Index(i); h.Get("algorithm").Text() == hashAlgorithm && h.Get("value").Text() != "" {
			list = append(list, h.Get("value").Text())
		}
	}
	return list
}
