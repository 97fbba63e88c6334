// Package flight is a flight recorder: the last things that happened to something, kept so that whoever asks afterwards is told why it is
// as it is.
//
// A Recorder keeps a bounded number of Events, the newest. What happens again and again, such as a loss reported every second, is one
// Event with a count, so that it does not push out the rest. Recording takes a lock for a few instructions and no memory once the
// Recorder has grown to its bound, which few do.
package flight

import (
	"sync"
	"time"
)

// DefaultEvents is how many Events a Recorder keeps unless it is made otherwise.
const DefaultEvents = 256

// A Note that comes again within repeatTime is the same Event as before, if at most repeatBack others came in between.
const (
	repeatTime = int64(10 * time.Second)
	repeatBack = 4
)

// Note is what happened. The texts are not copied; those that are made for it stay in memory with it.
type Note struct {
	Kind   string // one of its owner's names for what can happen
	Reason string // why, "" where there is nothing to say
	Detail string // in words for people
	// From and To are numbers before and after it, in a unit that goes with the Kind.
	From, To int64
}

// Event is a Note at its time. Times are nanoseconds on the clock of whoever records.
type Event struct {
	Note
	At    int64 // when it happened first
	Until int64 // when it happened last
	Count int   // how often
}

// Recorder keeps the last Events. The zero value is ready and keeps DefaultEvents; it must not be copied. All methods are safe for
// concurrent use and never wait for anything but each other.
type Recorder struct {
	mu     sync.Mutex // guards the fields below; a leaf
	limit  int
	events []Event // a ring once it is full
	oldest int
}

// New makes a Recorder that keeps so many Events; at least one.
func New(limit int) *Recorder { return &Recorder{limit: max(limit, 1)} }

// Record adds what happened now. Notes that differ in From and To only are repeats: From is then that of the first, To that of the last.
func (r *Recorder) Record(now int64, n Note) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.same(now, n); e != nil {
		e.Until, e.To = max(e.Until, now), n.To
		e.Count++
		return
	}
	if r.limit == 0 {
		r.limit = DefaultEvents
	}
	e := Event{Note: n, At: now, Until: now, Count: 1}
	if len(r.events) < r.limit {
		r.events = append(r.events, e)
		return
	}
	r.events[r.oldest] = e
	r.oldest = (r.oldest + 1) % len(r.events)
}

// same is the Event that a Note repeats, nil for none: the last of its kind, if that says the same. mu is held.
func (r *Recorder) same(now int64, n Note) *Event {
	for back := 1; back <= min(len(r.events), 1+repeatBack); back++ {
		e := &r.events[(r.oldest+len(r.events)-back)%len(r.events)]
		if e.Kind != n.Kind {
			continue
		}
		if e.Reason == n.Reason && e.Detail == n.Detail && now-e.Until < repeatTime {
			return e
		}
		return nil
	}
	return nil
}

// Events appends all that is kept to list, in the order in which it was recorded: oldest first.
func (r *Recorder) Events(list []Event) []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	list = append(list, r.events[r.oldest:]...)
	return append(list, r.events[:r.oldest]...)
}
