package sfu

import (
	"time"

	"portico/shared/rtp/inspect"
)

// Rates are measured over the last second, in pieces.
const (
	ratePieces = 8
	ratePiece  = int64(125 * time.Millisecond)
	rateFresh  = int64(50 * time.Millisecond) // how long a list that was made is given out again
)

// rateSide is how many spatial and temporal layers are told apart; higher ones count as the highest.
const rateSide = 4

type cell struct {
	bytes  uint32
	frames uint32
}

// rates measures what the layers of one Encoding take. The Encoding's lock guards it.
type rates struct {
	pieces    [ratePieces][rateSide][rateSide]cell
	at        int64 // number of the present piece; 0: none yet
	since     int64 // when measuring began
	structure *inspect.Structure
	sizes     [rateSide]inspect.Size
	sized     int // how many of them are known
	list      []LayerRate
	listed    int64
}

// add counts a packet.
func (r *rates) add(raw []byte, h *inspect.Header, p *packet, now int64) {
	r.advance(now)
	f := &p.frame
	if f.Structure != r.structure {
		r.restart(f.Structure, now)
	}
	piece := &r.pieces[r.at%ratePieces]
	if s := f.Structure; s != nil { // what a frame counts for is told for each decode target
		for i := range s.Count {
			if f.Indication(i) != inspect.NotPresent {
				d := s.Targets[i]
				piece[min(d.Spatial, rateSide-1)][min(d.Temporal, rateSide-1)].add(raw, f.Begin && f.Spatial == d.Spatial)
			}
		}
		return
	}
	begins := f.Begin
	if !f.Begin && !f.End && f.PictureAt == 0 {
		begins = p.first // packets that do not tell
	}
	piece[min(f.Spatial, rateSide-1)][min(f.Temporal, rateSide-1)].add(raw, begins)
	if p.keyFrame && f.Layered {
		if sizes, n := inspect.VP9Sizes(h.Payload(raw)); n > 0 && f.Begin {
			r.sized = min(n, rateSide)
			copy(r.sizes[:], sizes[:])
		}
	}
}

func (c *cell) add(raw []byte, begins bool) {
	c.bytes += uint32(len(raw))
	if begins {
		c.frames++
	}
}

// advance empties the pieces that are over.
func (r *rates) advance(now int64) {
	at := now / ratePiece
	if r.at == 0 || at-r.at >= ratePieces {
		r.pieces = [ratePieces][rateSide][rateSide]cell{}
		if r.at == 0 {
			r.since = now
		}
		r.at = at
	}
	for r.at < at {
		r.at++
		r.pieces[r.at%ratePieces] = [rateSide][rateSide]cell{}
	}
}

func (r *rates) restart(s *inspect.Structure, now int64) {
	*r = rates{at: r.at, since: now, structure: s}
	if s == nil {
		return
	}
	for i := range min(s.Spatial, rateSide) {
		if r.sizes[i] = s.Sizes[i]; r.sizes[i].Width != 0 {
			r.sized = i + 1
		}
	}
}

// sum adds the pieces up.
func (r *rates) sum() (total [rateSide][rateSide]cell) {
	for i := range r.pieces {
		for s := range rateSide {
			for t := range rateSide {
				total[s][t].bytes += r.pieces[i][s][t].bytes
				total[s][t].frames += r.pieces[i][s][t].frames
			}
		}
	}
	return total
}

// layers makes the list. width and height are those of the whole picture.
func (r *rates) layers(width, height int, now int64) []LayerRate {
	if r.list != nil && now-r.listed < rateFresh {
		return r.list
	}
	r.advance(now)
	total := r.sum()
	span := min(max(now-r.since, ratePiece), (ratePieces-1)*ratePiece+now%ratePiece)
	seconds := float64(span) / float64(time.Second)
	list := make([]LayerRate, 0, 4)
	highest := 0
	for s := range rateSide {
		for t := range rateSide {
			if total[s][t].bytes == 0 {
				continue
			}
			highest = s
			bytes, frames := r.upTo(&total, s, t)
			list = append(list, LayerRate{
				Spatial: int8(s), Temporal: int8(t), Bitrate: float64(bytes) * 8 / seconds, FrameRate: float64(frames) / seconds,
			})
		}
	}
	for i := range list {
		l := &list[i]
		l.Width, l.Height = r.size(int(l.Spatial), highest, width, height)
	}
	r.list, r.listed = list, now
	return list
}

// upTo is what a layer takes with all below it.
func (r *rates) upTo(total *[rateSide][rateSide]cell, spatial, temporal int) (bytes, frames uint64) {
	if r.structure != nil {
		c := total[spatial][temporal]
		return uint64(c.bytes), uint64(c.frames)
	}
	for s := range spatial + 1 {
		for t := range temporal + 1 {
			bytes += uint64(total[s][t].bytes)
			if s == spatial {
				frames += uint64(total[s][t].frames)
			}
		}
	}
	return bytes, frames
}

// size is that of a spatial layer. Where the stream does not tell, each is half of the next.
func (r *rates) size(spatial, highest, width, height int) (int, int) {
	if spatial < r.sized {
		return r.sizes[spatial].Width, r.sizes[spatial].Height
	}
	shift := max(0, highest-spatial)
	return width >> shift, height >> shift
}

// Layers are the layers that came during the last second, spatial ones outermost, each with the rate of all that it needs; empty
// while nothing comes. The slice is shared and must not be changed. Of audio there are none.
func (e *Encoding) Layers(now int64) []LayerRate {
	if e.rates == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rates.layers(e.width, e.height, now)
}
