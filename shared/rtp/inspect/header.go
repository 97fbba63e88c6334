// Package inspect reads what forwarding needs to know from RTP packets without decoding them: the header and its extensions,
// where a key frame begins, and the size of its picture, for VP8 (RFC 7741), VP9 (RFC 9628), H.264 (RFC 6184) and
// AV1.
//
// It stands between the socket and the history: the reader of an encoding looks at each packet once and keeps the findings
// beside it. Any bytes may come in; what makes no sense is reported as an ordinary packet of no key frame.
//
// The fixed header of RFC 3550 section 5.1:
//
//	0                   1                   2                   3
//	0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	|V=2|P|X|  CC   |M|     PT      |       sequence number         |
//	|                           timestamp                           |
//	|                             SSRC                              |
//	|                     CC times a CSRC                           |
//
// With X an extension follows: 16 bits profile, 16 bits length in words; profile 0xBEDE has elements of one byte header
// (4 bits id, 4 bits length less 1), profile 0x100x of two (id, length), RFC 8285.
package inspect

// FixedHeader is the length of an RTP header without CSRCs and extension, in bytes.
const FixedHeader = 12

// Profiles of header extensions (RFC 8285).
const (
	OneByteProfile = 0xBEDE
	TwoByteProfile = 0x1000 // the low four bits are free
)

// Header is what an RTP header says.
type Header struct {
	Marker      bool
	PayloadType uint8
	Sequence    uint16
	Timestamp   uint32
	SSRC        uint32
	Size        int // length of the header with CSRCs and extension: where the payload begins
	Padding     int // bytes of padding at the end, 0 without

	profile        uint16
	extension, end int // the elements of the extension within the packet
}

// ParseHeader reads the header of packet. ok is false when it is no RTP packet: too short for what it announces, not
// version 2, or padded beyond its payload.
func ParseHeader(packet []byte) (h Header, ok bool) {
	if len(packet) < FixedHeader || packet[0]>>6 != 2 {
		return h, false
	}
	h.Marker = packet[1]&0x80 != 0
	h.PayloadType = packet[1] & 0x7f
	h.Sequence = be16(packet[2:])
	h.Timestamp = be32(packet[4:])
	h.SSRC = be32(packet[8:])
	h.Size = FixedHeader + 4*int(packet[0]&0x0f)
	if packet[0]&0x10 != 0 {
		if len(packet) < h.Size+4 {
			return h, false
		}
		h.profile = be16(packet[h.Size:])
		h.extension = h.Size + 4
		h.end = h.extension + 4*int(be16(packet[h.Size+2:]))
		h.Size = h.end
	}
	if len(packet) < h.Size {
		return h, false
	}
	if packet[0]&0x20 != 0 {
		if len(packet) == h.Size {
			return h, false
		}
		h.Padding = int(packet[len(packet)-1])
		if h.Padding == 0 || h.Size+h.Padding > len(packet) {
			return h, false
		}
	}
	return h, true
}

// Payload is the part of packet between header and padding. packet is the one h was parsed from.
func (h *Header) Payload(packet []byte) []byte { return packet[h.Size : len(packet)-h.Padding] }

// Extension finds the header extension element with that id, 1 to 255. packet is the one h was parsed from, and the result
// is a part of it. Id 0 is padding and never found: it stands for an extension that was not negotiated.
func (h *Header) Extension(packet []byte, id uint8) ([]byte, bool) {
	if id == 0 {
		return nil, false
	}
	switch {
	case h.profile == OneByteProfile:
		return oneByteElement(packet[h.extension:h.end], id)
	case h.profile&0xfff0 == TwoByteProfile:
		return twoByteElement(packet[h.extension:h.end], id)
	}
	return nil, false
}

// ExtensionAt is like Extension, and tells where in packet the element's content stands and how long it is, 0 to 255 bytes.
func (h *Header) ExtensionAt(packet []byte, id uint8) (at, n int, ok bool) {
	element, ok := h.Extension(packet, id)
	if !ok {
		return 0, 0, false
	}
	return cap(packet) - cap(element), len(element), true // the element is a part of packet with the same end
}

func oneByteElement(b []byte, id uint8) ([]byte, bool) {
	for len(b) > 0 {
		if b[0] == 0 { // padding
			b = b[1:]
			continue
		}
		n := int(b[0]&0x0f) + 1
		if b[0]>>4 == 15 || len(b) < 1+n { // 15 ends the list
			return nil, false
		}
		if b[0]>>4 == id {
			return b[1 : 1+n], true
		}
		b = b[1+n:]
	}
	return nil, false
}

func twoByteElement(b []byte, id uint8) ([]byte, bool) {
	for len(b) > 0 {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return nil, false
		}
		if b[0] == id {
			return b[2 : 2+int(b[1])], true
		}
		b = b[2+int(b[1]):]
	}
	return nil, false
}

func be16(b []byte) uint16 { return uint16(b[0])<<8 | uint16(b[1]) }

func be32(b []byte) uint32 { return uint32(be16(b))<<16 | uint32(be16(b[2:])) }

func le16(b []byte) uint16 { return uint16(b[0]) | uint16(b[1])<<8 }
