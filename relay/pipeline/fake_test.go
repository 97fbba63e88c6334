package pipeline

import (
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"portico/relay/codec"
	"portico/relay/payload"
	"portico/shared/conference"
)

// fakes are codecs that lose nothing: pictures as they are, in frames that look like VP8's from outside, and sound of 16 kHz and one
// channel in packets that look like Opus's.
type fakes struct {
	built
	open      atomic.Int64  // codecs that were not closed
	encodings atomic.Int64  // packets of sound that were encoded
	decoded   atomic.Int64  // pictures
	corrupt   atomic.Int64  // frames that could not be decoded
	slow      time.Duration // what encoding a picture takes
	strict    bool          // only what is fake is there

	mu   sync.Mutex
	made []codec.VideoConfig
	rate map[int]int // bit rates set
}

func (f *fakes) VideoDecoder(name string) (codec.VideoDecoder, error) {
	if name != "vp8" {
		return nil, codec.ErrUnsupported
	}
	f.open.Add(1)
	return &rawDecoder{f: f}, nil
}

func (f *fakes) VideoEncoder(c codec.VideoConfig) (codec.VideoEncoder, error) {
	if c.Format.Codec != "vp8" {
		return nil, codec.ErrUnsupported
	}
	f.mu.Lock()
	f.made = append(f.made, c)
	f.mu.Unlock()
	f.open.Add(1)
	return &rawEncoder{f: f, config: c}, nil
}

func (f *fakes) AudioDecoder(c conference.Format) (codec.AudioDecoder, error) {
	if c.Codec != "opus" {
		return f.built.AudioDecoder(c)
	}
	f.open.Add(1)
	return &rawSound{f: f}, nil
}

func (f *fakes) AudioEncoder(c codec.AudioConfig) (codec.AudioEncoder, error) {
	if c.Format.Codec != "opus" {
		return f.built.AudioEncoder(c)
	}
	f.open.Add(1)
	return &rawSound{f: f}, nil
}

// rawEncoder writes a frame tag as VP8's (RFC 6386 section 9.1), the frame's number, the size and the planes.
type rawEncoder struct {
	f      *fakes
	config codec.VideoConfig
	number uint32
	frame  []byte
}

func (e *rawEncoder) Encode(p *codec.Picture, _ int64, key bool) ([]byte, bool, error) {
	if p.Width != e.config.Width || p.Height != e.config.Height {
		return nil, false, errors.New("another size")
	}
	if e.f.slow > 0 {
		time.Sleep(e.f.slow)
	}
	if k := e.config.KeyFrameInterval; k > 0 && e.number%uint32(k) == 0 {
		key = true
	}
	key = key || e.number == 0
	b := append(e.frame[:0], 0x10, 0, 0)
	if !key {
		b[0] |= 1
	}
	b = append(b, 0x9d, 0x01, 0x2a)
	b = binary.LittleEndian.AppendUint16(b, uint16(p.Width))
	b = binary.LittleEndian.AppendUint16(b, uint16(p.Height))
	b = binary.LittleEndian.AppendUint32(b, e.number)
	e.number++
	for y := range p.Height {
		b = append(b, p.Y[y*p.StrideY:][:p.Width]...)
	}
	for _, plane := range [][]byte{p.U, p.V} {
		for y := range (p.Height + 1) / 2 {
			b = append(b, plane[y*p.StrideUV:][:(p.Width+1)/2]...)
		}
	}
	e.frame = b
	return b, key, nil
}

func (e *rawEncoder) SetRate(bitrate int) error {
	e.f.mu.Lock()
	defer e.f.mu.Unlock()
	if e.f.rate == nil {
		e.f.rate = make(map[int]int)
	}
	e.f.rate[e.config.Width] = bitrate
	return nil
}

func (e *rawEncoder) Close() { e.f.open.Add(-1) }

// rawDecoder reads it, and is as strict as a decoder can be: a frame that is not the next one is corrupt.
type rawDecoder struct {
	f       *fakes
	next    uint32
	picture *codec.Picture
}

const rawHeader = 14

func (d *rawDecoder) Decode(b []byte) (*codec.Picture, error) {
	if len(b) < rawHeader {
		return nil, codec.ErrCorrupt
	}
	w, h := int(binary.LittleEndian.Uint16(b[6:])), int(binary.LittleEndian.Uint16(b[8:]))
	if w > codec.MaxSide || h > codec.MaxSide {
		return nil, codec.ErrTooLarge
	}
	number := binary.LittleEndian.Uint32(b[10:])
	if key := b[0]&1 == 0; !key && number != d.next || len(b) != rawHeader+w*h+2*((w+1)/2)*((h+1)/2) {
		d.f.corrupt.Add(1)
		return nil, codec.ErrCorrupt
	}
	d.next = number + 1
	if d.picture == nil || d.picture.Width != w || d.picture.Height != h {
		d.picture = codec.NewPicture(w, h)
	}
	b = b[rawHeader:]
	for _, plane := range [][]byte{d.picture.Y, d.picture.U, d.picture.V} {
		b = b[copy(plane, b):]
	}
	d.f.decoded.Add(1)
	return d.picture, nil
}

// Close spoils the picture, whose memory is gone with a decoder.
func (d *rawDecoder) Close() {
	d.f.open.Add(-1)
	if d.picture != nil {
		clear(d.picture.Y)
	}
}

// rawSound is both: a byte as Opus begins a packet of 20 ms of voice, and the samples.
type rawSound struct{ f *fakes }

const (
	rawRate = 16_000
	rawTOC  = 0x08
)

func (s *rawSound) Rate() int     { return rawRate }
func (s *rawSound) Channels() int { return 1 }

func (s *rawSound) Decode(pcm []int16, packet []byte) ([]int16, error) {
	if packet[0] != rawTOC || len(packet)%2 == 0 {
		return pcm, codec.ErrCorrupt
	}
	for b := packet[1:]; len(b) > 0; b = b[2:] {
		pcm = append(pcm, int16(binary.LittleEndian.Uint16(b)))
	}
	return pcm, nil
}

func (s *rawSound) Conceal(pcm []int16, samples int) []int16 {
	return append(pcm, make([]int16, samples)...)
}

func (s *rawSound) Recover(pcm []int16, _ []byte, samples int) []int16 {
	return s.Conceal(pcm, samples)
}

func (s *rawSound) Encode(packet []byte, pcm []int16) ([]byte, error) {
	s.f.encodings.Add(1)
	packet = append(packet, rawTOC)
	for _, v := range pcm {
		packet = binary.LittleEndian.AppendUint16(packet, uint16(v))
	}
	return packet, nil
}

func (s *rawSound) SetLoss(float64) {}
func (s *rawSound) Close()          { s.f.open.Add(-1) }

var _ depacketiser = (*payload.Depacketiser)(nil)
