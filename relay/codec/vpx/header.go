package vpx

import "portico/relay/codec"

// checkVP8 reads the header of a VP8 frame (RFC 6386 section 9.1): whether it is a key frame, and whether it may be decoded.
func checkVP8(frame []byte) (key bool, err error) {
	if len(frame) < 3 {
		return false, codec.ErrCorrupt
	}
	tag := uint32(frame[0]) | uint32(frame[1])<<8 | uint32(frame[2])<<16
	key = tag&1 == 0
	head := 3
	if key {
		head = 10
		if len(frame) < head || frame[3] != 0x9d || frame[4] != 0x01 || frame[5] != 0x2a {
			return false, codec.ErrCorrupt
		}
		width, height := int(frame[6])|int(frame[7]&0x3f)<<8, int(frame[8])|int(frame[9]&0x3f)<<8
		if err := codec.CheckSize(width, height); err != nil {
			return false, err
		}
	}
	if first := int(tag >> 5); first > len(frame)-head {
		return false, codec.ErrCorrupt
	}
	return key, nil
}

// bits reads from the most significant bit on; beyond the end it reads zeros and says so.
type bits struct {
	data []byte
	at   int
	over bool
}

func (b *bits) read(n int) (v int) {
	for ; n > 0; n-- {
		v <<= 1
		if i := b.at >> 3; i < len(b.data) {
			v |= int(b.data[i]>>(7-b.at&7)) & 1
		} else {
			b.over = true
		}
		b.at++
	}
	return v
}

func (b *bits) flag() bool { return b.read(1) == 1 }

const syncVP9 = 0x498342

// checkVP9 reads a superframe, or a frame alone, of VP9: whether it begins with a key frame, whether all of it may be decoded, and
// whether it has an index.
func checkVP9(data []byte) (key, indexed bool, err error) {
	sizes, indexed, err := superframe(data)
	if err != nil {
		return false, false, err
	}
	for i, size := range sizes {
		isKey, err := checkVP9Frame(data[:size])
		if err != nil {
			return false, false, err
		}
		key = key || i == 0 && isKey
		data = data[size:]
	}
	return key, indexed, nil
}

// superframe gives the sizes of the frames in it, which add up to no more than there is (annex B).
func superframe(data []byte) (sizes []int, indexed bool, err error) {
	if len(data) == 0 {
		return nil, false, codec.ErrCorrupt
	}
	marker := data[len(data)-1]
	n, width := int(marker&7)+1, int(marker>>3&3)+1
	start := len(data) - 2 - n*width
	if marker&0xe0 != 0xc0 || start < 0 || data[start] != marker {
		return []int{len(data)}, false, nil
	}
	left := start
	for i := range n {
		size := 0
		for j := range width {
			size |= int(data[start+1+i*width+j]) << (8 * j)
		}
		if size == 0 || size > left {
			return nil, false, codec.ErrCorrupt
		}
		left -= size
		sizes = append(sizes, size)
	}
	return sizes, true, nil
}

// appendIndex appends the index of one frame alone.
func appendIndex(data []byte, size int) []byte {
	const marker = 0xc0 | 3<<3 // one frame, its size in four bytes
	return append(data, marker, byte(size), byte(size>>8), byte(size>>16), byte(size>>24), marker)
}

// checkVP9Frame reads the uncompressed header as far as the size of the picture (VP9 bitstream specification section 6.2).
func checkVP9Frame(frame []byte) (key bool, err error) {
	b := &bits{data: frame}
	if b.read(2) != 2 {
		return false, codec.ErrCorrupt
	}
	if b.read(2) != 0 { // profile
		return false, codec.ErrUnsupported
	}
	if b.flag() { // shows an earlier frame
		b.read(3)
		return false, overrun(b)
	}
	key = !b.flag()
	shown, resilient := b.flag(), b.flag()
	if key {
		if b.read(24) != syncVP9 {
			return false, codec.ErrCorrupt
		}
		if space := b.read(3); space == 7 { // RGB, which profile 0 has not
			return false, codec.ErrCorrupt
		}
		b.read(1) // range
		return true, readSize(b)
	}
	intra := !shown && b.flag()
	if !resilient {
		b.read(2) // what to reset
	}
	if intra {
		if b.read(24) != syncVP9 {
			return false, codec.ErrCorrupt
		}
		b.read(8) // refreshed
		return false, readSize(b)
	}
	b.read(8 + 3*(3+1)) // refreshed; the references and their signs
	for range 3 {
		if b.flag() {
			return false, overrun(b) // the size of a reference, which has been checked
		}
	}
	return false, readSize(b)
}

func readSize(b *bits) error {
	width, height := b.read(16)+1, b.read(16)+1
	if err := overrun(b); err != nil {
		return err
	}
	return codec.CheckSize(width, height)
}

func overrun(b *bits) error {
	if b.over {
		return codec.ErrCorrupt
	}
	return nil
}
