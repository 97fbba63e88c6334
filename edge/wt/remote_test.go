package wt

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"portico/edge/wt/wttest"
)

// remote opens a publication of another edge, whose word of being wanted is told as an event.
func (r *rig) remote() (string, *Remote) {
	r.t.Helper()
	id := r.newID()
	remote, err := r.s.OpenRemote(RemoteSpec{Session: id, Wanted: func(on bool) {
		if on {
			r.told <- "wanted " + id
		} else {
			r.told <- "unwanted " + id
		}
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	return id, remote
}

func (r *rig) begin(remote *Remote) *Inlet {
	r.t.Helper()
	in, err := remote.Begin()
	if err != nil {
		r.t.Fatal(err)
	}
	return in
}

// A publication of another edge is subscribed to like one that is here, once its data come.
func TestRemote(t *testing.T) {
	r := newRig(t, nil)
	bob, carol := r.connect("bob"), r.connect("carol")
	p, remote := r.remote()
	b := bob.subscribe(p)
	r.expect("wanted " + p)
	atBob := bob.want(b)
	early := r.begin(remote)
	early.Write([]byte("one"))
	wttest.Want(t, atBob, "one")
	remote.Ready()
	r.expect("ready " + b)
	again := carol.subscribe(p)
	joins := carol.want(again)
	r.expect("ready " + again) // at once
	early.Write([]byte("two"))
	early.End()
	wttest.Want(t, atBob, "two")
	wttest.WantEnd(t, atBob)
	wttest.Want(t, joins, "two")
	wttest.WantEnd(t, joins)
	second := r.begin(remote)
	second.Write([]byte("x"))
	one, two := bob.want(b), carol.want(again)
	second.Reset(77)
	wttest.WantReset(t, one, 77)
	wttest.WantReset(t, two, 77)
	r.s.Stop(again)
	remote.Fail(ReasonSlow)
	r.expectAll("failed "+b+": "+ReasonSlow, "unwanted "+p)
	c := bob.subscribe(p)
	r.expect("wanted " + p)
	last := r.begin(remote)
	last.Write([]byte("last"))
	atC := bob.want(c)
	remote.Close()
	remote.Close()
	r.expect("failed " + c + ": " + ReasonSourceLoss) // it never was ready
	last.Write([]byte("too late"))
	wttest.Want(t, atC, "last")
	wttest.WantEnd(t, atC)
	last.End()
	if _, err := remote.Begin(); !errors.Is(err, ErrNoSource) {
		t.Errorf("a stream of what is closed: %v", err)
	}
	if n := r.s.Stats(); n.Remotes != 0 || n.Subscriptions != 0 {
		t.Errorf("%+v", n)
	}
}

// Subscriptions outlive the publisher's connection when it may be on another edge, and end when it is not.
func TestLinger(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Linger = 100 * time.Millisecond })
	alice, bob := r.connect("alice"), r.connect("bob")
	p := alice.publish()
	b := bob.subscribe(p)
	atBob := bob.want(b)
	r.expect("ready " + b)
	stream := alice.send(p)
	r.expect("ready " + p)
	wttest.Write(t, stream, "last")
	wttest.Want(t, atBob, "last")
	r.s.Lose("alice")
	r.expect("failed " + p + ": " + ReasonLost)
	wttest.WantEnd(t, atBob)
	remote, err := r.s.OpenRemote(RemoteSpec{Session: p, Wanted: func(on bool) { r.told <- "wanted" }})
	if err != nil {
		t.Fatal(err)
	}
	r.expect("wanted")
	in := r.begin(remote)
	in.Write([]byte("there"))
	wttest.Want(t, bob.want(b), "there")
	in.End()

	back := r.connect("alice")
	if err := r.s.Publish(Spec{Participant: "alice", Transport: back.Transport, Session: p, Resumed: true, Events: r}); err != nil {
		t.Fatal(err)
	}
	r.expect("ready " + p)
	remote.Close()
	began := time.Now()
	_ = back.CloseWithError(0, "")
	r.expectAll("failed "+p+": "+ReasonLost, "failed "+b+": "+ReasonSourceLoss)
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("it has ended after %v", took)
	}
}

func TestRemoteBounds(t *testing.T) {
	r := newRig(t, nil)
	p, remote := r.remote()
	defer remote.Close()
	for _, id := range []string{"", "short", p, strings.Repeat("0", 32)} {
		if _, err := r.s.OpenRemote(RemoteSpec{Session: id}); !errors.Is(err, ErrID) {
			t.Errorf("%q: %v", id, err)
		}
	}
	alice := r.connect("alice")
	if err := r.s.Publish(Spec{Participant: "alice", Transport: alice.Transport, Session: p, Events: r}); !errors.Is(err, ErrID) {
		t.Errorf("published under the id of another: %v", err)
	}
	for range maxInlets {
		r.begin(remote)
	}
	if _, err := remote.Begin(); !errors.Is(err, ErrTooMany) {
		t.Errorf("%v", err)
	}
}

// What a participant has here from before is lost when it comes anew.
func TestLose(t *testing.T) {
	r := newRig(t, nil)
	alice := r.connect("alice")
	p := alice.publish()
	alice.send(p)
	r.expect("ready " + p)
	r.s.Lose("alice")
	r.expect("failed " + p + ": " + ReasonLost)
	<-alice.Context().Done()
	if a := r.s.Admit("room", "alice"); a.Token == "" || a.Transport == alice.Transport {
		t.Errorf("%+v", a)
	}
	r.s.Lose("nobody")
}

// items reads what a Tap has, as text.
func items(t *testing.T, tap *Tap, n int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var text []string
	for range n {
		i, err := tap.Next(ctx)
		if err != nil {
			text = append(text, err.Error())
			continue
		}
		text = append(text, map[ItemKind]string{ItemBegin: "begin", ItemData: "data ", ItemEnd: "end", ItemReset: "reset"}[i.Kind]+string(i.Data))
	}
	return strings.Join(text, ", ")
}

// A Tap takes streams from where they are, each to its end.
func TestTap(t *testing.T) {
	r := newRig(t, nil)
	alice := r.connect("alice")
	p := alice.publish()
	for _, where := range [][2]string{{"room", r.newID()}, {"another", p}} {
		if _, err := r.s.OpenTap(where[0], where[1]); !errors.Is(err, ErrNoSource) {
			t.Errorf("%v: %v", where, err)
		}
	}
	first := alice.send(p)
	wttest.Write(t, first, "missed")
	r.eventually("it came", func(s Stats) bool { return s.BytesIn == 6 })
	tap, err := r.s.OpenTap("room", p)
	if err != nil {
		t.Fatal(err)
	}
	wttest.Write(t, first, "one")
	if got := items(t, tap, 2); got != "begin, data one" {
		t.Error(got)
	}
	_ = first.Close()
	if got := items(t, tap, 1); got != "end" {
		t.Error(got)
	}
	second := alice.send(p)
	if got := items(t, tap, 1); got != "begin" {
		t.Error(got)
	}
	second.CancelWrite(9)
	if got := items(t, tap, 1); got != "reset" {
		t.Error(got)
	}
	alice.send(p)
	if got := items(t, tap, 1); got != "begin" {
		t.Error(got)
	}
	r.s.Stop(p)
	if got := items(t, tap, 3); got != "end, EOF, EOF" {
		t.Error(got)
	}
	tap.Close()
	tap.Close()
	if got := items(t, tap, 1); got != ErrClosed.Error() {
		t.Error(got)
	}
}

// A Tap that is not read ends by itself, and lets go of what it had.
func TestSlowTap(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxQueue = 64 << 10 })
	alice, bob := r.connect("alice"), r.connect("bob")
	p := alice.publish()
	stream := alice.send(p)
	b := bob.subscribe(p)
	in := bob.want(b)
	tap, err := r.s.OpenTap("room", p)
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	for range 10 {
		if _, err := stream.Write(make([]byte, 16<<10)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, in, 16<<10); err != nil {
			t.Fatal(err)
		}
	}
	r.eventually("it has ended", func(s Stats) bool { return s.Slow == 1 && s.Queued == 0 })
	if got := items(t, tap, 1); got != ErrSlow.Error() {
		t.Error(got)
	}
}
