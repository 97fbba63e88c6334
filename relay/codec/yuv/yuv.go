// Package yuv scales, fills and copies I420 pictures.
//
// It stands between the decoders and the canvas of a mix. Scaling is libyuv's box filter, which averages where it makes a picture
// smaller and interpolates where it makes it larger; without cgo the same is done in Go, many times slower. Rectangles begin at even
// places, for the planes of colour have half the resolution: an odd place counts as the even one before it.
//
// A rectangle that does not lie within its picture, or a picture whose planes are too short, is the caller's mistake: nothing is drawn.
package yuv

import (
	"portico/relay/codec"
	"portico/shared/layout"
)

// plane is a rectangle of one of a picture's planes.
type plane struct {
	pix           []byte // from the first pixel on
	stride        int
	width, height int
}

// row is one line of the plane.
func (p plane) row(y int) []byte { return p.pix[y*p.stride:][:p.width] }

// planes cuts a rectangle out of a picture; false when it is empty or not within.
func planes(p *codec.Picture, r layout.Rect) (out [3]plane, ok bool) {
	if !p.Valid() || r.Empty() || r.X < 0 || r.Y < 0 || r.W > p.Width || r.H > p.Height || r.X > p.Width-r.W || r.Y > p.Height-r.H {
		return out, false
	}
	x, y := r.X/2, r.Y/2
	w, h := (r.W+1)/2, (r.H+1)/2 // r.X + r.W <= p.Width: within the plane of colour, also when both are odd
	at := y*p.StrideUV + x
	return [3]plane{
		{p.Y[2*y*p.StrideY+2*x:], p.StrideY, r.W, r.H},
		{p.U[at:], p.StrideUV, w, h},
		{p.V[at:], p.StrideUV, w, h},
	}, true
}

// Whole is the rectangle of all of a picture.
func Whole(p *codec.Picture) layout.Rect { return layout.Rect{W: p.Width, H: p.Height} }

// Scale draws the part srcRect of src into dstRect of dst, where it fits exactly; the aspect is the caller's business. The pictures
// must not share memory. Same sizes are copied.
func Scale(dst *codec.Picture, dstRect layout.Rect, src *codec.Picture, srcRect layout.Rect) {
	to, ok := planes(dst, dstRect)
	from, ok2 := planes(src, srcRect)
	switch {
	case !ok || !ok2:
	case dstRect.W == srcRect.W && dstRect.H == srcRect.H:
		copyPlanes(to, from)
	default:
		scale(to, from)
	}
}

// Fill makes a rectangle of one colour.
func Fill(dst *codec.Picture, rect layout.Rect, y, u, v byte) {
	to, ok := planes(dst, rect)
	if !ok {
		return
	}
	for i, value := range [3]byte{y, u, v} {
		p := to[i]
		first := p.row(0)
		for x := range first {
			first[x] = value
		}
		for line := 1; line < p.height; line++ {
			copy(p.row(line), first)
		}
	}
}

// Copy draws all of src with its upper left corner in that of dstRect; what is beyond the rectangle is cut off.
func Copy(dst *codec.Picture, dstRect layout.Rect, src *codec.Picture) {
	if src == nil {
		return
	}
	w, h := min(dstRect.W, src.Width), min(dstRect.H, src.Height)
	to, ok := planes(dst, layout.Rect{X: dstRect.X, Y: dstRect.Y, W: w, H: h})
	from, ok2 := planes(src, layout.Rect{W: w, H: h})
	if ok && ok2 {
		copyPlanes(to, from)
	}
}

func copyPlanes(to, from [3]plane) {
	for i := range to {
		for y := range to[i].height {
			copy(to[i].row(y), from[i].row(y))
		}
	}
}
