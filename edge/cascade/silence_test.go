package cascade

import (
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// mute is a socket that carries nothing for a while.
type mute struct {
	net.PacketConn
	silent *atomic.Bool
}

func (m mute) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := m.PacketConn.ReadFrom(b)
		if err != nil || !m.silent.Load() {
			return n, from, err
		}
	}
}

func (m mute) WriteTo(b []byte, to net.Addr) (int, error) {
	if m.silent.Load() {
		return len(b), nil
	}
	return m.PacketConn.WriteTo(b, to)
}

// TestSilence: edges that cannot hear each other for a while, and are not told, go on with sound and picture when they do, whoever of them
// has dialed; the publisher is asked for few key frames.
func TestSilence(t *testing.T) {
	for _, dials := range []int{0, 1} {
		var silent atomic.Bool
		x := newClusterOver(t, 2, nil, func(c net.PacketConn) net.PacketConn { return mute{c, &silent} })
		a, b := x.edges[0], x.edges[1]
		first, second := x.edges[dials], x.edges[1-dials]
		before, err := first.peers.Link(t.Context(), second.name)
		if err != nil {
			t.Fatal(err)
		}
		alice := publishAs(a, "alice", "alice-pub", 1, true)
		alice.remote(b, "alice-pub")
		bob := watch(b, "bob", "sub-bob", alice)
		bob.sound.gets(t, "sound", 1)
		bob.picture.gets(t, "a picture", 1)
		asked := alice.asked.Load()
		silent.Store(true)
		select {
		case <-before.Done():
		case <-time.After(patience):
			t.Fatal("the link lives on")
		}
		waitFor(t, "the other edge lets go", func() bool { return a.serves(b) == 0 })
		silent.Store(false)
		bob.sound.gets(t, "sound again", 1)
		bob.picture.gets(t, "a picture again", 1)
		bob.stays()
		if n := alice.asked.Load() - asked; n > 3 {
			t.Errorf("the publisher was asked for %d key frames", n)
		}
	}
}
