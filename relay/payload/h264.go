package payload

import "bytes"

// H.264, RFC 6184. A payload is a NAL unit; or several of them, each behind 16 bits of length (STAP-A); or a part of one (FU-A):
//
//	|F|NRI| 28      |    F and NRI of the NAL unit
//	|S|E|R| Type    |    its first, its last part; its type
//
// Frames have their NAL units behind start codes (Annex B).
const (
	nalType       = 0x1f
	nalForbidden  = 0x80
	nalImportance = 0x60

	nalSlice     = 1
	nalIDR       = 5
	nalDelimiter = 9
	nalFiller    = 12
	nalLast      = 23 // of those that stand for themselves
	nalSTAPA     = 24
	nalFUA       = 28

	fuStart = 0x80
	fuEnd   = 0x40
)

var startCode = []byte{0, 0, 0, 1}

type h264Parts struct {
	gap      bool // the first slice may be missing
	fragment byte // what begins the NAL unit being put together, 0: none
}

func (h *h264Parts) begin(gap bool) { *h = h264Parts{gap: gap} }

func (h *h264Parts) end(frame []byte) ([]byte, bool) { return frame, h.fragment == 0 }

func (h *h264Parts) add(frame, payload []byte) ([]byte, bool) {
	kind := payload[0] & nalType
	if kind == nalFUA {
		return h.fragments(frame, payload)
	}
	if h.fragment != 0 {
		return frame, false
	}
	if kind == nalSTAPA {
		return h.aggregate(frame, payload[1:])
	}
	return h.unit(frame, payload)
}

func (h *h264Parts) aggregate(frame, b []byte) (_ []byte, ok bool) {
	for len(b) > 0 {
		if len(b) < 2 {
			return frame, false
		}
		n := int(b[0])<<8 | int(b[1])
		if b = b[2:]; n > len(b) {
			return frame, false
		}
		if n == 0 {
			continue
		}
		if frame, ok = h.unit(frame, b[:n]); !ok {
			return frame, false
		}
		b = b[n:]
	}
	return frame, true
}

// unit appends a whole NAL unit, or the beginning of one.
func (h *h264Parts) unit(frame, nal []byte) ([]byte, bool) {
	kind := nal[0] & nalType
	if kind == 0 || kind > nalLast || nal[0]&nalForbidden != 0 {
		return frame, false
	}
	if h.gap && nalSlice <= kind && kind <= nalIDR {
		// A slice begins with the number of its first macroblock, whose code is a single 1 for 0.
		if len(nal) < 2 || nal[1]&0x80 == 0 {
			return frame, false
		}
		h.gap = false
	}
	frame = append(frame, startCode...)
	return append(frame, nal...), true
}

func (h *h264Parts) fragments(frame, payload []byte) (_ []byte, ok bool) {
	if len(payload) < 2 {
		return frame, false
	}
	header, flags, part := payload[0]&^nalType|payload[1]&nalType, payload[1], payload[2:]
	if flags&fuStart != 0 {
		if h.fragment != 0 || len(part) == 0 {
			return frame, false
		}
		if frame, ok = h.unit(frame, []byte{header, part[0]}); !ok {
			return frame, false
		}
		h.fragment, part = header, part[1:]
	} else if h.fragment != header {
		return frame, false
	}
	if flags&fuEnd != 0 {
		h.fragment = 0
	}
	return append(frame, part...), true
}

// h264Splitter puts small NAL units together, which are mostly the parameter sets in front of a key frame, and divides large ones.
type h264Splitter struct{ small [][]byte }

func (h *h264Splitter) split(p *pieces, frame []byte) error {
	h.small = h.small[:0]
	together, any := 1, false
	for nal := range nalUnits(frame) {
		kind := nal[0] & nalType
		if kind == 0 || kind > nalLast || nal[0]&nalForbidden != 0 {
			return ErrFrame
		}
		if kind == nalDelimiter || kind == nalFiller { // for files
			continue
		}
		any = true
		if together+2+len(nal) > MaxPayload {
			h.flush(p)
			together = 1
		}
		if len(nal) > MaxPayload {
			fragment(p, nal)
			continue
		}
		h.small = append(h.small, nal)
		together += 2 + len(nal)
	}
	h.flush(p)
	if !any {
		return ErrFrame
	}
	return nil
}

// flush writes the small ones, which fit into one payload.
func (h *h264Splitter) flush(p *pieces) {
	switch len(h.small) {
	case 0:
		return
	case 1:
		p.write(h.small[0]...)
	default:
		importance := byte(0)
		for _, nal := range h.small {
			importance = max(importance, nal[0]&nalImportance)
		}
		p.write(nalSTAPA | importance)
		for _, nal := range h.small {
			p.write(byte(len(nal)>>8), byte(len(nal)))
			p.write(nal...)
		}
	}
	p.cut()
	h.small = h.small[:0]
}

func fragment(p *pieces, nal []byte) {
	header, rest := nal[0], nal[1:]
	size := evenly(rest, MaxPayload-2)
	flags := byte(fuStart)
	for len(rest) > 0 {
		n := min(size, len(rest))
		if n == len(rest) {
			flags |= fuEnd
		}
		p.write(header&^nalType|nalFUA, flags|header&nalType)
		p.write(rest[:n]...)
		p.cut()
		flags, rest = 0, rest[n:]
	}
}

// nalUnits are the NAL units between start codes (ITU-T H.264 Annex B), none of them empty. What is in front of the first start
// code is none.
func nalUnits(frame []byte) func(yield func([]byte) bool) {
	short := startCode[1:]
	return func(yield func([]byte) bool) {
		at := bytes.Index(frame, short)
		for at >= 0 {
			rest := frame[at+len(short):]
			next := bytes.Index(rest, short)
			nal := rest
			if next >= 0 {
				nal = rest[:next]
				at += len(short) + next
			} else {
				at = -1
			}
			nal = bytes.TrimRight(nal, "\x00") // of a longer start code, or trailing; a NAL unit does not end with 0
			if len(nal) > 0 && !yield(nal) {
				return
			}
		}
	}
}
