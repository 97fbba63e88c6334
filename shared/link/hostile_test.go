package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"portico/shared/identity"
)

// hostile dials as a node of the cluster does and hands out the bare connection, after a greeting of its own.
func hostile(t *testing.T, o Options, greet []byte) (*quic.Conn, *quic.SendStream, *Listener) {
	t.Helper()
	ids := identities(t, identity.Edge, identity.Relay)
	l := listen(t, ids[1], o)
	mine := calm(Options{})
	mine.fill()
	conn, err := quic.DialAddr(patient(t), l.Addr().String(), tlsConfig(ids[0]), quicConfig(&mine))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	out, err := conn.OpenUniStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write(greet); err != nil {
		t.Fatal(err)
	}
	return conn, out, l
}

func accepted(t *testing.T, l *Listener) *Link {
	t.Helper()
	link, err := l.Accept(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func TestBadStreams(t *testing.T) {
	for name, c := range map[string]struct {
		in    []byte
		close bool
	}{
		"no flow id":       {in: []byte{0, 0}},
		"half a flow id":   {in: []byte{0, 2, 0xc0, 1}},
		"end":              {close: true},
		"end in a packet":  {in: []byte{0, 9, 1, 2}, close: true},
		"end in its front": {in: []byte{7}, close: true},
	} {
		t.Run(name, func(t *testing.T) {
			_, out, l := hostile(t, Options{}, []byte{greeting})
			link := accepted(t, l)
			if _, err := out.Write(c.in); err != nil {
				t.Fatal(err)
			}
			if c.close {
				_ = out.Close()
			}
			wait(t, link.Done(), "the end")
			if err := link.Err(); !errors.Is(err, ErrBadPeer) {
				t.Error(err)
			}
		})
	}
}

func TestBadGreeting(t *testing.T) {
	conn, _, _ := hostile(t, Options{}, []byte{greeting + 1})
	wait(t, conn.Context().Done(), "the end")
}

func TestJunkDatagrams(t *testing.T) {
	got := make(chan string, 1)
	conn, _, l := hostile(t, Options{Receive: func(_ *Link, _ uint64, b []byte) { got <- string(b) }}, []byte{greeting})
	link := accepted(t, l)
	for _, b := range [][]byte{{}, {0xff}, {0x40}, {0x80, 1, 2}, {5, 'o', 'k'}} {
		if err := conn.SendDatagram(b); err != nil {
			t.Fatal(err)
		}
	}
	if s := <-got; s != "ok" {
		t.Errorf("%q", s)
	}
	if s := link.Stats(); s.Junk != 4 || s.Received != 1 {
		t.Errorf("%+v", s)
	}
}

func TestBadMessages(t *testing.T) {
	conn, _, l := hostile(t, Options{}, []byte{greeting})
	link := accepted(t, l)
	open := func(in []byte) (*quic.Stream, *Call) {
		s, err := conn.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(in); err != nil {
			t.Fatal(err)
		}
		c, err := link.Accept(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		return s, c
	}
	s, c := open([]byte{0, 0x10, 0, 1})
	if _, err := c.Receive(patient(t)); !errors.Is(err, ErrTooLong) {
		t.Errorf("an endless message: %v", err)
	}
	wait(t, s.Context().Done(), "the end of a call with an endless message")
	wait(t, c.Done(), "the same on this side")

	s, c = open([]byte{0, 0, 0, 9, 1, 2})
	_ = s.Close()
	if _, err := c.Receive(patient(t)); !errors.Is(err, ErrBadPeer) {
		t.Errorf("half a message: %v", err)
	}

	s, c = open([]byte{0, 0x10, 0, 0, 'x'}) // the greatest length, and then nothing
	received := make(chan error, 1)
	go func() {
		_, err := c.Receive(t.Context())
		received <- err
	}()
	s.CancelWrite(1)
	if err := <-received; err != ErrClosed {
		t.Errorf("given up: %v", err)
	}
	if cap(c.body) > 4<<10 {
		t.Errorf("%d bytes are held for one that came", cap(c.body))
	}
	c.Close()
	select {
	case <-link.Done():
		t.Errorf("the link has suffered: %v", link.Err())
	default:
	}
}

// A peer that opens calls without end is held back, and gets on as soon as some are closed.
func TestManyCalls(t *testing.T) {
	const limit = 50
	conn, _, l := hostile(t, Options{MaxCalls: limit}, []byte{greeting})
	link := accepted(t, l)
	opened := 0
	for range 10_000 {
		s, err := conn.OpenStream()
		if err != nil {
			continue
		}
		opened++
		if _, err := s.Write([]byte{0, 0, 0, 1, 'x'}); err != nil {
			t.Fatal(err)
		}
	}
	if opened != limit {
		t.Errorf("%d calls are open", opened)
	}
	for range limit {
		c, err := link.Accept(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	for range limit {
		if _, err := conn.OpenStreamSync(patient(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// What a peer sends on calls that nobody reads is bounded by what the connection lets it.
func TestFloodOfACall(t *testing.T) {
	conn, _, l := hostile(t, Options{}, []byte{greeting})
	accepted(t, l)
	s, err := conn.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	_ = s.SetWriteDeadline(time.Now().Add(time.Second))
	if n, err := s.Write(make([]byte, 8<<20)); err == nil || n > 1<<20 {
		t.Errorf("%d bytes were taken, %v", n, err)
	}
}

// A peer that does not read costs a sender its call after some seconds, and nothing else; closing need not wait so long.
func TestStalledCall(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{}, Options{})
	long := bytes.Repeat([]byte{1}, MaxMessage)
	stalled, err := a.Call(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for err == nil {
		err = stalled.Send(long)
	}
	if err != ErrStalled || time.Since(began) < sendTimeout {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	wait(t, stalled.Done(), "the stalled call")

	closed, err := a.Call(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	began = time.Now()
	go func() {
		var err error
		for err == nil {
			err = closed.Send(long)
		}
		sent <- err
	}()
	for range 2 { // so that the one that is about to be closed is under way
		if _, err := b.Accept(patient(t)); err != nil {
			t.Fatal(err)
		}
	}
	closed.Close()
	if err := <-sent; err != ErrClosed || time.Since(began) >= sendTimeout {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if err := a.Send(1, nil); err != nil {
		t.Error(err)
	}
}

// A full queue drops its oldest, and a full one of long packets refuses.
func TestFullQueues(t *testing.T) {
	var q queue
	q.open()
	b := make([]byte, 8)
	for n := range uint64(queueLimit + 10) {
		binary.BigEndian.PutUint64(b, n)
		if dropped, ok := q.push(n, b); !ok || dropped != (n >= queueLimit) {
			t.Fatalf("%d: %v %v", n, dropped, ok)
		}
	}
	for n := range uint64(queueLimit) {
		d := q.pop()
		if flow, rest, ok := cutVarint(d.data[:d.n]); !ok || flow != n+10 || binary.BigEndian.Uint64(rest) != n+10 {
			t.Fatalf("%d comes for %d", flow, n+10)
		}
	}
	q.push(1, nil)
	q.close()
	if q.pop() != nil {
		t.Error("a closed queue gives")
	}
	if _, ok := q.push(1, nil); ok {
		t.Error("a closed queue takes")
	}

	var long longQueue
	long.open()
	n := 0
	for ; long.push(1, make([]byte, 1400)) == nil; n++ {
	}
	if n != longQueueLimit {
		t.Errorf("%d packets", n)
	}
	if f := long.pop(); len(f) != 2+1+1400 {
		t.Errorf("%d bytes", len(f))
	}
	if err := long.push(1, make([]byte, MaxPacket)); err != nil {
		t.Error(err)
	}
	if err := long.push(1, nil); err != ErrFull {
		t.Error(err)
	}
	var large longQueue
	large.open()
	for n = 0; large.push(1, make([]byte, MaxPacket)) == nil; n++ {
	}
	if n != longQueueBytes/MaxPacket {
		t.Errorf("%d of the longest packets", n)
	}
	large.close()
	if large.push(1, nil) != ErrClosed || large.pop() != nil {
		t.Error("a closed queue works")
	}
}
