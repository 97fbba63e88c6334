package payload

// AV1, RTP Payload Format For AV1 (AOMedia, version 1.0, section 4.4). A payload is a byte |Z|Y|W W|N|-|-|-| and OBU elements, which
// are OBUs or parts of them: Z: the first goes on with an OBU, Y: the last one's OBU goes on in the next packet, W: number of
// elements, N: a coded video sequence begins. Each element is behind its length (LEB128), but the last when W is not 0. OBUs have no
// size of their own there; frames have them with it, and without temporal delimiters.
const (
	av1Z = 0x80
	av1Y = 0x40
	av1W = 0x30
	av1N = 0x08

	obuForbidden = 0x80
	obuExtended  = 0x04 // another byte of header
	obuSized     = 0x02 // the size follows

	obuSequenceHeader    = 1
	obuTemporalDelimiter = 2
	obuFrameHeader       = 3
	obuTileGroup         = 4
	obuFrame             = 6
	obuTileList          = 8
	obuPadding           = 15
)

type av1Parts struct {
	gap  bool   // the first OBUs may be missing
	part []byte // of an OBU that goes on
	goes bool   // it does
}

func (a *av1Parts) begin(gap bool) {
	a.gap, a.goes, a.part = gap, false, a.part[:0]
	if cap(a.part) > usualFrame {
		a.part = nil
	}
}

func (a *av1Parts) end(frame []byte) ([]byte, bool) { return frame, !a.goes }

func (a *av1Parts) add(frame, payload []byte) ([]byte, bool) {
	head, rest := payload[0], payload[1:]
	if a.goes != (head&av1Z != 0) || len(rest) == 0 {
		return frame, false
	}
	count := int(head & av1W >> 4)
	ok := true
	for i := 1; ok && (len(rest) > 0 || i <= count); i++ {
		element := rest
		if i != count {
			size, n := leb128(rest)
			if n == 0 || size > len(rest)-n {
				return frame, false
			}
			element, rest = rest[n:n+size], rest[n+size:]
		} else {
			rest = nil
		}
		frame, ok = a.element(frame, element, head&av1Y != 0 && len(rest) == 0 && i >= count)
	}
	return frame, ok
}

// element takes an OBU or the next part of one.
func (a *av1Parts) element(frame, element []byte, goesOn bool) ([]byte, bool) {
	if !a.goes && !goesOn {
		return a.obu(frame, element)
	}
	if len(frame)+len(a.part)+len(element) > MaxFrame {
		return frame, false
	}
	a.part, a.goes = append(a.part, element...), goesOn
	if goesOn {
		return frame, true
	}
	frame, ok := a.obu(frame, a.part)
	a.part = a.part[:0]
	return frame, ok
}

// obu appends a whole OBU with its size.
func (a *av1Parts) obu(frame, b []byte) ([]byte, bool) {
	if len(b) == 0 {
		return frame, true
	}
	o, _, ok := readOBU(b)
	if !ok {
		return frame, false
	}
	kind := o.kind()
	if o.dropped() {
		return frame, true
	}
	if a.gap {
		switch kind {
		case obuTileGroup: // its header was before
			return frame, false
		case obuFrame, obuFrameHeader:
			a.gap = false
		}
	}
	frame = append(frame, o.header|obuSized)
	if o.header&obuExtended != 0 {
		frame = append(frame, o.extension)
	}
	frame = appendLEB128(frame, len(o.data))
	return append(frame, o.data...), true
}

type obu struct {
	header, extension byte
	data              []byte
}

func (o obu) kind() byte { return o.header >> 3 & 0x0f }

// dropped tells whether receivers are to ignore it, or it is nothing but padding.
func (o obu) dropped() bool {
	kind := o.kind()
	return kind == obuTemporalDelimiter || kind == obuTileList || kind == obuPadding
}

// readOBU reads the first OBU of b, which is all of b when it has no size.
func readOBU(b []byte) (o obu, rest []byte, ok bool) {
	if len(b) == 0 || b[0]&obuForbidden != 0 {
		return o, nil, false
	}
	o.header, b = b[0], b[1:]
	if o.header&obuExtended != 0 {
		if len(b) == 0 {
			return o, nil, false
		}
		o.extension, b = b[0], b[1:]
	}
	if o.header&obuSized == 0 {
		o.data = b
		return o, nil, true
	}
	size, n := leb128(b)
	if n == 0 || size > len(b)-n {
		return o, nil, false
	}
	o.data = b[n : n+size]
	return o, b[n+size:], true
}

// leb128 reads a number of 7 bits in each byte, the lowest first; n is how many bytes there were, 0 when it makes no sense. Numbers
// may be longer than they need to be.
func leb128(b []byte) (v, n int) {
	for n < len(b) && n < 8 {
		if bits := int(b[n] & 0x7f); n < 4 {
			v |= bits << (7 * n)
		} else if bits != 0 {
			return 0, 0
		}
		n++
		if b[n-1]&0x80 == 0 {
			return v, n
		}
	}
	return 0, 0
}

func appendLEB128(b []byte, v int) []byte {
	for v > 0x7f {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func leb128Size(v int) int {
	n := 1
	for v > 0x7f {
		n++
		v >>= 7
	}
	return n
}

// av1Splitter fills packets in turn: an OBU that does not fit goes on in the next.
type av1Splitter struct {
	elements []element // of the packet
	size     int       // of the packet: its first byte, the elements and all their lengths
	flags    byte      // Z, N
}

// element is an OBU or a part of it: bytes of its header, then of its data.
type element struct {
	header [2]byte
	n      int // of header
	data   []byte
}

func (e element) len() int { return e.n + len(e.data) }

// take cuts the first bytes off.
func (e *element) take(n int) element {
	first := *e
	first.n = min(n, e.n)
	first.data = e.data[:n-first.n]
	copy(e.header[:], e.header[first.n:e.n])
	e.n -= first.n
	e.data = e.data[n-first.n:]
	return first
}

func (a *av1Splitter) split(p *pieces, frame []byte) error {
	a.elements, a.size, a.flags = a.elements[:0], 1, 0
	any, layers := false, byte(0)
	for len(frame) > 0 {
		o, rest, ok := readOBU(frame)
		if !ok {
			return ErrFrame
		}
		frame = rest
		if o.dropped() {
			continue
		}
		if o.header&obuExtended != 0 {
			if any && layers != o.extension && len(a.elements) > 0 {
				a.flush(p, 0) // layers do not share packets
			}
			layers = o.extension
		}
		if !any && o.kind() == obuSequenceHeader {
			a.flags |= av1N
		}
		any = true
		a.put(p, o)
	}
	if !any {
		return ErrFrame
	}
	a.flush(p, 0)
	return nil
}

func (a *av1Splitter) put(p *pieces, o obu) {
	e := element{header: [2]byte{o.header &^ obuSized, o.extension}, n: 1, data: o.data}
	if o.header&obuExtended != 0 {
		e.n = 2
	}
	for {
		room := MaxPayload - a.size
		if n := e.len(); n+leb128Size(n) <= room {
			a.elements = append(a.elements, e)
			a.size += n + leb128Size(n)
			return
		}
		const worthwhile = 32 // bytes, of a part
		if room < worthwhile && len(a.elements) > 0 {
			a.flush(p, 0)
			continue
		}
		n := min(room-2, e.len()-1) // lengths up to MaxPayload have 2 bytes
		a.elements = append(a.elements, e.take(n))
		a.size += n + 2
		a.flush(p, av1Y)
		a.flags = av1Z
	}
}

// flush writes the packet.
func (a *av1Splitter) flush(p *pieces, flags byte) {
	if len(a.elements) == 0 {
		return
	}
	count := len(a.elements)
	if count > 3 {
		count = 0
	}
	p.write(a.flags | flags | byte(count<<4))
	for i, e := range a.elements {
		if i+1 != count {
			p.buffer = appendLEB128(p.buffer, e.len())
		}
		p.write(e.header[:e.n]...)
		p.write(e.data...)
	}
	p.cut()
	a.elements, a.size, a.flags = a.elements[:0], 1, 0
}
