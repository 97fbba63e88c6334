package beacon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"portico/tools/pionpeer"
)

// Sink takes what one Source has sent, over as many tracks as there are, one after the other or beside each other. All methods are safe
// for concurrent use.
type Sink struct {
	name string

	mu      sync.Mutex // guards what follows
	changed chan struct{}
	sounds  []Arrival
	views   []Arrival // pictures from when they can be shown: key frames, and those whose one before was shown
	heard   map[uint32]bool
	shown   map[uint32]bool
	waiting map[uint32]bool // pictures for which one before is missing, which may still come: it is asked for again
	strange int             // packets of somebody else
	keys    int             // key frames, also those that came twice
	blind   int             // pictures that could not be shown when they came
}

// Arrival is something new that came.
type Arrival struct {
	Number uint32
	At     time.Time
}

// NewSink makes a Sink of what the Source of that name sends.
func NewSink(name string) *Sink {
	return &Sink{name: name[:min(len(name), nameSize)], changed: make(chan struct{}), heard: map[uint32]bool{}, shown: map[uint32]bool{}, waiting: map[uint32]bool{}}
}

// askAfter is how long a picture that cannot be shown is waited out until a key frame is asked for, as decoders do.
const askAfter = 300 * time.Millisecond

// Read takes the packets of a track until that ends, and asks for key frames when there is need.
func (k *Sink) Read(track *pionpeer.Remote) {
	var blind, asked time.Time // since when, and when it was asked
	for {
		packet, _, err := track.Track.ReadRTP()
		if err != nil {
			return
		}
		s, ok := readStamp(packet.Payload)
		if !ok {
			continue
		}
		now := time.Now()
		switch shown := k.take(s, now); {
		case s.kind == kindSound:
		case shown:
			blind = time.Time{}
		case blind.IsZero():
			blind = now
		}
		if !blind.IsZero() && now.Sub(blind) > askAfter && now.Sub(asked) > askAfter {
			asked = now
			_ = track.RequestKeyFrame() // lost, as on a network
		}
	}
}

// take tells whether what came can be heard or shown, now or before.
func (k *Sink) take(s stamp, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s.name != k.name {
		k.strange++
		return true
	}
	list, known := &k.views, k.shown
	switch {
	case s.kind == kindSound:
		list, known = &k.sounds, k.heard
	case s.kind == kindKey:
		k.keys++
	case !k.shown[s.number-1] && !k.shown[s.number]:
		k.blind++
		k.waiting[s.number] = true
		return false
	}
	if known[s.number] {
		return true
	}
	known[s.number] = true
	*list = append(*list, Arrival{s.number, now})
	if s.kind != kindSound {
		next := s.number + 1
		for ; k.waiting[next]; next++ { // as a jitter buffer lets go of them
			known[next] = true
			*list = append(*list, Arrival{next, now})
		}
		maps.DeleteFunc(k.waiting, func(n uint32, _ bool) bool { return int32(n-next) < 0 }) // what is older is not shown any more
	}
	close(k.changed)
	k.changed = make(chan struct{})
	return true
}

// String is what has come, for messages.
func (k *Sink) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	text := fmt.Sprintf("of %s %d sounds and %d pictures (%d key frames, %d that cannot be shown), %d packets of others",
		k.name, len(k.sounds), len(k.views), k.keys, k.blind, k.strange)
	if n := len(k.sounds); n > 0 {
		text += fmt.Sprintf(", the last sound %v ago", time.Since(k.sounds[n-1].At).Round(time.Millisecond))
	}
	if n := len(k.views); n > 0 {
		text += fmt.Sprintf(", the last picture %v ago", time.Since(k.views[n-1].At).Round(time.Millisecond))
	}
	return text
}

// Sounds are those that came after a time.
func (k *Sink) Sounds(after time.Time) (list []Arrival) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, a := range k.sounds {
		if a.At.After(after) {
			list = append(list, a)
		}
	}
	return list
}

// Strange is how many packets of somebody else came.
func (k *Sink) Strange() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.strange
}

// Await waits until there was sound and a picture after a time, and gives when both had come.
func (k *Sink) Await(ctx context.Context, after time.Time) (time.Time, error) {
	for {
		k.mu.Lock()
		sound, view, changed := first(k.sounds, after), first(k.views, after), k.changed
		k.mu.Unlock()
		if !sound.IsZero() && !view.IsZero() {
			if view.After(sound) {
				return view, nil
			}
			return sound, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return time.Time{}, context.Cause(ctx)
		}
	}
}

// first is when the first of them came after a time, zero for never.
func first(list []Arrival, after time.Time) time.Time {
	i, _ := slices.BinarySearchFunc(list, after, func(a Arrival, t time.Time) int { return a.At.Compare(t) })
	for ; i < len(list); i++ {
		if list[i].At.After(after) {
			return list[i].At
		}
	}
	return time.Time{}
}

// Gaps are the longest times without new sound and without a new picture between two moments.
func (k *Sink) Gaps(from, to time.Time) (sound, view time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return longest(k.sounds, from, to), longest(k.views, from, to)
}

func longest(list []Arrival, from, to time.Time) (gap time.Duration) {
	last := from
	for _, a := range list {
		if a.At.After(from) && a.At.Before(to) {
			gap, last = max(gap, a.At.Sub(last)), a.At
		}
	}
	return max(gap, to.Sub(last))
}
