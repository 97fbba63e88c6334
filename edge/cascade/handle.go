package cascade

import (
	"sync/atomic"

	"portico/edge/rtc"
	"portico/edge/sfu"
	"portico/shared/meshproto"
)

// handle is one subscription's output of a mix. It implements rtc.Output.
type handle struct {
	mix     *mix
	wish    rtc.Conversion
	ceiling atomic.Int64 // kbit/s, 0 while unknown
	target  atomic.Int64
	here    atomic.Pointer[local] // made here; nil: not any more

	// The Loop owns the fields below.
	has    *making // by which it comes from elsewhere
	next   *making // that takes its place as soon as it comes
	closed bool
}

// local is a handle's output of what is made here.
type local struct {
	output rtc.Output
	came   bool // the Loop's
}

// Open implements rtc.Converter.
func (c *Cascade) Open(wish rtc.Conversion) rtc.Output {
	c.mu.Lock()
	m := c.mixes[wish.Track]
	c.mu.Unlock()
	if m == nil {
		return c.options.Converter.Open(wish)
	}
	h := &handle{mix: m, wish: wish}
	c.post(func() {
		if h.closed || m.closed {
			return
		}
		m.handles[h] = true
		m.direct(h)
	})
	return h
}

// SetCeiling implements rtc.Output.
func (h *handle) SetCeiling(kbps int) {
	h.ceiling.Store(int64(min(kbps, meshproto.MaxCeiling)))
	if x := h.here.Load(); x != nil {
		x.output.SetCeiling(kbps)
	}
}

// Target implements rtc.Output.
func (h *handle) Target() int {
	if x := h.here.Load(); x != nil {
		return x.output.Target()
	}
	return int(h.target.Load())
}

// Close implements rtc.Output.
func (h *handle) Close() {
	h.mix.cascade.post(func() {
		h.drop()
		delete(h.mix.handles, h)
		h.mix.review()
	})
}

// drop lets go of what it has, on the Loop.
func (h *handle) drop() {
	h.closed = true
	h.release()
	h.has, h.next = nil, nil
}

// release ends what is made for it here.
func (h *handle) release() {
	if x := h.here.Swap(nil); x != nil {
		x.output.Close()
	}
}

// direct sees to it that a handle has, or will have, what it wants as things are, on the Loop.
func (m *mix) direct(h *handle) {
	if *m.edge.Load() == "" {
		if x := h.here.Load(); x == nil {
			h.openLocal()
		} else if x.came {
			h.has, h.next = nil, nil
		}
		return
	}
	key := m.keyOf(&h.wish)
	k := m.makings[key]
	if k == nil {
		k = m.newMaking(key)
		m.makings[key] = k
		h.next = k
		k.look()
		return
	}
	if k == h.has {
		h.next = nil
		return
	}
	if h.next = k; k.live != nil {
		h.settle(k)
	}
}

// settle gives a handle what has come for it.
func (h *handle) settle(k *making) {
	h.has, h.next = k, nil
	h.wish.Feed(k.live)
	if *h.mix.edge.Load() != "" { // else it came late, and what is made here is yet to come
		h.release()
	}
}

// openLocal has it made here. What comes from elsewhere goes on until it is.
func (h *handle) openLocal() {
	c, x := h.mix.cascade, new(local)
	wish := h.wish
	wish.Feed = func(e *sfu.Encoding) {
		c.post(func() {
			if h.closed || h.here.Load() != x {
				return
			}
			h.wish.Feed(e)
			if x.came = true; *h.mix.edge.Load() == "" {
				h.has, h.next = nil, nil
				h.mix.review()
			}
		})
	}
	wish.Trouble = func(why string) {
		c.post(func() {
			if !h.closed && h.here.Load() == x {
				h.wish.Trouble(why)
			}
		})
	}
	x.output = c.options.Converter.Open(wish)
	if kbps := h.ceiling.Load(); kbps > 0 {
		x.output.SetCeiling(int(kbps))
	}
	h.here.Store(x)
}
