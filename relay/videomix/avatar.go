package videomix

import (
	"errors"
	"strconv"
	"strings"

	"portico/relay/codec"
	"portico/shared/conference"
)

// ErrAvatar is of a file that is no avatar.
var ErrAvatar = errors.New("videomix: an avatar is raw I420, called name.WIDTHxHEIGHT.yuv")

const avatarSide = 180 // pixels

// Avatar draws the picture that stands for whoever shows none: the outline of a person.
func Avatar() *codec.Picture {
	p := codec.NewPicture(avatarSide, avatarSide)
	back, front := conference.Color{R: 38, G: 78, B: 138}, conference.Color{R: 206, G: 218, B: 235}
	by, bu, bv := convert(back)
	fy, fu, fv := convert(front)
	for y := range avatarSide {
		for x := range avatarSide {
			p.Y[y*p.StrideY+x] = blend(by, fy, covered(2*x+1, 2*y+1, 1))
		}
	}
	for y := range avatarSide / 2 {
		for x := range avatarSide / 2 {
			n := covered(4*x+2, 4*y+2, 2)
			p.U[y*p.StrideUV+x], p.V[y*p.StrideUV+x] = blend(bu, fu, n), blend(bv, fv, n)
		}
	}
	return p
}

const samples = 16 // of a pixel

// covered is how many of a pixel's samples belong to the person. Its middle and half its side are in half pixels.
func covered(x, y, half int) (n int) {
	for i := range samples {
		dx, dy := 2*(i%4)-3, 2*(i/4)-3 // quarters of half a side
		if person(4*x+dx*half, 4*y+dy*half) {
			n++
		}
	}
	return n
}

// person tells whether a point, in eighths of a pixel, is in the head or the shoulders.
func person(x, y int) bool {
	const unit = 8
	inside := func(cx, cy, rx, ry int) bool {
		dx, dy := (x-cx*unit)*ry, (y-cy*unit)*rx
		return dx*dx+dy*dy < rx*ry*unit*rx*ry*unit
	}
	return inside(90, 68, 32, 36) || inside(90, 172, 62, 58)
}

func blend(from, to byte, n int) byte { return byte((int(from)*(samples-n) + int(to)*n) / samples) }

// ReadAvatar makes a picture of a file's bytes, which are raw I420 of the size in its name ("face.180x180.yuv"), with even sides.
// ErrAvatar when they are not. data is kept.
func ReadAvatar(name string, data []byte) (*codec.Picture, error) {
	base, ok := strings.CutSuffix(name, ".yuv")
	size := base[strings.LastIndexByte(base, '.')+1:]
	w, h, ok2 := strings.Cut(size, "x")
	width, err := strconv.Atoi(w)
	height, err2 := strconv.Atoi(h)
	if !ok || !ok2 || err != nil || err2 != nil || size == base || min(width, height) < 2 || max(width, height) > codec.MaxSide ||
		width%2 != 0 || height%2 != 0 || len(data) != width*height*3/2 {
		return nil, ErrAvatar
	}
	y, c := width*height, width*height/4
	return &codec.Picture{
		Width: width, Height: height, StrideY: width, StrideUV: width / 2,
		Y: data[:y:y], U: data[y : y+c : y+c], V: data[y+c:],
	}, nil
}
