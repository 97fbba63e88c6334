package inspect

// NAL unit types of H.264 and of its RTP payloads (RFC 6184 section 5.4).
const (
	nalIDR   = 5
	nalSPS   = 7
	nalSTAPA = 24
	nalFUA   = 28
)

// Pictures larger than this are not believed.
const maxSide = 1 << 14

// H264 reads a payload of RFC 6184: a single NAL unit, an aggregate (STAP-A) or a fragment (FU-A). A key frame is entered
// at its sequence parameter set, or at the IDR picture when the parameter sets come another way.
func H264(payload []byte) Picture {
	if len(payload) < 1 {
		return Picture{}
	}
	switch kind := payload[0] & 0x1f; kind {
	case nalSTAPA:
		return stapA(payload[1:])
	case nalFUA:
		// The start of a fragmented IDR picture. A parameter set is never so long.
		return Picture{KeyFrame: len(payload) > 1 && payload[1]&0x80 != 0 && payload[1]&0x1f == nalIDR}
	default:
		return nalUnit(payload)
	}
}

// stapA reads an aggregate: each NAL unit behind 16 bits of length.
func stapA(b []byte) Picture {
	var found Picture
	for len(b) > 2 {
		n := int(be16(b))
		if n == 0 || len(b) < 2+n {
			break
		}
		p := nalUnit(b[2 : 2+n])
		found.KeyFrame = found.KeyFrame || p.KeyFrame
		if p.Width != 0 {
			found.Width, found.Height = p.Width, p.Height
		}
		b = b[2+n:]
	}
	return found
}

func nalUnit(nal []byte) Picture {
	switch nal[0] & 0x1f {
	case nalIDR:
		return Picture{KeyFrame: true}
	case nalSPS:
		width, height := spsSize(nal[1:])
		return Picture{KeyFrame: true, Width: width, Height: height}
	}
	return Picture{}
}

// spsSize reads the picture size from a sequence parameter set (ITU-T H.264 section 7.3.2.1.1), 0 when it makes no sense.
func spsSize(b []byte) (width, height int) {
	r := bitReader{data: b, escaped: true}
	profile := r.bits(8)
	r.bits(16) // constraints, level
	r.golomb() // id
	chroma := uint32(1)
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		chroma = r.golomb()
		if chroma == 3 {
			r.bits(1) // separate planes
		}
		r.golomb() // luma depth
		r.golomb() // chroma depth
		r.bits(1)  // lossless
		if r.bits(1) != 0 {
			skipScaling(&r, chroma)
		}
	}
	r.golomb() // frame number length
	switch r.golomb() {
	case 0:
		r.golomb()
	case 1:
		r.bits(1)
		r.golomb()
		r.golomb()
		for range min(r.golomb(), 255) {
			r.golomb()
		}
	}
	r.golomb() // reference frames
	r.bits(1)
	columns, rows := r.golomb()+1, r.golomb()+1
	frames := r.bits(1) // 1: no fields
	if frames == 0 {
		r.bits(1)
	}
	r.bits(1)
	var left, right, top, bottom uint32
	if r.bits(1) != 0 {
		left, right, top, bottom = r.golomb(), r.golomb(), r.golomb(), r.golomb()
	}
	if r.failed || columns > maxSide/16 || rows > maxSide/16 || max(left, right, top, bottom) > maxSide {
		return 0, 0
	}
	cropX, cropY := uint32(1), 2-frames
	if chroma == 1 || chroma == 2 {
		cropX = 2
	}
	if chroma == 1 {
		cropY *= 2
	}
	width = int(columns*16) - int(cropX*(left+right))
	height = int(rows*16*(2-frames)) - int(cropY*(top+bottom))
	if width <= 0 || height <= 0 {
		return 0, 0
	}
	return width, height
}

// skipScaling steps over the scaling matrices of a sequence parameter set.
func skipScaling(r *bitReader, chroma uint32) {
	lists := 8
	if chroma == 3 {
		lists = 12
	}
	for i := range lists {
		if r.bits(1) == 0 {
			continue
		}
		size := 16
		if i >= 6 {
			size = 64
		}
		last, next := int64(8), int64(8)
		for range size {
			if next != 0 {
				next = (last + r.signedGolomb() + 256) & 255
			}
			if next != 0 {
				last = next
			}
		}
	}
}

// golomb reads an unsigned Exp-Golomb code: n zeros, a one, n bits.
func (r *bitReader) golomb() uint32 {
	zeros := 0
	for r.bits(1) == 0 {
		if zeros++; r.failed || zeros > 31 {
			r.failed = true
			return 0
		}
	}
	return uint32(1<<zeros-1) + r.bits(zeros)
}

func (r *bitReader) signedGolomb() int64 {
	v := int64(r.golomb())
	if v&1 != 0 {
		return (v + 1) / 2
	}
	return -v / 2
}
