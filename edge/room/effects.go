package room

import (
	"context"
	"time"
)

// deliver performs the machine's effects. Notifications only reach mailboxes, so they go at once; media may take locks and
// time, so it goes to a queue of its own that keeps the order.
func (c *controller) deliver() {
	var media []func(Media)
	for _, e := range c.machine.take() {
		if e.media != nil {
			media = append(media, e.media)
			continue
		}
		if e.tick {
			c.tickLater()
			continue
		}
		if e.orphan != "" {
			time.AfterFunc(orphanTime, func() { c.post(func() { c.machine.orphaned(e.orphan) }) })
			continue
		}
		if f := c.making(&e); f != nil {
			media = append(media, f)
			continue
		}
		if c.toOthers(&e) {
			continue
		}
		if member := c.members[e.to]; member != nil {
			member.Notify(e.notify)
		}
	}
	if len(media) == 0 {
		return
	}
	c.slow.Lock()
	defer c.slow.Unlock()
	c.queue = append(c.queue, media...)
	if !c.busy {
		c.busy = true
		c.done.Add(1)
		go c.runMedia()
	}
}

// making is what an effect means for those who make what the room itself offers; nil when it means nothing to them.
func (c *controller) making(e *effect) func(Media) {
	mixer := c.mixers[e.view]
	switch {
	case e.candidate != "":
		return func(Media) { c.selector.Add(e.candidate) }
	case e.mix != nil && mixer != nil:
		return func(Media) { mixer.Update(*e.mix) }
	case e.follow != nil && e.view == "":
		return func(Media) { c.selector.Follow(*e.follow) }
	case e.follow != nil && mixer != nil:
		return func(Media) { mixer.Follow(*e.follow) }
	}
	return nil
}

// toOthers performs an effect that concerns the other edges; false when it is none.
func (c *controller) toOthers(e *effect) bool {
	switch {
	case e.entry != nil:
		c.membership.Put(e.entry.Key, e.entry.Generation, e.entry.Value)
	case e.gone != nil:
		c.membership.Remove(*e.gone)
	case e.ask != nil:
		c.askLater(*e.ask)
	case e.moved != "":
		if member := c.members[e.moved]; member != nil {
			delete(c.members, e.moved)
			c.log.Info("participant is on another edge now", "participant", e.moved)
			member.Moved()
		}
	default:
		return e.mix != nil || e.follow != nil // of a view that nobody mixes
	}
	return true
}

// tickLater has the machine tell of the roster after a while.
func (c *controller) tickLater() {
	c.pace = time.AfterFunc(rosterPace, func() { c.post(c.machine.tick) })
}

// runMedia empties the queue of media effects and ends.
func (c *controller) runMedia() {
	defer c.done.Done()
	for {
		c.slow.Lock()
		queue := c.queue
		c.queue = nil
		if len(queue) == 0 {
			c.busy = false
			c.slow.Unlock()
			return
		}
		c.slow.Unlock()
		for _, f := range queue {
			f(c.media)
		}
	}
}

// flush waits until the media layer knows what feeds a subscription: streams of other edges are made known to it beside the Loop.
func (c *controller) flush() {
	if c.membership == nil {
		return
	}
	told := make(chan struct{})
	if err := c.run(context.Background(), func() error {
		c.machine.do(func(Media) { close(told) })
		return nil
	}); err == nil {
		<-told
	}
}
