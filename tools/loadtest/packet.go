package loadtest

import (
	"encoding/binary"
	"time"
)

// started is the beginning of the clock that stamps count from.
var started = time.Now()

// clock is nanoseconds since started.
func clock() int64 { return int64(time.Since(started)) }

// trailer ends the payload of every packet.
type trailer struct {
	source uint32
	number uint64 // of the source's packets, from 0
	sent   int64  // clock
}

const (
	trailerSize  = 24
	trailerMagic = 0x504c5431
)

func (t trailer) put(payload []byte) {
	b := payload[len(payload)-trailerSize:]
	binary.BigEndian.PutUint32(b, trailerMagic)
	binary.BigEndian.PutUint32(b[4:], t.source)
	binary.BigEndian.PutUint64(b[8:], t.number)
	binary.BigEndian.PutUint64(b[16:], uint64(t.sent))
}

func readTrailer(payload []byte) (t trailer, ok bool) {
	if len(payload) < trailerSize {
		return t, false
	}
	b := payload[len(payload)-trailerSize:]
	if binary.BigEndian.Uint32(b) != trailerMagic {
		return t, false
	}
	return trailer{binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint64(b[8:]), int64(binary.BigEndian.Uint64(b[16:]))}, true
}

// rtpHeader is what a receiver needs of a header, which SRTP leaves in the clear.
type rtpHeader struct {
	payloadType uint8
	seq         uint16
	ssrc        uint32
	extensions  []byte // of the one-byte form (RFC 8285 section 4.2), nil without
}

// parseRTP reads a header (RFC 3550 section 5.1).
func parseRTP(b []byte) (h rtpHeader, ok bool) {
	if len(b) < 12 || b[0]>>6 != 2 {
		return h, false
	}
	h.payloadType = b[1] & 0x7f
	h.seq = binary.BigEndian.Uint16(b[2:])
	h.ssrc = binary.BigEndian.Uint32(b[8:])
	if b[0]&0x10 == 0 {
		return h, true
	}
	at := 12 + 4*int(b[0]&15)
	if len(b) < at+4 {
		return h, false
	}
	size := 4 * int(binary.BigEndian.Uint16(b[at+2:]))
	if len(b) < at+4+size {
		return h, false
	}
	if binary.BigEndian.Uint16(b[at:]) == 0xbede {
		h.extensions = b[at+4 : at+4+size]
	}
	return h, true
}

// extension is the content of the header extension with that id, nil without.
func (h rtpHeader) extension(id uint8) []byte {
	for b := h.extensions; len(b) > 0; {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		size := int(b[0]&15) + 1
		if b[0]>>4 == 15 || len(b) < 1+size {
			return nil
		}
		if b[0]>>4 == id {
			return b[1 : 1+size]
		}
		b = b[1+size:]
	}
	return nil
}

// putExtension appends one header extension of the one-byte form.
func putExtension(b []byte, id uint8, content ...byte) []byte {
	return append(append(b, id<<4|uint8(len(content)-1)), content...)
}

// picture is what a VP8 packet says of its frame.
type picture struct {
	key           bool
	first         bool // packet of the frame
	id            uint16
	width, height uint16
}

// putVP8 writes the payload descriptor (RFC 7741 section 4.2) with picture id and temporal layer index, and at the beginning of a frame
// the header of that (RFC 6386 section 9.1). It returns the size.
func putVP8(b []byte, p picture) int {
	b[0] = 0x80 // X
	if p.first {
		b[0] |= 0x10 // S
	}
	b[1] = 0xe0 // I, L, T
	binary.BigEndian.PutUint16(b[2:], 0x8000|p.id&0x7fff)
	b[4] = uint8(p.id) // TL0PICIDX: every frame is of the lowest layer
	b[5] = 0
	if !p.first {
		return 6
	}
	b[6] = 0x10 // show_frame
	if !p.key {
		b[6] |= 1
		b[7], b[8] = 0, 0
		return 9
	}
	b[7], b[8] = 0, 0
	b[9], b[10], b[11] = 0x9d, 0x01, 0x2a
	binary.LittleEndian.PutUint16(b[12:], p.width&0x3fff)
	binary.LittleEndian.PutUint16(b[14:], p.height&0x3fff)
	return 16
}
