package sfu

import "time"

// Who joins, or goes on after a pause, begins at the newest key frame if no more than this came since: it has a picture at once,
// and the sender is left alone. All of it goes out in one burst, about 200 kB at most.
const (
	replayPackets  = 200
	replayPictures = 48
	replayAge      = 10 * time.Second // a slow source's key frame may be old
)

// entrance is where the newest key frame began, and what came from there on.
type entrance struct {
	index    int64
	arrival  int64
	stamp    uint32
	epoch    uint32
	packets  int
	pictures int
	known    bool
}

// remember takes note of key frames and of what follows them. The Encoding's lock is held.
func (e *Encoding) remember(index int64, p *packet) {
	k := &e.newest
	switch {
	case p.keyFrame && (!k.known || index > k.index && p.timestamp != k.stamp):
		*k = entrance{index: index, arrival: p.arrival, stamp: p.timestamp, epoch: e.epoch, packets: 1, known: true}
		if highest := e.numbers.Highest(); highest > index { // it came late: what follows is here already
			k.packets += int(highest - index)
			k.pictures += int(highest - index)
		}
	case k.known && index > k.index:
		k.packets++
		if p.first {
			k.pictures++
		}
	}
}

// replay is a stretch of packets to begin with.
type replay struct {
	first, last int64 // indexes
	order       int64 // of the newest packet; what comes later is not part of it
	arrival     int64 // of the key frame
	epoch       uint32
	newest      uint32 // timestamp of the newest packet
	newestAt    int64  // and when it came
	pictures    int    // after the key frame
}

// replayable tells whether one may begin in the history, and where.
func (e *Encoding) replayable(now int64) (r replay, ok bool) {
	if e.inspect == nil {
		return r, false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	k := &e.newest
	if !k.known || k.epoch != e.epoch || e.muted || e.closed || k.packets > replayPackets || k.pictures > replayPictures ||
		now-k.arrival > int64(replayAge) || !e.history.Has(k.index) {
		return r, false
	}
	return replay{
		first: k.index, last: e.numbers.Highest(), order: e.order, arrival: k.arrival, epoch: e.epoch, newest: e.stamp, newestAt: e.stampAt,
		pictures: k.pictures,
	}, true
}

// start begins at the newest key frame in the history, on the Writer's goroutine, or asks for one where that is not possible any
// more.
func (s *Subscription) start(w *Writer) {
	f := &s.forwarding
	now := w.clock()
	s.adopt(now)
	e := f.plan.wanted()
	if e == nil || s.paused.Load() || !f.selector.Waiting() {
		return
	}
	r, ok := e.replayable(now)
	// What the receiver has already must not be followed by something older.
	same := f.encoding != nil && f.encoding.config.Timeline == e.config.Timeline
	if !ok || same && r.arrival <= f.lastAt || e == f.encoding && r.first < f.stream.Next() {
		e.RequestKeyFrame(now)
		return
	}
	place := f.plan.target.Encoding
	f.catchUp = &r
	for index := r.first; index <= r.last && index-r.first < 2*replayPackets; index++ {
		t := &w.single
		t.entry = entry{index: index, epoch: r.epoch}
		if t.load(e); t.ok && t.came <= r.order {
			s.packet(e, place, t, now)
		}
	}
	f.catchUp = nil
	f.replayOf, f.replayed = e, r.order
	s.account(now)
	if f.selector.Waiting() { // the key frame went out of the history meanwhile
		e.RequestKeyFrame(now)
		return
	}
	s.report(now)
}
