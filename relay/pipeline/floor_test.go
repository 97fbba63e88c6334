//go:build cgo && linux

package pipeline

import (
	"fmt"
	"sync/atomic"
	"testing"

	"portico/relay/codec"
	"portico/relay/codec/yuv"
	"portico/shared/conference"
	"portico/shared/layout"
)

// floor is what the libraries need for a mix and nothing else: decoders, libyuv and an encoder, called one after the other on one
// thread. There are no packets, buffers, clocks or locks, and nothing is kept.
type floor struct {
	t        testing.TB
	clip     *clip
	decoders []codec.VideoDecoder
	places   []layout.Rect
	canvas   *codec.Picture
	encoder  codec.VideoEncoder
	ticks    int64

	canvases   []*codec.Picture // of a clip, for clips
	other      codec.VideoEncoder
	otherTicks int64
}

func newFloor(t testing.TB, c *clip, name string, n int) *floor {
	f := &floor{t: t, clip: c, places: placesOf(t, n), canvas: codec.NewPicture(1280, 720)}
	for range n {
		d, err := built{}.VideoDecoder(name)
		if err != nil {
			t.Fatal(err)
		}
		f.decoders = append(f.decoders, d)
	}
	for _, e := range []*codec.VideoEncoder{&f.encoder, &f.other} {
		var err error
		*e, err = built{}.VideoEncoder(codec.VideoConfig{
			Format: conference.Format{Codec: name}, Width: 1280, Height: 720, Framerate: 30, Bitrate: mixRate,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range clipFrames {
		f.canvases = append(f.canvases, codec.NewPicture(1280, 720))
		for k := range f.decoders {
			f.draw(f.canvases[i], k, i)
		}
	}
	return f
}

func (f *floor) close() {
	for _, d := range f.decoders {
		d.Close()
	}
	f.encoder.Close()
	f.other.Close()
}

// draw decodes picture i of input k and scales it into its place.
func (f *floor) draw(canvas *codec.Picture, k, i int) {
	p, err := f.decoders[k].Decode(f.clip.frames[i])
	if err != nil || p == nil {
		f.t.Fatal(err)
	}
	_, dst := layout.Fit(layout.Letterbox, layout.Size{W: p.Width, H: p.Height}, f.places[k])
	yuv.Scale(canvas, dst, p, yuv.Whole(p))
}

func (f *floor) encode(e codec.VideoEncoder, canvas *codec.Picture, ticks *int64) {
	*ticks += 3000
	if _, _, err := e.Encode(canvas, *ticks, false); err != nil {
		f.t.Fatal(err)
	}
}

// mixed is the CPU time of the slice from picture from on, in the order that a mix cannot do without, as every input has its next
// picture only when the others have theirs: one frame of each decoded and scaled into the canvas, which is then encoded. What a decoder
// knows of its last picture is no longer in the processor's caches when its turn comes again.
func (f *floor) mixed(from int) float64 {
	var took atomic.Int64
	spent(&took, func() {
		for i := from; i < from+slicePictures; i++ {
			for k := range f.decoders {
				f.draw(f.canvas, k, i)
			}
			f.encode(f.encoder, f.canvas, &f.ticks)
		}
	})
	return float64(took.Load())
}

// clips is that of a round in an order that only files allow: every input decoded and scaled to its end before the next one,
// and at last the canvases encoded, which were made before. No mix of what is sent right now can be compared with it; it tells what
// the order alone costs.
func (f *floor) clips() float64 {
	var took atomic.Int64
	spent(&took, func() {
		for k := range f.decoders {
			for i := range clipFrames {
				f.draw(f.canvas, k, i)
			}
		}
		for _, c := range f.canvases {
			f.encode(f.other, c, &f.otherTicks)
		}
	})
	return float64(took.Load())
}

func placesOf(t testing.TB, n int) (places []layout.Rect) {
	a, err := layout.New(conference.Templates{Base: "fluid"}, 16)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		a = a.Add(fmt.Sprint("S", i))
	}
	for _, p := range a.Scene() {
		places = append(places, layout.Place(p.Region.Area, layout.Size{W: 1280, H: 720}))
	}
	return places
}
