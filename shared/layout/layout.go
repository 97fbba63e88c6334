// Package layout says where the inputs of a mixed view go: which template of regions holds so many inputs, who is in which region,
// and which pixels that is (rooms-and-media 5.1 to 5.7).
//
// A room keeps one Arrangement for each view and changes it as streams are mixed, unmixed and moved; its Scene is what clients are
// told ("video.layout") and what the mixer draws. The mixer turns each region into pixels with Place and Fit.
//
// On the wire a scene is an array in the order of the regions, which is the order of drawing; a region without "stream" is empty:
//
//	[{"stream": "S1", "region": {"id": "1", "shape": "rectangle",
//	                             "area": {"left": "0/2", "top": "0/2", "width": "1/2", "height": "1/2"}}}, …]
//
// Coordinates are fractions of the canvas as two integers, written as they are and not reduced ("2/4"): clients compare them as text.
package layout

import (
	"math/bits"
	"strconv"
	"strings"
)

// MaxRegions is the most regions a layout may have; it is also the largest maxInput of a view.
const MaxRegions = 256

// Rational is Num/Den. Den is above 0, except in the zero Rational, which counts as 0.
type Rational struct{ Num, Den int64 }

// String is "Num/Den", not reduced.
func (r Rational) String() string {
	return strconv.FormatInt(r.Num, 10) + "/" + strconv.FormatInt(r.Den, 10)
}

// of is r's part of n, rounded towards 0 and at most farAway from it.
func (r Rational) of(n int) int64 {
	if r.Den <= 0 || n <= 0 {
		return 0
	}
	num := uint64(r.Num)
	if r.Num < 0 {
		num = -num
	}
	const farAway = 1 << 40 // beyond any canvas
	part := uint64(farAway)
	if hi, lo := bits.Mul64(uint64(n), num); hi < uint64(r.Den) {
		part, _ = bits.Div64(hi, lo, uint64(r.Den))
	}
	if r.Num < 0 {
		return -int64(min(part, farAway))
	}
	return int64(min(part, farAway))
}

func (r Rational) reduced() Rational {
	a, b := r.Num, r.Den
	if a < 0 {
		a = -a
	}
	for b != 0 {
		a, b = b, a%b
	}
	return Rational{r.Num / a, r.Den / a} // a is at least 1, because Den is
}

// Area is a rectangle in parts of the canvas, from its upper left corner.
type Area struct{ Left, Top, Width, Height Rational }

// Region is one place of a layout. All regions are rectangles.
type Region struct {
	ID   string
	Area Area
}

// Placed is a region and the stream shown there.
type Placed struct {
	Stream string // "" in an empty region
	Region Region
}

// Scene is a layout with its streams, in the order of drawing: where regions overlap, a later one covers an earlier one. Two scenes
// are the same when slices.Equal says so. Nobody changes a Scene after it was made.
type Scene []Placed

// Fault says what is wrong with a layout that was asked for, and where in the document.
type Fault struct{ Path, Text string }

// Error is "path: text".
func (f *Fault) Error() string { return f.Path + ": " + f.Text }

func notFraction(path, text string) *Fault {
	return &Fault{path, clip(text) + " is not a valid fraction string!"}
}

const maxFaultText = 100 // bytes of a caller's value repeated in a fault

func clip(s string) string {
	if len(s) <= maxFaultText {
		return s
	}
	return strings.ToValidUTF8(s[:maxFaultText], "") + "…"
}

// Bounds of the integers in coordinates: as they are given, and as they are written after a decimal has become a fraction.
const (
	givenDigits   = 9
	writtenDigits = 2 * givenDigits
)

// digits reads an unsigned integer of that many digits at most.
func digits(s string, most int) (int64, bool) {
	if s == "" || len(s) > most {
		return 0, false
	}
	n := int64(0)
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, true
}

// parseFraction reads "a/b" as it stands, with b above 0.
func parseFraction(s string, most int) (Rational, bool) {
	a, b, ok := strings.Cut(s, "/")
	num, numOK := digits(a, most)
	den, denOK := digits(b, most)
	return Rational{num, den}, ok && numOK && denOK && den > 0
}

// parseShare reads a coordinate of a custom template: a fraction or a decimal, with or without a minus, and gives it reduced: "0.25"
// is 1/4, "2/4" is 1/2, "0" is 0/1.
func parseShare(s string) (Rational, bool) {
	text, negative := strings.CutPrefix(s, "-")
	r, ok := parseFraction(text, givenDigits)
	if !strings.Contains(text, "/") {
		r, ok = parseDecimal(text)
	}
	if !ok {
		return Rational{}, false
	}
	if negative {
		r.Num = -r.Num
	}
	return r.reduced(), true
}

func parseDecimal(s string) (Rational, bool) {
	whole, part, _ := strings.Cut(s, ".")
	if whole == "" && part != "" {
		whole = "0"
	}
	n, ok := digits(whole, givenDigits)
	r := Rational{n, 1}
	if !ok || part == "" {
		return r, ok
	}
	n, ok = digits(part, givenDigits)
	for range part {
		r.Num, r.Den = 10*r.Num, 10*r.Den
	}
	r.Num += n
	return r, ok
}
