//go:build linux

package cluster

import (
	"context"
	"math"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"portico/edge/clusterapi"
	gossip "portico/shared/cluster"
	"portico/shared/identity"
)

// TestForgedGossip: whoever has the key of gossip, or has only recorded some, says what they like about the room's home and about edges
// that there are not; the room stays where it is, and whoever joins meanwhile is in it.
func TestForgedGossip(t *testing.T) {
	c := start(t)
	record := c.record(c.edges[0], c.edges[1])
	for _, e := range c.edges { // each has left once, and has said so
		c.must(e.Terminate())
		<-e.Ended
		e.up()
		c.whole(4)
	}
	anna := c.joins("anna", c.edges[0])
	home := c.home()
	second, late := c.edges[1], c.edges[2] // nobody is on the last one, and it is not the home
	if home == late {
		second, late = late, second
	}
	bert := c.joins("bert", second)
	for _, p := range c.people {
		p.hears(time.Now(), 15*time.Second, c.people...)
	}
	before := c.settled()
	w := &witness{cluster: c, home: home, late: late, room: c.roomOf(home), began: time.Now()}
	is := c.describe(home)
	f := c.forger()
	mark := late.Mark()

	for range 3 {
		for _, packet := range record() {
			f.send(packet)
		}
	}
	w.unmoved("all that was said before is said again", 2*time.Second)

	other := func(change func(*gossip.Meta)) func(uint32) []byte {
		m := is
		change(&m)
		return f.alive(m, home.home.Addr())
	}
	elsewhere := netip.AddrPortFrom(f.home.Addr(), clientPort).String()
	for _, lie := range []struct {
		name string
		says []func(incarnation uint32) []byte
	}{
		{"the home is dead", []func(uint32) []byte{f.dead(home.name, second.name), f.suspect(home.name, late.name)}},
		{"the home has left", []func(uint32) []byte{f.dead(home.name, home.name)}},
		{"the home drains", []func(uint32) []byte{other(func(m *gossip.Meta) { m.State = gossip.Draining })}},
		{"the home is leaving", []func(uint32) []byte{other(func(m *gossip.Meta) { m.State = gossip.Leaving })}},
		{"the home has started again", []func(uint32) []byte{other(func(m *gossip.Meta) { m.Boot += 3_600_000 })}},
		{"the home is no edge", []func(uint32) []byte{other(func(m *gossip.Meta) { m.Roles = gossip.Relay })}},
		{"the home takes links elsewhere", []func(uint32) []byte{other(func(m *gossip.Meta) {
			m.Addresses = []gossip.Address{{Use: gossip.ForLinks, Text: elsewhere}, {Use: gossip.ForClients, Text: elsewhere}}
		})}},
		{"there are many edges more", f.crowd(is)},
		{"another node has the home's name", []func(uint32) []byte{f.alive(is, f.home.Addr())}},
	} {
		stop := f.repeat(lie.says)
		w.unmoved(lie.name, 2*time.Second)
		stop()
	}
	// Beyond this there is no number by which the home could object.
	for _, says := range []func(uint32) []byte{
		other(func(m *gossip.Meta) { m.Boot += 3_600_000 }), f.dead(home.name, second.name),
	} {
		f.send(says(math.MaxUint32))
		w.unmoved("the last word", 2*time.Second)
	}
	late.says(mark, "node is not let in", "node="+home.name, f.home.Addr().String(), "another node has its name")
	if after := anna.roster(); !slices.Equal(after, before) {
		t.Errorf("the room is not as before: %q, then %q", before, after)
	}
	c.joins("carl", late)
	for _, p := range c.people {
		p.hears(time.Now(), 15*time.Second, c.people...)
	}
	c.uninterrupted([]*person{anna, bert}, w.began, time.Now(), 300*time.Millisecond, time.Second)
	t.Logf("the cluster is whole again after %v", c.until(2*patience, "all see each other again", func() bool {
		return !slices.ContainsFunc(c.edges, func(e *edge) bool { return !c.sees(e, 4) })
	}).Round(time.Millisecond))
	if r := c.roomOf(home); r.Epoch != w.room.Epoch {
		t.Errorf("the room's epoch is %s, and was %s", r.Epoch, w.room.Epoch)
	}
}

// witness looks whether a room is where it was.
type witness struct {
	*cluster
	home, late *edge
	room       clusterapi.Room
	began      time.Time
	guests     int
}

// unmoved lets some time pass, and checks that the home and its epoch are the same, and that whoever joins now is in the room.
func (w *witness) unmoved(what string, wait time.Duration) {
	w.t.Helper()
	w.lets(wait)
	w.guests++
	guest, err := w.enter(w.guest("guest"+string(rune('a'+w.guests)), w.edges...), w.late.token("guest"))
	if err != nil {
		w.tails()
		w.t.Fatalf("%s: nobody can join: %v", what, err)
	}
	if n := len(guest.Info().Participants); n != len(w.people)+1 {
		w.t.Errorf("%s: who joins sees %d participants, not %d", what, n, len(w.people)+1)
	}
	_ = guest.Leave(context.Background())
	r := w.roomOf(w.home)
	if r.Epoch != w.room.Epoch {
		w.t.Errorf("%s: the room's epoch is %q of %q, and was %q of %q", what, r.Epoch, r.Home, w.room.Epoch, w.room.Home)
	}
	for _, id := range r.Anchors {
		if !slices.ContainsFunc(w.edges, func(e *edge) bool { return e.name == id }) {
			w.t.Errorf("%s: %s is an anchor of the room", what, id)
		}
	}
	w.t.Logf("%s: looked at after %v", what, time.Since(w.began).Round(time.Second))
}

// roomOf is the room as its home tells of it; empty when that one does not call itself home.
func (c *cluster) roomOf(home *edge) clusterapi.Room {
	c.t.Helper()
	s, _ := c.status(home)
	for _, r := range s.Rooms {
		if r.ID == c.room && r.Home == home.name {
			return r
		}
	}
	return clusterapi.Room{}
}

// describe is how an edge describes itself to gossip.
func (c *cluster) describe(e *edge) gossip.Meta {
	c.t.Helper()
	s, _ := c.status(e)
	for _, n := range s.Nodes {
		if n.ID == e.name {
			return gossip.Meta{
				ID: n.ID, Boot: uint64(n.Started.UnixMilli()), Region: n.Region, Roles: gossip.Edge, Capacity: n.Capacity,
				Addresses: []gossip.Address{{Use: gossip.ForLinks, Text: n.Link}, {Use: gossip.ForClients, Text: e.at(clientPort)}},
			}
		}
	}
	c.t.Fatalf("%s does not know itself: %+v", e.name, s)
	return gossip.Meta{}
}

// forger opens the forger's socket.
func (c *cluster) forger() *forger {
	c.t.Helper()
	secret, err := identity.LoadSecret(c.relay.identity.SecretFile())
	c.must(err)
	f := &forger{cluster: c, home: c.guest("forger", c.edges...), key: secret.Derive("gossip key", gossip.KeySize), incarnation: 1000}
	conn, err := f.home.ListenUDP(gossipPort)
	c.must(err)
	c.t.Cleanup(func() { _ = conn.Close() })
	f.conn = conn
	return f
}

// send sends a packet to all edges.
func (f *forger) send(packet []byte) {
	f.t.Helper()
	for _, e := range f.edges {
		_, err := f.conn.WriteToUDPAddrPort(packet, netip.MustParseAddrPort(e.at(gossipPort)))
		f.must(err)
	}
}

// repeat says the same until it is stopped, each time with a greater number than anybody has heard.
func (f *forger) repeat(says []func(uint32) []byte) (stop func()) {
	ctx, cancel := context.WithCancel(f.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			for _, say := range says {
				f.incarnation += 100
				packet := say(f.incarnation)
				for _, e := range f.edges {
					_, _ = f.conn.WriteToUDPAddrPort(packet, netip.MustParseAddrPort(e.at(gossipPort))) // lost ones are repeated
				}
			}
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// crowd is edges that there are not, strong ones, beside the home.
func (f *forger) crowd(like gossip.Meta) (says []func(uint32) []byte) {
	for i := range 12 {
		m := like
		m.ID, m.Capacity = "y"+string(rune('a'+i)), 65535
		m.Addresses = []gossip.Address{{Use: gossip.ForLinks, Text: net.JoinHostPort(f.home.Addr().String(), "8080")}}
		says = append(says, f.alive(m, f.home.Addr()))
	}
	return says
}
