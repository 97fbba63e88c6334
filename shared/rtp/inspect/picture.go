package inspect

// Picture is what a payload says of the picture it belongs to.
type Picture struct {
	KeyFrame bool // the payload is where a key frame can be entered: a decoder that starts here needs nothing before
	Width    int  // picture size in pixels, of the largest layer; 0 when this payload does not tell
	Height   int
}

// Inspector looks at one RTP payload. It keeps nothing.
type Inspector func(payload []byte) Picture

// For returns the Inspector of a codec by its lower-case name, nil for audio and for what this package does not know.
func For(codec string) Inspector {
	switch codec {
	case "vp8":
		return VP8
	case "vp9":
		return VP9
	case "h264":
		return H264
	case "av1":
		return AV1
	}
	return nil
}

// VP8 reads a payload of RFC 7741: a descriptor of 1 to 6 bytes, then, in the first packet of a frame, the frame header of
// RFC 6386 section 9.1: 3 bytes whose lowest bit is 0 in a key frame, then 9d 01 2a, width and height in 14 bits each.
func VP8(payload []byte) Picture {
	if len(payload) < 1 {
		return Picture{}
	}
	if payload[0]&0x10 == 0 || payload[0]&0x07 != 0 { // not the start of the first partition
		return Picture{}
	}
	at := 1
	if payload[0]&0x80 != 0 {
		if len(payload) < 2 {
			return Picture{}
		}
		flags := payload[1]
		at = 2
		if flags&0x80 != 0 { // picture id, 7 or 15 bits
			if len(payload) > at && payload[at]&0x80 != 0 {
				at++
			}
			at++
		}
		if flags&0x40 != 0 { // TL0PICIDX
			at++
		}
		if flags&0x30 != 0 { // TID, Y, KEYIDX
			at++
		}
	}
	if len(payload) < at+10 || payload[at]&0x01 != 0 {
		return Picture{}
	}
	frame := payload[at:]
	if frame[3] != 0x9d || frame[4] != 0x01 || frame[5] != 0x2a {
		return Picture{}
	}
	return Picture{
		KeyFrame: true,
		Width:    int(le16(frame[6:]) & 0x3fff),
		Height:   int(le16(frame[8:]) & 0x3fff),
	}
}

// VP9 reads a payload of RFC 9628. The first byte has I P L F B E V Z: picture id there, predicted from earlier pictures,
// layer indices there, flexible mode, begin and end of a layer frame, scalability structure there.
func VP9(payload []byte) Picture {
	if len(payload) < 1 {
		return Picture{}
	}
	flags := payload[0]
	if flags&0x40 != 0 || flags&0x08 == 0 {
		return Picture{}
	}
	at := 1
	if flags&0x80 != 0 {
		if len(payload) > at && payload[at]&0x80 != 0 {
			at++
		}
		at++
	}
	if flags&0x20 != 0 {
		if len(payload) <= at {
			return Picture{}
		}
		if payload[at]&0x0e != 0 { // a higher spatial layer: entered through the lowest
			return Picture{}
		}
		at++
		if flags&0x10 == 0 { // TL0PICIDX in non-flexible mode
			at++
		}
	}
	if len(payload) <= at {
		return Picture{}
	}
	if flags&0x02 != 0 {
		width, height, size := vp9Structure(payload[at:])
		if width != 0 {
			return Picture{KeyFrame: true, Width: width, Height: height}
		}
		at += size
	}
	if len(payload) <= at {
		return Picture{}
	}
	width, height, ok := vp9Frame(payload[at:])
	return Picture{KeyFrame: ok, Width: width, Height: height}
}

// vp9Structure reads the scalability structure: 3 bits layers less 1, Y, G, 3 bits reserved, then with Y the sizes of the
// layers, then with G the picture group. size is its length, 0 when it is cut off.
func vp9Structure(b []byte) (width, height, size int) {
	layers := int(b[0]>>5) + 1
	size = 1
	if b[0]&0x10 != 0 {
		if len(b) < size+4*layers {
			return 0, 0, 0
		}
		last := b[size+4*(layers-1):]
		width, height = int(be16(last)), int(be16(last[2:]))
		size += 4 * layers
	}
	if b[0]&0x08 != 0 {
		if len(b) <= size {
			return width, height, 0
		}
		pictures := int(b[size])
		size++
		for range pictures {
			if len(b) <= size {
				return width, height, 0
			}
			size += 1 + int(b[size]>>2&0x03)
		}
	}
	return width, height, size
}

// vp9Frame reads the uncompressed header of a VP9 frame as far as the picture size; ok tells a key frame.
func vp9Frame(b []byte) (width, height int, ok bool) {
	r := bitReader{data: b}
	if r.bits(2) != 2 { // frame marker
		return 0, 0, false
	}
	profile := r.bits(1) | r.bits(1)<<1
	if profile == 3 {
		r.bits(1)
	}
	if r.bits(1) != 0 || r.bits(1) != 0 { // shows an existing frame; is no key frame
		return 0, 0, false
	}
	r.bits(2) // shown, error resilient
	if r.bits(24) != 0x498342 {
		return 0, 0, false
	}
	if profile >= 2 {
		r.bits(1) // 12 bits
	}
	const rgb = 7
	if r.bits(3) != rgb {
		r.bits(1) // range
		if profile&1 != 0 {
			r.bits(3) // subsampling
		}
	} else if profile&1 != 0 {
		r.bits(1)
	}
	width, height = int(r.bits(16))+1, int(r.bits(16))+1
	if r.failed {
		return 0, 0, false
	}
	return width, height, true
}

// bitReader reads bits from the highest of each byte on. escaped skips the emulation prevention bytes of H.264.
type bitReader struct {
	data    []byte
	at      int // bit position
	zeros   int // zero bytes before the one at at
	escaped bool
	failed  bool
}

// bits reads n bits, at most 32; 0 and failed when there are not as many.
func (r *bitReader) bits(n int) uint32 {
	var v uint32
	for range n {
		if r.at/8 >= len(r.data) {
			r.failed = true
			return 0
		}
		if r.escaped && r.at%8 == 0 {
			r.skipEscape()
			if r.failed {
				return 0
			}
		}
		v = v<<1 | uint32(r.data[r.at/8]>>(7-r.at%8)&1)
		r.at++
	}
	return v
}

// skipEscape steps over the 3 in 00 00 03, at a byte border.
func (r *bitReader) skipEscape() {
	if r.zeros >= 2 && r.data[r.at/8] == 3 {
		r.at += 8
		r.zeros = 0
		if r.at/8 >= len(r.data) {
			r.failed = true
			return
		}
	}
	if r.data[r.at/8] == 0 {
		r.zeros++
	} else {
		r.zeros = 0
	}
}
