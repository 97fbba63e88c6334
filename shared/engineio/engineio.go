// Package engineio is the codec of Engine.IO, revisions 3 and 4: packets, polling payloads, the open packet, the heartbeat.
//
// It is the lowest layer of signalling: a WebSocket message or an HTTP body comes in, packets go up to socketio, and the
// same way back. It does no I/O, starts no goroutine and reads no clock.
//
// # Packets
//
// A packet is one decimal digit, its type, and then its data (portal protocol 1.4):
//
//	0{"sid":…}  open     server to client, first of all
//	1           close    the session ends
//	2, 2probe   ping     revision 3: from the client; revision 4: from the server; "probe" while upgrading, from the client
//	3, 3probe   pong     the answer
//	4…          message  a Socket.IO packet
//	5           upgrade  the client moves to the WebSocket it has probed
//	6           noop     ends a held poll
//
// On a WebSocket each text message is one packet. A binary message is data of a message packet: alone in revision 4, behind
// one byte of type in revision 3. Where binary data has to travel as text it is base64: "b" and the data in revision 4,
// "b4" and the data in revision 3.
//
// # Polling payloads
//
// An HTTP body carries any number of packets. Revision 4 puts the byte 0x1e between them. Revision 3 writes the length
// before each, "<length>:<packet>", counted in UTF-16 code units because the reference implementation counts a JavaScript
// string; a body of type application/octet-stream is instead a sequence of {0 for text or 1 for binary, one byte per decimal
// digit of the length in bytes, 0xff, packet}.
package engineio

import (
	"bytes"
	"encoding/base64"
	"errors"
	"iter"
	"unicode/utf8"
)

// Revision is the version of the protocol, the EIO parameter of every request.
type Revision int

// The revisions in use (portal protocol 1.1).
const (
	Revision3 Revision = 3
	Revision4 Revision = 4
)

// ParseRevision reads the EIO parameter. Everything but "4" means revision 3, as in the reference server.
func ParseRevision(eio string) Revision {
	if eio == "4" {
		return Revision4
	}
	return Revision3
}

// PacketType is the first digit of a packet.
type PacketType uint8

// The packet types.
const (
	TypeOpen PacketType = iota
	TypeClose
	TypePing
	TypePong
	TypeMessage
	TypeUpgrade
	TypeNoop
)

var typeNames = [...]string{"open", "close", "ping", "pong", "message", "upgrade", "noop"}

// String is the type's name in the protocol's text.
func (t PacketType) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "unknown"
}

// Packet is one Engine.IO packet.
type Packet struct {
	Type   PacketType
	Binary bool   // the data is binary: TypeMessage only in revision 4
	Data   []byte // text is UTF-8; decoding points it into what was decoded wherever it can
}

// What can be wrong with received bytes. A session that receives such bytes has to be closed.
var (
	ErrEmpty   = errors.New("engineio: empty packet")
	ErrType    = errors.New("engineio: unknown packet type")
	ErrBase64  = errors.New("engineio: faulty base64")
	ErrPayload = errors.New("engineio: malformed payload")
)

// DecodePacket reads one packet from a text message, or from one entry of a text payload.
func (r Revision) DecodePacket(text []byte) (Packet, error) {
	if len(text) == 0 {
		return Packet{}, ErrEmpty
	}
	if text[0] == 'b' {
		return r.decodeBase64(text[1:])
	}
	t := PacketType(text[0] - '0')
	if t > TypeNoop {
		return Packet{}, ErrType
	}
	return Packet{Type: t, Data: text[1:]}, nil
}

func (r Revision) decodeBase64(text []byte) (Packet, error) {
	p := Packet{Type: TypeMessage, Binary: true}
	if r == Revision3 {
		if len(text) == 0 {
			return Packet{}, ErrEmpty
		}
		if p.Type = PacketType(text[0] - '0'); p.Type > TypeNoop {
			return Packet{}, ErrType
		}
		text = text[1:]
	}
	p.Data = make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(p.Data, text)
	if err != nil {
		return Packet{}, ErrBase64
	}
	p.Data = p.Data[:n]
	return p, nil
}

// AppendPacket writes p as text behind dst, binary data as base64.
func (r Revision) AppendPacket(dst []byte, p Packet) []byte {
	if !p.Binary {
		return append(append(dst, '0'+byte(p.Type)), p.Data...)
	}
	dst = append(dst, 'b')
	if r == Revision3 {
		dst = append(dst, '0'+byte(p.Type))
	}
	return base64.StdEncoding.AppendEncode(dst, p.Data)
}

// DecodeFrame reads one packet from a binary WebSocket message.
func (r Revision) DecodeFrame(data []byte) (Packet, error) {
	if r == Revision4 {
		return Packet{Type: TypeMessage, Binary: true, Data: data}, nil
	}
	if len(data) == 0 {
		return Packet{}, ErrEmpty
	}
	if PacketType(data[0]) > TypeNoop {
		return Packet{}, ErrType
	}
	return Packet{Type: PacketType(data[0]), Binary: true, Data: data[1:]}, nil
}

// AppendFrame writes p, whose data is binary, as a binary WebSocket message behind dst.
func (r Revision) AppendFrame(dst []byte, p Packet) []byte {
	if r == Revision3 {
		dst = append(dst, byte(p.Type))
	}
	return append(dst, p.Data...)
}

// separator stands between the packets of a revision 4 payload; JSON cannot contain it.
const separator = 0x1e

// AppendPayload adds one packet, written by AppendPacket, to the text payload in dst.
func (r Revision) AppendPayload(dst, packet []byte) []byte {
	if r == Revision3 {
		dst = appendInt(dst, utf16Len(packet))
		dst = append(dst, ':')
	} else if len(dst) > 0 {
		dst = append(dst, separator)
	}
	return append(dst, packet...)
}

// Packets walks over the packets of a text payload. A fault ends the walk with its error, after the packets before it.
func (r Revision) Packets(payload []byte) iter.Seq2[Packet, error] {
	next := nextByLength
	if r == Revision4 {
		next = nextBySeparator
	}
	return func(yield func(Packet, error) bool) {
		for more := true; more; {
			var p Packet
			var text []byte
			var err error
			text, payload, more, err = next(payload)
			if err == nil && len(text) == 0 && r == Revision3 {
				continue // "0:" stands for nothing
			}
			if err == nil {
				p, err = r.DecodePacket(text)
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// nextBySeparator and nextByLength cut the first packet off a payload; more says that another one has to follow.
func nextBySeparator(payload []byte) (text, rest []byte, more bool, err error) {
	text, rest, more = bytes.Cut(payload, []byte{separator})
	return text, rest, more, nil
}

func nextByLength(payload []byte) (text, rest []byte, more bool, err error) {
	n, i := 0, 0
	for ; i < len(payload) && payload[i] != ':'; i++ {
		if payload[i] < '0' || payload[i] > '9' {
			return nil, nil, false, ErrPayload
		}
		if n = n*10 + int(payload[i]-'0'); n > len(payload) {
			return nil, nil, false, ErrPayload
		}
	}
	if i == 0 || i == len(payload) {
		return nil, nil, false, ErrPayload
	}
	rest = payload[i+1:]
	end := utf16Prefix(rest, n)
	if end < 0 {
		return nil, nil, false, ErrPayload
	}
	return rest[:end], rest[end:], end < len(rest), nil
}

// BinaryPackets walks over the packets of a revision 3 payload of type application/octet-stream, which old clients send
// when one of the packets is binary, and some always. A fault ends the walk as in Packets.
func BinaryPackets(payload []byte) iter.Seq2[Packet, error] {
	return func(yield func(Packet, error) bool) {
		if len(payload) == 0 {
			yield(Packet{}, ErrEmpty)
			return
		}
		for len(payload) > 0 {
			p, rest, err := nextBinary(payload)
			payload = rest
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

func nextBinary(payload []byte) (Packet, []byte, error) {
	n, i := 0, 1
	for ; i < len(payload) && payload[i] != 0xff; i++ {
		if payload[i] > 9 {
			return Packet{}, nil, ErrPayload
		}
		if n = n*10 + int(payload[i]); n > len(payload) {
			return Packet{}, nil, ErrPayload
		}
	}
	if i == 1 || i >= len(payload) || payload[0] > 1 || n > len(payload)-i-1 {
		return Packet{}, nil, ErrPayload
	}
	data, rest := payload[i+1:i+1+n], payload[i+1+n:]
	decode := Revision3.DecodePacket
	if payload[0] == 1 {
		decode = Revision3.DecodeFrame
	}
	p, err := decode(data)
	return p, rest, err
}

// utf16Len counts the UTF-16 code units of UTF-8 text; a faulty byte counts one, as the U+FFFD it becomes.
func utf16Len(text []byte) int {
	n := 0
	for i := 0; i < len(text); n++ {
		if text[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		if r > 0xffff {
			n++
		}
		i += size
	}
	return n
}

// utf16Prefix is the number of bytes that hold the first n UTF-16 code units of text, or -1 when there are fewer or n
// falls between the halves of a surrogate pair.
func utf16Prefix(text []byte, n int) int {
	i := 0
	for n > 0 {
		if i >= len(text) {
			return -1
		}
		if text[i] < utf8.RuneSelf {
			i++
			n--
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		if n--; r > 0xffff {
			n--
		}
		i += size
	}
	if n < 0 {
		return -1
	}
	return i
}
