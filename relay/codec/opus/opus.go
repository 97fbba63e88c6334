//go:build cgo

package opus

// #cgo pkg-config: opus
// #include "shim.h"
import "C"

import (
	"errors"
	"slices"
	"unsafe"

	"portico/relay/codec"
	"portico/shared/conference"
)

const (
	rate       = 48_000
	frame      = rate / 50        // samples of 20 ms in each channel
	longest    = rate * 120 / 1e3 // samples of the longest packet in each channel
	step       = rate / 400       // libopus makes sound up in multiples of 2.5 ms
	maxPacket  = 1275             // bytes of a packet of one frame (RFC 6716 section 3.2)
	complexity = 5
	usualRate  = 32_000 // bit/s for one channel, twice of it for two
)

var errOpen = errors.New("opus: libopus does not open")

// channels of a format: two unless it says otherwise (RFC 7587), 0 when it is not ours.
func channels(f conference.Format) int {
	if f.SampleRate != 0 && f.SampleRate != rate || f.ChannelNum < 0 || f.ChannelNum > 2 {
		return 0
	}
	if f.ChannelNum == 0 {
		return 2
	}
	return f.ChannelNum
}

// decoder is a codec.AudioDecoder.
type decoder struct {
	c        *C.OpusDecoder
	channels int
}

// NewDecoder makes a decoder that gives as many channels as the format has, whatever comes.
func NewDecoder(f conference.Format) (codec.AudioDecoder, error) {
	n := channels(f)
	if n == 0 {
		return nil, codec.ErrUnsupported
	}
	c := C.opus_decoder_create(rate, C.int(n), nil)
	if c == nil {
		return nil, errOpen
	}
	return &decoder{c, n}, nil
}

// Rate is 48,000.
func (d *decoder) Rate() int { return rate }

// Channels is 1 or 2.
func (d *decoder) Channels() int { return d.channels }

// decode appends samples of sound; an empty packet makes it up, fec takes it from the packet behind.
func (d *decoder) decode(pcm []int16, packet []byte, samples int, fec C.int) ([]int16, bool) {
	pcm = slices.Grow(pcm, samples*d.channels)
	room := pcm[len(pcm) : len(pcm)+samples*d.channels]
	var data *C.uchar
	if len(packet) > 0 {
		data = (*C.uchar)(&packet[0])
	}
	n := C.opus_decode(d.c, data, C.opus_int32(len(packet)), (*C.opus_int16)(unsafe.SliceData(room)), C.int(samples), fec)
	if n < 0 {
		return pcm, false
	}
	return pcm[:len(pcm)+int(n)*d.channels], true
}

// Decode as in codec.AudioDecoder. A packet has 120 ms at most.
func (d *decoder) Decode(pcm []int16, packet []byte) ([]int16, error) {
	if d.c == nil {
		return pcm, codec.ErrClosed
	}
	if len(packet) == 0 {
		return pcm, codec.ErrCorrupt
	}
	samples := int(C.opus_packet_get_nb_samples((*C.uchar)(&packet[0]), C.opus_int32(len(packet)), rate))
	if samples <= 0 || samples > longest {
		return pcm, codec.ErrCorrupt
	}
	pcm, ok := d.decode(pcm, packet, samples, 0)
	if !ok {
		return pcm, codec.ErrCorrupt
	}
	return pcm, nil
}

// Conceal as in codec.AudioDecoder. What is made up fades away within a tenth of a second or so.
func (d *decoder) Conceal(pcm []int16, samples int) []int16 {
	if d.c == nil || samples <= 0 {
		return pcm
	}
	end := len(pcm) + samples*d.channels
	for len(pcm) < end {
		left := (end - len(pcm)) / d.channels
		var ok bool
		if pcm, ok = d.decode(pcm, nil, min((left+step-1)/step*step, longest), 0); !ok {
			pcm = append(pcm, make([]int16, end-len(pcm))...)
		}
	}
	return pcm[:end]
}

// Recover as in codec.AudioDecoder.
func (d *decoder) Recover(pcm []int16, next []byte, samples int) []int16 {
	if d.c == nil || samples <= 0 {
		return pcm
	}
	if len(next) == 0 {
		return d.Conceal(pcm, samples)
	}
	// The packet holds what was right before it, and no more than the longest packet does.
	if far := samples - longest; far > 0 {
		pcm, samples = d.Conceal(pcm, far), longest
	}
	if samples%step != 0 {
		return d.Conceal(pcm, samples)
	}
	out, ok := d.decode(pcm, next, samples, 1)
	if !ok || len(out) != len(pcm)+samples*d.channels {
		return d.Conceal(pcm, samples)
	}
	return out
}

// Close frees the decoder. It is safe twice.
func (d *decoder) Close() {
	if d.c != nil {
		C.opus_decoder_destroy(d.c)
	}
	d.c = nil
}

// encoder is a codec.AudioEncoder.
type encoder struct {
	c        *C.OpusEncoder
	channels int
	dtx      bool
}

// NewEncoder makes an encoder.
func NewEncoder(c codec.AudioConfig) (codec.AudioEncoder, error) {
	n := channels(c.Format)
	if n == 0 {
		return nil, codec.ErrUnsupported
	}
	bitrate := min(max(c.Bitrate, 6_000), 510_000) // what Opus has
	if c.Bitrate <= 0 {
		bitrate = usualRate * n
	}
	application, dtx := C.OPUS_APPLICATION_VOIP, 0
	if n == 2 {
		application = C.OPUS_APPLICATION_AUDIO
	}
	if c.DTX {
		dtx = 1
	}
	e := C.portico_opus_encoder_open(C.int(n), C.int(application), C.int(bitrate), complexity, C.int(dtx))
	if e == nil {
		return nil, errOpen
	}
	return &encoder{e, n, c.DTX}, nil
}

// Rate is 48,000.
func (e *encoder) Rate() int { return rate }

// Channels is 1 or 2.
func (e *encoder) Channels() int { return e.channels }

// Encode as in codec.AudioEncoder.
func (e *encoder) Encode(packet []byte, pcm []int16) ([]byte, error) {
	if e.c == nil {
		return packet, codec.ErrClosed
	}
	if len(pcm) != frame*e.channels {
		return packet, codec.ErrInput
	}
	packet = slices.Grow(packet, maxPacket)
	room := packet[len(packet) : len(packet)+maxPacket]
	n := int(C.opus_encode(e.c, (*C.opus_int16)(&pcm[0]), frame, (*C.uchar)(&room[0]), maxPacket))
	switch {
	case n < 0:
		return packet, codec.ErrInput
	case e.dtx && n <= 2: // need not be sent
		return packet, nil
	}
	return packet[:len(packet)+n], nil
}

// SetLoss as in codec.AudioEncoder: the more, the more of each packet repeats the one before it.
func (e *encoder) SetLoss(loss float64) {
	if e.c != nil && loss >= 0 {
		C.portico_opus_set_loss(e.c, C.int(min(loss, 1)*100+0.5))
	}
}

// Close frees the encoder. It is safe twice.
func (e *encoder) Close() {
	if e.c != nil {
		C.opus_encoder_destroy(e.c)
	}
	e.c = nil
}
