// Package g711 decodes and encodes G.711 in its two laws, pcmu and pcma: one byte a sample, 8,000 samples a second (RFC 3551).
package g711

import (
	"math/bits"

	"portico/relay/codec"
	"portico/relay/codec/plc"
	"portico/shared/conference"
)

const (
	rate    = 8000
	frame   = rate / 50
	longest = rate / 5 // bytes of a packet; 200 ms is more than a datagram of the usual size holds
)

// law is one of the two: what each byte means, and what byte is nearest to a sample.
type law struct {
	linear   [256]int16
	compress func(int16) byte
}

var laws = map[string]*law{"pcmu": newLaw(expandMu, compressMu), "pcma": newLaw(expandA, compressA)}

func newLaw(expand func(byte) int16, compress func(int16) byte) *law {
	l := &law{compress: compress}
	for i := range l.linear {
		l.linear[i] = expand(byte(i))
	}
	return l
}

// Both laws have a sign, three bits of exponent and four of mantissa, some of them inverted.

const bias = 0x84 // of the mu law, by which its smallest exponent becomes like the others

func expandMu(b byte) int16 {
	b = ^b
	v := (int16(b&15)<<3+bias)<<(b>>4&7) - bias
	if b&0x80 != 0 {
		return -v
	}
	return v
}

func compressMu(s int16) byte {
	v, sign := int(s), byte(0)
	if v < 0 {
		v, sign = -v, 0x80
	}
	v = min(v, 0x7fff-bias) + bias
	exponent := bits.Len(uint(v)) - 8
	return ^(sign | byte(exponent)<<4 | byte(v>>(exponent+3))&15)
}

func expandA(b byte) int16 {
	b ^= 0x55
	v, exponent := int16(b&15)<<4+8, b>>4&7
	if exponent > 0 {
		v = (v + 0x100) << (exponent - 1)
	}
	if b&0x80 == 0 {
		return -v
	}
	return v
}

func compressA(s int16) byte {
	v, sign := int(s)>>3, byte(0x80)
	if v < 0 {
		v, sign = ^v, 0
	}
	exponent := max(0, bits.Len(uint(v))-5)
	return 0x55 ^ (sign | byte(exponent)<<4 | byte(v>>max(1, exponent))&15)
}

// find gives the law of a format, nil when it is not ours.
func find(f conference.Format) *law {
	if f.SampleRate != 0 && f.SampleRate != rate || f.ChannelNum != 0 && f.ChannelNum != 1 {
		return nil
	}
	return laws[f.Codec]
}

type decoder struct {
	law  *law
	lost *plc.Concealer
}

// NewDecoder makes a decoder of pcmu or pcma.
func NewDecoder(f conference.Format) (codec.AudioDecoder, error) {
	l := find(f)
	if l == nil {
		return nil, codec.ErrUnsupported
	}
	return &decoder{l, plc.New(rate)}, nil
}

func (d *decoder) Rate() int     { return rate }
func (d *decoder) Channels() int { return 1 }

// Decode as in codec.AudioDecoder.
func (d *decoder) Decode(pcm []int16, packet []byte) ([]int16, error) {
	if len(packet) == 0 || len(packet) > longest {
		return pcm, codec.ErrCorrupt
	}
	start := len(pcm)
	for _, b := range packet {
		pcm = append(pcm, d.law.linear[b])
	}
	d.lost.Heard(pcm[start:])
	return pcm, nil
}

// Conceal as in codec.AudioDecoder.
func (d *decoder) Conceal(pcm []int16, samples int) []int16 { return d.lost.Make(pcm, samples) }

// Recover conceals: a packet holds nothing of the one before it.
func (d *decoder) Recover(pcm []int16, _ []byte, samples int) []int16 { return d.Conceal(pcm, samples) }

func (d *decoder) Close() {}

type encoder struct{ law *law }

// NewEncoder makes an encoder of pcmu or pcma.
func NewEncoder(c codec.AudioConfig) (codec.AudioEncoder, error) {
	l := find(c.Format)
	if l == nil {
		return nil, codec.ErrUnsupported
	}
	return encoder{l}, nil
}

func (encoder) Rate() int       { return rate }
func (encoder) Channels() int   { return 1 }
func (encoder) SetLoss(float64) {}
func (encoder) Close()          {}

// Encode as in codec.AudioEncoder.
func (e encoder) Encode(packet []byte, pcm []int16) ([]byte, error) {
	if len(pcm) != frame {
		return packet, codec.ErrInput
	}
	for _, s := range pcm {
		packet = append(packet, e.law.compress(s))
	}
	return packet, nil
}
