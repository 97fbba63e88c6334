package library

import (
	"errors"
	"math/rand/v2"
	"testing"

	"portico/relay/codec"
)

func TestStartWithoutKeyFrame(t *testing.T) {
	eachVideo(t, func(t *testing.T, name string) {
		frames := sequence(t, name, 160, 96, 6)
		d := openDecoder(t, name)
		for i, f := range frames[1:] {
			if len(f.frame) == 0 {
				continue
			}
			if got, err := d.Decode(f.frame); got != nil || !errors.Is(err, codec.ErrCorrupt) {
				t.Errorf("frame %d: %v, %v", i+1, got, err)
			}
		}
		if got, err := d.Decode(frames[0].frame); err != nil || got == nil {
			t.Errorf("the key frame: %v", err)
		}
	})
}

// After a frame that does not decode nothing does until a key frame.
func TestErrorsLastUntilAKeyFrame(t *testing.T) {
	eachVideo(t, func(t *testing.T, name string) {
		frames := sequence(t, name, 160, 96, 4)
		d := openDecoder(t, name)
		if _, err := d.Decode(frames[0].frame); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Decode(nil); !errors.Is(err, codec.ErrCorrupt) {
			t.Errorf("nothing: %v", err)
		}
		if got, err := d.Decode(frames[1].frame); got != nil || !errors.Is(err, codec.ErrCorrupt) {
			t.Errorf("after it: %v, %v", got, err)
		}
		if got, err := d.Decode(frames[0].frame); err != nil || got == nil {
			t.Errorf("the key frame: %v", err)
		}
	})
}

func TestTruncatedFrames(t *testing.T) {
	eachVideo(t, func(t *testing.T, name string) {
		frames := sequence(t, name, 160, 96, 3)
		good := codec.NewPicture(160, 96)
		moving(good, 0)
		d := openDecoder(t, name)
		told := 0
		for n := range frames[0].frame {
			if n > 64 && n%17 != 0 {
				continue // headers byte by byte, the rest here and there
			}
			if _, err := d.Decode(frames[0].frame[:n]); err != nil {
				told++
			}
			got, err := d.Decode(frames[0].frame)
			if err != nil || psnr(t, good, got) < 20 {
				t.Fatalf("the key frame after one of %d bytes: %v", n, err)
			}
			if n < len(frames[1].frame) {
				_, _ = d.Decode(frames[1].frame[:n])
			}
		}
		if told < 10 {
			t.Errorf("only %d truncated frames were noticed", told)
		}
	})
}

func TestFlippedBits(t *testing.T) {
	eachVideo(t, func(t *testing.T, name string) {
		frames := sequence(t, name, 160, 96, 5)
		r := rand.New(rand.NewPCG(1, 2))
		d := openDecoder(t, name)
		for range 300 {
			for _, f := range frames {
				if len(f.frame) == 0 {
					continue
				}
				broken := append([]byte(nil), f.frame...)
				for range 1 + r.IntN(4) {
					broken[r.IntN(len(broken))] ^= 1 << r.IntN(8)
				}
				got, err := d.Decode(broken)
				if got != nil && (err != nil || !got.Valid() || codec.CheckSize(got.Width, got.Height) != nil) {
					t.Fatalf("%+v, %v", got, err)
				}
			}
		}
		if got, err := d.Decode(frames[0].frame); err != nil || got == nil || got.Width != 160 {
			t.Fatalf("the key frame after all that: %v", err)
		}
	})
}

func TestDecodersClose(t *testing.T) {
	eachVideo(t, func(t *testing.T, name string) {
		frames := sequence(t, name, 160, 96, 1)
		d, err := VideoDecoder(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Decode(frames[0].frame); err != nil {
			t.Fatal(err)
		}
		d.Close()
		d.Close()
		if _, err := d.Decode(frames[0].frame); !errors.Is(err, codec.ErrClosed) {
			t.Error(err)
		}
	})
}

// Inputs of the fuzz targets are frames, each behind its length in two bytes.

func packed(frames []encoded) (out []byte) {
	for _, f := range frames {
		out = append(append(out, byte(len(f.frame)>>8), byte(len(f.frame))), f.frame...)
	}
	return out
}

func fuzzVideo(f *testing.F, name string) {
	needVideo(f, name)
	frames := sequence(f, name, 64, 48, 4)
	f.Add(packed(frames))
	f.Add(packed(frames[1:]))
	f.Add(packed(append(sequence(f, name, 48, 32, 2), frames...)))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := VideoDecoder(name)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		for range 16 {
			if len(data) < 2 {
				return
			}
			n := min(int(data[0])<<8|int(data[1]), len(data)-2)
			p, err := d.Decode(data[2 : 2+n])
			data = data[2+n:]
			if p == nil {
				continue
			}
			if err != nil || !p.Valid() || codec.CheckSize(p.Width, p.Height) != nil {
				t.Fatalf("%dx%d, %v", p.Width, p.Height, err)
			}
			// The corners are memory that may be read.
			_ = p.Y[len(p.Y)-1] + p.U[len(p.U)-1] + p.V[len(p.V)-1] + p.Y[0]
		}
	})
}

func FuzzDecodeVP8(f *testing.F)  { fuzzVideo(f, "vp8") }
func FuzzDecodeVP9(f *testing.F)  { fuzzVideo(f, "vp9") }
func FuzzDecodeH264(f *testing.F) { fuzzVideo(f, "h264") }
func FuzzDecodeAV1(f *testing.F)  { fuzzVideo(f, "av1") }
