package client

import (
	"context"
	"time"
)

// alarm is a timer that stands still while the connection to the portal is lost, and begins anew once it is back: what it waits for
// cannot come before.
type alarm struct {
	limit time.Duration
	fire  func()
	timer *time.Timer // nil while it stands still
}

// after calls fire on the loop after the limit. It is for the loop, as stop is.
func (c *Conference) after(limit time.Duration, fire func()) *alarm {
	a := &alarm{limit: limit, fire: fire}
	if c.state.over {
		return a // nothing comes any more
	}
	c.state.alarms[a] = struct{}{}
	if c.state.wire != nil {
		c.start(a)
	}
	return a
}

func (c *Conference) start(a *alarm) {
	var timer *time.Timer
	timer = time.AfterFunc(a.limit, func() {
		_ = c.loop.Post(func() {
			if _, set := c.state.alarms[a]; set && a.timer == timer { // else it was stopped just in time
				delete(c.state.alarms, a)
				a.fire()
			}
		})
	})
	a.timer = timer
}

// stop is safe for nil and for an alarm that has gone off.
func (c *Conference) stop(a *alarm) {
	if a == nil {
		return
	}
	delete(c.state.alarms, a)
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
}

func (c *Conference) pauseClocks() {
	for a := range c.state.alarms {
		if a.timer != nil {
			a.timer.Stop()
			a.timer = nil
		}
	}
}

func (c *Conference) startClocks() {
	for a := range c.state.alarms {
		if a.timer == nil {
			c.start(a)
		}
	}
}

func (c *Conference) stopClocks() {
	for a := range c.state.alarms {
		c.stop(a)
	}
	if c.state.refresh != nil {
		c.state.refresh.Stop()
	}
}

// patience is a context that ends with ErrTimeout when an alarm of that limit goes off. It is not for the loop.
func (c *Conference) patience(ctx context.Context, limit time.Duration) (context.Context, func()) {
	limited, cancel := context.WithCancelCause(ctx)
	var a *alarm
	_ = c.loop.Do(context.Background(), func() { a = c.after(limit, func() { cancel(ErrTimeout) }) })
	return limited, func() {
		_ = c.loop.Post(func() { c.stop(a) })
		cancel(nil)
	}
}
