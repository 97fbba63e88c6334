package inspect

// Types of OBUs.
const (
	obuSequenceHeader    = 1
	obuTemporalDelimiter = 2
)

// AV1 reads a payload of the RTP payload format for AV1 (AOMedia, version 1.0, section 4.4). Its first byte has Z Y W W N: begins
// with the rest of an OBU, ends with a part of one, 2 bits number of OBUs, first packet of a coded video sequence, which is a
// key frame and what it needs. Each OBU comes behind its length (LEB128), but the last when W tells their number.
func AV1(payload []byte) Picture {
	if len(payload) < 2 || payload[0]&0x80 != 0 || payload[0]&0x08 == 0 {
		return Picture{}
	}
	p := Picture{KeyFrame: true}
	count := int(payload[0] >> 4 & 0x03)
	rest := payload[1:]
	for i := 1; len(rest) > 0; i++ {
		obu := rest
		if i != count {
			size, n := leb128(rest)
			if n == 0 || size > len(rest)-n {
				return p
			}
			obu, rest = rest[n:n+size], rest[n+size:]
		} else {
			rest = nil
		}
		if width, height := av1Size(obu); width != 0 {
			p.Width, p.Height = width, height
			return p
		}
	}
	return p
}

// leb128 reads a number of at most 4 bytes with 7 bits in each, lowest first; n is how many there were, 0 when it makes no sense.
func leb128(b []byte) (v, n int) {
	for n < len(b) && n < 4 {
		v |= int(b[n]&0x7f) << (7 * n)
		n++
		if b[n-1]&0x80 == 0 {
			return v, n
		}
	}
	return 0, 0
}

// av1Size reads the largest picture size from an OBU that is a sequence header (AV1 specification, section 5.5.1), 0 from others.
func av1Size(obu []byte) (width, height int) {
	if len(obu) == 0 || obu[0]>>3&0x0f != obuSequenceHeader {
		return 0, 0
	}
	at := 1
	if obu[0]&0x04 != 0 { // layer ids
		at++
	}
	if obu[0]&0x02 != 0 { // its length
		if len(obu) < at {
			return 0, 0
		}
		_, n := leb128(obu[at:])
		at += n
	}
	if len(obu) < at {
		return 0, 0
	}
	r := bitReader{data: obu[at:]}
	r.bits(4)           // profile, still picture
	if r.bits(1) != 0 { // reduced header of a still picture
		r.bits(5)
	} else {
		skipAV1Timing(&r)
	}
	widthBits, heightBits := int(r.bits(4))+1, int(r.bits(4))+1
	width, height = int(r.bits(widthBits))+1, int(r.bits(heightBits))+1
	if r.failed {
		return 0, 0
	}
	return width, height
}

// skipAV1Timing steps over timing and operating points of a sequence header.
func skipAV1Timing(r *bitReader) {
	delayBits := 0
	if r.bits(1) != 0 { // timing
		r.bits(32)
		r.bits(32)
		if r.bits(1) != 0 {
			r.golomb()
		}
		if r.bits(1) != 0 { // decoder model
			delayBits = int(r.bits(5)) + 1
			r.bits(32)
			r.bits(10)
		}
	}
	initialDelay := r.bits(1) != 0
	for range r.bits(5) + 1 {
		r.bits(12)
		if r.bits(5) > 7 {
			r.bits(1) // tier
		}
		if delayBits != 0 && r.bits(1) != 0 {
			r.bits(delayBits)
			r.bits(delayBits)
			r.bits(1)
		}
		if initialDelay && r.bits(1) != 0 {
			r.bits(4)
		}
	}
}
