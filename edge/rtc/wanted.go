package rtc

import (
	"slices"
	"time"

	"portico/edge/sfu"
	"portico/edge/sfu/bitrate"
)

// unwantedTime is how long no subscription has had a use for a layer until its publisher is told, and as long after its beginning.
const unwantedTime = 10 * time.Second

// wanted is which layers of simulcast publications somebody has a use for, and what their publishers were told of it. It is the
// steerer's alone.
type wanted struct {
	at    map[*sfu.Encoding]int64 // when it last was
	lists []layersWanted          // scratch, as
	pulls []*published
}

// layersWanted is what a publisher is to be told.
type layersWanted struct {
	session *session
	rids    []string
}

// want notes that an encoding has a use.
func (w *wanted) want(e *sfu.Encoding, now int64) {
	if w.at == nil {
		w.at = make(map[*sfu.Encoding]int64)
	}
	w.at[e] = now
}

// grant notes what a line uses, and what it would use if it were there.
func (x *steeredLine) grant(w *wanted, g bitrate.Grant, now int64) {
	for _, layer := range []int{g.Layer, g.Best} {
		if layer >= 0 && layer < len(x.layers) {
			w.want(x.sources[x.layers[layer].Encoding], now)
		}
	}
	if !x.adapts && !x.paused && len(x.sources) > 0 {
		w.want(x.sources[0], now)
	}
	if x.remote && x.active && len(x.sources) > 0 && (!x.adapts || len(x.layers) == 0 || g.Layer < 0) {
		w.want(x.sources[0], now) // also while it is muted: what is said after that is not to wait
	}
}

// tell lets publishers that can turn layers off know when it has changed which of them are of use. The smallest always is: somebody
// may join.
func (w *wanted) tell(e *Engine, now int64) {
	w.lists = w.lists[:0]
	e.mu.Lock()
	for _, s := range e.sessions {
		if !s.publishes || !s.ready {
			continue
		}
		for _, l := range s.lines {
			if !l.obeys {
				continue
			}
			if rids, changed := l.review(w, now); changed {
				w.lists = append(w.lists, layersWanted{s, rids})
			}
		}
	}
	w.decide(e, now)
	for encoding, at := range w.at {
		if now-at > 2*int64(unwantedTime) {
			delete(w.at, encoding)
		}
	}
	e.mu.Unlock()
	for _, n := range w.lists {
		t := n.session.transport
		_ = t.loop.Post(func() { t.events.LayersWanted(n.session.id, n.rids) }) // refused at the end
	}
	for _, p := range w.pulls {
		p.say()
	}
	clear(w.pulls)
}

// decide finds out which tracks of other edges are wanted, and of which that has changed. The Engine's mu is held.
func (w *wanted) decide(e *Engine, now int64) {
	w.pulls = w.pulls[:0]
	for _, r := range e.remotes {
		for _, p := range r.tracks {
			w.decideOne(p, now)
		}
	}
	for p := range e.heirs { // what goes on until they come
		for _, old := range p.forebears {
			if old.remote != nil && !old.gone {
				w.decideOne(old, now)
			}
		}
	}
}

func (w *wanted) decideOne(p *published, now int64) {
	f := p.remote
	on := f.until > now || w.uses(p, now)
	if on == f.pulled {
		return
	}
	f.pulled = on
	w.pulls = append(w.pulls, p)
	if on {
		f.since = now
	} else if f.intake == nil || !f.intake.came.Load() {
		f.silent = now + int64(silentFor)
	}
}

// uses tells whether somebody has had a use for a track lately, or for what it is the heir of. The Engine's mu is held.
func (w *wanted) uses(p *published, now int64) bool {
	if at, ok := w.at[p.encoding]; ok && now-at < int64(unpulledAfter) {
		return true
	}
	if _, listens := p.engine.selectors.candidates.Load(p); listens {
		return true
	}
	for _, old := range p.forebears {
		if w.uses(old, now) {
			return true
		}
	}
	return false
}

// hold lets a track of another edge be wanted for a while: somebody has asked for it. The Engine's mu is held.
func (p *published) hold(now int64) {
	if p.remote != nil {
		p.remote.until = now + int64(heldFor)
		p.engine.steerer.soon()
	}
}

// review decides which layers of an m-line are of use; changed says that it is not what its publisher was told. The Engine's mu is
// held.
func (l *mline) review(w *wanted, now int64) (rids []string, changed bool) {
	if len(l.tracks) < 2 {
		return nil, false
	}
	if l.begun == 0 {
		l.begun = now
	}
	smallest := 0
	for i, p := range l.tracks {
		if p.area() < l.tracks[smallest].area() {
			smallest = i
		}
	}
	for i, p := range l.tracks {
		if at, ok := w.at[p.encoding]; i == smallest || now-l.begun < int64(unwantedTime) || ok && now-at < int64(unwantedTime) {
			rids = append(rids, p.rid)
		}
	}
	for _, p := range l.tracks {
		off := !slices.Contains(rids, p.rid)
		changed = changed || off != p.off
		p.off = off
	}
	return rids, changed
}
