//go:build cgo

package h264

// #cgo pkg-config: openh264
// #include "shim.h"
import "C"

import (
	"errors"
	"unsafe"

	"portico/relay/codec"
)

var errOpen = errors.New("h264: openh264 does not open")

// decoder is a codec.VideoDecoder.
type decoder struct {
	c       *C.portico_h264_decoder
	waiting bool   // for an IDR picture
	buf     []byte // what is given to openh264
	picture codec.Picture
}

// NewDecoder makes a decoder.
func NewDecoder() (codec.VideoDecoder, error) {
	c := C.portico_h264_decoder_open()
	if c == nil {
		return nil, errOpen
	}
	return &decoder{c: c, waiting: true}, nil
}

// Decode as in codec.VideoDecoder. Parameter sets may also come as a frame of their own.
func (d *decoder) Decode(frame []byte) (*codec.Picture, error) {
	if d.c == nil {
		return nil, codec.ErrClosed
	}
	var found content
	var err error
	d.buf, found, err = filter(d.buf[:0], frame)
	switch {
	case err != nil:
		return nil, d.fail(err)
	case len(frame) == 0 || d.waiting && found.slices && !found.key:
		return nil, d.fail(codec.ErrCorrupt)
	case len(d.buf) == 0:
		return nil, nil
	}
	answer := C.portico_h264_decode(d.c, (*C.uint8_t)(&d.buf[0]), C.int(len(d.buf)))
	switch {
	case !found.slices:
		return nil, nil // openh264 has nothing to show, which it may call an error
	case answer == C.PORTICO_H264_FORMAT:
		return nil, d.fail(codec.ErrUnsupported)
	case answer == C.PORTICO_H264_CORRUPT:
		return nil, d.fail(codec.ErrCorrupt)
	}
	d.waiting = false
	if answer == C.PORTICO_H264_NONE {
		return nil, nil
	}
	return d.show()
}

func (d *decoder) fail(err error) error {
	d.waiting = true
	return err
}

func (d *decoder) show() (*codec.Picture, error) {
	w, h := int(d.c.width), int(d.c.height)
	if err := codec.CheckSize(w, h); err != nil {
		return nil, d.fail(err)
	}
	y, uv := int(d.c.stride_y), int(d.c.stride_uv)
	lumaSize, colourSize := y*(h-1)+w, uv*((h+1)/2-1)+(w+1)/2
	d.picture = codec.Picture{
		Width: w, Height: h, StrideY: y, StrideUV: uv,
		Y: unsafe.Slice((*byte)(d.c.y), lumaSize), U: unsafe.Slice((*byte)(d.c.u), colourSize), V: unsafe.Slice((*byte)(d.c.v), colourSize),
	}
	return &d.picture, nil
}

// Close frees the decoder and its pictures. It is safe twice.
func (d *decoder) Close() {
	if d.c != nil {
		C.portico_h264_decoder_close(d.c)
	}
	d.c, d.picture = nil, codec.Picture{}
}
