//go:build cgo

package vpx

// #include "shim.h"
import "C"

import (
	"errors"
	"unsafe"

	"portico/relay/codec"
)

var errEncode = errors.New("vpx: libvpx does not encode")

// Speeds of libvpx, by VideoConfig.Effort.
var (
	speedVP8 = [2]int{-6, -16}
	speedVP9 = [2]int{8, 9}
)

// encoder is a codec.VideoEncoder.
type encoder struct {
	c        *C.portico_vpx_encoder
	w, h     int
	duration int64 // of a picture, in ticks
	times    codec.Ticks
	keys     codec.KeyFrames
}

// NewVP8Encoder makes an encoder of VP8.
func NewVP8Encoder(c codec.VideoConfig) (codec.VideoEncoder, error) { return newEncoder(false, c) }

// NewVP9Encoder makes an encoder of VP9, profile 0, one layer.
func NewVP9Encoder(c codec.VideoConfig) (codec.VideoEncoder, error) { return newEncoder(true, c) }

func newEncoder(vp9 bool, c codec.VideoConfig) (codec.VideoEncoder, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	speeds := speedVP8
	if vp9 {
		speeds = speedVP9
	}
	speed := speeds[min(max(c.Effort, 0), 1)]
	// A key frame may have half the buffer of 600 ms: what is due to so many frames, in percent.
	intra := max(300, int(600/2*c.Framerate/10))
	e := C.portico_vpx_encoder_open(cBool(vp9), C.int(c.Width), C.int(c.Height), kilobits(c.Bitrate), C.int(speed), C.int(intra))
	if e == nil {
		return nil, errOpen
	}
	duration := max(1, int64(90_000/c.Framerate))
	return &encoder{c: e, w: c.Width, h: c.Height, duration: duration, keys: codec.KeyFrames{Interval: c.KeyFrameInterval}}, nil
}

// kilobits is a bit rate as libvpx takes it.
func kilobits(bitrate int) C.int { return C.int(min(max(bitrate/1000, 1), 1_000_000)) }

// Encode as in codec.VideoEncoder.
func (e *encoder) Encode(p *codec.Picture, ticks int64, key bool) (frame []byte, isKey bool, err error) {
	if e.c == nil {
		return nil, false, codec.ErrClosed
	}
	if !p.Valid() || p.Width != e.w || p.Height != e.h {
		return nil, false, codec.ErrInput
	}
	switch C.portico_vpx_encode(e.c, (*C.uint8_t)(&p.Y[0]), (*C.uint8_t)(&p.U[0]), (*C.uint8_t)(&p.V[0]), C.int(p.StrideY), C.int(p.StrideUV),
		C.int64_t(e.times.Next(ticks)), C.ulong(e.duration), cBool(e.keys.Due(key))) {
	case C.PORTICO_VPX_DONE:
		isKey = e.c.key != 0
		e.keys.Made(isKey)
		return unsafe.Slice((*byte)(e.c.data), int(e.c.size)), isKey, nil
	case C.PORTICO_VPX_NONE:
		e.keys.Made(false)
		return nil, false, nil
	}
	return nil, false, errEncode
}

// SetRate as in codec.VideoEncoder; libvpx counts in kbit/s.
func (e *encoder) SetRate(bitrate int) error {
	switch {
	case e.c == nil:
		return codec.ErrClosed
	case bitrate <= 0:
		return codec.ErrInput
	case C.portico_vpx_set_rate(e.c, kilobits(bitrate)) != C.PORTICO_VPX_DONE:
		return errEncode
	}
	return nil
}

// Close frees the encoder and its last frame. It is safe twice.
func (e *encoder) Close() {
	if e.c != nil {
		C.portico_vpx_encoder_close(e.c)
	}
	e.c = nil
}
