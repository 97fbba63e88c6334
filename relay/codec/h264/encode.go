//go:build cgo

package h264

// #include "shim.h"
import "C"

import (
	"errors"
	"unsafe"

	"portico/relay/codec"
)

var errEncode = errors.New("h264: openh264 does not encode")

// maxBitrate is that of level 5.1.
const maxBitrate = 240_000_000

// encoder is a codec.VideoEncoder.
type encoder struct {
	c     *C.portico_h264_encoder
	w, h  int
	times codec.Ticks
	keys  codec.KeyFrames
	frame []byte
}

// NewEncoder makes an encoder of profile CB or B. Of the others it gives codec.ErrUnsupported. openh264 has nothing faster to offer than
// its usual: the effort makes no difference.
func NewEncoder(c codec.VideoConfig) (codec.VideoEncoder, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if p := c.Format.Profile; p != "" && p != "CB" && p != "B" {
		return nil, codec.ErrUnsupported
	}
	e := C.portico_h264_encoder_open(C.int(c.Width), C.int(c.Height), C.float(c.Framerate), C.int(min(c.Bitrate, maxBitrate)))
	if e == nil {
		return nil, errOpen
	}
	return &encoder{c: e, w: c.Width, h: c.Height, keys: codec.KeyFrames{Interval: c.KeyFrameInterval}}, nil
}

// Encode as in codec.VideoEncoder.
func (e *encoder) Encode(p *codec.Picture, ticks int64, key bool) (frame []byte, isKey bool, err error) {
	if e.c == nil {
		return nil, false, codec.ErrClosed
	}
	if !p.Valid() || p.Width != e.w || p.Height != e.h {
		return nil, false, codec.ErrInput
	}
	force := C.int(0)
	if e.keys.Due(key) {
		force = 1
	}
	switch C.portico_h264_encode(e.c, (*C.uint8_t)(&p.Y[0]), (*C.uint8_t)(&p.U[0]), (*C.uint8_t)(&p.V[0]), C.int(p.StrideY), C.int(p.StrideUV),
		C.int64_t(e.times.Next(ticks)/90), force) {
	case C.PORTICO_H264_DONE:
		e.collect()
		isKey = e.c.frame.eFrameType == C.videoFrameTypeIDR
		e.keys.Made(isKey)
		return e.frame, isKey, nil
	case C.PORTICO_H264_NONE:
		e.keys.Made(false)
		return nil, false, nil
	}
	return nil, false, errEncode
}

// collect puts the layers of the frame together: parameter sets, picture.
func (e *encoder) collect() {
	e.frame = e.frame[:0]
	for i := 0; ; i++ {
		var data *C.uint8_t
		n := int(C.portico_h264_layer(e.c, C.int(i), &data))
		if n == 0 {
			return
		}
		e.frame = append(e.frame, unsafe.Slice((*byte)(data), n)...)
	}
}

// SetRate as in codec.VideoEncoder.
func (e *encoder) SetRate(bitrate int) error {
	switch {
	case e.c == nil:
		return codec.ErrClosed
	case bitrate <= 0:
		return codec.ErrInput
	case C.portico_h264_set_rate(e.c, C.int(min(bitrate, maxBitrate))) != C.PORTICO_H264_DONE:
		return errEncode
	}
	return nil
}

// Close frees the encoder. It is safe twice.
func (e *encoder) Close() {
	if e.c != nil {
		C.portico_h264_encoder_close(e.c)
	}
	e.c = nil
}
