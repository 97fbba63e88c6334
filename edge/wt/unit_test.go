package wt

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestIDs(t *testing.T) {
	const text = "0123456789abcdef0123456789abcdef"
	b, ok := parseID(text)
	if !ok || b.String() != text || b[0] != 0x01 || b[15] != 0xef {
		t.Errorf("%v %v", b, ok)
	}
	for _, bad := range []string{"", text[1:], text + "0", strings.ToUpper(text), strings.Repeat("0", 32), strings.Repeat("g", 32)} {
		if _, ok := parseID(bad); ok {
			t.Errorf("%q is an id", bad)
		}
	}
}

func frame(length uint32, text string) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, length), text...)
}

func TestReadToken(t *testing.T) {
	for _, c := range []struct {
		in   []byte
		want string
		err  error
	}{
		{frame(3, "abcrest"), "abc", nil},
		{frame(maxToken, strings.Repeat("x", maxToken)), strings.Repeat("x", maxToken), nil},
		{frame(maxToken+1, strings.Repeat("x", maxToken+1)), "", errTokenLength},
		{frame(1<<31, ""), "", errTokenLength},
		{frame(0, ""), "", errTokenLength},
		{frame(4, "abc"), "", io.ErrUnexpectedEOF},
		{[]byte{1, 0}, "", io.ErrUnexpectedEOF},
		{nil, "", io.EOF},
	} {
		if got, err := readToken(bytes.NewReader(c.in)); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%.20x: %.20q, %v; want %.20q, %v", c.in, got, err, c.want, c.err)
		}
	}
	r := bytes.NewReader(frame(3, "abcrest"))
	if _, _ = readToken(r); r.Len() != 4 {
		t.Errorf("%d bytes are left for what follows", r.Len())
	}
}

// What begins a stream, however long and in whatever pieces it comes.
func FuzzHead(f *testing.F) {
	f.Add(append(make([]byte, 16), frame(3, "abc")...))
	f.Add(append(bytes.Repeat([]byte{7}, 16), frame(1<<31, "abc")...))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		head, err := readID(r)
		if (err == nil) != (len(in) >= 16) {
			t.Fatalf("%d bytes: %v", len(in), err)
		}
		if err != nil {
			return
		}
		if back, ok := parseID(head.String()); ok == (head == signalling) || ok && back != head {
			t.Fatalf("%x comes back as %x, %v", head, back, ok)
		}
		text, err := readToken(r)
		if err == nil && (len(text) == 0 || len(text) > maxToken || !bytes.Equal(in[20:20+len(text)], []byte(text))) {
			t.Fatalf("token of %d bytes", len(text))
		}
		slow, again := readToken(oneByte{bytes.NewReader(in[16:])})
		if slow != text || (err == nil) != (again == nil) {
			t.Fatalf("in pieces: %q, %v; at once: %q, %v", slow, again, text, err)
		}
	})
}

type oneByte struct{ r io.Reader }

func (o oneByte) Read(b []byte) (int, error) { return o.r.Read(b[:min(len(b), 1)]) }

func TestOwnCertificate(t *testing.T) {
	start := time.Now()
	o, err := newOwnCertificate(start)
	if err != nil {
		t.Fatal(err)
	}
	at := func(days float64) (current, next [32]byte) {
		t.Helper()
		now := start.Add(time.Duration(days * 24 * float64(time.Hour)))
		if err := o.renew(now); err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(o.current.tls.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		key, ok := c.PublicKey.(*ecdsa.PublicKey)
		if !ok || key.Curve != elliptic.P256() || c.NotAfter.Sub(c.NotBefore) > 14*24*time.Hour || len(c.Extensions) == 0 {
			t.Errorf("browsers do not take %v", c)
		}
		if now.Before(c.NotBefore) || now.Add(24*time.Hour).After(c.NotAfter) {
			t.Errorf("after %v days it is valid from %v to %v", days, c.NotBefore, c.NotAfter)
		}
		return o.current.hash, o.next.hash
	}
	first, second := at(0)
	if c, n := at(3.9); c != first || n != second {
		t.Error("exchanged before its time")
	}
	c, third := at(4.1)
	if c != second || third == first || third == second {
		t.Error("not exchanged for the one that was announced")
	}
	if c, _ := at(9.5); c != third { // nobody came for more than a day
		t.Error("not exchanged a second time")
	}
	at(100) // a long sleep
	before, _ := at(100)
	if c, _ := at(50); c == before { // and a clock that is set back
		t.Error("a certificate of the future stays")
	}
}

func TestDoor(t *testing.T) {
	d := door{limit: 6, maxPending: 8, pending: map[netip.Addr]int{}}
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	sameNetwork := netip.MustParseAddr("2001:db8::2:3:4:5")
	for i, c := range []struct {
		from netip.Addr
		want bool
	}{{a, true}, {a, true}, {a, false}, {b, true}, {sameNetwork, true}, {b, false}} {
		if got := d.enter(c.from); got != c.want {
			t.Errorf("%d: %v let in: %v", i, c.from, got)
		}
	}
	if !d.crowded() {
		t.Error("four of eight are no crowd")
	}
	v := &visit{door: &d, from: a}
	v.settle()
	v.settle()
	if inside, waiting := d.count(); inside != 4 || waiting != 3 {
		t.Errorf("%d inside, %d waiting", inside, waiting)
	}
	if !d.enter(a) || !d.enter(netip.MustParseAddr("192.0.2.2")) || d.enter(netip.MustParseAddr("192.0.2.3")) {
		t.Error("six are allowed")
	}
	v.leave()
	v.leave()
	for _, from := range []netip.Addr{a, b, sameNetwork, a, netip.MustParseAddr("192.0.2.2")} {
		(&visit{door: &d, from: from}).leave()
	}
	if inside, waiting := d.count(); inside != 0 || waiting != 0 || len(d.pending) != 0 {
		t.Errorf("left behind: %d inside, %d waiting, %v", inside, waiting, d.pending)
	}
}

// outletRig is an outlet on a fake stream.
func outletRig(t *testing.T, maxQueue int, maxQueued int64, gate chan struct{}) (*Server, *outlet, *fakeStream, chan struct{}) {
	t.Helper()
	s := &Server{subscriptions: map[string]*subscription{}, closed: true}
	s.config.MaxQueue, s.config.MaxQueued = maxQueue, maxQueued
	o := &outlet{server: s, sub: &subscription{transport: &transport{}, outlets: map[*outlet]bool{}}, wake: make(chan struct{}, 1)}
	o.sub.reserve(outletSize, int64(maxQueue))
	var ctx context.Context
	ctx, o.cancel = context.WithCancel(t.Context())
	f, done := newFakeStream(gate), make(chan struct{})
	go func() {
		defer close(done)
		defer o.end()
		o.carry(ctx, f)
	}()
	return s, o, f, done
}

func (s *Server) pushText(o *outlet, text string) bool {
	c := s.totals.newChunk([]byte(text))
	defer s.totals.release(c)
	return o.push(c)
}

func TestOutletEndsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, o, f, done := outletRig(t, 1<<20, 1<<20, nil)
		for _, text := range []string{"a", "b", "c"} {
			if !s.pushText(o, text) {
				t.Fatal("refused")
			}
		}
		o.finish(0)
		if !s.pushText(o, "after the end") {
			t.Error("what comes after the end is no reason to end the subscription")
		}
		<-done
		if wrote, closed, code := f.state(); wrote != string(make([]byte, 16))+"abc" || !closed || code != 0 {
			t.Errorf("wrote %q, closed %v, reset %d", wrote, closed, code)
		}
		if n, all := o.sub.queued.Load(), s.totals.queued.Load(); n != 0 || all != 0 {
			t.Errorf("%d and %d bytes are still counted", n, all)
		}
	})
}

func TestOutletIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		s, o, f, done := outletRig(t, outletSize+10*(chunkSize+100), 1<<20, gate)
		gate <- struct{}{} // the id
		synctest.Wait()
		took := 0
		for ; s.pushText(o, strings.Repeat("x", 100)); took++ {
		}
		if took != 10 {
			t.Errorf("%d chunks fit, want 10", took)
		}
		o.reset(9)
		<-done
		if _, closed, code := f.state(); closed || code != 9 {
			t.Errorf("closed %v, reset %d", closed, code)
		}
		if n, all := o.sub.queued.Load(), s.totals.queued.Load(); n != 0 || all != 0 {
			t.Errorf("%d and %d bytes are still counted", n, all)
		}
		if !s.pushText(o, "late") {
			t.Error("what is over refuses")
		}
	})
}

// When the Server holds too much, the long queues are cut first.
func TestPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, o, _, done := outletRig(t, 1<<20, 1<<20, make(chan struct{}))
		synctest.Wait()
		s.totals.queued.Add(1 << 20) // of others
		took := 0
		for ; s.pushText(o, strings.Repeat("x", 8<<10-chunkSize)); took++ {
		}
		if want := (shortQueue - outletSize) / (8 << 10); took != want {
			t.Errorf("%d chunks fit, want %d", took, want)
		}
		s.totals.queued.Add(-1 << 20)
		if !s.pushText(o, "x") {
			t.Error("refused without pressure")
		}
		o.cancel()
		<-done
	})
}

// Finish with a time gives up on who does not read.
func TestFinishGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, o, f, done := outletRig(t, 1<<20, 1<<20, make(chan struct{}))
		s.pushText(o, "never read")
		start := time.Now()
		o.finish(time.Minute)
		<-done
		if _, closed, code := f.state(); closed || code != codeEnded || time.Since(start) != time.Minute {
			t.Errorf("closed %v, reset %d after %v", closed, code, time.Since(start))
		}
	})
}
