package wt

import (
	"net/netip"
	"sync"
)

// door counts the connections, and among them those that have not shown a token yet: of these there may be a few only, and fewer
// still from one address, so that nobody can keep the others out.
type door struct {
	limit, maxPending int

	mu      sync.Mutex // guards what follows
	inside  int
	waiting int
	pending map[netip.Addr]int // by address, of IPv6 by network
}

// enter lets a connection in, as pending.
func (d *door) enter(from netip.Addr) bool {
	from = network(from)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.inside >= d.limit || d.waiting >= d.maxPending || d.pending[from] >= max(d.maxPending/4, 1) {
		return false
	}
	d.inside++
	d.waiting++
	d.pending[from]++
	return true
}

// network is what one subscriber of a provider has: an IPv4 address, or 64 bits of IPv6.
func network(a netip.Addr) netip.Addr {
	if !a.Is6() {
		return a
	}
	p, _ := a.Prefix(64) // cannot fail
	return p.Addr()
}

// crowded tells whether so many wait that addresses should be validated before anything is kept for them (RFC 9000 section 8.1.2).
func (d *door) crowded() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.waiting > d.maxPending/8
}

func (d *door) count() (inside, waiting int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inside, d.waiting
}

// visit is one connection's place behind the door.
type visit struct {
	door *door
	from netip.Addr

	settled, left bool // guarded by door.mu
}

type visitKey struct{}

// settle makes a connection one that has shown its token.
func (v *visit) settle() {
	v.door.mu.Lock()
	defer v.door.mu.Unlock()
	v.unpend()
}

// leave gives the place back. Doing so twice is safe.
func (v *visit) leave() {
	v.door.mu.Lock()
	defer v.door.mu.Unlock()
	v.unpend()
	if !v.left {
		v.left = true
		v.door.inside--
	}
}

func (v *visit) unpend() {
	if v.settled {
		return
	}
	v.settled = true
	d, from := v.door, network(v.from)
	d.waiting--
	if d.pending[from]--; d.pending[from] == 0 {
		delete(d.pending, from)
	}
}
