package inspect

// Frame is what a packet says of the layer frame it belongs to: one picture of one spatial layer. The zero value stands for what
// most packets are, part of a stream without layers.
type Frame struct {
	Spatial, Temporal uint8
	Begin, End        bool // it is the first, the last packet of the layer frame; both false where packets do not tell
	Sync              bool // needs nothing but the base layer: its temporal layer may be entered here (VP8: Y)
	SwitchUp          bool // higher temporal layers may be entered behind it (VP9: U)
	Inter             bool // predicted from earlier pictures (VP9: P)
	Layered           bool // the packet tells its layers

	// Where in the payload the picture id and TL0PICIDX stand, which count on from frame to frame; 0: they do not.
	PictureAt, TL0At uint8
	Wide             bool // the picture id has 15 bits, else 7
	Counted          bool // a picture id left out is a picture missing (VP8); else pictures refer to each other by the distance
	TL0              uint8
	Picture          uint16

	// Of a dependency descriptor; Structure is nil without one.
	Key       bool   // it brings a structure
	Number    uint16 // of the frame
	DiffCount uint8  // of Diffs; more than fit say TooMany
	Diffs     [maxDiffs]uint8
	Targets   uint64 // an Indication for each decode target, the first in the lowest two bits
	Active    uint32 // a bit for each decode target that is being sent
	Structure *Structure
}

const maxDiffs = 6

// TooMany as a DiffCount says that a frame depends on more others, or on older ones, than a Frame holds.
const TooMany = 255

// FrameInspector reads the layers of an RTP payload; ok is false when it does not tell, as when it goes on with what an earlier
// packet began.
type FrameInspector func(payload []byte) (f Frame, ok bool)

// FrameFor returns the FrameInspector of a codec by its lower-case name, nil for those whose payloads have no layers.
func FrameFor(codec string) FrameInspector {
	switch codec {
	case "vp8":
		return VP8Frame
	case "vp9":
		return VP9Frame
	case "av1":
		return AV1Frame
	}
	return nil
}

// VP8Frame reads the descriptor of RFC 7741 section 4.2:
//
//	|X|R|N|S|R| PID |    S: start of a partition, PID: which
//	|I|L|T|K| RSV   |    with X: what follows
//	|M| PictureID   |    with I: 7 bits, with M 15
//	|   TL0PICIDX   |    with L
//	|TID|Y| KEYIDX  |    with T or K
func VP8Frame(payload []byte) (f Frame, ok bool) {
	if len(payload) < 1 {
		return f, false
	}
	f.Begin = payload[0]&0x17 == 0x10
	if payload[0]&0x80 == 0 {
		return f, true
	}
	if len(payload) < 2 {
		return f, false
	}
	flags, at := payload[1], 2
	if flags&0x80 != 0 {
		if at, ok = f.pictureID(payload, at); !ok {
			return f, false
		}
		f.Counted = true
	}
	if flags&0x40 != 0 {
		if len(payload) <= at {
			return f, false
		}
		f.TL0At, f.TL0 = uint8(at), payload[at]
		at++
	}
	if flags&0x30 != 0 {
		if len(payload) <= at {
			return f, false
		}
		if flags&0x20 != 0 {
			f.Temporal, f.Sync, f.Layered = payload[at]>>6, payload[at]&0x20 != 0, true
		}
	}
	return f, true
}

// pictureID reads the picture id at that place and returns where it ends.
func (f *Frame) pictureID(payload []byte, at int) (int, bool) {
	if len(payload) <= at {
		return 0, false
	}
	f.PictureAt, f.Picture = uint8(at), uint16(payload[at])
	if payload[at]&0x80 == 0 {
		return at + 1, true
	}
	if len(payload) <= at+1 {
		return 0, false
	}
	f.Wide, f.Picture = true, be16(payload[at:])&0x7fff
	return at + 2, true
}

// VP9Frame reads the descriptor of RFC 9628 section 4.2:
//
//	|I|P|L|F|B|E|V|Z|    B, E: begin and end of the layer frame
//	|M| PICTURE ID  |    with I: 7 bits, with M 15
//	| TID |U| SID |D|    with L
//	|   TL0PICIDX   |    with L but not F, the flexible mode
//	| P_DIFF      |N|    with P and F, up to three times
func VP9Frame(payload []byte) (f Frame, ok bool) {
	if len(payload) < 1 {
		return f, false
	}
	flags, at := payload[0], 1
	f.Begin, f.End, f.Inter = flags&0x08 != 0, flags&0x04 != 0, flags&0x40 != 0
	if flags&0x80 != 0 {
		if at, ok = f.pictureID(payload, at); !ok {
			return f, false
		}
	}
	if flags&0x20 != 0 {
		if len(payload) <= at {
			return f, false
		}
		ids := payload[at]
		f.Temporal, f.Spatial, f.SwitchUp, f.Layered = ids>>5, ids>>1&0x07, ids&0x10 != 0, true
		at++
		if flags&0x10 == 0 {
			if len(payload) <= at {
				return f, false
			}
			f.TL0At, f.TL0 = uint8(at), payload[at]
		}
	}
	return f, true
}

// MaxSpatial is how many spatial layers a stream can have.
const MaxSpatial = 8

// Size is a picture size in pixels.
type Size struct{ Width, Height int }

// VP9Sizes reads the sizes of the spatial layers from the scalability structure in a payload, if it has one that tells: n is how
// many there are, 0 without.
func VP9Sizes(payload []byte) (sizes [MaxSpatial]Size, n int) {
	if len(payload) < 1 || payload[0]&0x02 == 0 {
		return sizes, 0
	}
	at := vp9StructureAt(payload)
	if at == 0 || len(payload) <= at || payload[at]&0x10 == 0 {
		return sizes, 0
	}
	n = int(payload[at]>>5) + 1
	if len(payload) < at+1+4*n {
		return sizes, 0
	}
	for i := range n {
		b := payload[at+1+4*i:]
		sizes[i] = Size{Width: int(be16(b)), Height: int(be16(b[2:]))}
	}
	return sizes, n
}

// vp9StructureAt is where the fields before the scalability structure end; 0: it makes no sense.
func vp9StructureAt(payload []byte) int {
	flags, at := payload[0], 1
	if flags&0x80 != 0 {
		if len(payload) > at && payload[at]&0x80 != 0 {
			at++
		}
		at++
	}
	if flags&0x20 != 0 {
		at++
		if flags&0x10 == 0 {
			at++
		}
	}
	if flags&0x50 == 0x50 {
		for i := 0; ; i++ {
			if i == 3 || len(payload) <= at {
				return 0
			}
			at++
			if payload[at-1]&0x01 == 0 {
				break
			}
		}
	}
	return at
}

// AV1Frame reads the layers from the header of the first OBU in a payload that has them. Where a dependency descriptor was
// negotiated that tells more.
func AV1Frame(payload []byte) (f Frame, ok bool) {
	if len(payload) < 2 || payload[0]&0x80 != 0 {
		return f, false
	}
	count, rest := int(payload[0]>>4&0x03), payload[1:]
	for i := 1; len(rest) > 0; i++ {
		obu := rest
		if i != count {
			size, n := leb128(rest)
			if n == 0 || size > len(rest)-n {
				return f, ok
			}
			obu, rest = rest[n:n+size], rest[n+size:]
		} else {
			rest = nil
		}
		if len(obu) < 1 {
			continue
		}
		kind := obu[0] >> 3 & 0x0f
		if kind == obuSequenceHeader || kind == obuTemporalDelimiter {
			continue
		}
		if obu[0]&0x04 == 0 {
			ok = true
			continue
		}
		if len(obu) < 2 {
			return f, ok
		}
		f.Temporal, f.Spatial, f.Layered = obu[1]>>5, obu[1]>>3&0x03, true
		return f, true
	}
	return f, ok
}
