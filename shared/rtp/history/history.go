// Package history keeps the recent packets of one encoding by index.
//
// A packet is copied in once when it arrives; from there on the history owns its bytes and everybody else holds the index:
// the writers of all subscribers copy it out, and retransmissions are answered from it. One reader puts, any number get.
package history

import "sync"

// Ring holds the newest packets of one encoding. M is what the reader found out about a packet, kept beside it by value.
// Make it with New. Put is for one goroutine at a time; Get and Has are safe beside it.
type Ring[M any] struct {
	mask  int64
	slots []slot[M]
}

// slot has a lock of its own, so that getting different packets never meets; it guards all fields. Getting the same packet
// shares the lock, and a Put meets a Get only when a writer is a whole ring behind.
type slot[M any] struct {
	mu     sync.RWMutex
	index  int64 // -1: empty
	packet []byte
	meta   M
}

// Sizes to which a slot's buffer is rounded up, so that it is made once and seldom grown.
const grain = 256

// New makes a Ring for size packets, rounded up to a power of two, at least 16. Buffers are made as packets come.
func New[M any](size int) *Ring[M] {
	n := 16
	for n < size {
		n *= 2
	}
	r := &Ring[M]{mask: int64(n - 1), slots: make([]slot[M], n)}
	for i := range r.slots {
		r.slots[i].index = -1
	}
	return r
}

// Len is how many packets the Ring holds at most.
func (r *Ring[M]) Len() int { return len(r.slots) }

// Put copies packet in under index, 0 or more. It returns false, and changes nothing, when the packet is there already or
// its place holds a newer one.
func (r *Ring[M]) Put(index int64, packet []byte, meta M) bool {
	s := &r.slots[index&r.mask]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index >= index {
		return false
	}
	if cap(s.packet) < len(packet) {
		s.packet = make([]byte, (len(packet)+grain-1)/grain*grain)
	}
	s.packet = s.packet[:len(packet)]
	copy(s.packet, packet)
	s.index, s.meta = index, meta
	return true
}

// Get copies the packet with that index to dst and returns its length and what was put beside it. ok is false when the packet
// is not there (any more, or yet) or dst is too short.
func (r *Ring[M]) Get(index int64, dst []byte) (n int, meta M, ok bool) {
	s := &r.slots[index&r.mask]
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.index != index || len(s.packet) > len(dst) {
		return 0, meta, false
	}
	return copy(dst, s.packet), s.meta, true
}

// Has tells whether the packet with that index is there.
func (r *Ring[M]) Has(index int64) bool {
	s := &r.slots[index&r.mask]
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.index == index
}
