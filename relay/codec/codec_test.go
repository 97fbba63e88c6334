package codec

import (
	"errors"
	"math"
	"slices"
	"testing"
)

func TestCheckSize(t *testing.T) {
	for _, c := range []struct {
		w, h int
		want error
	}{
		{1, 1, nil}, {3840, 2160, nil}, {2160, 3840, nil}, {4096, 2304, nil}, {4096, 2305, ErrTooLarge}, {4097, 2, ErrTooLarge},
		{2, 1 << 40, ErrTooLarge}, {math.MaxInt, math.MaxInt, ErrTooLarge}, {0, 5, ErrCorrupt}, {5, -1, ErrCorrupt},
	} {
		if err := CheckSize(c.w, c.h); !errors.Is(err, c.want) {
			t.Errorf("%dx%d: %v", c.w, c.h, err)
		}
	}
}

func TestPicturesAreValid(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {2, 2}, {33, 17}, {640, 360}} {
		if !NewPicture(size[0], size[1]).Valid() {
			t.Errorf("%v is not", size)
		}
	}
	for name, change := range map[string]func(*Picture){
		"no size":       func(p *Picture) { p.Width = 0 },
		"short line":    func(p *Picture) { p.StrideY-- },
		"short colours": func(p *Picture) { p.StrideUV-- },
		"Y":             func(p *Picture) { p.Y = p.Y[1:] },
		"U":             func(p *Picture) { p.U = p.U[1:] },
		"V":             func(p *Picture) { p.V = nil },
	} {
		p := NewPicture(33, 17)
		if change(p); p.Valid() {
			t.Errorf("%s: valid", name)
		}
	}
	if (*Picture)(nil).Valid() {
		t.Error("nothing is valid")
	}
}

// A key frame that was asked for stays due until there is one; each begins a new interval.
func TestKeyFrames(t *testing.T) {
	k := KeyFrames{Interval: 4}
	var due []int
	for i := range 16 {
		asked := i == 6
		if d := k.Due(asked); d {
			due = append(due, i)
		}
		k.Made(i == 0 || i == 4 || i == 8 || i == 12) // the one asked for at 6 comes at 8
	}
	if want := []int{4, 6, 7, 8, 12}; !slices.Equal(due, want) {
		t.Errorf("due at %v, expected %v", due, want)
	}
	k = KeyFrames{}
	for range 1000 {
		k.Made(false)
		if k.Due(false) {
			t.Fatal("due without being asked for")
		}
	}
}

func TestTicks(t *testing.T) {
	var ticks Ticks
	var got []int64
	for _, at := range []int64{-500, 2500, 2500, 100, 3100, math.MaxInt64, math.MinInt64, 0} {
		got = append(got, ticks.Next(at))
	}
	if want := []int64{0, 3000, 3001, 3002, 6002, 906_002, 906_003, 906_004}; !slices.Equal(got, want) {
		t.Errorf("%v, expected %v", got, want)
	}
}
