package rtc

import (
	"errors"
	"log/slog"
	"time"

	"portico/edge/peer"
	"portico/edge/tcpdoor"
	"portico/shared/conference"
)

// Errors of the Engine's calls.
var (
	ErrNoTransport = errors.New("rtc: no such transport of this participant")
	ErrMidInUse    = errors.New("rtc: mid belongs to another session")
	ErrNoSuchTrack = errors.New("rtc: no such track")
	ErrTooMany     = errors.New("rtc: too many transports, sessions or offers")
	ErrBadOffer    = errors.New("rtc: offer cannot be used")
	ErrIDInUse     = errors.New("rtc: id is in use")
	ErrBadTracks   = errors.New("rtc: session without tracks that can be used")
	ErrClosed      = errors.New("rtc: closed")
)

// Reasons given to Events for failures (portal protocol 7.3).
const (
	ReasonICE        = "Ice procedure failed."
	ReasonSourceLoss = "Source stream loss"
	ReasonNoTracks   = "No valid tracks in stream"
	ReasonNoAudio    = "No available audio format"
	ReasonNoVideo    = "No available video format"
	ReasonNoFormat   = "No proper audio/video format"
	ReasonNoOffer    = "No offer within the time allowed"
)

// Config is what New needs. Zero values stand for the defaults given with the fields.
type Config struct {
	// Sockets is the UDP port for everything; the Engine reads it alone and closes it. Without it, Listen is opened.
	Sockets peer.Sockets
	Listen  string // "host:port"; an empty host is all addresses, port 0 a free one; default ":0"
	// TCP, if set, brings the clients that reach us by TCP only. Its owner closes it, after the Engine.
	TCP   *tcpdoor.Door
	Plain bool // send and receive through ICE, one packet at a time (package peer)

	// PublicIPs are put in place of the socket's own addresses in answers: those under which clients reach it through a
	// 1:1 NAT.
	PublicIPs     []string
	AllowLoopback bool // offer loopback addresses and accept those of clients

	SessionTimeout  time.Duration // for the offer of a session to come; default 60 s
	ICEDisconnected time.Duration // without a sign of the client until it counts as disconnected; default 10 s
	ICEFailed       time.Duration // from there until it has failed; default 60 s, as a participant keeps its place

	Converter Converter // makes media in other forms; nil: nothing is made

	MaxTransports int // of a participant; default 64
	MaxSessions   int // alive on a transport; default 256
	MaxOffer      int // bytes of an SDP; default 1 MB
	MaxMLines     int // of an offer, also those no longer used; default 1024
	MaxCandidates int // remote candidates of a transport; default 128

	Log *slog.Logger // default: nothing is logged
}

// Bounds that are no settings.
const (
	maxPendingOffers = 8               // of a transport
	offerGrace       = 5 * time.Second // from the end of an association until its transport has failed
)

func (c *Config) fill() {
	set := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	setInt := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	if c.Listen == "" {
		c.Listen = ":0"
	}
	set(&c.SessionTimeout, 60*time.Second)
	set(&c.ICEDisconnected, 10*time.Second)
	set(&c.ICEFailed, 60*time.Second)
	setInt(&c.MaxTransports, 64)
	setInt(&c.MaxSessions, 256)
	setInt(&c.MaxOffer, 1<<20)
	setInt(&c.MaxMLines, 1024)
	setInt(&c.MaxCandidates, 128)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Events is told what becomes of one participant's transports and sessions. Calls about one transport come one at a time, in
// order; those about different transports may come at once. They must not block, and may call the Engine.
//
// On a new transport the order is Answer, TransportReady, SessionReady; on one that is ready Answer, SessionReady. After
// SessionFailed nothing comes for that session, after TransportFailed nothing for that transport. What the owner ends
// itself, by Stop and CloseParticipant, is not reported to it.
type Events interface {
	Answer(transport, sdp string)
	TransportReady(transport string)
	TransportFailed(transport, reason string)
	// SessionReady says that media can flow. tracks are those of a publication, nil for a subscription.
	SessionReady(transport, session string, tracks []conference.Track)
	SessionFailed(transport, session, reason string)
	// TracksChanged says that the size of a publication's picture became known or changed; tracks are all of it.
	TracksChanged(session string, tracks []conference.Track)
	// LayersWanted says which layers of a simulcast publication, by their rids, somebody has a use for; only those whose client
	// turns layers off are told.
	LayersWanted(session string, rids []string)
}

// TrackDecl declares a track that will be published on the m-line Mid.
type TrackDecl struct {
	Kind   conference.Kind
	Mid    string
	Source string // handed through to conference.Track
	// ScalabilityMode is the one of WebRTC SVC that the track is sent with, empty when the client does not say.
	ScalabilityMode string
	// Layers says that the client turns layers off, and on again, as Events.LayersWanted says.
	Layers bool
}

// SubTrack declares a track that will be received on the m-line Mid: the published track with the id From.
type SubTrack struct {
	Kind conference.Kind
	Mid  string
	From string
	// Adapt lets the track be any layer of the one that From names, or nothing, as the client's network and display allow.
	Adapt   bool
	Display conference.Resolution // the size at which the client shows it, in pixels; 0 while unknown
	Making  Making
}

// PublishSpec declares a publication. Session and, when New, Transport are ids never used before.
type PublishSpec struct {
	Participant, Transport, Session string
	New                             bool // open the transport; else it must be there and be the participant's
	Tracks                          []TrackDecl
	Accept                          conference.MediaIn // formats the room accepts
	Events                          Events
}

// SubscribeSpec declares a subscription, as PublishSpec does a publication.
type SubscribeSpec struct {
	Participant, Transport, Session string
	New                             bool
	Tracks                          []SubTrack
	Events                          Events
}
