//go:build cgo

package av1

// #cgo pkg-config: aom dav1d
// #include "shim.h"
import "C"

import (
	"errors"
	"unsafe"

	"portico/relay/codec"
)

var errOpen = errors.New("av1: the library does not open")

// decoder is a codec.VideoDecoder.
type decoder struct {
	c       *C.portico_av1_decoder
	waiting bool // for a key frame
	picture codec.Picture
}

// NewDecoder makes a decoder. It starts where there is a sequence header, which comes with key frames.
func NewDecoder() (codec.VideoDecoder, error) {
	c := C.portico_av1_decoder_open(codec.MaxArea)
	if c == nil {
		return nil, errOpen
	}
	return &decoder{c: c, waiting: true}, nil
}

// Decode as in codec.VideoDecoder.
func (d *decoder) Decode(frame []byte) (*codec.Picture, error) {
	if d.c == nil {
		return nil, codec.ErrClosed
	}
	start, err := check(frame)
	if err == nil && d.waiting && !start {
		return nil, codec.ErrCorrupt
	}
	if err != nil {
		return nil, d.fail(err)
	}
	answer := C.portico_av1_decode(d.c, (*C.uint8_t)(unsafe.SliceData(frame)), C.size_t(len(frame)))
	switch answer {
	case C.PORTICO_AV1_DONE:
		d.waiting = false
		return d.show()
	case C.PORTICO_AV1_NONE:
		d.waiting = false
		return nil, nil
	case C.PORTICO_AV1_FORMAT:
		err = codec.ErrUnsupported
	case C.PORTICO_AV1_LARGE:
		err = codec.ErrTooLarge
	case C.PORTICO_AV1_FAILED:
		err = errOpen
	default:
		err = codec.ErrCorrupt
	}
	return nil, d.fail(err)
}

// fail has the decoder wait for a key frame with nothing of what it had.
func (d *decoder) fail(err error) error {
	C.portico_av1_decoder_reset(d.c)
	d.waiting = true
	return err
}

func (d *decoder) show() (*codec.Picture, error) {
	p := &d.c.picture
	w, h := int(p.p.w), int(p.p.h)
	if err := codec.CheckSize(w, h); err != nil {
		return nil, d.fail(err)
	}
	y, uv := int(p.stride[0]), int(p.stride[1])
	lumaSize, colourSize := y*(h-1)+w, uv*((h+1)/2-1)+(w+1)/2
	d.picture = codec.Picture{
		Width: w, Height: h, StrideY: y, StrideUV: uv,
		Y: unsafe.Slice((*byte)(p.data[0]), lumaSize),
		U: unsafe.Slice((*byte)(p.data[1]), colourSize), V: unsafe.Slice((*byte)(p.data[2]), colourSize),
	}
	return &d.picture, nil
}

// Close frees the decoder and its pictures. It is safe twice.
func (d *decoder) Close() {
	if d.c != nil {
		C.portico_av1_decoder_close(d.c)
	}
	d.c, d.picture = nil, codec.Picture{}
}
