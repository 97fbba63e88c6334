package mesh

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"portico/shared/placement"
)

// clock wakes the rooms that are due.
type clock struct {
	mu   sync.Mutex // guards what follows, and the rooms' due and place
	due  dues
	wake chan struct{}
}

type dues []*room

func (d dues) Len() int           { return len(d) }
func (d dues) Less(i, j int) bool { return d[i].due < d[j].due }
func (d dues) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = i, j
}
func (d *dues) Push(x any) {
	r := x.(*room)
	r.place = len(*d)
	*d = append(*d, r)
}
func (d *dues) Pop() any {
	last := len(*d) - 1
	r := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	r.place = -1
	return r
}

func (c *clock) init() { c.wake = make(chan struct{}, 1) }

// set has a room woken at a time.
func (c *clock) set(r *room, due time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.due == due && r.place >= 0 {
		return
	}
	r.due = due
	switch {
	case due == placement.Never:
		c.take(r)
		return
	case r.place < 0:
		heap.Push(&c.due, r)
	default:
		heap.Fix(&c.due, r.place)
	}
	if c.due[0] == r {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

func (c *clock) take(r *room) {
	if r.place >= 0 {
		heap.Remove(&c.due, r.place)
	}
}

func (c *clock) remove(r *room) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.take(r)
}

// ready takes the rooms that are due, and tells when the next one is.
func (c *clock) ready(now time.Duration) (list []*room, next time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.due) > 0 && c.due[0].due <= now {
		list = append(list, heap.Pop(&c.due).(*room))
	}
	next = placement.Never
	if len(c.due) > 0 {
		next = c.due[0].due
	}
	return list, next
}

func (m *Mesh) runClock(ctx context.Context) {
	sweep := m.now() + sweepEvery
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := m.now()
		list, next := m.clock.ready(now)
		for _, r := range list {
			r.event(placement.Tick{})
		}
		if now >= sweep {
			m.sweep()
			sweep = now + sweepEvery
		}
		timer.Reset(max(0, min(next, sweep)-m.now()))
		select {
		case <-timer.C:
		case <-m.clock.wake:
		case <-ctx.Done():
			return
		}
	}
}
