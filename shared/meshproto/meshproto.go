// Package meshproto is what edges say to each other: who is home of a room, who and what is in it, commands, and the pulling of
// streams.
//
// It stands on the calls of a node link (package link). The first message of a call is a Hello, which names the service; what follows
// depends on it. Every message but those that carry data streams is one JSON object; members that are not known are ignored, so that nodes of two versions understand
// each other, and all else that cannot be is refused with ErrMessage. Bytes are in base64.
//
//	service    messages                                  package or file
//	seats      Seats, one way, may get lost              placement; seats.go
//	room       RoomMessage, both ways                    roster; room.go
//	command    Command, then Reply, and again            command.go
//	standby    Standby, one way, may get lost            standby.go
//	pull       a stream from one edge to another         pull.go
//	data       a publication of data, likewise           data.go
//
// # Following a room
//
// A follower opens a call of the service room to the home it obeys:
//
//	follower -> home   enrol      what it is, and how far its Copy is
//	home -> follower   enrolled   whether Hearsay is of use; or stale: the home leads no more, and a higher epoch may stand
//	follower -> home   hearsay    what its Copy held, if it is of use
//	follower -> home   update     all that it owns (Full), then what changes
//	home -> follower   delta      from where the Copy is, after that Update; then what changes
//
// Afterwards either sends notes and the home says outdone and needFull as they come. What is longer than a message goes in parts.
package meshproto

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"portico/shared/placement"
	"portico/shared/relayproto"
	"portico/shared/roster"
)

// Version is of this protocol: nodes of different ones do not talk.
const Version = 1

// Bounds of messages.
const (
	MaxMessage = relayproto.MaxMessage // bytes
	MaxName    = roster.MaxID          // bytes of an id of any kind
	MaxBody    = 512 << 10             // bytes of a note or a command
	MaxText    = 4 << 10               // bytes of what is said in words
)

// The services.
const (
	ServiceSeats   = "seats"
	ServiceRoom    = "room"
	ServiceCommand = "command"
	ServiceStandby = "standby"
	ServicePull    = "pull"
	ServiceData    = "data"
)

// ErrMessage is of a message that cannot be read, or says what cannot be.
var ErrMessage = errors.New("meshproto: bad message")

// Hello is the first message of every call.
type Hello struct {
	Service string `json:"service"`
	Version int    `json:"version"`
}

// EncodeHello writes the Hello of a service.
func EncodeHello(service string) []byte {
	b, _ := json.Marshal(Hello{Service: service, Version: Version}) // never fails
	return b
}

// DecodeHello reads a Hello, of any version.
func DecodeHello(b []byte) (Hello, error) {
	var h Hello
	if err := read(b, &h); err != nil {
		return Hello{}, err
	}
	if h.Service == "" || len(h.Service) > MaxName || h.Version < 1 {
		return Hello{}, bad("hello of %q", h.Service[:min(len(h.Service), 40)])
	}
	return h, nil
}

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMessage}, args...)...)
}

func write(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, bad("%v", err)
	}
	if len(b) > MaxMessage {
		return nil, bad("longer than %d bytes", MaxMessage)
	}
	return b, nil
}

func read(b []byte, v any) error {
	if len(b) > MaxMessage {
		return bad("longer than %d bytes", MaxMessage)
	}
	if !utf8.Valid(b) {
		return bad("not UTF-8")
	}
	if err := json.Unmarshal(b, v); err != nil {
		return bad("%v", err)
	}
	return nil
}

func nameFits(s string) bool { return s != "" && len(s) <= MaxName }

func epochFits(e placement.Epoch) bool {
	return e.Zero() || e.Number > 0 && nameFits(e.Home.ID)
}
