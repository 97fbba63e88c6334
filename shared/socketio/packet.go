// Package socketio is the codec of Socket.IO packets, protocols 4 and 5, and the table of unanswered requests.
//
// It stands between engineio, whose message packets carry the text it reads and writes, and the users of events: sioserver
// and sioclient. It does no I/O, starts no goroutine and reads no clock.
//
// # Text
//
// A packet is written (portal protocol 1.6)
//
//	<type>[<attachments>-][<namespace>,][<ack id>][<JSON>]
//
// with the types
//
//	0  connect        JSON: object; protocol 5 only: {"sid":…} from the server, whatever the application wants from the client
//	1  disconnect     no JSON
//	2  event          JSON: [name, argument, …]; an ack id asks for an answer
//	3  ack            JSON: [argument, …], the answer to the event of that id
//	4  connect error  JSON: object or string
//	5  binary event   event whose arguments refer to attachments
//	6  binary ack     ack likewise
//
// The namespace is left out for "/", and its comma where nothing follows. Types 5 and 6 announce how many attachments follow,
// each a binary message of its own; the JSON refers to the n-th by {"_placeholder":true,"num":n}.
package socketio

import (
	"errors"
	"strconv"

	"portico/shared/jsonvalue"
)

// PacketType is the first digit of a packet.
type PacketType uint8

// The packet types.
const (
	Connect PacketType = iota
	Disconnect
	Event
	Ack
	ConnectError
	BinaryEvent
	BinaryAck
)

var typeNames = [...]string{"connect", "disconnect", "event", "ack", "connect error", "binary event", "binary ack"}

// String is the type's name in the protocol's text.
func (t PacketType) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "unknown"
}

// NoID is the ID of a packet without an ack id.
const NoID = -1

// Root is the namespace every connection has.
const Root = "/"

// Packet is one Socket.IO packet.
type Packet struct {
	Type        PacketType
	Namespace   string            // "" is Root when writing; decoding gives Root; may end in "?query" with protocol 4
	ID          int64             // ack id, or NoID; mind that the zero Packet asks for ack 0
	Args        []jsonvalue.Value // event: the name (a string, or a number that nobody listens to), then the arguments; ack: the arguments
	Data        jsonvalue.Value   // content of connect and connect error; absent when there is none
	Attachments [][]byte          // of the binary types
}

// What can be wrong with a packet. The connection that sent it has to be closed.
var (
	ErrType       = errors.New("socketio: unknown packet type")
	ErrHeader     = errors.New("socketio: malformed packet header")
	ErrContent    = errors.New("socketio: malformed packet content")
	ErrAttachment = errors.New("socketio: attachment missing, unexpected or not referred to correctly")
	ErrLimit      = errors.New("socketio: packet exceeds a limit")
)

// Append writes the packet's text behind dst. An event or ack with Attachments is written as its binary type; the attachments
// themselves are for the caller to send behind the text, in order.
func (p Packet) Append(dst []byte) []byte {
	t := p.Type
	if len(p.Attachments) > 0 && (t == Event || t == Ack) {
		t += BinaryEvent - Event
	}
	dst = append(dst, '0'+byte(t))
	if t == BinaryEvent || t == BinaryAck {
		dst = append(strconv.AppendInt(dst, int64(len(p.Attachments)), 10), '-')
	}
	if p.Namespace != "" && p.Namespace != Root {
		dst = append(append(dst, p.Namespace...), ',')
	}
	if p.ID >= 0 && t != Connect && t != Disconnect && t != ConnectError {
		dst = strconv.AppendInt(dst, p.ID, 10)
	}
	switch t {
	case Connect, ConnectError:
		if p.Data.Exists() {
			dst = p.Data.Append(dst)
		}
	case Disconnect:
	default:
		dst = appendArgs(append(dst, '['), p.Args)
	}
	return dst
}

// AppendEvent writes an event of the root namespace behind dst: Append without building the Packet.
func AppendEvent(dst []byte, id int64, name string, args []jsonvalue.Value) []byte {
	dst = append(dst, '0'+byte(Event))
	if id >= 0 {
		dst = strconv.AppendInt(dst, id, 10)
	}
	dst = jsonvalue.AppendString(append(dst, '['), name)
	if len(args) > 0 {
		dst = append(dst, ',')
	}
	return appendArgs(dst, args)
}

// AppendAck writes the answer to event id of the root namespace behind dst.
func AppendAck(dst []byte, id int64, args []jsonvalue.Value) []byte {
	dst = strconv.AppendInt(append(dst, '0'+byte(Ack)), id, 10)
	return appendArgs(append(dst, '['), args)
}

func appendArgs(dst []byte, args []jsonvalue.Value) []byte {
	for i, a := range args {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = a.Append(dst)
	}
	return append(dst, ']')
}

// Placeholder is the value that stands for attachment n in the arguments of a packet.
func Placeholder(n int) jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("_placeholder", jsonvalue.OfBool(true)), jsonvalue.M("num", jsonvalue.OfInt(int64(n))))
}

// AttachmentIndex is the attachment an argument stands for, or -1 when it is an ordinary value or a faulty placeholder.
func AttachmentIndex(v jsonvalue.Value) int {
	if n, ok := v.Get("num").Int(); ok && v.Get("_placeholder").Bool() && n >= 0 && n < 1<<31 {
		return int(n)
	}
	return -1
}
