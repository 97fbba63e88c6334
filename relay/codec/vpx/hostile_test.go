//go:build cgo

package vpx

import (
	"errors"
	"testing"

	"portico/relay/codec"
)

// What is too large is refused by whole decoders too, and what is behind a frame is not taken for another one.
func TestDecodersRefuseSizes(t *testing.T) {
	for name, c := range map[string]struct {
		open  func() (codec.VideoDecoder, error)
		frame []byte
	}{
		"vp8":           {NewVP8Decoder, keyVP8(16383, 16383, 20, 30)},
		"vp9":           {NewVP9Decoder, keyVP9(65536, 65536)},
		"vp9 in layers": {NewVP9Decoder, joined(keyVP9(64, 48), keyVP9(65536, 65536))},
	} {
		d, err := c.open()
		if err != nil {
			t.Fatal(err)
		}
		if p, err := d.Decode(c.frame); p != nil || !errors.Is(err, codec.ErrTooLarge) {
			t.Errorf("%s: %v, %v", name, p, err)
		}
		d.Close()
	}
}

func TestBytesBehindAFrameAreNoFrame(t *testing.T) {
	e, err := NewVP9Encoder(codec.VideoConfig{Width: 64, Height: 48, Framerate: 30, Bitrate: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	frame, _, err := e.Encode(codec.NewPicture(64, 48), 0, true)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewVP9Decoder()
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	p, err := d.Decode(append(append([]byte(nil), frame...), keyVP9(8000, 8000)...))
	if p != nil && (p.Width != 64 || p.Height != 48) {
		t.Errorf("%dx%d, %v", p.Width, p.Height, err)
	}
}
