package turnserver

import (
	"encoding/binary"
	"time"
)

// STUN message format (RFC 5389 section 6): 2 bits 0; 14 bits type, of which method and class are interleaved; 16 bits length
// of the attributes, a multiple of 4; the magic cookie; 12 bytes transaction id; attributes of 16 bits type, 16 bits length,
// the value, padding to a multiple of 4. ChannelData (RFC 5766 section 11.4): 16 bits channel number 0x4000 to 0x7fff; 16 bits
// length; the data, padded to a multiple of 4 on streams.
const (
	stunHeader  = 20
	stunCookie  = 0x2112a442
	dataHeader  = 4
	maxMessage  = 2047 // bytes of one message or datagram: above what a path of 1,500 bytes carries
	maxAttrs    = 40   // attributes of one message; a client sends about ten
	maxUsername = 513  // bytes (RFC 5389 section 15.3)
	maxText     = 763  // bytes of realm and nonce (sections 15.7 and 15.8)
)

// Message types: method and class together.
const (
	bindingRequest     = 0x0001
	bindingIndication  = 0x0011
	allocateRequest    = 0x0003
	allocateSuccess    = 0x0103
	allocateError      = 0x0113
	refreshRequest     = 0x0004
	refreshSuccess     = 0x0104
	permissionRequest  = 0x0008
	channelBindRequest = 0x0009
	channelBindSuccess = 0x0109
	sendIndication     = 0x0016
	classMask          = 0x0110
	classSuccess       = 0x0100
	classError         = 0x0110
)

// Attribute types (RFC 5389 section 18.2, RFC 5766 section 14, RFC 6156 section 4.1.1).
const (
	attrUsername           = 0x0006
	attrIntegrity          = 0x0008
	attrErrorCode          = 0x0009
	attrChannelNumber      = 0x000c
	attrLifetime           = 0x000d
	attrPeerAddress        = 0x0012
	attrData               = 0x0013
	attrRealm              = 0x0014
	attrNonce              = 0x0015
	attrRequestedFamily    = 0x0017
	attrEvenPort           = 0x0018
	attrRequestedTransport = 0x0019
	attrReservationToken   = 0x0022
	attrFingerprint        = 0x8028
)

// message is what the front needs of a STUN message.
type message struct {
	kind      uint16
	id        [12]byte
	channel   uint16
	lifetime  time.Duration // -1 when there is none
	errorCode int
	family    byte // of REQUESTED-ADDRESS-FAMILY; 0 when there is none
	transport byte // of REQUESTED-TRANSPORT; 0 when there is none
	peers     int  // XOR-PEER-ADDRESS attributes
	hasData   bool
	reserves  bool // EVEN-PORT or RESERVATION-TOKEN
}

// parse reads one whole STUN message of 20 to maxMessage bytes strictly: what it accepts, the library can be given.
// It keeps no reference to b.
func parse(b []byte) (m message, ok bool) {
	if len(b) < stunHeader || b[0]&0xc0 != 0 || binary.BigEndian.Uint32(b[4:]) != stunCookie {
		return m, false
	}
	size := int(binary.BigEndian.Uint16(b[2:]))
	if size%4 != 0 || stunHeader+size != len(b) {
		return m, false
	}
	m.kind = binary.BigEndian.Uint16(b)
	m.lifetime = -1
	copy(m.id[:], b[8:stunHeader])
	signed := false
	for rest, n := b[stunHeader:], 0; len(rest) > 0; n++ {
		if len(rest) < 4 || n == maxAttrs {
			return m, false
		}
		kind, length := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		padded := 4 + (length+3)&^3
		if padded > len(rest) {
			return m, false
		}
		// What follows the integrity is not covered by it (RFC 5389 section 15.4), and the library would believe it.
		if signed && kind != attrFingerprint {
			return m, false
		}
		signed = signed || kind == attrIntegrity
		if !m.attribute(kind, rest[4:4+length]) {
			return m, false
		}
		rest = rest[padded:]
	}
	return m, true
}

// attribute takes one attribute; false means that its value breaks its format. Unknown ones are let through.
func (m *message) attribute(kind uint16, v []byte) bool {
	switch kind {
	case attrUsername:
		return len(v) <= maxUsername
	case attrRealm, attrNonce:
		return len(v) <= maxText
	case attrIntegrity:
		return len(v) == 20
	case attrFingerprint:
		return len(v) == 4
	case attrErrorCode:
		if len(v) < 4 {
			return false
		}
		m.errorCode = int(v[2]&7)*100 + int(v[3])
	case attrChannelNumber:
		if len(v) != 4 {
			return false
		}
		m.channel = binary.BigEndian.Uint16(v)
	case attrLifetime:
		if len(v) != 4 {
			return false
		}
		m.lifetime = time.Duration(binary.BigEndian.Uint32(v)) * time.Second
	case attrPeerAddress:
		m.peers++
		return len(v) == 8 && v[1] == 1 || len(v) == 20 && v[1] == 2
	case attrData:
		m.hasData = true
	case attrRequestedTransport:
		if len(v) != 4 {
			return false
		}
		m.transport = v[0]
	case attrRequestedFamily:
		if len(v) != 4 {
			return false
		}
		m.family = v[0]
	case attrEvenPort:
		m.reserves = true
		return len(v) == 1
	case attrReservationToken:
		m.reserves = true
		return len(v) == 8
	}
	return true
}

// isChannelData tells ChannelData from STUN by the first two bits.
func isChannelData(b []byte) bool { return len(b) > 0 && b[0]&0xc0 == 0x40 }

// wholeChannelData says whether b is ChannelData whose length fits: its data, and on a stream up to 3 bytes of padding.
func wholeChannelData(b []byte) bool {
	if len(b) < dataHeader || !isChannelData(b) {
		return false
	}
	rest := len(b) - dataHeader - int(binary.BigEndian.Uint16(b[2:]))
	return rest >= 0 && rest < 4
}

// frameSize is the size of the message on a stream that begins with the 4 bytes of b; 0 means that none begins so.
func frameSize(b []byte) int {
	length := int(binary.BigEndian.Uint16(b[2:]))
	switch {
	case isChannelData(b):
		return dataHeader + (length+3)&^3
	case b[0]&0xc0 == 0 && length%4 == 0:
		return stunHeader + length
	}
	return 0
}

// errorResponse builds an answer with an error code, a three-digit number, to the request of the given type.
func errorResponse(kind uint16, id [12]byte, code int, reason string) []byte {
	padded := (4 + len(reason) + 3) &^ 3
	b := make([]byte, stunHeader+4+padded)
	binary.BigEndian.PutUint16(b, kind|classError)
	binary.BigEndian.PutUint16(b[2:], uint16(4+padded))
	binary.BigEndian.PutUint32(b[4:], stunCookie)
	copy(b[8:], id[:])
	attr := b[stunHeader:]
	binary.BigEndian.PutUint16(attr, attrErrorCode)
	binary.BigEndian.PutUint16(attr[2:], uint16(4+len(reason)))
	attr[6], attr[7] = byte(code/100), byte(code%100)
	copy(attr[8:], reason)
	return b
}
