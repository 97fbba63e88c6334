package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"portico/shared/identity"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func identities(t testing.TB, roles ...string) []*identity.Identity {
	t.Helper()
	ids, err := identity.Ephemeral(roles...)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// calm are options for tests that are not about silence: a machine that is busy must not end their Links.
func calm(o Options) Options {
	if o.DeadAfter == 0 {
		o.DeadAfter = patience
	}
	return o
}

func listen(t testing.TB, id *identity.Identity, o Options) *Listener {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(conn, id, calm(o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// pair is an edge that has dialed a relay.
func pair(t testing.TB, edge, relay Options) (*Link, *Link) {
	t.Helper()
	ids := identities(t, identity.Edge, identity.Relay)
	l := listen(t, ids[1], relay)
	a, err := Dial(patient(t), l.Addr().String(), ids[0], calm(edge))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	b, err := l.Accept(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

func wait(t testing.TB, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s: not within %v", what, patience)
	}
}

func TestPair(t *testing.T) {
	type packet struct {
		flow uint64
		text string
	}
	got := make(chan packet, 10)
	take := func(_ *Link, flow uint64, b []byte) { got <- packet{flow, string(b)} }
	a, b := pair(t, Options{Receive: take, Roles: []string{identity.Relay}}, Options{Receive: take, Roles: []string{identity.Edge}})
	if name, role := a.Peer(); name != "relay-1" || role != identity.Relay {
		t.Errorf("the edge sees %s %s", name, role)
	}
	if name, role := b.Peer(); name != "edge-1" || role != identity.Edge {
		t.Errorf("the relay sees %s %s", name, role)
	}
	for _, c := range []struct {
		from *Link
		want packet
	}{
		{a, packet{1, "x"}}, {b, packet{MaxFlowID, ""}}, {a, packet{300, string(make([]byte, 1250))}},
		{b, packet{7, string(make([]byte, 3000))}}, {a, packet{1 << 40, string(make([]byte, MaxPacket))}},
	} {
		if err := c.from.Send(c.want.flow, []byte(c.want.text)); err != nil {
			t.Fatal(err)
		}
		select {
		case p := <-got:
			if p != c.want {
				t.Errorf("flow %d with %d bytes came as %d with %d", c.want.flow, len(c.want.text), p.flow, len(p.text))
			}
		case <-time.After(patience):
			t.Fatalf("flow %d with %d bytes did not come", c.want.flow, len(c.want.text))
		}
	}
	if err := a.Send(1, make([]byte, MaxPacket+1)); err != ErrTooLong {
		t.Error(err)
	}
	if err := a.Send(MaxFlowID+1, nil); err != ErrFlow {
		t.Error(err)
	}
	if s := a.Stats(); s.Sent != 3 || s.Received != 2 || s.RTT <= 0 || s.Dropped != 0 || s.Junk != 0 {
		t.Errorf("%+v", s)
	}
	b.Close()
	wait(t, a.Done(), "the end of the other side")
	if !errors.Is(a.Err(), ErrClosed) || !errors.Is(b.Err(), ErrClosed) {
		t.Errorf("%v, %v", a.Err(), b.Err())
	}
	if err := a.Send(1, nil); err != ErrClosed {
		t.Error(err)
	}
	if err := a.Send(1, make([]byte, 3000)); err != ErrClosed {
		t.Error(err)
	}
	if _, err := a.Call(patient(t)); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := b.Accept(patient(t)); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	b.Close()
}

// An ordinary packet of media fits into a datagram from the beginning.
func TestMediaFitsAtOnce(t *testing.T) {
	a, _ := pair(t, Options{}, Options{})
	if n := a.limit.Load(); n < 1250+maxVarint {
		t.Errorf("%d bytes in a datagram", n)
	}
}

// Neither side has more under way than QUIC holds for a reader, so that nothing may get lost.
func TestManyPacketsBothWays(t *testing.T) {
	const count, window = 10_000, 64
	var links [2]*Link
	var slots [2]chan struct{}
	var seen [2][]bool
	for i := range seen {
		slots[i], seen[i] = make(chan struct{}, window), make([]bool, count)
	}
	receive := func(i int) func(*Link, uint64, []byte) {
		return func(_ *Link, flow uint64, b []byte) {
			if flow >= count || len(b) != 1200 || binary.BigEndian.Uint64(b) != flow || seen[i][flow] {
				t.Errorf("flow %d: %d bytes", flow, len(b))
				return
			}
			seen[i][flow] = true
			<-slots[i]
		}
	}
	links[0], links[1] = pair(t, Options{Receive: receive(0)}, Options{Receive: receive(1)})
	var senders sync.WaitGroup
	for i, l := range links {
		slots := slots[1-i]
		senders.Go(func() {
			b := make([]byte, 1200)
			for n := range uint64(count + window) { // the last ones only wait for those before
				select {
				case slots <- struct{}{}:
				case <-time.After(patience):
					t.Errorf("stuck at %d: %+v", n, l.Stats())
					return
				}
				if n >= count {
					continue
				}
				binary.BigEndian.PutUint64(b, n)
				if err := l.Send(n, b); err != nil {
					t.Errorf("%d: %v", n, err)
					return
				}
			}
		})
	}
	senders.Wait()
	for _, l := range links {
		if s := l.Stats(); s.Sent != count || s.Received != count || s.Dropped != 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestCalls(t *testing.T) {
	a, b := pair(t, Options{}, Options{})
	ca, err := a.Call(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.Send([]byte("first")); err != nil {
		t.Fatal(err)
	}
	cb, err := b.Accept(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if got, err := cb.Receive(ctx); err != nil || string(got) != "first" {
		t.Fatalf("%q, %v", got, err)
	}
	cancel()
	if _, err := cb.Receive(ctx); err != context.Canceled {
		t.Error(err)
	}
	long := bytes.Repeat([]byte("portico "), MaxMessage/8)
	for _, m := range [][]byte{[]byte("order"), {}, long, []byte("more")} {
		sent := make(chan error, 1)
		go func() { sent <- ca.Send(m) }()
		if got, err := cb.Receive(patient(t)); err != nil || !bytes.Equal(got, m) {
			t.Fatalf("%.20q, %v", got, err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
	if err := cb.Send(append(long, 0)); err != ErrTooLong {
		t.Error(err)
	}
	if err := cb.Send([]byte("last")); err != nil {
		t.Error(err)
	}
	cb.Close()
	wait(t, ca.Done(), "the other side's close")
	if got, err := ca.Receive(patient(t)); err != nil || string(got) != "last" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := ca.Receive(patient(t)); err != io.EOF {
		t.Error(err)
	}
	if err := ca.Send([]byte("x")); err != ErrClosed {
		t.Error(err)
	}
	if _, err := cb.Receive(patient(t)); err != ErrClosed {
		t.Error(err)
	}
	ca.Close()
	ca.Close()
}
