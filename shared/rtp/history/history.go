// Package history keeps the recent packets of one encoding by index.
//
// A packet is copied in once when it arrives; from there on the history owns its bytes and everybody else holds the index:
// the writers of all subscribers copy it out, and retransmissions are answered from it. One reader puts, any number get.
//
// The bytes lie one packet behind the other in blocks, which are taken from a pool as packets come and go back to it, or are used
// again, when they are old: an encoding holds what it sent lately, however much or little that is.
package history

import (
	"sync"
	"time"
)

// Config are the bounds of a Ring.
type Config struct {
	Packets int           // held at most; rounded up to a power of two, at least 16
	Blocks  int           // of BlockSize bytes, at most
	Keep    time.Duration // how long a packet stays at least, within the other bounds
}

// BlockSize is the size of a block in bytes.
const BlockSize = 8 << 10

type block struct {
	data   [BlockSize]byte
	used   int
	newest int64 // when its last packet came
}

var pool = sync.Pool{New: func() any { return new(block) }}

// Ring holds the newest packets of one encoding. M is what the reader found out about a packet, kept beside it by value.
// Make it with New. Put is for one goroutine at a time; the others are safe beside it.
type Ring[M any] struct {
	config Config

	mu     sync.RWMutex // guards the fields below; held to copy one packet
	slots  []slot[M]    // by index, modulo their number, a power of two
	blocks []*block     // the oldest first
	first  int64        // number of blocks[0], counted since the beginning
	closed bool
}

type slot[M any] struct {
	index int64 // -1: empty
	came  int64
	block int64 // its number
	at, n uint16
	meta  M
}

// firstSlots is what a Ring begins with.
const firstSlots = 32

// New makes a Ring.
func New[M any](config Config) *Ring[M] {
	n := firstSlots
	for n < config.Packets {
		n *= 2
	}
	config.Packets, config.Blocks = n, max(config.Blocks, 2)
	return &Ring[M]{config: config, slots: makeSlots[M](firstSlots)}
}

func makeSlots[M any](n int) []slot[M] {
	slots := make([]slot[M], n)
	for i := range slots {
		slots[i].index = -1
	}
	return slots
}

// Put copies packet, at most BlockSize bytes, in under index, 0 or more; now is the time, which rises. It returns false, and
// changes nothing, when the packet is there already, its place holds a newer one, or the Ring was released.
func (r *Ring[M]) Put(index int64, packet []byte, meta M, now int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(packet) > BlockSize {
		return false
	}
	s := r.slot(index)
	for s.index >= 0 && s.index < index && len(r.slots) < r.config.Packets && r.alive(s) && now-s.came < int64(r.config.Keep) {
		r.grow()
		s = r.slot(index)
	}
	if s.index >= index {
		return false
	}
	b := r.room(len(packet), now)
	number := r.first + int64(len(r.blocks)) - 1
	*s = slot[M]{index: index, came: now, block: number, at: uint16(b.used), n: uint16(len(packet)), meta: meta}
	b.used += copy(b.data[b.used:], packet)
	b.newest = now
	return true
}

func (r *Ring[M]) slot(index int64) *slot[M] { return &r.slots[index&int64(len(r.slots)-1)] }

// alive tells whether the bytes of a filled slot are still there.
func (r *Ring[M]) alive(s *slot[M]) bool { return s.block >= r.first }

// grow doubles the slots.
func (r *Ring[M]) grow() {
	old := r.slots
	r.slots = makeSlots[M](2 * len(old))
	for i := range old {
		if s := &old[i]; s.index >= 0 && r.alive(s) {
			*r.slot(s.index) = *s
		}
	}
}

// room is the newest block, with place for n bytes.
func (r *Ring[M]) room(n int, now int64) *block {
	last := len(r.blocks) - 1
	if last >= 0 && r.blocks[last].used+n <= BlockSize {
		return r.blocks[last]
	}
	var b *block
	for last >= 0 && (now-r.blocks[0].newest >= int64(r.config.Keep) || last+1 >= r.config.Blocks) {
		if b != nil {
			pool.Put(b)
		}
		b = r.blocks[0]
		copy(r.blocks, r.blocks[1:])
		r.blocks[last] = nil
		r.blocks = r.blocks[:last]
		r.first++
		last--
	}
	if b == nil {
		b = pool.Get().(*block)
	}
	b.used = 0
	r.blocks = append(r.blocks, b)
	return b
}

// Get copies the packet with that index to dst and returns its length and what was put beside it. ok is false when the packet
// is not there (any more, or yet) or dst is too short.
func (r *Ring[M]) Get(index int64, dst []byte) (n int, meta M, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := r.slot(index)
	if s.index != index || !r.alive(s) || int(s.n) > len(dst) {
		return 0, meta, false
	}
	b := r.blocks[s.block-r.first]
	return copy(dst, b.data[s.at:int(s.at)+int(s.n)]), s.meta, true
}

// Has tells whether the packet with that index is there.
func (r *Ring[M]) Has(index int64) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := r.slot(index)
	return s.index == index && r.alive(s)
}

// Memory is how many bytes of blocks and how many slots the Ring holds.
func (r *Ring[M]) Memory() (bytes, slots int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.blocks) * BlockSize, len(r.slots)
}

// Release gives all memory back. The Ring is empty and stays so.
func (r *Ring[M]) Release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.blocks {
		pool.Put(b)
	}
	r.first += int64(len(r.blocks))
	r.blocks, r.closed = nil, true
	r.slots = makeSlots[M](1)
}
