package payload

import "portico/shared/rtp/inspect"

// VP9, RFC 9628. A payload is a descriptor and a part of a layer frame: of one spatial layer of the picture. All layers of a picture
// have one timestamp, the lowest first; the marker is on the last packet of the last. Descriptor:
//
//	|I|P|L|F|B|E|V|Z|    B, E: first, last packet of the layer frame; P: predicted from earlier pictures
//	|M| PICTURE ID  |    with I: 7 bits, with M 15
//	| TID |U| SID |D|    with L; D: predicted from the layer below too
//	|   TL0PICIDX   |    with L, without F
//	| P_DIFF      |N|    with P and F: 1 to 3 of them, N: another follows
//	|N_S|Y|G|-|-|-|      with V: spatial layers less 1; with Y their widths and heights, 16 bits each; with G 8 bits number of
//	                     pictures in a group, each |TID|U|R|-|-| and R references of 8 bits
const (
	vp9Picture   = 0x80
	vp9Inter     = 0x40
	vp9Layer     = 0x20
	vp9Flexible  = 0x10
	vp9Begin     = 0x08
	vp9End       = 0x04
	vp9Structure = 0x02
	vp9NoUpper   = 0x01
)

const maxSuperframe = 8 // frames

// vp9Parts puts the layer frames of a picture into a superframe (VP9 bitstream specification, Annex B), from which decoders show the
// last. A layer frame may itself be a superframe, whose frames go into the one of the picture. All layers are handed on, also where
// only key pictures predict from layer to layer (k-SVC): libvpx fails without the lower ones.
type vp9Parts struct {
	inside bool // a layer frame has begun and not ended
	start  int  // of the layer frame
	layers int  // that have begun
	layer  byte // the last one that has begun
	sizes  [maxSuperframe]int
	frames int // in sizes
}

func (v *vp9Parts) begin(bool) { *v = vp9Parts{} }

func (v *vp9Parts) add(frame, payload []byte) ([]byte, bool) {
	flags := payload[0]
	at, layer := vp9Descriptor(payload)
	if at == 0 || at >= len(payload) || v.inside == (flags&vp9Begin != 0) {
		return frame, false
	}
	if !v.inside && !v.enter(len(frame), layer) || v.inside && layer>>1 != v.layer>>1 {
		return frame, false
	}
	v.inside = true
	frame = append(frame, payload[at:]...)
	if flags&vp9End == 0 {
		return frame, true
	}
	v.inside = false
	return v.leave(frame)
}

// enter begins a layer frame; layer is the byte with SID and D.
func (v *vp9Parts) enter(at int, layer byte) bool {
	sid, below := layer>>1&0x07, layer&1 != 0
	if v.layers > 0 && sid <= v.layer>>1&0x07 || v.layers == 0 && below {
		return false
	}
	v.start, v.layer = at, layer
	v.layers++
	return true
}

// leave ends a layer frame: its size is noted, or the sizes of its frames when it is a superframe, whose index is cut off.
func (v *vp9Parts) leave(frame []byte) ([]byte, bool) {
	sizes, n, index := superframe(frame[v.start:])
	frame = frame[:len(frame)-index]
	if n == 0 {
		sizes[0], n = len(frame)-v.start, 1
	}
	end := v.start
	for _, size := range sizes[:n] {
		if size == 0 {
			continue
		}
		if v.frames == maxSuperframe || size > len(frame)-end {
			return frame, false
		}
		v.sizes[v.frames] = size
		v.frames++
		end += size
	}
	return frame[:end], true
}

func (v *vp9Parts) end(frame []byte) ([]byte, bool) {
	if v.inside || v.layers == 0 {
		return frame, false
	}
	if v.frames < 2 {
		return frame, true
	}
	const bytes = 3 // enough for MaxFrame
	marker := byte(0xc0 | (bytes-1)<<3 | (v.frames - 1))
	frame = append(frame, marker)
	for _, size := range v.sizes[:v.frames] {
		frame = append(frame, byte(size), byte(size>>8), byte(size>>16))
	}
	return append(frame, marker), true
}

// superframe reads the sizes of the frames from the index at the end of a superframe, which has that length; n and length are 0 when
// there is none. The index is between two equal bytes: 110, 2 bits size of sizes less 1, 3 bits number of frames less 1. Sizes have
// their lowest byte first.
func superframe(b []byte) (sizes [maxSuperframe]int, n, length int) {
	if len(b) == 0 || b[len(b)-1]&0xe0 != 0xc0 {
		return sizes, 0, 0
	}
	marker := b[len(b)-1]
	bytes, count := int(marker>>3&3)+1, int(marker&7)+1
	length = 2 + bytes*count
	if len(b) < length || b[len(b)-length] != marker {
		return sizes, 0, 0
	}
	b = b[len(b)-length+1:]
	for i := range count {
		size := uint32(0)
		for k := range bytes {
			size |= uint32(b[i*bytes+k]) << (8 * k)
		}
		sizes[i] = int(min(size, MaxFrame+1))
	}
	return sizes, count, length
}

// vp9Descriptor reads the length of the descriptor, 0 when it is cut off, and the byte with SID and D, 0 without.
func vp9Descriptor(b []byte) (at int, layer byte) {
	flags := b[0]
	at = 1
	if flags&vp9Picture != 0 {
		if len(b) <= at {
			return 0, 0
		}
		if b[at]&wide != 0 {
			at++
		}
		at++
	}
	if flags&vp9Layer != 0 {
		if len(b) <= at {
			return 0, 0
		}
		layer = b[at] & 0x0f
		at++
		if flags&vp9Flexible == 0 {
			at++
		}
	}
	if flags&(vp9Inter|vp9Flexible) == vp9Inter|vp9Flexible {
		for i := 0; ; i++ {
			if i == 3 || len(b) <= at {
				return 0, 0
			}
			at++
			if b[at-1]&1 == 0 {
				break
			}
		}
	}
	if flags&vp9Structure != 0 {
		at = vp9StructureEnd(b, at)
	}
	if at > len(b) {
		return 0, 0
	}
	return at, layer
}

// vp9StructureEnd is where the scalability structure at that place ends, 0 when it is cut off.
func vp9StructureEnd(b []byte, at int) int {
	if len(b) <= at {
		return 0
	}
	head := b[at]
	at++
	if head&0x10 != 0 {
		at += 4 * (int(head>>5) + 1)
	}
	if head&0x08 == 0 {
		return at
	}
	if len(b) <= at {
		return 0
	}
	pictures := int(b[at])
	at++
	for range pictures {
		if len(b) <= at {
			return 0
		}
		at += 1 + int(b[at]>>2&3)
	}
	return at
}

// vp9Splitter writes frames of one layer, in non-flexible mode without layer indices: receivers take each picture as predicted from
// the one before. The structure in key frames tells the size.
type vp9Splitter struct{ picture uint16 }

func (v *vp9Splitter) split(p *pieces, frame []byte) error {
	const descriptor, structure = 3, 8
	var head [1 + 32]byte
	head[0] = vp9Begin
	seen := inspect.VP9(head[:1+copy(head[1:], frame)])
	flags, extra := byte(vp9Picture|vp9NoUpper|vp9Begin), 0
	if seen.KeyFrame {
		flags |= vp9Structure
		extra = structure
	} else {
		flags |= vp9Inter
	}
	n := (extra + len(frame) + MaxPayload - descriptor - 1) / (MaxPayload - descriptor)
	size := (extra + len(frame) + n - 1) / n
	for len(frame) > 0 {
		n := min(size-extra, len(frame))
		if n == len(frame) {
			flags |= vp9End
		}
		p.write(flags, wide|byte(v.picture>>8), byte(v.picture))
		if extra != 0 {
			w, h := seen.Width, seen.Height
			p.write(0x18, byte(w>>8), byte(w), byte(h>>8), byte(h)) // one layer, its size; a group
			p.write(1, 0x14, 1)                                     // of one picture, predicted from the one before
			extra = 0
		}
		p.write(frame[:n]...)
		p.cut()
		flags, frame = flags&^(vp9Begin|vp9Structure), frame[n:]
	}
	v.picture++
	return nil
}
