package link

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"portico/shared/identity"
)

func TestDialer(t *testing.T) {
	ids := identities(t, identity.Edge, identity.Relay)
	l := listen(t, ids[1], Options{})
	logged := make(lines, 100)
	d := NewDialer(ids[0], calm(Options{Log: slog.New(logged)}))
	defer d.Close()
	var all [10]*Link
	var callers sync.WaitGroup
	for i := range all {
		callers.Go(func() {
			var err error
			if all[i], err = d.Get(patient(t), l.Addr().String()); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	for _, link := range all {
		if link != all[0] {
			t.Fatal("a node has two links")
		}
	}
	if s := logged.next(t); s != "link made node=relay-1 role=relay" {
		t.Error(s)
	}

	// The node ends the link: there is another one soon.
	accepted(t, l).Close()
	wait(t, all[0].Done(), "the end of the link")
	if s := logged.next(t); s != "link lost node=relay-1 error=link: closed by the peer" {
		t.Error(s)
	}
	if s := logged.next(t); s != "link made node=relay-1 role=relay" {
		t.Error(s)
	}
	again, err := d.Get(patient(t), l.Addr().String())
	if err != nil || again == all[0] {
		t.Fatal(err)
	}
	if again, err := d.Get(patient(t), l.Addr().String()); err != nil || again.Err() != nil {
		t.Error(err)
	}
	d.Close()
	wait(t, again.Done(), "the end with the dialer")
	if _, err := d.Get(patient(t), l.Addr().String()); err != ErrClosed {
		t.Error(err)
	}
	if _, err := d.Get(patient(t), "127.0.0.1:1"); err != ErrClosed {
		t.Error(err)
	}
	d.Close()
}

// A node that refuses is tried again, and spoken of once.
func TestDialerRefused(t *testing.T) {
	ids := identities(t, identity.Edge, identity.Relay)
	l := listen(t, ids[1], Options{Roles: []string{identity.Relay}})
	address := l.Addr().String()
	logged := make(lines, 100)
	d := NewDialer(ids[0], calm(Options{Log: slog.New(logged)}))
	defer d.Close()
	if _, err := d.Get(patient(t), address); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	if s := logged.next(t); !strings.HasPrefix(s, "link cannot be made, and is tried again error=dialing "+address+": link: refused by the peer: ") {
		t.Error(s)
	}
	l.Close()
	conn, err := net.ListenPacket("udp4", address)
	if err != nil {
		t.Fatal(err)
	}
	mended, err := Listen(conn, ids[1], calm(Options{}))
	if err != nil {
		t.Fatal(err)
	}
	defer mended.Close()
	for {
		if s := logged.next(t); s == "link made node=relay-1 role=relay" {
			break
		} else if !strings.Contains(s, "silent") { // it was asked while nobody was there
			t.Error(s)
		}
	}
	if _, err := d.Get(patient(t), address); err != nil {
		t.Error(err)
	}
}

func TestDialerWaits(t *testing.T) {
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	d := NewDialer(identities(t, identity.Edge)[0], Options{})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 2)
	go func() {
		_, err := d.Get(ctx, socket.LocalAddr().String())
		result <- err
	}()
	if _, _, err := socket.ReadFrom(make([]byte, 1500)); err != nil { // it dials
		t.Fatal(err)
	}
	cancel()
	if err := <-result; err != context.Canceled {
		t.Error(err)
	}
	go func() {
		_, err := d.Get(t.Context(), socket.LocalAddr().String())
		result <- err
	}()
	d.Close()
	if err := <-result; err != ErrClosed {
		t.Error(err)
	}
}

func TestListenerClose(t *testing.T) {
	ids := identities(t, identity.Edge, identity.Relay)
	l := listen(t, ids[1], Options{MaxLinks: 1})
	a, err := Dial(patient(t), l.Addr().String(), ids[0], calm(Options{}))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b := accepted(t, l)
	if _, err := Dial(patient(t), l.Addr().String(), ids[0], calm(Options{})); !errors.Is(err, ErrFull) {
		t.Errorf("a link too many: %v", err)
	}
	result := make(chan error, 1)
	go func() {
		_, err := l.Accept(t.Context())
		result <- err
	}()
	l.Close()
	l.Close()
	if err := <-result; err != ErrClosed {
		t.Error(err)
	}
	wait(t, b.Done(), "the end with the listener")
	wait(t, a.Done(), "the end on the other side")
	if !errors.Is(a.Err(), ErrClosed) || !errors.Is(b.Err(), ErrClosed) {
		t.Errorf("%v, %v", a.Err(), b.Err())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Accept(ctx); err == nil {
		t.Error("a closed listener accepts")
	}
}

// What is forgotten ends, and can be asked for anew.
func TestDialerForgets(t *testing.T) {
	ids := identities(t, identity.Edge, identity.Relay)
	l := listen(t, ids[1], Options{})
	address := l.Addr().String()
	d := NewDialer(ids[0], calm(Options{}))
	defer d.Close()
	first, err := d.Get(patient(t), address)
	if err != nil {
		t.Fatal(err)
	}
	theirs := accepted(t, l)
	d.Forget("127.0.0.1:1") // it knows nothing of it
	d.Forget(address)
	wait(t, first.Done(), "the end of the link")
	wait(t, theirs.Done(), "the end on the other side")
	again, err := d.Get(patient(t), address)
	if err != nil || again == first || again.Err() != nil {
		t.Errorf("%v, %v", again, err)
	}
}
