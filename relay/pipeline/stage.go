package pipeline

import (
	"sync"

	"portico/relay/codec"
	"portico/relay/codec/yuv"
	"portico/relay/videomix"
	"portico/shared/layout"
	"portico/shared/relayproto"
)

// stage is what the outputs show. Its methods are called under videoSide.mu.
type stage interface {
	// compose gives the picture of the time now, valid and unchanged until the next call; nil: there is none yet. changed: it is not
	// as the one before.
	compose(now int64) (p *codec.Picture, changed bool)
	add(id string) tile
	remove(id string, t tile)
	setScene(layout.Scene)
}

// tile is one input's place on a stage.
type tile interface {
	// Lend shows a decoded picture from the time at on. It may be read until Return is called, with keep when it may be the input's
	// last. One goroutine at a time calls both.
	Lend(p *codec.Picture, at int64)
	Return(keep bool)
	SetMuted(muted bool)
	// Place is where the input is shown; empty when it is not.
	Place() layout.Rect
}

// mixed is the stage of a mix.
type mixed struct{ *videomix.Compositor }

func newMixed(v *relayproto.View, avatar *codec.Picture) stage {
	return mixed{videomix.New(videomix.Config{
		Width: v.Width, Height: v.Height, Background: v.Background, Crop: v.Crop, Avatar: avatar,
	})}
}

func (m mixed) compose(now int64) (*codec.Picture, bool) { return m.Compose(now) }
func (m mixed) add(id string) tile                       { return m.AddInput(id) }
func (m mixed) remove(_ string, t tile) {
	if in, ok := t.(*videomix.Input); ok {
		m.RemoveInput(in)
	}
}
func (m mixed) setScene(s layout.Scene) { m.SetScene(s) }

// screenPictures is how many pictures wait for their time.
const screenPictures = 4

// screen is the stage of a transcode: the newest picture of its one input.
type screen struct {
	mu      sync.Mutex // guards the fields below; held while a picture is copied
	waiting []timed    // by time
	shown   *codec.Picture
	spare   []*codec.Picture
}

type timed struct {
	p  *codec.Picture
	at int64
}

func (s *screen) add(string) tile       { return s }
func (s *screen) setScene(layout.Scene) {}

func (s *screen) remove(string, tile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting, s.spare = nil, nil
}

// SetMuted changes nothing: the last picture stays.
func (s *screen) SetMuted(bool) {}

// Place is never empty: there is only one.
func (s *screen) Place() layout.Rect { return layout.Rect{W: codec.MaxSide, H: codec.MaxSide} }

// Lend copies the picture.
func (s *screen) Lend(p *codec.Picture, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == screenPictures {
		s.give(s.waiting[0].p)
		s.waiting = append(s.waiting[:0], s.waiting[1:]...)
	}
	own := s.take(p.Width, p.Height)
	yuv.Copy(own, yuv.Whole(own), p)
	if n := len(s.waiting); n > 0 {
		at = max(at, s.waiting[n-1].at)
	}
	s.waiting = append(s.waiting, timed{own, at})
}

// Return has nothing to give back.
func (s *screen) Return(bool) {}

func (s *screen) take(width, height int) *codec.Picture {
	for len(s.spare) > 0 {
		p := s.spare[len(s.spare)-1]
		s.spare = s.spare[:len(s.spare)-1]
		if p.Width == width && p.Height == height {
			return p
		}
	}
	return codec.NewPicture(width, height)
}

func (s *screen) give(p *codec.Picture) {
	if len(s.spare) < screenPictures {
		s.spare = append(s.spare, p)
	}
}

func (s *screen) compose(now int64) (*codec.Picture, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := false
	for len(s.waiting) > 0 && s.waiting[0].at <= now {
		if s.shown != nil {
			s.give(s.shown)
		}
		s.shown, changed = s.waiting[0].p, true
		s.waiting = append(s.waiting[:0], s.waiting[1:]...)
	}
	return s.shown, changed
}
