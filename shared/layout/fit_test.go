package layout

import (
	"math"
	"testing"

	"portico/shared/conference"
)

// The table of rooms-and-media 5.7.
func TestL_20_Pixels(t *testing.T) {
	region := func(base string, maxInput, inputs, id int) Area {
		return with(view(t, base, maxInput), inputs).Scene()[id-1].Region.Area
	}
	for _, c := range []struct {
		canvas    Size
		area      Area
		picture   Size
		letterbox Rect
		src, crop Rect
	}{
		{Size{640, 480}, region("fluid", 16, 1, 1), Size{1280, 720}, Rect{0, 60, 640, 360}, Rect{160, 0, 960, 720}, Rect{0, 0, 640, 480}},
		{Size{1280, 720}, region("fluid", 16, 4, 1), Size{640, 480}, Rect{80, 0, 480, 360}, Rect{0, 60, 640, 360}, Rect{0, 0, 640, 360}},
		{Size{1280, 720}, region("fluid", 16, 9, 5), Size{640, 480}, Rect{478, 240, 320, 240}, Rect{0, 60, 640, 360}, Rect{426, 240, 426, 240}},
		{Size{640, 480}, region("lecture", 6, 2, 1), Size{640, 480}, Rect{0, 0, 426, 318}, Rect{0, 0, 638, 480}, Rect{0, 0, 426, 320}},
		{Size{640, 480}, region("lecture", 6, 2, 4), Size{1280, 720}, Rect{426, 340, 212, 118}, Rect{160, 0, 958, 720}, Rect{426, 320, 212, 160}},
		// Not of the table: the avatar, and a picture with odd sides.
		{Size{1280, 720}, region("fluid", 16, 4, 4), Size{180, 180}, Rect{780, 360, 360, 360}, Rect{0, 38, 180, 100}, Rect{640, 360, 640, 360}},
		{Size{640, 480}, region("fluid", 16, 1, 1), Size{641, 481}, Rect{0, 0, 638, 480}, Rect{0, 0, 640, 480}, Rect{0, 0, 640, 480}},
	} {
		place := Place(c.area, c.canvas)
		whole := Rect{0, 0, c.picture.W &^ 1, c.picture.H &^ 1}
		if src, dst := Fit(Letterbox, c.picture, place); src != whole || dst != c.letterbox {
			t.Errorf("letterbox of %v in %v: %v to %v, want %v", c.picture, place, src, dst, c.letterbox)
		}
		if src, dst := Fit(Crop, c.picture, place); src != c.src || dst != c.crop {
			t.Errorf("crop of %v in %v: %v to %v, want %v to %v", c.picture, place, src, dst, c.src, c.crop)
		}
	}
}

func TestPlaceIsCutAtTheCanvas(t *testing.T) {
	half, all := Rational{1, 2}, Rational{1, 1}
	canvas := Size{640, 480}
	for _, c := range []struct {
		area Area
		want Rect
	}{
		{Area{half, zero, all, all}, Rect{320, 0, 320, 480}},
		{Area{Rational{-1, 2}, zero, all, half}, Rect{0, 0, 320, 240}},
		{Area{Rational{3, 2}, zero, all, all}, Rect{640, 0, 0, 480}},
		{Area{Rational{-3, 1}, zero, all, all}, Rect{0, 0, 0, 480}},
		{Area{half, half, Rational{-1, 4}, half}, Rect{320, 240, 0, 240}},
		{Area{half, half, Rational{math.MaxInt64, 1}, Rational{math.MaxInt64, math.MaxInt64}}, Rect{320, 240, 320, 240}},
		{Area{Rational{math.MinInt64, 1}, zero, Rational{math.MaxInt64, 1}, half}, Rect{0, 0, 0, 240}},
		{Area{}, Rect{}},
		{Area{zero, zero, Rational{1, -1}, Rational{1, 0}}, Rect{}},
	} {
		if got := Place(c.area, canvas); got != c.want {
			t.Errorf("%v is at %v, want %v", c.area, got, c.want)
		}
	}
	for _, s := range []Size{{}, {0, 480}, {640, -1}, {math.MaxInt, math.MaxInt}} {
		if got := Place(Area{zero, zero, all, all}, s); !got.Empty() {
			t.Errorf("on %v: %v", s, got)
		}
	}
}

func TestFitOfNothing(t *testing.T) {
	for _, c := range []struct {
		picture Size
		place   Rect
	}{
		{Size{}, Rect{0, 0, 10, 10}}, {Size{640, 480}, Rect{}}, {Size{640, 480}, Rect{0, 0, 1, 100}}, {Size{1, 1}, Rect{0, 0, 100, 100}},
		{Size{60000, 2}, Rect{0, 0, 100, 100}}, // would be less than a pixel high
		{Size{math.MaxInt, math.MaxInt}, Rect{0, 0, 10, 10}}, {Size{640, 480}, Rect{0, 0, math.MaxInt, math.MaxInt}},
	} {
		if src, dst := Fit(Letterbox, c.picture, c.place); src != (Rect{}) || dst != (Rect{}) {
			t.Errorf("%v in %v: %v to %v", c.picture, c.place, src, dst)
		}
	}
}

// What is drawn lies in the canvas and, for two regions that do not overlap, does not either; the part of the picture is within it.
func TestFitStaysInside(t *testing.T) {
	var all []template
	for _, base := range []string{"fluid", "lecture"} {
		series, err := templates(conference.Templates{Base: base}, 25)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, series...)
	}
	pictures := []Size{{1280, 720}, {640, 480}, {180, 180}, {360, 640}, {1919, 1079}, {16, 9}, {3, 2000}}
	for _, canvas := range []Size{{640, 480}, {1280, 720}, {1920, 1080}, {352, 288}, {426, 240}, {62, 34}} {
		for _, policy := range []FitPolicy{Letterbox, Crop} {
			for _, s := range all {
				for _, picture := range pictures {
					drawn := make([]bool, canvas.W*canvas.H/4)
					for _, r := range s {
						checkFit(t, policy, canvas, picture, Place(r.Area, canvas), drawn)
					}
				}
			}
		}
	}
}

// checkFit marks what is drawn in drawn, one field for 2 by 2 pixels.
func checkFit(t *testing.T, policy FitPolicy, canvas, picture Size, place Rect, drawn []bool) {
	t.Helper()
	src, dst := Fit(policy, picture, place)
	if src == (Rect{}) && dst == (Rect{}) {
		return
	}
	if !within(src, picture) || !within(dst, canvas) || dst.X < place.X-1 || dst.Y < place.Y-1 ||
		dst.X+dst.W > place.X+place.W || dst.Y+dst.H > place.Y+place.H || dst.Empty() || src.Empty() {
		t.Fatalf("%s of %v in %v on %v: %v to %v", policy, picture, place, canvas, src, dst)
	}
	for y := dst.Y / 2; y < (dst.Y+dst.H)/2; y++ {
		for x := dst.X / 2; x < (dst.X+dst.W)/2; x++ {
			if drawn != nil && drawn[y*(canvas.W/2)+x] {
				t.Fatalf("%s of %v in %v on %v: %v covers another", policy, picture, place, canvas, dst)
			}
			if drawn != nil {
				drawn[y*(canvas.W/2)+x] = true
			}
		}
	}
}

func within(r Rect, s Size) bool {
	return r == r.even() && r.X >= 0 && r.Y >= 0 && r.W >= 0 && r.H >= 0 && r.X+r.W <= s.W && r.Y+r.H <= s.H
}

func FuzzFit(f *testing.F) {
	f.Add(int64(1), int64(2), int64(1), int64(3), 1280, 720, 640, 480)
	f.Add(int64(-1), int64(2), int64(7), int64(3), 65536, 2, 1, 65536)
	f.Add(int64(math.MinInt64), int64(1), int64(math.MaxInt64), int64(math.MinInt64), 0, -1, 1<<40, 3)
	f.Fuzz(func(t *testing.T, n, d, m, e int64, w, h, iw, ih int) {
		canvas, picture := Size{w, h}, Size{iw, ih}
		place := Place(Area{Rational{n, d}, Rational{m, e}, Rational{m, d}, Rational{n, e}}, canvas)
		if place.X < 0 || place.Y < 0 || place.W < 0 || place.H < 0 || place.X+place.W > max(w, 0) || place.Y+place.H > max(h, 0) {
			t.Fatalf("placed at %v on %v", place, canvas)
		}
		for _, policy := range []FitPolicy{Letterbox, Crop} {
			src, dst := Fit(policy, picture, place)
			if src != (Rect{}) && (!within(src, picture) || !within(dst, canvas)) {
				t.Fatalf("%s of %v in %v: %v to %v", policy, picture, place, src, dst)
			}
		}
	})
}

func TestEncodingForARegion(t *testing.T) {
	simulcast := []Size{{320, 180}, {640, 360}, {1280, 720}}
	for _, c := range []struct {
		policy    FitPolicy
		encodings []Size
		place     Rect
		want      int
	}{
		{Letterbox, simulcast, Rect{0, 0, 1280, 720}, 2},
		{Letterbox, simulcast, Rect{0, 0, 640, 480}, 1}, // drawn as 640 by 360
		{Crop, simulcast, Rect{0, 0, 640, 480}, 2},      // 480 of 360 lines would be needed
		{Letterbox, simulcast, Rect{0, 0, 322, 182}, 1},
		{Letterbox, simulcast, Rect{0, 0, 320, 180}, 0},
		{Letterbox, simulcast, Rect{0, 0, 1920, 1080}, 2},
		{Letterbox, []Size{{1280, 720}, {640, 360}, {320, 180}}, Rect{0, 0, 426, 240}, 1},
		{Letterbox, []Size{{1280, 720}, {320, 180}, {640, 360}}, Rect{0, 0, 426, 240}, 2},
		{Letterbox, []Size{{}, {320, 180}}, Rect{0, 0, 1280, 720}, 1},
		{Letterbox, []Size{{}, {}}, Rect{0, 0, 1280, 720}, -1},
		{Letterbox, nil, Rect{0, 0, 1280, 720}, -1},
	} {
		if got := Encoding(c.policy, c.encodings, c.place); got != c.want {
			t.Errorf("%s of %v in %v: %d, want %d", c.policy, c.encodings, c.place, got, c.want)
		}
	}
}
