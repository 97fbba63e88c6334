package av1

import "portico/relay/codec"

// Types of OBUs (section 6.2.2).
const (
	obuSequence  = 1
	obuDelimiter = 2
)

// obu reads the first OBU: its type and its length with the header. An OBU without a size takes all there is.
func obu(data []byte) (kind, length int, err error) {
	if len(data) == 0 || data[0]&0x80 != 0 {
		return 0, 0, codec.ErrCorrupt
	}
	kind, head := int(data[0]>>3&15), 1
	if data[0]&4 != 0 { // layers
		head++
	}
	if data[0]&2 == 0 {
		return kind, len(data), nil
	}
	size := 0
	for shift := 0; ; shift += 7 {
		if shift > 28 || head >= len(data) {
			return 0, 0, codec.ErrCorrupt
		}
		b := data[head]
		head++
		size |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			break
		}
	}
	if size > len(data)-head {
		return 0, 0, codec.ErrCorrupt
	}
	return kind, head + size, nil
}

// check goes over the OBUs of a temporal unit: whether a decoder can start with it, having a sequence header.
func check(unit []byte) (start bool, err error) {
	if len(unit) == 0 {
		return false, codec.ErrCorrupt
	}
	for len(unit) > 0 {
		kind, n, err := obu(unit)
		if err != nil {
			return false, err
		}
		start = start || kind == obuSequence
		unit = unit[n:]
	}
	return start, nil
}

// withoutDelimiter cuts off the temporal delimiter that an encoder begins with.
func withoutDelimiter(unit []byte) []byte {
	if kind, n, err := obu(unit); err == nil && kind == obuDelimiter {
		return unit[n:]
	}
	return unit
}
