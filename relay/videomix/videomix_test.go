package videomix

import (
	"bytes"
	"fmt"
	"testing"

	"portico/relay/codec"
	"portico/relay/codec/yuv"
	"portico/shared/conference"
	"portico/shared/layout"
)

// area is a region in hundredths of the canvas.
func area(left, top, width, height int64) layout.Area {
	part := func(n int64) layout.Rational { return layout.Rational{Num: n, Den: 100} }
	return layout.Area{Left: part(left), Top: part(top), Width: part(width), Height: part(height)}
}

// scene shows S1, S2 and so on in those areas.
func scene(areas ...layout.Area) (s layout.Scene) {
	for i, a := range areas {
		s = append(s, layout.Placed{Stream: fmt.Sprint("S", i+1), Region: layout.Region{ID: fmt.Sprint(i + 1), Area: a}})
	}
	return s
}

// templated is the scene of a view of n inputs, S1 and so on.
func templated(t testing.TB, base string, maxInput, n int) layout.Scene {
	t.Helper()
	a, err := layout.New(conference.Templates{Base: base}, maxInput)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		a = a.Add(fmt.Sprint("S", i+1))
	}
	return a.Scene()
}

// plain is a picture of one colour; framed has another in a ring along the sides of a part of it, and white outside.
func plain(width, height int, y byte) *codec.Picture {
	p := codec.NewPicture(width, height)
	yuv.Fill(p, yuv.Whole(p), y, y, y)
	return p
}

const (
	ring, inner = 50, 100
	ringWidth   = 24 // pixels
)

func framed(width, height int, part layout.Rect) *codec.Picture {
	p := plain(width, height, 255)
	yuv.Fill(p, part, ring, ring, ring)
	middle := layout.Rect{X: part.X + ringWidth, Y: part.Y + ringWidth, W: part.W - 2*ringWidth, H: part.H - 2*ringWidth}
	yuv.Fill(p, middle, inner, inner, inner)
	return p
}

// at is the colour of one pixel.
func at(p *codec.Picture, x, y int) [3]byte {
	c := y/2*p.StrideUV + x/2
	return [3]byte{p.Y[y*p.StrideY+x], p.U[c], p.V[c]}
}

func same(a, b *codec.Picture) bool {
	return a.Width == b.Width && a.Height == b.Height && bytes.Equal(a.Y, b.Y) && bytes.Equal(a.U, b.U) && bytes.Equal(a.V, b.V)
}

// compose wants to know whether something is new.
func compose(t testing.TB, c *Compositor, now int64, changed bool) *codec.Picture {
	t.Helper()
	p, got := c.Compose(now)
	if got != changed {
		t.Errorf("at %d: changed is %v", now, got)
	}
	return p
}

// The table of rooms-and-media 5.7, pixel by pixel.
func TestL_20_Pixels(t *testing.T) {
	for _, c := range []struct {
		canvas          layout.Size
		base            string
		maxInput        int
		inputs, region  int
		picture         layout.Size
		letterbox       layout.Rect
		source, cropped layout.Rect
	}{
		{layout.Size{W: 640, H: 480}, "fluid", 16, 1, 1, layout.Size{W: 1280, H: 720},
			layout.Rect{X: 0, Y: 60, W: 640, H: 360}, layout.Rect{X: 160, Y: 0, W: 960, H: 720}, layout.Rect{X: 0, Y: 0, W: 640, H: 480}},
		{layout.Size{W: 1280, H: 720}, "fluid", 16, 4, 1, layout.Size{W: 640, H: 480},
			layout.Rect{X: 80, Y: 0, W: 480, H: 360}, layout.Rect{X: 0, Y: 60, W: 640, H: 360}, layout.Rect{X: 0, Y: 0, W: 640, H: 360}},
		{layout.Size{W: 1280, H: 720}, "fluid", 16, 9, 5, layout.Size{W: 640, H: 480},
			layout.Rect{X: 478, Y: 240, W: 320, H: 240}, layout.Rect{X: 0, Y: 60, W: 640, H: 360}, layout.Rect{X: 426, Y: 240, W: 426, H: 240}},
		{layout.Size{W: 640, H: 480}, "lecture", 6, 2, 1, layout.Size{W: 640, H: 480},
			layout.Rect{X: 0, Y: 0, W: 426, H: 318}, layout.Rect{X: 0, Y: 0, W: 638, H: 480}, layout.Rect{X: 0, Y: 0, W: 426, H: 320}},
		{layout.Size{W: 640, H: 480}, "lecture", 6, 2, 4, layout.Size{W: 1280, H: 720},
			layout.Rect{X: 426, Y: 340, W: 212, H: 118}, layout.Rect{X: 160, Y: 0, W: 958, H: 720}, layout.Rect{X: 426, Y: 320, W: 212, H: 160}},
	} {
		region := templated(t, c.base, c.maxInput, c.inputs)[c.region-1].Region
		for _, crop := range []bool{false, true} {
			source, dst := layout.Rect{W: c.picture.W, H: c.picture.H}, c.letterbox
			if crop {
				source, dst = c.source, c.cropped
			}
			m := New(Config{Width: c.canvas.W, Height: c.canvas.H, Crop: crop, Background: conference.Color{R: 255}})
			m.SetScene(layout.Scene{{Stream: "S1", Region: region}})
			m.AddInput("S1").Show(framed(c.picture.W, c.picture.H, source), 0)
			name := fmt.Sprintf("%v, %s-%d #%d, %v, crop %v", c.canvas, c.base, c.inputs, c.region, c.picture, crop)
			checkPixels(t, name, compose(t, m, 1, true), dst)
		}
	}
}

// checkPixels wants a framed picture at dst on red: its sides of one colour, its middle of the other, and nothing beyond.
func checkPixels(t *testing.T, name string, p *codec.Picture, dst layout.Rect) {
	t.Helper()
	for y := range p.Height {
		for x := range p.Width {
			got := at(p, x, y)
			left, top, right, bottom := x-dst.X, y-dst.Y, dst.X+dst.W-1-x, dst.Y+dst.H-1-y
			low, high := byte(ring), byte(inner) // between the two
			switch nearest := min(left, top, right, bottom); {
			case nearest < 0:
				if got != [3]byte{81, 90, 239} {
					t.Fatalf("%s: background at %d,%d is %v", name, x, y, got)
				}
				continue
			case nearest == 0:
				high = ring
			case nearest > ringWidth+2:
				low = inner
			}
			const rounding = 1
			for _, v := range got {
				if v < low-rounding || v > high+rounding {
					t.Fatalf("%s: at %d,%d is %v", name, x, y, got)
				}
			}
		}
	}
}

func TestBackground(t *testing.T) {
	for _, c := range []struct {
		color   conference.Color
		y, u, v byte
	}{
		{conference.Color{}, 16, 128, 128},
		{conference.Color{R: 255, G: 255, B: 255}, 235, 128, 128},
		{conference.Color{R: 255}, 81, 90, 239},
		{conference.Color{G: 255}, 144, 53, 34},
		{conference.Color{B: 255}, 40, 239, 109},
		{conference.Color{R: 12, G: 34, B: 56}, 41, 140, 116},
		{conference.Color{R: -5, G: 1000, B: 0}, 144, 53, 34},
	} {
		m := New(Config{Width: 33, Height: 17, Background: c.color})
		p := compose(t, m, 0, true)
		if !same(p, func() *codec.Picture {
			want := codec.NewPicture(33, 17)
			yuv.Fill(want, yuv.Whole(want), c.y, c.u, c.v)
			return want
		}()) {
			t.Errorf("%v is %v, want %v", c.color, at(p, 0, 0), []byte{c.y, c.u, c.v})
		}
		compose(t, m, 1, false)
	}
}

// TestL_18_WhatARegionShows goes through the life of an input.
func TestL_18_WhatARegionShows(t *testing.T) {
	m := New(Config{Width: 64, Height: 64, Avatar: plain(2, 2, 77)})
	m.SetScene(scene(area(0, 0, 50, 50)))
	in := m.AddInput("S1")
	luma := func(now int64, changed bool) byte { t.Helper(); return compose(t, m, now, changed).Y[64*10+10] }
	if got := luma(0, true); got != 16 {
		t.Errorf("no picture yet: %d", got)
	}
	if in.Place() != (layout.Rect{W: 32, H: 32}) {
		t.Errorf("place is %v", in.Place())
	}
	in.Show(plain(32, 32, 100), 10)
	if got := luma(9, false); got != 16 {
		t.Errorf("before its time: %d", got)
	}
	if got := luma(10, true); got != 100 {
		t.Errorf("at its time: %d", got)
	}
	if got := luma(1<<60, false); got != 100 {
		t.Errorf("long after it stopped: %d", got)
	}
	in.Show(plain(32, 32, 101), 1<<61)
	in.SetMuted(true)
	if got := luma(20, true); got != 77 || in.Place() != (layout.Rect{}) {
		t.Errorf("muted: %d, place %v", got, in.Place())
	}
	in.Show(plain(32, 32, 102), 0)
	if got := luma(1<<62, false); got != 77 {
		t.Errorf("what comes while it is muted: %d", got)
	}
	in.SetMuted(false)
	if got := luma(30, false); got != 77 || in.Place().Empty() {
		t.Errorf("unmuted without a picture: %d, place %v", got, in.Place())
	}
	in.Show(plain(32, 32, 103), 0)
	if got := luma(40, true); got != 103 {
		t.Errorf("unmuted: %d", got)
	}
	m.RemoveInput(in)
	if got := luma(50, true); got != 16 || in.Place() != (layout.Rect{}) {
		t.Errorf("removed: %d, place %v", got, in.Place())
	}
	m.RemoveInput(in)
	in.Show(plain(32, 32, 104), 0)
	in.SetMuted(true)
	if got := luma(60, false); got != 16 {
		t.Errorf("shown by one that is removed: %d", got)
	}
	again := m.AddInput("S1")
	again.Show(plain(32, 32, 105), 0)
	if got := luma(70, true); got != 105 || again == in || m.AddInput("S1") != again {
		t.Errorf("added again: %d", got)
	}
}

// TestTimes has pictures wait for their time, in whatever order they come, and no more than four.
func TestTimes(t *testing.T) {
	m := New(Config{Width: 16, Height: 16})
	m.SetScene(scene(area(0, 0, 100, 100)))
	in := m.AddInput("S1")
	for _, at := range []int64{20, 40, 10, 30} {
		in.Show(plain(16, 16, byte(at)), at)
	}
	for _, c := range []struct {
		now     int64
		want    byte
		changed bool
	}{{9, 16, true}, {10, 10, true}, {11, 10, false}, {35, 30, true}, {36, 30, false}, {100, 40, true}} {
		if p := compose(t, m, c.now, c.changed); p.Y[0] != c.want {
			t.Errorf("at %d: %d, want %d", c.now, p.Y[0], c.want)
		}
	}
	for at := range int64(9) { // whose time never comes
		in.Show(plain(16, 16, byte(50+at)), 1000+at)
		want := byte(40)
		if at >= maxQueued {
			want = byte(50 + at - maxQueued)
		}
		if p := compose(t, m, 200, at >= maxQueued); p.Y[0] != want {
			t.Errorf("after %d: %d, want %d", at+1, p.Y[0], want)
		}
	}
}

// TestOverlap has three regions over each other; only what changed, and what is over it, is drawn.
func TestOverlap(t *testing.T) {
	m := New(Config{Width: 100, Height: 100, Crop: true})
	m.SetScene(scene(area(0, 0, 60, 60), area(40, 40, 60, 60), area(50, 0, 20, 100)))
	var inputs []*Input
	for i := range 3 {
		inputs = append(inputs, m.AddInput(fmt.Sprint("S", i+1)))
	}
	check := func(now int64, want ...byte) {
		t.Helper()
		p := compose(t, m, now, true)
		for i, xy := range [][2]int{{10, 10}, {45, 45}, {55, 10}, {90, 90}, {55, 90}, {90, 10}} {
			if got := at(p, xy[0], xy[1])[0]; got != want[i] {
				t.Errorf("time %d, at %v: %d, want %d", now, xy, got, want[i])
			}
		}
	}
	for i, in := range inputs {
		in.Show(plain(20, 20, byte(100+i)), 0)
	}
	check(1, 100, 101, 102, 101, 102, 16)
	inputs[0].Show(plain(20, 20, 110), 0)
	check(2, 110, 101, 102, 101, 102, 16)
	inputs[1].Show(plain(20, 20, 111), 0)
	check(3, 110, 111, 102, 111, 102, 16)
	inputs[2].Show(plain(20, 20, 112), 0)
	check(4, 110, 111, 112, 111, 112, 16)
	m.RemoveInput(inputs[1])
	check(5, 110, 110, 112, 16, 112, 16)
	compose(t, m, 6, false)
}

// TestSceneChanges: what is on the canvas is as sharp as if it had been shown there first, and inputs without a region appear at
// once when they get one.
func TestSceneChanges(t *testing.T) {
	small, large := scene(area(0, 0, 25, 25), area(50, 50, 25, 25)), scene(area(0, 0, 100, 100))
	fine := codec.NewPicture(320, 320)
	for i := range fine.Y {
		fine.Y[i] = byte(255 * (i % 2))
	}
	direct, moved := New(Config{Width: 320, Height: 320}), New(Config{Width: 320, Height: 320})
	direct.SetScene(large)
	moved.SetScene(small)
	late := moved.AddInput("S3")
	late.Show(fine, 0)
	for _, m := range []*Compositor{direct, moved} {
		in := m.AddInput("S1")
		in.Show(fine, 0)
		compose(t, m, 1, true)
		in.Show(fine, 2000)
		in.Show(fine, 1000)
	}
	if late.Place() != (layout.Rect{}) || moved.AddInput("S1").Place() != (layout.Rect{W: 80, H: 80}) {
		t.Errorf("places %v", late.Place())
	}
	moved.SetScene(large)
	want, _ := direct.Compose(2)
	if !same(compose(t, moved, 2, true), want) {
		t.Error("enlarged, it is not the same")
	}
	swapped := small
	swapped[0].Stream, swapped[1].Stream = "S3", "S1"
	moved.SetScene(swapped)
	direct.SetScene(swapped)
	direct.AddInput("S3").Show(fine, 0)
	want, _ = direct.Compose(3)
	if !same(compose(t, moved, 3, true), want) {
		t.Error("swapped, it is not the same")
	}
	moved.SetScene(nil)
	if p := compose(t, moved, 4, true); p.Y[0] != 16 {
		t.Error("an empty scene shows something")
	}
}

// TestSameSizeElsewhere moves tiles that need not be scaled again, among them one that waits.
func TestSameSizeElsewhere(t *testing.T) {
	m := New(Config{Width: 64, Height: 64})
	m.SetScene(scene(area(0, 0, 50, 50), area(50, 50, 50, 50)))
	a, b := m.AddInput("S1"), m.AddInput("S2")
	a.Show(plain(16, 8, 100), 0)
	b.Show(plain(16, 8, 200), 0)
	compose(t, m, 1, true)
	a.Show(plain(16, 8, 101), 10)
	m.SetScene(scene(area(50, 0, 50, 50), area(0, 0, 50, 50)))
	p := compose(t, m, 2, true)
	if at(p, 10, 16)[0] != 200 || at(p, 42, 16)[0] != 100 || at(p, 42, 48)[0] != 16 || at(p, 42, 4)[0] != 16 {
		t.Errorf("%v %v", at(p, 10, 16), at(p, 42, 16))
	}
	if p = compose(t, m, 10, true); at(p, 42, 16)[0] != 101 {
		t.Errorf("what waited: %v", at(p, 42, 16))
	}
}

func TestAvatar(t *testing.T) {
	p := Avatar()
	if p.Width != 180 || p.Height != 180 || !p.Valid() || at(p, 0, 0) == at(p, 90, 90) || at(p, 90, 60) != at(p, 90, 170) {
		t.Errorf("%v %v %v", at(p, 0, 0), at(p, 90, 60), at(p, 90, 170))
	}
	for y := range 180 {
		for x := range 90 {
			if at(p, x, y) != at(p, 179-x, y) {
				t.Fatalf("not the same on both sides: %v at %d,%d", at(p, x, y), x, y)
			}
		}
	}
	raw := bytes.Join([][]byte{p.Y, p.U, p.V}, nil)
	if got, err := ReadAvatar("avatar.180x180.yuv", raw); err != nil || !same(got, p) {
		t.Error(err)
	}
	for _, name := range []string{"", ".yuv", "180x180.yuv", "a.180x180", "a.180x178.yuv", "a.x.yuv", "a.-180x-180.yuv", "a.0x0.yuv",
		"a.180.180.yuv", "a.99999999999999999999x1.yuv"} {
		if _, err := ReadAvatar(name, raw); err == nil {
			t.Errorf("%q is read", name)
		}
	}
}
