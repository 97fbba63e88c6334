package sioclient

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Backoff says how long to wait before each attempt to connect. A zero field means its default; the defaults are those of the
// JavaScript client.
type Backoff struct {
	Min      time.Duration // before the first attempt; default 1 s
	Max      time.Duration // default 5 s
	Factor   float64       // from one attempt to the next; default 2
	Jitter   float64       // share of the delay that is left to chance, 0 to 1, so that a thousand clients do not come at once; default 0.5
	Attempts int           // default: no limit but the context
}

// Delay is the wait before the given attempt, the first being 0; chance is uniform in [0, 1). It lies within Jitter of
// Min × Factor^attempt, cut to Max.
func (b Backoff) Delay(attempt int, chance float64) time.Duration {
	least, most := float64(b.Min), float64(b.Max)
	if b.Min == 0 {
		least = float64(time.Second)
	}
	if b.Max == 0 {
		most = float64(5 * time.Second)
	}
	factor, jitter := b.Factor, b.Jitter
	if factor == 0 {
		factor = 2
	}
	if jitter == 0 {
		jitter = 0.5
	}
	delay := least
	for ; attempt > 0 && delay < most; attempt-- {
		delay *= factor
	}
	delay *= 1 + jitter*(2*chance-1)
	return time.Duration(min(delay, most))
}

// Redial dials until it succeeds, each attempt after its delay. It gives up when ctx ends, after Attempts, and when another
// attempt would end the same way: ErrURL, *RefusedError. The error is that of the last attempt, joined with that of ctx.
func Redial(ctx context.Context, options Options, backoff Backoff) (*Conn, error) {
	var last error
	for attempt := 0; backoff.Attempts == 0 || attempt < backoff.Attempts; attempt++ {
		timer := time.NewTimer(backoff.Delay(attempt, rand.Float64()))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, errors.Join(ctx.Err(), last)
		}
		c, err := Dial(ctx, options)
		if err == nil {
			return c, nil
		}
		last = err
		if refused := new(RefusedError); errors.Is(err, ErrURL) || errors.As(err, &refused) {
			break
		}
	}
	return nil, last
}
