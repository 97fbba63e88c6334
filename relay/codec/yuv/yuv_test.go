package yuv

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"portico/relay/codec"
	"portico/shared/layout"
)

// drawing is smooth in places and has edges in others.
func drawing(w, h int) *codec.Picture {
	p := codec.NewPicture(w, h)
	for y := range h {
		for x := range w {
			v := 40 + 150*x/w + 20*y/h
			if (x*8/w+y*8/h)%2 == 0 {
				v += 30
			}
			p.Y[y*p.StrideY+x] = byte(v)
		}
	}
	for y := range (h + 1) / 2 {
		for x := range (w + 1) / 2 {
			p.U[y*p.StrideUV+x] = byte(30 + 400*y/h)
			p.V[y*p.StrideUV+x] = byte(220 - 300*x/w)
		}
	}
	return p
}

func psnr(a, b *codec.Picture) float64 {
	sum, n := 0.0, 0
	for _, pair := range [][2][]byte{{a.Y, b.Y}, {a.U, b.U}, {a.V, b.V}} {
		for i := range pair[0] {
			d := float64(pair[0][i]) - float64(pair[1][i])
			sum += d * d
		}
		n += len(pair[0])
	}
	return 10 * math.Log10(255*255*float64(n)/(sum+1e-9))
}

// inGo is Scale without C.
func inGo(dst *codec.Picture, dstRect layout.Rect, src *codec.Picture, srcRect layout.Rect) {
	to, _ := planes(dst, dstRect)
	from, _ := planes(src, srcRect)
	scaleInGo(to, from)
}

// Both ways of scaling are near what the drawing is at the new size, and near to each other.
func TestScale(t *testing.T) {
	for _, c := range []struct{ w, h, toW, toH int }{
		{640, 360, 320, 180}, {640, 360, 160, 90}, {640, 360, 426, 240}, {1280, 720, 426, 240}, {1280, 720, 214, 120}, {320, 180, 640, 360},
		{320, 180, 426, 240}, {180, 180, 320, 320}, {640, 480, 1280, 480}, {640, 362, 640, 180}, {321, 181, 160, 90}, {16, 16, 2, 2},
		{2, 2, 64, 64}, {1, 1, 64, 64}, {4096, 16, 64, 16},
	} {
		t.Run(fmt.Sprintf("%dx%d to %dx%d", c.w, c.h, c.toW, c.toH), func(t *testing.T) {
			src, want := drawing(c.w, c.h), drawing(c.toW, c.toH)
			one, two := codec.NewPicture(c.toW, c.toH), codec.NewPicture(c.toW, c.toH)
			Scale(one, Whole(one), src, Whole(src))
			inGo(two, Whole(two), src, Whole(src))
			near := 30.0
			if c.w < 16 {
				near = 25 // libyuv draws the border of what it enlarges a little otherwise
			}
			each := psnr(one, two)
			if each < near {
				t.Errorf("the two ways are %.1f dB apart", each)
			}
			if c.w < 64 || c.toW < 64 || c.w > 2000 {
				return // too little of the drawing is left
			}
			if a, b := psnr(one, want), psnr(two, want); a < 27 || b < 27 {
				t.Errorf("%.1f and %.1f dB from the drawing", a, b)
			}
		})
	}
}

// One colour stays that colour, to the last bit.
func TestScaleOfOneColour(t *testing.T) {
	for _, way := range []func(*codec.Picture, layout.Rect, *codec.Picture, layout.Rect){Scale, inGo} {
		for _, size := range [][2]int{{64, 64}, {100, 36}, {334, 250}} {
			src, dst := codec.NewPicture(160, 120), codec.NewPicture(size[0], size[1])
			Fill(src, Whole(src), 255, 0, 77)
			way(dst, Whole(dst), src, Whole(src))
			for i, plane := range [][]byte{dst.Y, dst.U, dst.V} {
				want := []byte{255, 0, 77}[i]
				for _, v := range plane {
					if v != want {
						t.Fatalf("%v, plane %d: %d", size, i, v)
					}
				}
			}
		}
	}
}

// Only the rectangle is drawn, and only from the rectangle is read.
func TestScaleParts(t *testing.T) {
	src, dst := codec.NewPicture(200, 100), codec.NewPicture(120, 80)
	Fill(src, Whole(src), 10, 20, 30)
	part := layout.Rect{X: 40, Y: 20, W: 60, H: 50}
	Fill(src, part, 200, 210, 220)
	Fill(dst, Whole(dst), 1, 2, 3)
	place := layout.Rect{X: 10, Y: 6, W: 30, H: 24}
	Scale(dst, place, src, part)
	check := func(pix []byte, stride, div int, in, out byte) {
		t.Helper()
		for y := range dst.Height / div {
			for x := range dst.Width / div {
				want := out
				if x >= place.X/div && x < (place.X+place.W)/div && y >= place.Y/div && y < (place.Y+place.H)/div {
					want = in
				}
				if got := pix[y*stride+x]; got != want {
					t.Fatalf("at %d, %d: %d, expected %d", x, y, got, want)
				}
			}
		}
	}
	check(dst.Y, dst.StrideY, 1, 200, 1)
	check(dst.U, dst.StrideUV, 2, 210, 2)
	check(dst.V, dst.StrideUV, 2, 220, 3)
}

func TestCopyCutsOff(t *testing.T) {
	src, dst := drawing(64, 48), codec.NewPicture(100, 100)
	Copy(dst, layout.Rect{X: 20, Y: 30, W: 40, H: 100 - 30}, src)
	for y := range 48 {
		if !bytes.Equal(dst.Y[(30+y)*100+20:][:40], src.Y[y*64:][:40]) {
			t.Fatalf("line %d differs", y)
		}
	}
	for y := range 24 {
		if !bytes.Equal(dst.V[(15+y)*50+10:][:20], src.V[y*32:][:20]) {
			t.Fatalf("line %d of colour differs", y)
		}
	}
	if dst.Y[30*100+60] != 0 || dst.Y[78*100+20] != 0 || dst.Y[29*100+20] != 0 {
		t.Error("drawn beyond the rectangle")
	}
	same := codec.NewPicture(64, 48)
	Scale(same, Whole(same), src, Whole(src))
	if !bytes.Equal(same.Y, src.Y) || !bytes.Equal(same.U, src.U) || !bytes.Equal(same.V, src.V) {
		t.Error("the same size is not the same picture")
	}
}

// What does not lie within a picture draws nothing, and does not panic.
func TestMistakesDrawNothing(t *testing.T) {
	src := drawing(64, 48)
	short := codec.NewPicture(64, 48)
	short.U = short.U[:5]
	for _, r := range []layout.Rect{{}, {X: -2, Y: 0, W: 10, H: 10}, {X: 0, Y: 0, W: 66, H: 10}, {X: 60, Y: 0, W: 6, H: 6},
		{X: 0, Y: 47, W: 2, H: 2}, {X: 1 << 62, Y: 0, W: 1 << 62, H: 2}, {X: 2, Y: 2, W: -4, H: 4}} {
		dst := codec.NewPicture(64, 48)
		Scale(dst, r, src, layout.Rect{W: 20, H: 20})
		Scale(dst, layout.Rect{W: 20, H: 20}, src, r)
		Fill(dst, r, 1, 2, 3)
		Scale(dst, layout.Rect{W: 20, H: 20}, short, Whole(short))
		Scale(dst, layout.Rect{W: 20, H: 20}, nil, Whole(src))
		Copy(dst, Whole(dst), nil)
		Copy(dst, Whole(dst), short)
		if !bytes.Equal(dst.Y, make([]byte, len(dst.Y))) {
			t.Errorf("%v: something is drawn", r)
		}
	}
	Fill(nil, layout.Rect{W: 1, H: 1}, 1, 2, 3)
}

// Odd sizes have a row and a column of colour more than half.
func TestOddSizes(t *testing.T) {
	p := codec.NewPicture(33, 17)
	Fill(p, Whole(p), 9, 8, 7)
	for i, plane := range [][]byte{p.Y, p.U, p.V} {
		for _, v := range plane {
			if v != byte(9-i) {
				t.Fatalf("plane %d: %d", i, v)
			}
		}
	}
	q := codec.NewPicture(21, 9)
	Scale(q, Whole(q), p, Whole(p))
	if q.U[len(q.U)-1] != 8 || q.Y[len(q.Y)-1] != 9 {
		t.Error("the last column is not drawn")
	}
}

func BenchmarkScale(b *testing.B) {
	for _, c := range []struct{ w, h, toW, toH int }{{1280, 720, 426, 240}, {1280, 720, 640, 360}, {640, 360, 426, 240}, {320, 180, 426, 240}} {
		src, dst := drawing(c.w, c.h), codec.NewPicture(c.toW, c.toH)
		b.Run(fmt.Sprintf("%dx%d-%dx%d", c.w, c.h, c.toW, c.toH), func(b *testing.B) {
			for b.Loop() {
				Scale(dst, Whole(dst), src, Whole(src))
			}
		})
	}
	src, dst := drawing(640, 360), codec.NewPicture(426, 240)
	b.Run("in Go 640x360-426x240", func(b *testing.B) {
		for b.Loop() {
			inGo(dst, Whole(dst), src, Whole(src))
		}
	})
}
