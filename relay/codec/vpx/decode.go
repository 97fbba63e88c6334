//go:build cgo

package vpx

// #cgo pkg-config: vpx
// #include "shim.h"
import "C"

import (
	"errors"
	"unsafe"

	"portico/relay/codec"
)

var errOpen = errors.New("vpx: libvpx does not open")

// decoder is a codec.VideoDecoder.
type decoder struct {
	c       *C.portico_vpx_decoder
	vp9     bool
	waiting bool   // for a key frame
	buf     []byte // of VP9: a frame with the index it came without
	picture codec.Picture
}

// NewVP8Decoder makes a decoder of VP8.
func NewVP8Decoder() (codec.VideoDecoder, error) { return newDecoder(false) }

// NewVP9Decoder makes a decoder of VP9, which shows the highest spatial layer of what it is given.
func NewVP9Decoder() (codec.VideoDecoder, error) { return newDecoder(true) }

func newDecoder(vp9 bool) (codec.VideoDecoder, error) {
	c := C.portico_vpx_decoder_open(cBool(vp9))
	if c == nil {
		return nil, errOpen
	}
	return &decoder{c: c, vp9: vp9, waiting: true}, nil
}

func cBool(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

// Decode as in codec.VideoDecoder.
func (d *decoder) Decode(frame []byte) (*codec.Picture, error) {
	if d.c == nil {
		return nil, codec.ErrClosed
	}
	frame, key, err := d.check(frame)
	if err == nil && d.waiting && !key {
		return nil, codec.ErrCorrupt
	}
	if err != nil {
		return nil, d.fail(err)
	}
	switch C.portico_vpx_decode(d.c, (*C.uint8_t)(unsafe.SliceData(frame)), C.size_t(len(frame))) {
	case C.PORTICO_VPX_DONE:
		d.waiting = false
		return d.show()
	case C.PORTICO_VPX_NONE:
		d.waiting = false
		return nil, nil
	case C.PORTICO_VPX_FORMAT:
		return nil, d.fail(codec.ErrUnsupported)
	case C.PORTICO_VPX_FAILED:
		return nil, d.fail(errOpen)
	}
	return nil, d.fail(codec.ErrCorrupt)
}

// check reads headers and gives what libvpx is to be given.
func (d *decoder) check(frame []byte) (checked []byte, key bool, err error) {
	if !d.vp9 {
		key, err = checkVP8(frame)
		return frame, key, err
	}
	key, indexed, err := checkVP9(frame)
	if err == nil && !indexed {
		d.buf = appendIndex(append(d.buf[:0], frame...), len(frame))
		frame = d.buf
	}
	return frame, key, err
}

// fail has the decoder wait for a key frame with nothing of what it had.
func (d *decoder) fail(err error) error {
	C.portico_vpx_decoder_reset(d.c)
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
		C.portico_vpx_decoder_close(d.c)
	}
	d.c, d.picture = nil, codec.Picture{}
}
