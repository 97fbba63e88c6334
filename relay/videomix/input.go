package videomix

import (
	"math"
	"slices"
	"sync"

	"portico/relay/codec"
	"portico/relay/codec/yuv"
	"portico/shared/layout"
)

const (
	maxQueued = 4             // tiles that wait for their time
	maxSpare  = 4             // tiles kept to be used again
	atOnce    = math.MinInt64 // a time that has come
)

// Input is one stream of a Compositor. Make it with AddInput.
type Input struct {
	stream string
	policy layout.FitPolicy
	avatar *codec.Picture

	work   sync.Mutex     // held while a picture is scaled; taken before mu
	last   *codec.Picture // the newest picture, for regions that change; nil: none, or given back
	own    *codec.Picture // memory for last when it is a copy; nil: none yet
	lent   bool           // last is memory of whoever lent it
	muted  bool
	veiled bool // the avatar is shown: muted, or no picture has come since
	gone   bool

	mu     sync.Mutex // a leaf, held shortly: guards the fields below
	place  layout.Rect
	queue  []*tile // by time
	due    *tile   // to be shown next, whatever its time
	shown  *tile   // on the canvas: nobody writes to it
	spare  []*tile
	latest layout.Rect // Place: place, or empty while muted
}

// tile is a picture as it is drawn.
type tile struct {
	picture *codec.Picture // of dst's size; nil when that is empty
	source  layout.Size    // of the picture it was scaled from
	dst     layout.Rect    // on the canvas; empty when nothing of the picture would be seen
	at      int64
}

// Place is the input's region on the canvas, in pixels; empty when its pictures are not seen, because it is muted or has no region:
// then nothing needs to be decoded. For layout.Encoding, which chooses among simulcast encodings.
func (in *Input) Place() layout.Rect {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.latest
}

// Show takes the input's next picture, to be shown from the time at on, in nanoseconds, until another's has come; what is in the past
// is shown at once. The picture is scaled before Show returns, and not kept. Four wait at most: a fifth has the first shown at once.
// While the input is muted nothing is taken. One goroutine at a time is to call Show, Lend and Return.
func (in *Input) Show(p *codec.Picture, at int64) {
	in.work.Lock()
	defer in.work.Unlock()
	in.show(p, at)
	in.keep()
}

// Lend is Show without the copy that a region needs which changes later: p is read for that until it is taken back with Return.
func (in *Input) Lend(p *codec.Picture, at int64) {
	in.work.Lock()
	defer in.work.Unlock()
	in.show(p, at)
}

// Return gives the picture of Lend back, which is not read any more. With keep it is copied: for one that may be the input's last. Else
// a region that changes its size before the next picture comes has what it showed scaled once more. Without a loan nothing happens.
func (in *Input) Return(keep bool) {
	in.work.Lock()
	defer in.work.Unlock()
	if keep {
		in.keep()
	}
	in.giveBack()
}

// show takes a picture on loan.
func (in *Input) show(p *codec.Picture, at int64) {
	if !usable(p) || in.muted || in.gone {
		return
	}
	in.veiled, in.last, in.lent = false, p, true
	if t := in.scaled(p, sizeOf(p), at); t != nil {
		in.push(t)
	}
}

// keep makes what is on loan the input's own.
func (in *Input) keep() {
	if !in.lent {
		return
	}
	p := in.last
	if in.own == nil || in.own.Width != p.Width || in.own.Height != p.Height {
		in.own = codec.NewPicture(p.Width, p.Height)
	}
	yuv.Copy(in.own, yuv.Whole(p), p)
	in.last, in.lent = in.own, false
}

func (in *Input) giveBack() {
	if in.lent {
		in.last, in.lent = nil, false
	}
}

func sizeOf(p *codec.Picture) layout.Size { return layout.Size{W: p.Width, H: p.Height} }

// SetMuted says whether the avatar is shown instead of the input's pictures, of which those that came before are forgotten.
func (in *Input) SetMuted(muted bool) {
	in.work.Lock()
	defer in.work.Unlock()
	if muted == in.muted || in.gone {
		return
	}
	in.muted = muted
	in.mu.Lock()
	in.latest = in.place
	if muted {
		in.latest = layout.Rect{}
	}
	in.mu.Unlock()
	if muted {
		in.veiled, in.last, in.own, in.lent = true, nil, nil, false
		in.showNow()
	}
}

// setPlace moves the input to another region; empty: nowhere.
func (in *Input) setPlace(place layout.Rect) {
	in.work.Lock()
	defer in.work.Unlock()
	in.mu.Lock()
	resized := place.W != in.place.W || place.H != in.place.H
	in.place = place
	if !in.muted {
		in.latest = place
	}
	if !resized {
		for _, t := range append(in.queue, in.due, in.shown) {
			if t != nil {
				_, t.dst = layout.Fit(in.policy, t.source, place)
			}
		}
	}
	in.mu.Unlock()
	if resized {
		in.showNow()
	}
}

// showNow forgets all tiles and makes one of what is to be seen, if anything.
func (in *Input) showNow() {
	newest := in.forget()
	t := &tile{at: atOnce}
	var s *tile
	switch {
	case in.veiled:
		s = in.scaled(in.avatar, sizeOf(in.avatar), atOnce)
	case in.last != nil:
		s = in.scaled(in.last, sizeOf(in.last), atOnce)
	case newest != nil && newest.picture != nil:
		s = in.scaled(newest.picture, newest.source, atOnce)
	}
	if s != nil {
		t = s
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if newest != in.shown {
		in.recycle(newest)
	}
	in.due = t
}

// forget empties the queue. It gives the newest tile, which nobody writes to.
func (in *Input) forget() (newest *tile) {
	in.mu.Lock()
	defer in.mu.Unlock()
	newest = in.shown
	for _, t := range append([]*tile{in.due}, in.queue...) {
		if t == nil {
			continue
		}
		if newest != in.shown {
			in.recycle(newest)
		}
		newest = t
	}
	in.queue, in.due = in.queue[:0], nil
	return newest
}

// scaled makes a tile of a picture, which is itself of a picture of that size, or it; nil without a region.
func (in *Input) scaled(p *codec.Picture, size layout.Size, at int64) *tile {
	in.mu.Lock()
	if in.place.Empty() {
		in.mu.Unlock()
		return nil
	}
	src, dst := layout.Fit(in.policy, size, in.place)
	if size != sizeOf(p) {
		src = yuv.Whole(p)
	}
	t := in.reuse(dst.W, dst.H)
	in.mu.Unlock()
	t.source, t.dst, t.at = size, dst, at
	if !dst.Empty() {
		if t.picture == nil {
			t.picture = codec.NewPicture(dst.W, dst.H)
		}
		yuv.Scale(t.picture, yuv.Whole(t.picture), p, src)
	}
	return t
}

// push queues a tile.
func (in *Input) push(t *tile) {
	in.mu.Lock()
	defer in.mu.Unlock()
	i := len(in.queue)
	for i > 0 && in.queue[i-1].at > t.at {
		i--
	}
	in.queue = slices.Insert(in.queue, i, t)
	if len(in.queue) > maxQueued {
		in.recycle(in.due)
		in.due = in.queue[0]
		in.queue = slices.Delete(in.queue, 0, 1)
	}
}

// take gives the tile to be shown now, nil for none, and whether it is another one than before. It is not written to before the next
// call.
func (in *Input) take(now int64) (t *tile, fresh bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	next := in.due
	in.due = nil
	for len(in.queue) > 0 && in.queue[0].at <= now {
		in.recycle(next)
		next = in.queue[0]
		in.queue = slices.Delete(in.queue, 0, 1)
	}
	if next == nil {
		return in.shown, false
	}
	in.recycle(in.shown)
	in.shown = next
	return next, true
}

// recycle keeps a tile that nobody reads any more. Under mu.
func (in *Input) recycle(t *tile) {
	if t != nil && t.picture != nil && len(in.spare) < maxSpare {
		in.spare = append(in.spare, t)
	}
}

// reuse gives a spare tile of that size, or a new one without a picture; spares of other sizes are let go. Under mu.
func (in *Input) reuse(width, height int) *tile {
	for n := len(in.spare); n > 0; n-- {
		t := in.spare[n-1]
		in.spare[n-1] = nil
		in.spare = in.spare[:n-1]
		if t.picture.Width == width && t.picture.Height == height {
			return t
		}
	}
	return new(tile)
}

// remove lets all memory go.
func (in *Input) remove() {
	in.work.Lock()
	defer in.work.Unlock()
	in.gone, in.last, in.own, in.lent = true, nil, nil, false
	in.mu.Lock()
	defer in.mu.Unlock()
	in.queue, in.due, in.shown, in.spare = nil, nil, nil, nil
	in.place, in.latest = layout.Rect{}, layout.Rect{}
}
