package payload

// VP8, RFC 7741. A payload is a descriptor of 1 to 6 bytes and a part of the frame. Descriptor:
//
//	|X|R|N|S|R| PID |    S: start of a partition, PID: which
//	|I|L|T|K| RSV   |    with X: what follows
//	|M| PictureID   |    with I: 7 bits, with M 15
//	|   TL0PICIDX   |    with L
//	|TID|Y| KEYIDX  |    with T or K
const (
	vp8Extended = 0x80
	vp8Start    = 0x10
	vp8PID      = 0x07
	vp8Picture  = 0x80 // in the second byte
	vp8TL0      = 0x40
	vp8Layer    = 0x30
	wide        = 0x80 // of a picture id, in VP9 too
)

type vp8Parts struct{ started bool }

func (v *vp8Parts) begin(bool) { v.started = false }

func (v *vp8Parts) add(frame, payload []byte) ([]byte, bool) {
	first := payload[0]&(vp8Start|vp8PID) == vp8Start // the frame's first partition begins
	if first == v.started {
		return frame, false
	}
	at := vp8DescriptorSize(payload)
	if at == 0 || at >= len(payload) {
		return frame, false
	}
	v.started = true
	return append(frame, payload[at:]...), true
}

func (v *vp8Parts) end(frame []byte) ([]byte, bool) { return frame, v.started }

// vp8DescriptorSize is 0 when the descriptor is cut off.
func vp8DescriptorSize(b []byte) int {
	if b[0]&vp8Extended == 0 {
		return 1
	}
	if len(b) < 2 {
		return 0
	}
	at := 2
	if b[1]&vp8Picture != 0 {
		if len(b) <= at {
			return 0
		}
		if b[at]&wide != 0 {
			at++
		}
		at++
	}
	if b[1]&vp8TL0 != 0 {
		at++
	}
	if b[1]&vp8Layer != 0 {
		at++
	}
	if at > len(b) {
		return 0
	}
	return at
}

// vp8Splitter writes descriptors of 4 bytes, with a picture id of 15 bits.
type vp8Splitter struct{ picture uint16 }

func (v *vp8Splitter) split(p *pieces, frame []byte) error {
	const descriptor = 4
	size := evenly(frame, MaxPayload-descriptor)
	first := byte(vp8Extended | vp8Start)
	for len(frame) > 0 {
		n := min(size, len(frame))
		p.write(first, vp8Picture, wide|byte(v.picture>>8), byte(v.picture))
		p.write(frame[:n]...)
		p.cut()
		first, frame = vp8Extended, frame[n:]
	}
	v.picture++
	return nil
}
