package library

import (
	"errors"
	"math"
	"testing"

	"portico/relay/codec"
	"portico/shared/conference"
)

// videoNames are all codecs of this package; which of them are built in depends on the build.
var videoNames = []string{"vp8", "vp9", "h264", "av1"}

// eachVideo runs a test once for every codec that is built in.
func eachVideo(t *testing.T, test func(t *testing.T, name string)) {
	for _, name := range videoNames {
		t.Run(name, func(t *testing.T) {
			needVideo(t, name)
			test(t, name)
		})
	}
}

// needVideo skips what is not built in.
func needVideo(t testing.TB, name string) {
	d, err := VideoDecoder(name)
	if errors.Is(err, codec.ErrUnsupported) {
		t.Skipf("%s is not built in: build with CGO_ENABLED=1 to test it", name)
	} else if err != nil {
		t.Fatal(err)
	}
	d.Close()
}

func openDecoder(t testing.TB, name string) codec.VideoDecoder {
	t.Helper()
	d, err := VideoDecoder(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func config(name string, width, height, bitrate int) codec.VideoConfig {
	return codec.VideoConfig{Format: conference.Format{Codec: name}, Width: width, Height: height, Framerate: 30, Bitrate: bitrate}
}

func openEncoder(t testing.TB, name string, width, height, bitrate int) codec.VideoEncoder {
	t.Helper()
	e, err := VideoEncoder(config(name, width, height, bitrate))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// encoded is a copy of what an encoder gave.
type encoded struct {
	frame []byte
	key   bool
}

// encode gives an encoder picture number i at 30 pictures a second.
func encode(t testing.TB, e codec.VideoEncoder, p *codec.Picture, i int, key bool) encoded {
	t.Helper()
	frame, isKey, err := e.Encode(p, int64(i)*3000, key)
	if err != nil {
		t.Fatalf("picture %d: %v", i, err)
	}
	return encoded{append([]byte(nil), frame...), isKey}
}

// sequence makes the frames of n moving pictures.
func sequence(t testing.TB, name string, width, height, n int) []encoded {
	t.Helper()
	e := openEncoder(t, name, width, height, 400_000)
	p := codec.NewPicture(width, height)
	var out []encoded
	for i := range n {
		moving(p, i)
		out = append(out, encode(t, e, p, i, false))
	}
	return out
}

// solid fills a picture with one colour.
func solid(p *codec.Picture, y, u, v byte) {
	for i := range p.Y {
		p.Y[i] = y
	}
	for i := range p.U {
		p.U[i], p.V[i] = u, v
	}
}

// gradient is smooth in all planes.
func gradient(p *codec.Picture) {
	for y := range p.Height {
		for x := range p.Width {
			p.Y[y*p.StrideY+x] = byte(16 + 200*x/p.Width)
		}
	}
	for y := range (p.Height + 1) / 2 {
		for x := range (p.Width + 1) / 2 {
			p.U[y*p.StrideUV+x] = byte(40 + 300*y/p.Height)
			p.V[y*p.StrideUV+x] = byte(200 - 200*x/p.Width)
		}
	}
}

// moving is a gradient with texture that moves and a bright square that goes about: as much to encode as a lively camera.
func moving(p *codec.Picture, i int) {
	gradient(p)
	for y := range p.Height {
		for x := range p.Width {
			h := uint32(x+2*i)*0x9E3779B1 ^ uint32(y)*0x85EBCA77
			h ^= h >> 15
			h *= 0x2C1B3C6D
			p.Y[y*p.StrideY+x] += byte(h >> 27)
		}
	}
	side := p.Height / 4
	left, top := (5*i)%(p.Width-side), (3*i)%(p.Height-side)
	for y := top; y < top+side; y++ {
		for x := left; x < left+side; x++ {
			p.Y[y*p.StrideY+x] = 235
		}
	}
}

// movie is some moving pictures to be shown forth and back, which costs less than to draw each of them.
type movie []*codec.Picture

func newMovie(width, height int) (m movie) {
	for i := range 15 {
		p := codec.NewPicture(width, height)
		moving(p, i)
		m = append(m, p)
	}
	return m
}

func (m movie) at(i int) *codec.Picture {
	last := len(m) - 1
	if i %= 2 * last; i > last {
		i = 2*last - i
	}
	return m[i]
}

// psnr compares two pictures of one size over all planes, in dB.
func psnr(t testing.TB, a, b *codec.Picture) float64 {
	t.Helper()
	if a.Width != b.Width || a.Height != b.Height {
		t.Fatalf("%dx%d came out as %dx%d", a.Width, a.Height, b.Width, b.Height)
	}
	if !b.Valid() {
		t.Fatal("the planes are too short")
	}
	sum, n := 0.0, 0
	plane := func(a, b []byte, strideA, strideB, w, h int) {
		for y := range h {
			for x := range w {
				d := float64(a[y*strideA+x]) - float64(b[y*strideB+x])
				sum += d * d
			}
		}
		n += w * h
	}
	w, h := (a.Width+1)/2, (a.Height+1)/2
	plane(a.Y, b.Y, a.StrideY, b.StrideY, a.Width, a.Height)
	plane(a.U, b.U, a.StrideUV, b.StrideUV, w, h)
	plane(a.V, b.V, a.StrideUV, b.StrideUV, w, h)
	if sum == 0 {
		return 99
	}
	return 10 * math.Log10(255*255*float64(n)/sum)
}
