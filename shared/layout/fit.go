package layout

// FitPolicy is how a picture of another aspect fills a region.
type FitPolicy string

// The policies, with the names they have in a room's configuration. Anything but Crop is Letterbox.
const (
	Letterbox FitPolicy = "letterbox" // all of the picture, the background beside it
	Crop      FitPolicy = "crop"      // all of the region, the middle of the picture
)

// Rect is a rectangle in pixels, X and Y of its upper left corner.
type Rect struct{ X, Y, W, H int }

// Empty rectangles have no pixel.
func (r Rect) Empty() bool { return r.W <= 0 || r.H <= 0 }

// even rounds down to what pictures with half the colour resolution can address.
func (r Rect) even() Rect { return Rect{r.X &^ 1, r.Y &^ 1, r.W &^ 1, r.H &^ 1} }

// Size of a picture in pixels.
type Size struct{ W, H int }

// maxSide bounds the sides of canvases and pictures; beyond it they count as empty.
const maxSide = 1 << 16

func (s Size) usable() bool { return 0 < s.W && s.W <= maxSide && 0 < s.H && s.H <= maxSide }

// Place is the pixels of an area of the canvas (rooms-and-media 5.7), cut off at the canvas's edges: empty when it lies outside.
// Its values may be odd; Fit makes them even.
func Place(a Area, canvas Size) Rect {
	if !canvas.usable() {
		return Rect{}
	}
	x, w := span(a.Left, a.Width, canvas.W)
	y, h := span(a.Top, a.Height, canvas.H)
	return Rect{x, y, w, h}
}

func span(from, length Rational, side int) (at, n int) {
	start := from.of(side)
	end := min(start+length.of(side), int64(side))
	start = min(max(start, 0), int64(side))
	return int(start), int(max(end-start, 0))
}

// Fit says which part of a picture is drawn where so that it fills the place by the policy, as rooms-and-media 5.7 rounds: src within
// the picture, dst within the canvas, all values even. Both are zero when nothing would be drawn.
func Fit(policy FitPolicy, picture Size, place Rect) (src, dst Rect) {
	if !picture.usable() || place.Empty() || place.W > maxSide || place.H > maxSide {
		return Rect{}, Rect{}
	}
	src = Rect{0, 0, picture.W, picture.H}
	w, h := place.W, place.H
	if policy == Crop {
		src.W = min(picture.W, scaled(w, picture.H, h))
		src.H = min(picture.H, scaled(h, picture.W, w))
		src.X, src.Y = (picture.W-src.W)/2, (picture.H-src.H)/2
	} else {
		w = min(w, scaled(picture.W, place.H, picture.H))
		h = min(h, scaled(picture.H, place.W, picture.W))
	}
	src, dst = src.even(), Rect{place.X + (place.W-w)/2, place.Y + (place.H-h)/2, w, h}.even()
	if src.Empty() || dst.Empty() {
		return Rect{}, Rect{}
	}
	return src, dst
}

// scaled is n*to/from, rounded down; int has 32 bits on some machines.
func scaled(n, to, from int) int { return int(int64(n) * int64(to) / int64(from)) }

// Encoding chooses among the encodings of a simulcast stream the one to fill the place with: the smallest that need not be enlarged,
// or the largest when all must be. Sizes that are not known yet are zero; -1 when none is known.
func Encoding(policy FitPolicy, encodings []Size, place Rect) int {
	best, enough := -1, false
	for i, s := range encodings {
		if !s.usable() {
			continue
		}
		src, dst := Fit(policy, s, place)
		fits := dst.W <= src.W && dst.H <= src.H
		better := best < 0 || fits && !enough
		if !better && fits == enough {
			more := s.pixels() - encodings[best].pixels()
			better = fits && more < 0 || !fits && more > 0
		}
		if better {
			best, enough = i, fits
		}
	}
	return best
}

func (s Size) pixels() int64 { return int64(s.W) * int64(s.H) }
