// Package g722 decodes and encodes G.722 at 64 kbit/s: 16,000 samples a second, two in each byte (ITU-T G.722; RFC 3551, where its
// clock counts 8,000 by an old mistake).
//
// A filter parts the sound into two bands. In each, a predictor that both ends adapt alike guesses the next sample, and what it
// missed by is sent: 6 bits for the lower band in the lower bits of a byte, 2 for the higher one. Names in capitals are those of the
// blocks in the recommendation.
package g722

import (
	"portico/relay/codec"
	"portico/relay/codec/plc"
	"portico/shared/conference"
)

const (
	rate    = 16_000
	frame   = rate / 50
	longest = rate / 5 / 2 // bytes of a packet: 200 ms
)

func ours(f conference.Format) bool {
	return f.Codec == "g722" && (f.SampleRate == 0 || f.SampleRate == rate || f.SampleRate == rate/2) && f.ChannelNum >= 0 && f.ChannelNum <= 1
}

type decoder struct {
	low, high band
	filter    filter
	lost      *plc.Concealer
}

// NewDecoder makes a decoder of g722, one channel.
func NewDecoder(f conference.Format) (codec.AudioDecoder, error) {
	if !ours(f) {
		return nil, codec.ErrUnsupported
	}
	return &decoder{low: newBand(32), high: newBand(8), lost: plc.New(rate)}, nil
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
		low := clip(d.low.s+d.low.scale*sixBits[b&0x3f]>>15, 16384)
		d.low.lower(int(b & 0x3f))
		high := clip(d.high.s+d.high.scale*twoBits[b>>6]>>15, 16384)
		d.high.higher(int(b >> 6))
		first, second := d.filter.next(low+high, low-high)
		pcm = append(pcm, int16(saturate(first>>11)), int16(saturate(second>>11)))
	}
	d.lost.Heard(pcm[start:])
	return pcm, nil
}

// Conceal as in codec.AudioDecoder.
func (d *decoder) Conceal(pcm []int16, samples int) []int16 { return d.lost.Make(pcm, samples) }

// Recover conceals: a packet holds nothing of the one before it.
func (d *decoder) Recover(pcm []int16, _ []byte, samples int) []int16 { return d.Conceal(pcm, samples) }

func (d *decoder) Close() {}

type encoder struct {
	low, high band
	filter    filter
}

// NewEncoder makes an encoder of g722, one channel.
func NewEncoder(c codec.AudioConfig) (codec.AudioEncoder, error) {
	if !ours(c.Format) {
		return nil, codec.ErrUnsupported
	}
	return &encoder{low: newBand(32), high: newBand(8)}, nil
}

func (e *encoder) Rate() int       { return rate }
func (e *encoder) Channels() int   { return 1 }
func (e *encoder) SetLoss(float64) {}
func (e *encoder) Close()          {}

// Encode as in codec.AudioEncoder.
func (e *encoder) Encode(packet []byte, pcm []int16) ([]byte, error) {
	if len(pcm) != frame {
		return packet, codec.ErrInput
	}
	for i := 0; i < len(pcm); i += 2 {
		odd, even := e.filter.next(int(pcm[i]), int(pcm[i+1]))
		low := e.low.chooseLow((odd + even) >> 14)
		e.low.lower(low)
		high := e.high.chooseHigh((odd - even) >> 14)
		e.high.higher(high)
		packet = append(packet, byte(high<<6|low))
	}
	return packet, nil
}
