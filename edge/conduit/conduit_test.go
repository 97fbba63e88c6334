package conduit

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/webtransport-go"

	"portico/edge/wt"
	"portico/edge/wt/wttest"
	"portico/shared/meshproto"
)

// TestAcross: one publication, two subscribers on another edge, one copy between the edges; each stream as one stream, from where it is on,
// and it ends as it ends.
func TestAcross(t *testing.T) {
	x := newCluster(t, 2, nil, nil)
	a, b := x.edges[0], x.edges[1]
	alice, bob, carol := x.connect(a, "alice"), x.connect(b, "bob"), x.connect(b, "carol")
	p := alice.publish("")
	first := alice.send(p)
	a.expect("ready " + p)
	wttest.Write(t, first, "early")
	waitFor(t, "it has come", func() bool { return a.data.Stats().BytesIn == 5 })
	b.Remote(room, p, a.name)
	b.Remote(room, p, a.name)
	if n := a.Stats(); n.Serving != 0 {
		t.Errorf("pulled by nobody: %+v", n)
	}
	atBob := bob.subscribe(p)
	one := bob.want(atBob)
	b.expect("ready " + atBob) // what is published from here on comes
	wttest.Write(t, first, "one")
	if got := a.data.Stats(); got.Taps != 1 {
		t.Errorf("%+v", got)
	}
	wttest.Want(t, one, "one")
	atCarol := carol.subscribe(p)
	two := carol.want(atCarol)
	b.expect("ready " + atCarol)
	wttest.Write(t, first, "two")
	wttest.Want(t, one, "two")
	wttest.Want(t, two, "two")
	if n := b.Stats(); n.BytesIn != 6 || n.Pulled != 1 || n.Pulling != 1 || a.Stats().BytesOut != 6 {
		t.Errorf("%+v, %+v", n, a.Stats())
	}

	second := alice.send(p)
	oneMore, twoMore := bob.want(atBob), carol.want(atCarol)
	wttest.Write(t, second, "second")
	wttest.Want(t, oneMore, "second")
	second.CancelWrite(77)
	wttest.WantReset(t, oneMore, 77)
	wttest.WantReset(t, twoMore, 77)
	wttest.Write(t, first, "end")
	_ = first.Close()
	wttest.Want(t, one, "end")
	wttest.WantEnd(t, one)
	wttest.Want(t, two, "end")
	wttest.WantEnd(t, two)

	b.data.Stop(atBob)
	b.data.Stop(atCarol)
	waitFor(t, "it is pulled no more", func() bool { return a.Stats().Serving == 0 && b.Stats().Pulling == 0 })
	again := bob.subscribe(p)
	_ = bob.want(again)
	b.expect("ready " + again)
	a.data.Stop(p)
	waitFor(t, "the pull has ended", func() bool { return a.data.Stats().Taps == 0 })
	b.RemoteEnded(p)
	b.expect("failed " + again + ": " + wt.ReasonSourceLoss)
	late := wt.Spec{Participant: "bob", Transport: bob.Transport, Session: x.newID(), From: p, Events: b}
	if err := b.data.Subscribe(late); !errors.Is(err, wt.ErrNoSource) {
		t.Errorf("subscribed to what has ended: %v", err)
	}
}

// TestBulk: a megabyte each way at once, through queues of a quarter of it, when everybody reads; each goes over the link once.
func TestBulk(t *testing.T) {
	x := newCluster(t, 2, nil, nil)
	a, b := x.edges[0], x.edges[1]
	alice, bob, carol := x.connect(a, "alice"), x.connect(b, "bob"), x.connect(b, "carol")
	pa, pb := alice.publish(""), bob.publish("")
	b.Remote(room, pa, a.name)
	a.Remote(room, pb, b.name)
	atBob, atCarol, atAlice := bob.subscribe(pa), carol.subscribe(pa), alice.subscribe(pb)
	got := []*webtransport.Stream{bob.want(atBob), carol.want(atCarol), alice.want(atAlice)}
	b.expect("ready "+atBob, "ready "+atCarol)
	a.expect("ready " + atAlice)
	sent := noise(1 << 20)
	for _, out := range []*webtransport.Stream{alice.send(pa), bob.send(pb)} {
		go func() {
			_, _ = out.Write(sent)
			_ = out.Close()
		}()
	}
	var all sync.WaitGroup
	for _, in := range got {
		all.Go(func() {
			if all, err := io.ReadAll(in); err != nil || !bytes.Equal(all, sent) {
				t.Errorf("%d bytes of %d arrived, or others: %v", len(all), len(sent), err)
			}
		})
	}
	all.Wait()
	for _, e := range x.edges {
		if n := e.Stats(); n.BytesIn != 1<<20 || n.BytesOut != 1<<20 || n.Pulled != 1 {
			t.Errorf("%s: %+v", e.name, n)
		}
	}
}

// TestSlowSubscriber: who does not read is ended alone, on whichever edge.
func TestSlowSubscriber(t *testing.T) {
	x := newCluster(t, 2, func(c *wt.Config) { c.MaxQueue = 256 << 10 }, nil)
	a, b := x.edges[0], x.edges[1]
	alice, bob, sleepy := x.connect(a, "alice"), x.connect(b, "bob"), x.connect(b, "sleepy")
	p := alice.publish("")
	b.Remote(room, p, a.name)
	atBob, atSleepy := bob.subscribe(p), sleepy.subscribe(p)
	reads, sleeps := bob.want(atBob), sleepy.want(atSleepy)
	b.expect("ready "+atBob, "ready "+atSleepy)
	stream := alice.send(p)
	a.expect("ready " + p)
	const pieces, piece = 40, 64 << 10
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < pieces && err == nil; i++ {
			// Bob keeps up: he has read all before the next piece comes.
			if _, err = stream.Write(make([]byte, piece)); err == nil {
				_, err = io.CopyN(io.Discard, reads, piece)
			}
		}
		sent <- err
	}()
	b.expect("failed " + atSleepy + ": " + wt.ReasonSlow)
	if _, err := io.Copy(io.Discard, sleeps); err == nil {
		t.Error("what lacks something ended in order")
	}
	if err := <-sent; err != nil {
		t.Fatalf("the others were harmed: %v", err)
	}
	if n := a.Stats(); n.Slow != 0 || n.Serving != 1 {
		t.Errorf("%+v", n)
	}
}

// narrow is a socket that sends little.
type narrow struct{ net.PacketConn }

func (n narrow) WriteTo(b []byte, to net.Addr) (int, error) {
	time.Sleep(2 * time.Millisecond) // some 5 Mbit/s
	return n.PacketConn.WriteTo(b, to)
}

// TestSlowLink: a link that does not carry what is published ends the subscriptions behind it, and those at the publisher's edge do not
// notice.
func TestSlowLink(t *testing.T) {
	x := newCluster(t, 2, func(c *wt.Config) { c.MaxQueue = 512 << 10 }, func(c net.PacketConn) net.PacketConn { return narrow{c} })
	a, b := x.edges[0], x.edges[1]
	alice, near, far := x.connect(a, "alice"), x.connect(a, "near"), x.connect(b, "far")
	p := alice.publish("")
	b.Remote(room, p, a.name)
	atNear, atFar := near.subscribe(p), far.subscribe(p)
	reads, lacks := near.want(atNear), far.want(atFar)
	a.expect("ready " + atNear)
	b.expect("ready " + atFar)
	stream := alice.send(p)
	a.expect("ready " + p)
	sent := make(chan error, 1)
	const pieces, piece = 64, 64 << 10
	go func() {
		var err error
		for i := 0; i < pieces && err == nil; i++ {
			if _, err = stream.Write(make([]byte, piece)); err == nil {
				_, err = io.CopyN(io.Discard, reads, piece)
			}
		}
		sent <- err
	}()
	if err := <-sent; err != nil {
		t.Fatalf("the others were harmed: %v", err)
	}
	b.expect("failed " + atFar + ": " + wt.ReasonSlow)
	if _, err := io.Copy(io.Discard, lacks); err == nil {
		t.Error("what lacks something ended in order")
	}
	waitFor(t, "nothing is pulled", func() bool { return a.Stats().Serving == 0 })
	if n := a.Stats(); n.Slow != 1 {
		t.Errorf("%+v", n)
	}
}

// TestOwnerGone: the streams of an edge that is lost end in order, and the subscription goes on with the edge that has the publication
// then.
func TestOwnerGone(t *testing.T) {
	x := newCluster(t, 3, nil, nil)
	a, b, c := x.edges[0], x.edges[1], x.edges[2]
	alice, bob := x.connect(a, "alice"), x.connect(b, "bob")
	p := alice.publish("")
	b.Remote(room, p, a.name)
	atBob := bob.subscribe(p)
	in := bob.want(atBob)
	b.expect("ready " + atBob)
	wttest.Write(t, alice.send(p), "last words")
	wttest.Want(t, in, "last words")
	x.mu.Lock()
	delete(x.at, a.name)
	x.mu.Unlock()
	a.peers.Close() // without a word to anybody
	wttest.WantEnd(t, in)

	again := x.connect(c, "alice")
	again.publish(p)
	c.expect("ready " + p) // without a stream
	b.Remote(room, p, c.name)
	waitFor(t, "it is pulled from the new edge", func() bool { return c.Stats().Serving == 1 })
	wttest.Write(t, again.send(p), "here again")
	wttest.Want(t, bob.want(atBob), "here again")
	if len(b.told) != 0 {
		t.Errorf("the subscription has heard of it: %s", <-b.told)
	}
}

// TestUnreachable: a subscription does not wait for ever to be ready.
func TestUnreachable(t *testing.T) {
	x := newCluster(t, 1, nil, nil)
	e := x.edges[0]
	bob := x.connect(e, "bob")
	p := x.newID()
	e.Remote(room, p, "nowhere")
	began := time.Now()
	atBob := bob.subscribe(p)
	_ = bob.want(atBob)
	e.expect("ready " + atBob)
	if took := time.Since(began); took < readyTime {
		t.Errorf("ready after %v", took)
	}
}

// TestMove: a publication comes to the edge of its subscriber, and goes from there to that of another one. Both keep what they have.
func TestMove(t *testing.T) {
	x := newCluster(t, 2, nil, nil)
	a, b := x.edges[0], x.edges[1]
	before, after := x.connect(a, "alice"), x.connect(b, "alice")
	near, far := x.connect(a, "near"), x.connect(b, "far")
	p := before.publish("")
	stream := before.send(p)
	a.expect("ready " + p)
	b.Remote(room, p, a.name)
	atNear, atFar := near.subscribe(p), far.subscribe(p)
	inNear, inFar := near.want(atNear), far.want(atFar)
	a.expect("ready " + atNear)
	b.expect("ready " + atFar)

	after.publish(p)
	b.expect("ready " + p)
	b.RemoteEnded(p)
	a.Remote(room, p, b.name)
	wttest.Write(t, stream, "under way")
	wttest.Want(t, inNear, "under way")
	wttest.Want(t, inFar, "under way") // though it is here by now
	_ = stream.Close()
	wttest.WantEnd(t, inNear)
	wttest.WantEnd(t, inFar)
	waitFor(t, "it is pulled the other way", func() bool { return b.Stats().Serving == 1 && a.Stats().Pulling == 1 })
	a.data.Lose("alice")
	a.expect("failed " + p + ": " + wt.ReasonLost)
	wttest.Write(t, after.send(p), "here now")
	wttest.Want(t, near.want(atNear), "here now")
	wttest.Want(t, far.want(atFar), "here now")
	if len(a.told)+len(b.told) != 0 {
		t.Error("the subscriptions have heard of it")
	}
}

// TestNonsense: an edge that does not keep to the format is cut off.
func TestNonsense(t *testing.T) {
	x := newCluster(t, 2, nil, nil)
	a, b := x.edges[0], x.edges[1]
	remote, err := a.data.OpenRemote(wt.RemoteSpec{Session: x.newID(), Wanted: func(bool) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	from := meshproto.DataMessage{Kind: meshproto.DataFromHere}
	begin := meshproto.DataMessage{Kind: meshproto.DataBegin, Stream: 2}
	end := meshproto.DataMessage{Kind: meshproto.DataEnd, Stream: 2}
	for _, list := range [][]meshproto.DataMessage{
		{begin}, {from, from}, {from, end}, {from, begin, begin}, {from, begin, {Kind: meshproto.DataBegin, Stream: 1}},
		{from, begin, end, {Kind: meshproto.DataBytes, Stream: 2, Bytes: []byte("x")}},
	} {
		p := &pull{stream: &stream{conduit: a.Conduit}, remote: remote, inlets: make(map[uint32]*wt.Inlet)}
		var err error
		for _, m := range list {
			if err != nil {
				t.Errorf("%+v: %v before the end", list, err)
			}
			err = p.hear(m)
		}
		if !errors.Is(err, errUnasked) {
			t.Errorf("%+v: %v", list, err)
		}
		for _, in := range p.inlets {
			in.End()
		}
	}
	call, err := b.peers.Open(t.Context(), a.name, meshproto.ServiceData, []byte("{"))
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "it is cut off", func() bool { return !a.peers.Linked()[b.name] })
	call.Close()
}

// TestTooMuch: an edge that pulls too much is refused, and one that pulls the same again has only that.
func TestTooMuch(t *testing.T) {
	x := newCluster(t, 2, nil, nil)
	a, b := x.edges[0], x.edges[1]
	a.options.MaxServed = 1
	alice := x.connect(a, "alice")
	p := alice.publish("")
	ask := func(stream, room string) (string, func()) {
		t.Helper()
		first, _ := meshproto.EncodeDataAsk(meshproto.DataAsk{Room: room, Stream: stream})
		call, err := b.peers.Open(t.Context(), a.name, meshproto.ServiceData, first)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := call.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return string(answer), call.Close
	}
	got, close1 := ask(p, room)
	defer close1()
	got2, close2 := ask(p, room)
	defer close2()
	waitFor(t, "the first has ended", func() bool { return a.Stats().Serving == 1 })
	got3, close3 := ask(x.newID(), room)
	defer close3()
	close2()
	waitFor(t, "the second has ended", func() bool { return a.Stats().Serving == 0 })
	got4, close4 := ask(p, "another room")
	defer close4()
	want := []string{"\x01", "\x01", "\x06\x04", "\x06\x02"}
	if all := []string{got, got2, got3, got4}; strings.Join(all, " ") != strings.Join(want, " ") {
		t.Errorf("%q, want %q", all, want)
	}
}
