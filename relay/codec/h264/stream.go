package h264

import (
	"bytes"

	"portico/relay/codec"
)

// Types of NAL units (table 7-1).
const (
	nalSlice    = 1
	nalIDR      = 5
	nalSequence = 7
	nalPicture  = 8
)

// Limits of level 5.1 (table A-1): macroblocks of all references together.
const (
	maxReferences    = 16
	maxReferenceArea = 184_320
)

// content is what a frame has in it.
type content struct{ slices, key bool }

// filter appends to out what of a frame a decoder needs, and says what that is.
func filter(out, frame []byte) ([]byte, content, error) {
	var found content
	for unit := range units(frame) {
		switch unit[0] & 31 {
		case nalSlice:
			found.slices = true
		case nalIDR:
			found.slices, found.key = true, true
		case nalSequence:
			if err := checkSequence(unit[1:]); err != nil {
				return out, found, err
			}
		case nalPicture:
		default:
			continue
		}
		if unit[0]&0x80 != 0 {
			return out, found, codec.ErrCorrupt
		}
		out = append(append(out, 0, 0, 0, 1), unit...)
	}
	return out, found, nil
}

// units gives the NAL units of a byte stream (Annex B), which are not empty.
func units(stream []byte) func(yield func([]byte) bool) {
	start := []byte{0, 0, 1}
	return func(yield func([]byte) bool) {
		_, rest, found := bytes.Cut(stream, start)
		for found {
			var unit []byte
			unit, rest, found = bytes.Cut(rest, start)
			if unit = bytes.TrimRight(unit, "\x00"); len(unit) > 0 && !yield(unit) {
				return
			}
		}
	}
}

// checkSequence reads a sequence parameter set, without the byte before it, as far as the size of its pictures.
func checkSequence(set []byte) error {
	b := &reader{data: unescape(set)}
	profile := b.read(8)
	b.read(8 + 8) // constraints, level
	b.ue()        // id
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		if b.ue() != 1 || b.ue() != 0 || b.ue() != 0 { // 4:2:0, 8 bits both
			return b.or(codec.ErrUnsupported)
		}
		b.read(1)
		if b.read(1) == 1 {
			b.scaling()
		}
	}
	b.ue() // log2 of the most frame numbers
	switch b.ue() {
	case 0:
		b.ue()
	case 1:
		b.read(1)
		b.ue() // signed, the same bits
		b.ue()
		for n := min(b.ue(), 255); n > 0; n-- {
			b.ue()
		}
	}
	references := b.ue()
	b.read(1)
	width, height := b.ue()+1, b.ue()+1 // macroblocks
	whole := b.read(1) == 1
	switch {
	case b.over:
		return codec.ErrCorrupt
	case !whole:
		return codec.ErrUnsupported // fields
	case width > codec.MaxSide || height > codec.MaxSide || references > maxReferences || references*width*height > maxReferenceArea:
		return codec.ErrTooLarge
	}
	return codec.CheckSize(16*width, 16*height)
}

// unescape takes out the bytes that keep start codes out of a unit (7.4.1.1).
func unescape(data []byte) []byte {
	mark := []byte{0, 0, 3}
	if !bytes.Contains(data, mark) {
		return data
	}
	var out []byte
	for {
		before, after, found := bytes.Cut(data, mark)
		out = append(out, before...)
		if !found {
			return out
		}
		out, data = append(out, 0, 0), after
	}
}

// reader reads from the most significant bit on; beyond the end it reads zeros and says so.
type reader struct {
	data []byte
	at   int
	over bool
}

func (b *reader) read(n int) (v int) {
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

// ue reads an Exp-Golomb number (9.1), below 1 << 31.
func (b *reader) ue() int {
	zeros := 0
	for b.read(1) == 0 {
		if zeros++; zeros > 30 || b.over {
			b.over = true
			return 0
		}
	}
	return 1<<zeros - 1 + b.read(zeros)
}

// se reads a signed one.
func (b *reader) se() int {
	v := b.ue()
	if v&1 == 1 {
		return (v + 1) / 2
	}
	return -v / 2
}

// scaling goes over scaling lists (7.3.2.1.1.1) of 4:2:0.
func (b *reader) scaling() {
	for i := range 8 {
		if b.read(1) == 0 {
			continue
		}
		size := 16
		if i >= 6 {
			size = 64
		}
		last, next := 8, 8
		for j := 0; j < size && next != 0 && !b.over; j++ {
			if next = (last + b.se()) & 255; next != 0 {
				last = next
			}
		}
	}
}

// or gives err, or ErrCorrupt when there was not that much to read.
func (b *reader) or(err error) error {
	if b.over {
		return codec.ErrCorrupt
	}
	return err
}
