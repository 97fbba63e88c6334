package sfu

import (
	"slices"
	"sync/atomic"

	"portico/shared/rtp/inspect"
)

// group is the Subscriptions of one Encoding that have the same Writer, with the queue of their packets.
type group struct {
	enc    *Encoding
	writer *Writer
	kind   int
	limit  int                             // of the queue
	subs   atomic.Pointer[[]*Subscription] // copied on change, under the Encoding's mu

	// The Writer's mu guards these.
	queue   []entry
	lost    uint32 // packets refused since the last one queued
	report  bool
	entered bool // it is among the Writer's ready ones

	// Only the Writer's goroutine touches these.
	taken       []entry
	reportTaken bool
}

// entry is a packet in a queue.
type entry struct {
	index int64
	order int64 // counts the packets of the Encoding as they came
	epoch uint32
	lost  uint32 // how many before it were refused
}

// headroom is what is free before a packet in a slot, for a header longer than the one it came with: the fixed part, the
// extensions with a dependency descriptor of any length, and the number of a packet that is sent again.
const headroom = 320

// slot is one packet on its way from the history to the Subscriptions. Each of them writes its own header, and its own numbers
// into the payload, over those of the one before.
type slot struct {
	entry
	packet
	ok         bool // it was still there
	n          int  // length
	buf        [headroom + MaxPacket]byte
	descriptor [255]byte // the dependency descriptor, saved from being written over
	plain      []byte    // of redundant audio: the primary block, in the place that buf would have it; made when it is first needed
	plainEnd   int       // 0: not there yet
}

// load copies the packet of the slot's entry from the history.
func (t *slot) load(e *Encoding) {
	t.n, t.packet, t.ok = e.history.Get(t.index, t.buf[headroom:])
	t.plainEnd = 0
	if t.ok && t.descriptorSize != 0 {
		at := headroom + int(t.descriptorAt)
		copy(t.descriptor[:t.descriptorSize], t.buf[at:])
	}
}

// unpack is the packet without the audio from before it that it repeats: in which buffer the payload stands, and where.
func (t *slot) unpack() (buf []byte, begin, end int) {
	if t.plain == nil {
		t.plain = make([]byte, headroom+MaxPacket)
	}
	if t.plainEnd == 0 {
		block := t.buf[headroom+int(t.payload)+int(t.primary) : headroom+t.n-int(t.padding)]
		t.plainEnd = headroom + copy(t.plain[headroom:], block)
	}
	return t.plain, headroom, t.plainEnd
}

// empty tells whether the packet has no payload: it is padding.
func (t *slot) empty() bool { return int(t.payload)+int(t.padding) == t.n }

// attach lets the Subscription have the packets of the Encoding.
func (e *Encoding) attach(s *Subscription) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	for _, g := range *e.groups.Load() {
		if g.writer == s.config.Writer {
			list := append(slices.Clip(*g.subs.Load()), s)
			g.subs.Store(&list)
			return
		}
	}
	g := &group{enc: e, writer: s.config.Writer, kind: kindAudio, limit: audioQueue}
	if e.config.Video {
		g.kind, g.limit = kindVideo, videoQueue
	}
	g.subs.Store(&[]*Subscription{s})
	list := append(slices.Clip(*e.groups.Load()), g)
	e.groups.Store(&list)
}

// detach is the reverse of attach.
func (e *Encoding) detach(s *Subscription) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, g := range *e.groups.Load() {
		if g.writer != s.config.Writer {
			continue
		}
		list := slices.DeleteFunc(slices.Clone(*g.subs.Load()), func(other *Subscription) bool { return other == s })
		g.subs.Store(&list)
		if len(list) == 0 {
			groups := slices.Delete(slices.Clone(*e.groups.Load()), i, i+1)
			e.groups.Store(&groups)
		}
		return
	}
}

// packet is what is kept beside the bytes in the history.
type packet struct {
	arrival        int64
	came           int64 // the entry's order
	frame          inspect.Frame
	timestamp      uint32
	payload        uint16 // where it begins
	primary        uint16 // of redundant audio: how far into it the primary block begins; 0 for all else
	descriptorAt   uint16 // where the dependency descriptor is
	descriptorSize uint8
	padding        uint8
	level          uint8 // audio level as on the wire
	hasLevel       bool
	marker         bool
	keyFrame       bool
	first          bool // a picture begins with it
	repair         bool
	alone          bool // redundant audio is to be left out
}
