//go:build js && wasm

package jsapi

import (
	"runtime"
	"sync/atomic"
	"time"
)

// The JavaScript values Go has touched stay alive until Go's collector runs, and with a heap of a few megabytes it may not run
// for minutes: cameras, tracks and pictures would stay as long. So it is run when media has ended and every so many calls.
const (
	callsPerCollection = 2000
	collectionDelay    = time.Second // many things end together; a run stops the page for 6 ms or more
)

// collector decides when.
type collector struct {
	calls   atomic.Int64
	pending atomic.Bool
}

// called counts one crossing of the border.
func (c *collector) called() {
	if c.calls.Add(1)%callsPerCollection == 0 {
		c.soon()
	}
}

// soon runs a collection in a while.
func (c *collector) soon() {
	if c.pending.CompareAndSwap(false, true) {
		time.AfterFunc(collectionDelay, func() {
			c.pending.Store(false)
			runtime.GC()
		})
	}
}
