package sfu

import (
	"math"
	"slices"
	"time"

	"portico/edge/sfu/layer"
)

// Target is what a Subscription should forward: one of its sources, and of that the layers up to these. -1 stands for all.
type Target = layer.Target

// All asks for everything that the source with that place in the list has.
func All(encoding int) Target { return Target{Encoding: encoding, Spatial: -1, Temporal: -1} }

// Reason is why a Subscription forwards what it forwards.
type Reason uint8

// The reasons. The first are those that a target is chosen for, the others come from the Subscription itself.
const (
	ReasonNone       Reason = iota // nothing has been chosen yet
	ReasonAsked                    // the subscriber asked for it
	ReasonDisplayed                // it is as large as it is displayed
	ReasonBandwidth                // more does not fit
	ReasonKeyFrame                 // a key frame is being waited for
	ReasonSourceEnds               // the source has no more
	ReasonPaused                   // the subscriber has paused it
	ReasonMuted                    // the source is muted
	ReasonOverloaded               // the edge does not keep up
	reasons
)

var reasonNames = [reasons]string{
	"none", "asked for", "displayed size", "bandwidth", "waiting for key frame", "source has no more", "paused by subscriber", "muted",
	"overloaded",
}

// String names the reason, for people.
func (r Reason) String() string {
	if r >= reasons {
		return "unknown"
	}
	return reasonNames[r]
}

// LayerRate is what one layer of an Encoding, with all that it needs below it, takes.
type LayerRate struct {
	Spatial, Temporal int8
	Width, Height     int     // 0 while unknown
	Bitrate           float64 // bit/s of RTP packets, headers included
	FrameRate         float64 // a second
}

// Quality is what a Subscription forwards at one moment, and why.
type Quality struct {
	Width, Height int    // of the largest picture that the sources have, 0 while unknown
	Target        Target // what was asked of the Subscription
	Current       Target // what it forwards; Encoding is -1 for nothing
	Reason        Reason
	Since         time.Time // when the reason changed last
	Bitrate       float64   // bit/s sent during the last second, of RTP packets without those sent again
	FrameRate     float64
}

// plan is what a Subscription is to do. It is not changed once it is published.
type plan struct {
	sources []*Encoding
	tail    *Encoding // goes on until the source wanted has a key frame; nil: none
	target  Target    // Encoding is within sources
	asked   Target    // as it was asked for
	reason  Reason
}

// wanted is the encoding to forward, nil for none.
func (p *plan) wanted() *Encoding {
	if len(p.sources) == 0 {
		return nil
	}
	return p.sources[p.target.Encoding]
}

// place is the encoding's number for the selector; -1: it is not wanted.
func (p *plan) place(e *Encoding) int {
	if i := slices.Index(p.sources, e); i >= 0 || e == nil {
		return i
	}
	if e == p.tail {
		return len(p.sources)
	}
	return -1
}

// aim sets the target, which may lie outside of what the sources have.
func (p *plan) aim(t Target) {
	p.asked, p.target = t, t
	p.target.Encoding = max(0, min(t.Encoding, len(p.sources)-1))
}

// SetSource makes the Subscription get all of e, of the same codec as before; nil stops it. Video goes on with the next key frame,
// which is asked for; the receiver sees one unbroken stream. Until then it still gets the encoding before if that is of the same
// sender: another layer of the same picture, as a rule.
func (s *Subscription) SetSource(e *Encoding, now int64) {
	var list []*Encoding
	if e != nil {
		list = []*Encoding{e}
	}
	s.setSources(list, All(0), ReasonAsked, now)
}

// SetSources lets the Subscription choose among the encodings of one source, the smallest first; SetTarget says which, the target
// before holds where it can. Otherwise it is like SetSource.
func (s *Subscription) SetSources(list []*Encoding, now int64) {
	before := s.plan.Load()
	s.setSources(slices.Clone(list), before.asked, before.reason, now)
}

func (s *Subscription) setSources(list []*Encoding, t Target, reason Reason, now int64) {
	s.mu.Lock()
	before := s.plan.Load()
	p := &plan{sources: list, reason: reason}
	p.aim(t)
	old, wanted := s.current.Load(), p.wanted()
	if old != nil && wanted != nil && s.config.Video && old.config.Timeline == wanted.config.Timeline {
		p.tail = old
	}
	if slices.Equal(before.sources, p.sources) && before.target == p.target {
		s.mu.Unlock()
		return
	}
	s.plan.Store(p)
	s.reconcile()
	s.mu.Unlock()
	if wanted != nil && wanted != before.wanted() {
		s.want(wanted, now)
	}
	s.note(now)
}

// SetTarget chooses what to forward of the sources, and says why. Another encoding begins at its next key frame, which is asked
// for, and the old one goes on until then; fewer layers of one encoding begin with the next picture, more of them where that is
// possible. What the sources do not have is understood as the most they have.
func (s *Subscription) SetTarget(t Target, reason Reason, now int64) {
	s.mu.Lock()
	before := s.plan.Load()
	if before.asked == t && before.reason == reason {
		s.mu.Unlock()
		return
	}
	p := *before
	p.reason = reason
	p.aim(t)
	s.plan.Store(&p)
	s.reconcile()
	s.mu.Unlock()
	if wanted := p.wanted(); wanted != nil && wanted != before.wanted() {
		s.want(wanted, now)
	}
	s.note(now)
}

// want gets a key frame of e: from the history, where nothing of the same sender is being forwarded, or was later; else from the
// sender.
func (s *Subscription) want(e *Encoding, now int64) {
	if s.paused.Load() || s.closed.Load() {
		return
	}
	old := s.current.Load()
	anew := old == nil || old.config.Timeline != e.config.Timeline
	if anew || !s.live.Load() {
		r, ok := e.replayable(now)
		if ok && (anew || r.arrival > s.stopped.Load()) && s.order(control{sub: s, kind: controlStart}) {
			return
		}
	}
	e.RequestKeyFrame(now)
}

// reconcile attaches the Subscription to the encodings that its plan needs packets of: the one wanted, and the one that goes on
// until that has a key frame. mu is held.
func (s *Subscription) reconcile() {
	p := s.plan.Load()
	var need [2]*Encoding
	if !s.closed.Load() {
		need[0] = p.wanted()
		if now := s.current.Load(); now != need[0] && p.place(now) >= 0 {
			need[1] = now
		}
	}
	for i, e := range s.attached {
		if e != nil && e != need[0] && e != need[1] {
			e.detach(s)
			s.attached[i] = nil
		}
	}
	for _, e := range need {
		if e == nil || e == s.attached[0] || e == s.attached[1] {
			continue
		}
		e.attach(s)
		if s.attached[0] == nil {
			s.attached[0] = e
		} else {
			s.attached[1] = e
		}
	}
}

// Target is what was asked for last.
func (s *Subscription) Target() Target { return s.plan.Load().asked }

// Reason is why the Subscription forwards what it forwards, and since when that has been the reason.
func (s *Subscription) Reason(now int64) (Reason, time.Time) {
	reason, since := s.note(now)
	return reason, time.Unix(0, since)
}

// note finds out the present reason and when it changed. It must not be called with an Encoding's lock held.
func (s *Subscription) note(now int64) (Reason, int64) {
	reason := s.why(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	if reason != s.reason || s.since == 0 {
		s.reason, s.since = reason, now
	}
	return s.reason, s.since
}

func (s *Subscription) why(now int64) Reason {
	p := s.plan.Load()
	e := p.wanted()
	switch {
	case s.paused.Load():
		return ReasonPaused
	case e == nil:
		return ReasonNone
	case e.mutedNow():
		return ReasonMuted
	case s.spared.Load() > now:
		return ReasonOverloaded
	case s.config.Video && (!s.live.Load() || s.current.Load() != e):
		return ReasonKeyFrame
	case p.asked.Encoding > p.target.Encoding || p.asked.Spatial > 0 && int(p.asked.Spatial) > e.topSpatial(now):
		return ReasonSourceEnds
	}
	return p.reason
}

// Quality tells what the Subscription forwards now.
func (s *Subscription) Quality(now int64) Quality {
	p := s.plan.Load()
	q := Quality{Target: p.asked, Current: Target{Encoding: -1}}
	for _, e := range p.sources {
		if w, h := e.Size(); w*h > q.Width*q.Height {
			q.Width, q.Height = w, h
		}
	}
	if e := s.current.Load(); e != nil && s.live.Load() && !s.paused.Load() {
		limits := layer.FromNote(s.limits.Load())
		q.Current = Target{Encoding: p.place(e), Spatial: int8(limits.Spatial), Temporal: int8(limits.Temporal)}
		s.meter.read(&q, now)
	}
	reason, since := s.note(now)
	q.Reason, q.Since = reason, time.Unix(0, since)
	return q
}

// topSpatial is the highest spatial layer that came lately; a large number while that is unknown.
func (e *Encoding) topSpatial(now int64) int {
	list := e.Layers(now)
	if len(list) == 0 {
		return math.MaxInt
	}
	return int(list[len(list)-1].Spatial)
}

func (e *Encoding) mutedNow() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.muted
}
