// Package codec says what the mixers need of codecs, and nothing of how they do it: its subpackages wrap the libraries.
//
// It stands between the depacketisers and the mixers, and between these and the packetisers. A decoder or an encoder belongs to one
// goroutine at a time and does its work on it: the libraries run without threads of their own, so that the pipeline alone decides
// what runs beside what. Close frees what the garbage collector does not see.
package codec

import (
	"errors"

	"portico/shared/conference"
)

// Errors of decoders and encoders.
var (
	ErrUnsupported = errors.New("codec: not built into this relay")
	ErrCorrupt     = errors.New("codec: frame cannot be decoded") // ask for a key frame
	ErrTooLarge    = errors.New("codec: picture larger than allowed")
	ErrInput       = errors.New("codec: not what the encoder was made for")
	ErrClosed      = errors.New("codec: closed")
)

// MaxSide is the longest side of a picture, in pixels: what claims to be larger is refused before memory is taken for it.
const MaxSide = 4096

// MaxArea is the most pixels of a picture: level 5.1 of H.264, which holds 3840 x 2160 either way up.
const MaxArea = 4096 * 2304

// CheckSize gives ErrTooLarge for what exceeds MaxSide or MaxArea, and ErrCorrupt for what has no pixel.
func CheckSize(width, height int) error {
	switch {
	case width <= 0 || height <= 0:
		return ErrCorrupt
	case width > MaxSide || height > MaxSide || width*height > MaxArea:
		return ErrTooLarge
	}
	return nil
}

// Picture is an I420 picture: planes of 8 bits, the two of colour with half the width and height, rounded up.
type Picture struct {
	Width, Height     int
	Y, U, V           []byte
	StrideY, StrideUV int // bytes from row to row
}

// NewPicture makes a picture of its own memory, which is not cleared to any colour but zero.
func NewPicture(width, height int) *Picture {
	cw, ch := (width+1)/2, (height+1)/2
	buf := make([]byte, width*height+2*cw*ch)
	y, u := width*height, cw*ch
	return &Picture{
		Width: width, Height: height, StrideY: width, StrideUV: cw,
		Y: buf[:y:y], U: buf[y : y+u : y+u], V: buf[y+u:],
	}
}

// Valid tells whether the planes hold what the sizes promise: C code that reads them does not ask again.
func (p *Picture) Valid() bool {
	if p == nil || p.Width <= 0 || p.Height <= 0 {
		return false
	}
	cw, ch := (p.Width+1)/2, (p.Height+1)/2
	return p.StrideY >= p.Width && p.StrideUV >= cw && len(p.Y) >= p.StrideY*(p.Height-1)+p.Width &&
		len(p.U) >= p.StrideUV*(ch-1)+cw && len(p.V) >= p.StrideUV*(ch-1)+cw
}

// VideoDecoder turns frames into pictures.
type VideoDecoder interface {
	// Decode takes one frame: all that was sent with one timestamp (in H.264 with start codes, Annex B; in AV1 OBUs with sizes, a
	// temporal unit without its delimiter). It gives the newest picture, which is the decoder's memory and valid until the next
	// call, or nil when there is none to show. The frame is not kept. ErrCorrupt: nothing decodes before the next key frame.
	Decode(frame []byte) (*Picture, error)
	Close()
}

// VideoConfig is what an encoder is made for.
type VideoConfig struct {
	Format           conference.Format // codec, and for h264 the profile
	Width, Height    int               // pixels, even
	Framerate        float64           // pictures a second
	Bitrate          int               // bit/s
	KeyFrameInterval int               // frames; 0: on demand only
	Effort           int               // 0: as fast as is reasonable; 1: overloaded, faster at any price
}

// Check gives ErrTooLarge for sizes nothing here makes, and ErrInput for what makes no sense.
func (c VideoConfig) Check() error {
	if c.Width < 16 || c.Height < 16 || c.Width%2 != 0 || c.Height%2 != 0 || !(c.Framerate > 0 && c.Framerate <= 120) || c.Bitrate <= 0 ||
		c.KeyFrameInterval < 0 {
		return ErrInput
	}
	return CheckSize(c.Width, c.Height)
}

// KeyFrames says for an encoder when a key frame is due: one that was asked for and could not be made yet, or every Interval frames.
// The zero value makes them on demand only.
type KeyFrames struct {
	Interval int
	since    int // frames
	wanted   bool
}

// Due tells whether the next frame is to be a key frame; asked that the caller wants one.
func (k *KeyFrames) Due(asked bool) bool {
	k.wanted = k.wanted || asked || k.Interval > 0 && k.since >= k.Interval
	return k.wanted
}

// Made notes what has become of a picture.
func (k *KeyFrames) Made(isKey bool) {
	k.since++
	if isKey {
		k.since, k.wanted = 1, false
	}
}

// VideoEncoder turns pictures into frames.
type VideoEncoder interface {
	// Encode takes a picture of the configured size and the time at which it is shown, in ticks of 90 kHz, which rise. key asks for
	// a key frame. The frame, of the form that VideoDecoder takes, is valid until the next call; nil: the encoder has left this
	// picture out to keep its rate.
	Encode(p *Picture, ticks int64, key bool) (frame []byte, isKey bool, err error)
	// SetRate changes the bit rate, in bit/s, from the next picture on.
	SetRate(bitrate int) error
	Close()
}

// Ticks makes times that the libraries take of those that Encode is given: they begin at 0, always rise, and never by more than 10 s.
type Ticks struct {
	last, out int64
	begun     bool
}

// Next takes the time of the next picture, in ticks of 90 kHz.
func (t *Ticks) Next(ticks int64) int64 {
	if t.begun {
		t.out += max(1, min(ticks-t.last, 10*90_000))
	}
	t.begun, t.last = true, ticks
	return t.out
}

// AudioDecoder turns packets into sound, channels taking turns.
type AudioDecoder interface {
	Rate() int     // samples a second in each channel
	Channels() int // 1 or 2
	// Decode appends the sound of one packet to pcm.
	Decode(pcm []int16, packet []byte) ([]int16, error)
	// Conceal appends made-up sound, of that many samples in each channel, for a packet that did not come.
	Conceal(pcm []int16, samples int) []int16
	// Recover appends what next, the packet behind a lost one, holds of it (FEC), made up if it holds nothing.
	Recover(pcm []int16, next []byte, samples int) []int16
	Close()
}

// AudioConfig is what an encoder is made for.
type AudioConfig struct {
	Format  conference.Format
	Bitrate int  // bit/s, 0: the codec's usual
	DTX     bool // send nothing in pauses, where the codec can; a mix is better off without
}

// AudioEncoder turns sound into packets. It takes and makes 20 ms at a time.
type AudioEncoder interface {
	Rate() int
	Channels() int
	// Encode appends the packet of 20 ms of sound at Rate and Channels, channels taking turns. Nothing appended: a pause that needs
	// no packet.
	Encode(packet []byte, pcm []int16) ([]byte, error)
	// SetLoss says how much is lost on the way, 0 to 1, where the codec can do something about it.
	SetLoss(loss float64)
	Close()
}
