package client

import (
	"context"

	"portico/shared/conference"
)

// PeerFactory makes the PeerConnection of a conference: the browser's own under js, pion's in native programs.
type PeerFactory interface {
	NewPeer(config PeerConfig, events PeerEvents) (Peer, error)
}

// PeerConfig is the part of RTCConfiguration a conference needs.
type PeerConfig struct {
	ICEServers []ICEServer
	RelayOnly  bool // iceTransportPolicy "relay"
}

// ICEServer is one entry of RTCConfiguration.iceServers.
type ICEServer struct {
	URLs                 []string
	Username, Credential string
}

// Direction is a transceiver's direction seen from this client.
type Direction string

// The directions a client asks for.
const (
	SendOnly Direction = "sendonly"
	RecvOnly Direction = "recvonly"
	Inactive Direction = "inactive"
)

// Peer is one PeerConnection that only ever offers (portal protocol 8.1). Its methods may block until the browser has
// answered, so they must not be called from within an event. One negotiation runs at a time; the client sees to that.
type Peer interface {
	// AddTransceiver adds a transceiver; local is the track to send (nil for RecvOnly), of the type the factory's platform uses.
	AddTransceiver(kind conference.Kind, dir Direction, local any, options SendOptions) (Transceiver, error)
	// Offer creates an offer, makes it the local description and returns its SDP. iceRestart asks for new ICE credentials.
	Offer(ctx context.Context, iceRestart bool) (sdp string, err error)
	// Answer applies the server's answer to the last offer.
	Answer(ctx context.Context, sdp string) error
	// SetICEServers replaces the servers used from the next gathering on.
	SetICEServers(servers []ICEServer) error
	// Close ends the connection; safe twice. No event comes after it has returned.
	Close() error
}

// Transceiver is one m-line. Mid is known once an offer was made.
type Transceiver interface {
	Mid() string
	// ReplaceTrack changes what is sent without negotiation; nil sends nothing.
	ReplaceTrack(local any) error
	// Stop sets the direction to inactive; it takes effect with the next offer.
	Stop() error
}

// SendOptions are the sender's encodings: empty for one encoding with the browser's defaults.
type SendOptions struct {
	Encodings []Encoding
	Codecs    []string // preferred codecs, lower case, best first; empty: the platform's order
}

// Encoding is one RTCRtpEncodingParameters; zero fields are left to the platform.
type Encoding struct {
	RID                   string
	MaxBitrate            int     // bit/s
	ScaleResolutionDownBy float64 // 1 or more
	ScalabilityMode       string
}

// PeerEvents is told what happens on a Peer. Calls come one at a time and must not block.
type PeerEvents interface {
	// Candidate is a local ICE candidate as the browser writes it, without "a=".
	Candidate(candidate, sdpMid string, sdpMLineIndex int)
	// Track is remote media on the m-line mid; streams are the ids of its media streams. remote is the platform's track.
	Track(mid string, kind conference.Kind, streams []string, remote any)
	// State is connectionState: new, connecting, connected, disconnected, failed or closed.
	State(state string)
}
