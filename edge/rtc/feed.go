package rtc

import (
	"errors"
	"sync"

	"portico/shared/conference"
)

// ErrNoFormat is of a change that would need another codec than was negotiated.
var ErrNoFormat = errors.New("rtc: the negotiated codec cannot carry it")

// Feed is a track that subscriptions name like a published one and that has no media of its own: for each of them they are made by the
// Converter. Make it with Engine.OpenFeed.
type Feed struct {
	engine *Engine
	track  *published
	once   sync.Once
}

// OpenFeed makes the track known; id was never used before. Its owner calls Close. It fails with ErrIDInUse, ErrBadTracks (an unknown
// kind) or ErrClosed.
func (e *Engine) OpenFeed(id string, kind conference.Kind) (*Feed, error) {
	if kind != conference.Audio && kind != conference.Video {
		return nil, ErrBadTracks
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return nil, ErrClosed
	case id == "" || e.trackNamed(id) != nil:
		return nil, ErrIDInUse
	}
	f := &Feed{engine: e, track: &published{id: id, line: &mline{kind: kind}, virtual: true, subscribers: make(map[*session]bool)}}
	e.feeds[id] = f.track
	return f, nil
}

// Close ends the track, and its subscriptions as with any lost source. It is safe twice.
func (f *Feed) Close() {
	f.once.Do(func() {
		e := f.engine
		var effects effects
		e.mu.Lock()
		delete(e.feeds, f.track.id)
		f.track.lose(&effects)
		e.mu.Unlock()
		effects.run(e.now())
	})
}

// lose ends the subscriptions of a track that is no more. The Engine's mu is held.
func (p *published) lose(effects *effects) {
	for s := range p.subscribers {
		if !s.ended {
			s.end(effects)
			effects.tell(s, ReasonSourceLoss)
		}
	}
}

// supply is where an m-line's media come from.
type supply struct {
	feed   *published
	made   *conversion // nil: they are the feed's as they are
	adapts bool
}

// Change feeds an m-line of a subscription from another source, or from the same one made otherwise. Nothing is negotiated, so the
// codec stays. What the client gets goes on until the new media are there. It fails with ErrNoSuchTrack, also for a subscription or
// m-line that is not there, or with ErrNoFormat, and then nothing has changed. An empty mid means the first m-line of that kind.
func (e *Engine) Change(id string, to SubTrack) error {
	e.mu.Lock()
	l, err := e.subscribed(id, &to)
	var feed *published
	if err == nil {
		if feed = e.trackNamed(to.From); feed == nil || feed.line.kind != l.kind {
			err = ErrNoSuchTrack
		}
	}
	var effects effects
	if err == nil {
		err = l.change(feed, &to, &effects)
	}
	goesOn := err == nil && l.before != nil
	e.mu.Unlock()
	if err != nil {
		return err
	}
	effects.run(e.now())
	if !goesOn {
		l.refeed()
	}
	return nil
}

// subscribed is the m-line that a change is about. The Engine's mu is held.
func (e *Engine) subscribed(id string, to *SubTrack) (*mline, error) {
	if s := e.sessions[id]; s != nil && !s.publishes {
		for _, l := range s.lines {
			if l.feed != nil && l.kind == to.Kind && (to.Mid == "" || to.Mid == l.mid) {
				return l, nil
			}
		}
	}
	return nil, ErrNoSuchTrack
}

// change is Change with the Engine's mu held.
func (l *mline) change(feed *published, to *SubTrack, effects *effects) error {
	was, from, making, old := supply{l.feed, l.made, l.adapts}, l.from, l.making, l.sent
	l.feed, l.from, l.making, l.adapts = feed, to.From, to.Making, to.Adapt
	if l.accepted {
		c := l.choose(&section{kind: l.kind, formats: []format{l.negotiated}}, l.session.transport.engine.config.Converter)
		if c.format == nil {
			l.feed, l.from, l.making, l.adapts, l.sent = was.feed, from, making, was.adapts, old
			return ErrNoFormat
		}
		l.switchTo(c, was, effects)
	}
	l.display = to.Display
	l.session.release(was.feed)
	feed.subscribers[l.session] = true
	return nil
}

// switchTo makes a choice the m-line's. Of what it had before, was, the media go on until others come. The Engine's mu is held.
func (l *mline) switchTo(c choice, was supply, effects *effects) {
	older := l.before
	l.sent, l.made, l.before = c.sent, nil, nil
	if c.made {
		l.made = l.convert(c.sent)
		effects.opening = append(effects.opening, l.made)
		l.before = &was
		if older != nil && (was.made == nil || was.made.encoding == nil) { // that one never came to it
			l.before, older = older, &was
		}
	} else if was.made != nil {
		effects.leaving = append(effects.leaving, was.made)
	}
	if older != nil && older.made != nil {
		effects.leaving = append(effects.leaving, older.made)
	}
}

// release lets go of a source unless an m-line of the session still has it. The Engine's mu is held.
func (s *session) release(feed *published) {
	for _, l := range s.lines {
		if l.feed == feed {
			return
		}
	}
	delete(feed.subscribers, s)
}
