// Package videomix draws the pictures of a view's inputs into one (rooms-and-media 5.7).
//
// It stands between the decoders and the encoders of a mix. A Compositor has a canvas of the view's size, filled with the background,
// and an Input for each stream that is mixed; a layout.Scene says which of them are shown, and where. Whoever decodes an input gives
// its pictures to Show, or to Lend, which scale each at once into a tile: the picture as it will be on the canvas. Compose, called with
// the clock, only copies the tiles whose time has come. Lend saves a copy of every picture: the decoder's own stands for the newest one
// until the next is decoded.
//
// All methods may be called from any goroutine; those of different Inputs do not wait for each other, nor Compose for Show. The
// package starts no goroutine and has no clock: times are nanoseconds of the caller's.
//
// # What is drawn
//
// Regions in the order of the scene, a later one over an earlier one. In a region is the newest picture of its input whose time has
// come, by the fit policy; it stays when the input stops. A muted input shows the avatar, until its first picture after it was
// unmuted. A region without a stream, or whose input has had no picture, is left as background.
package videomix

import (
	"sync"

	"portico/relay/codec"
	"portico/relay/codec/yuv"
	"portico/shared/conference"
	"portico/shared/layout"
)

// Config is what a Compositor is made for.
type Config struct {
	Width, Height int // of the canvas, 1 to codec.MaxSide; what is outside is taken for the nearest that is not
	Background    conference.Color
	Crop          bool           // regions are filled, pictures cut; else letterboxed
	Avatar        *codec.Picture // not changed by anybody from now on; nil: Avatar()
}

// Compositor draws one view. Make it with New.
type Compositor struct {
	size    layout.Size
	policy  layout.FitPolicy
	y, u, v byte // the background
	avatar  *codec.Picture

	mu      sync.Mutex // guards the fields below; taken before the locks of Inputs
	canvas  *codec.Picture
	inputs  map[string]*Input
	slots   []slot // of the scene in the order of drawing
	overlap bool   // what is drawn of some slots does
	whole   bool   // everything has to be drawn anew
}

// slot is a region with a stream.
type slot struct {
	stream string
	place  layout.Rect
	in     *Input      // nil: none with that name
	tile   *tile       // on the canvas, of in; nil: none
	drawn  layout.Rect // where it is; empty: nowhere
	redraw bool
}

// New makes a Compositor without inputs and with an empty scene.
func New(config Config) *Compositor {
	c := &Compositor{
		size:   layout.Size{W: side(config.Width), H: side(config.Height)},
		policy: layout.Letterbox,
		avatar: config.Avatar,
		inputs: make(map[string]*Input),
		whole:  true,
	}
	if config.Crop {
		c.policy = layout.Crop
	}
	if !usable(c.avatar) {
		c.avatar = Avatar()
	}
	c.y, c.u, c.v = convert(config.Background)
	c.canvas = codec.NewPicture(c.size.W, c.size.H)
	return c
}

func side(n int) int { return min(max(n, 1), codec.MaxSide) }

// usable tells whether a picture can be shown at all.
func usable(p *codec.Picture) bool {
	return p.Valid() && p.Width <= codec.MaxSide && p.Height <= codec.MaxSide
}

// convert turns a colour into Y, Cb and Cr, cut off behind the point. In whole thousandths, because the sums of decimals would come
// out a little below the whole numbers that they are.
func convert(c conference.Color) (y, u, v byte) {
	part := func(n int) int { return min(max(n, 0), 255) }
	r, g, b := part(c.R), part(c.G), part(c.B)
	y = byte((257*r + 504*g + 98*b + 16_000) / 1000)
	u = byte((-148*r - 291*g + 439*b + 128_000) / 1000)
	v = byte((439*r - 368*g - 71*b + 128_000) / 1000)
	return y, u, v
}

// AddInput makes the input of a stream, or gives the one that is there already.
func (c *Compositor) AddInput(stream string) *Input {
	c.mu.Lock()
	defer c.mu.Unlock()
	if in := c.inputs[stream]; in != nil {
		return in
	}
	in := &Input{stream: stream, policy: c.policy, avatar: c.avatar}
	c.inputs[stream] = in
	for i := range c.slots {
		if s := &c.slots[i]; s.stream == stream {
			s.in = in
			in.setPlace(s.place)
		}
	}
	return in
}

// RemoveInput takes an input out; its region is left as background. Doing so twice is no error, and what the input still shows is
// not drawn.
func (c *Compositor) RemoveInput(in *Input) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inputs[in.stream] != in {
		return
	}
	delete(c.inputs, in.stream)
	for i := range c.slots {
		if s := &c.slots[i]; s.in == in {
			s.in = nil
		}
	}
	in.remove()
}

// SetScene changes what is shown where. The scene may name streams without an input, which may come later; of a stream that is in it
// twice only the first counts. Inputs whose regions change their size have the newest picture they were given scaled again, here.
func (c *Compositor) SetScene(scene layout.Scene) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slots = c.slots[:0]
	c.whole = true
	shown := make(map[string]bool, len(scene))
	for _, p := range scene {
		place := layout.Place(p.Region.Area, c.size)
		if p.Stream == "" || shown[p.Stream] || place.Empty() {
			continue
		}
		shown[p.Stream] = true
		in := c.inputs[p.Stream]
		c.slots = append(c.slots, slot{stream: p.Stream, place: place, in: in})
		if in != nil {
			in.setPlace(place)
		}
	}
	for stream, in := range c.inputs {
		if !shown[stream] {
			in.setPlace(layout.Rect{})
		}
	}
}

// Compose gives the picture of the time now. It is the Compositor's, valid and unchanged until the next call; changed is false when
// it is the same as that of the call before. It does not allocate.
func (c *Compositor) Compose(now int64) (canvas *codec.Picture, changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.slots {
		c.slots[i].advance(now, &c.whole)
	}
	if c.whole {
		c.drawWhole()
		c.whole = false
		return c.canvas, true
	}
	for i := range c.slots {
		s := &c.slots[i]
		if s.redraw || c.overlap && c.disturbed(i) {
			s.redraw = true
			yuv.Copy(c.canvas, s.drawn, s.tile.picture)
			changed = true
		}
	}
	return c.canvas, changed
}

// advance takes the tile that is to be shown now. When it does not cover exactly what the one before did, the background shows, and
// what is below: then all is drawn.
func (s *slot) advance(now int64, whole *bool) {
	var t *tile
	s.redraw = false
	if s.in != nil {
		t, s.redraw = s.in.take(now)
	}
	var at layout.Rect
	if t != nil {
		at = t.dst
	}
	if at != s.drawn {
		*whole = true
	}
	s.tile, s.drawn = t, at
	s.redraw = s.redraw && !at.Empty()
}

// disturbed tells whether a slot before i is drawn anew where this one is over it.
func (c *Compositor) disturbed(i int) bool {
	if c.slots[i].drawn.Empty() {
		return false
	}
	for k := range i {
		if s := &c.slots[k]; s.redraw && intersect(s.drawn, c.slots[i].drawn) {
			return true
		}
	}
	return false
}

func (c *Compositor) drawWhole() {
	yuv.Fill(c.canvas, yuv.Whole(c.canvas), c.y, c.u, c.v)
	c.overlap = false
	for i := range c.slots {
		s := &c.slots[i]
		if s.drawn.Empty() {
			continue
		}
		yuv.Copy(c.canvas, s.drawn, s.tile.picture)
		for k := range i {
			c.overlap = c.overlap || intersect(c.slots[k].drawn, s.drawn)
		}
	}
}

func intersect(a, b layout.Rect) bool {
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}
