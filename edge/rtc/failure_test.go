package rtc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"portico/shared/conference"
)

// setDirection replaces the direction of all m-lines of an SDP.
func setDirection(text, old, new string) string {
	return strings.ReplaceAll(text, "a="+old+"\r\n", "a="+new+"\r\n")
}

func TestT_132_PathIsCut(t *testing.T) {
	e := newEngine(t, func(c *Config) { c.ICEDisconnected, c.ICEFailed = 600*time.Millisecond, 300*time.Millisecond })
	alice := newSource(t, e, "alice")
	bob := watch(t, e, "bob", "alice-pub-1")
	alice.publish("second", decls(5, conference.Audio)) // never offered: fails too
	alice.wire.cut.Store(true)
	if got := alice.next("session failed"); got.session != "alice-pub" || got.transport != "alice-pub" || got.text != ReasonICE {
		t.Errorf("%v", got)
	}
	if got := alice.next("session failed"); got.session != "second" || got.text != ReasonICE {
		t.Errorf("%v", got)
	}
	if got := alice.next("transport failed"); got.transport != "alice-pub" {
		t.Errorf("%v", got)
	}
	if got := bob.next("session failed"); got.text != ReasonSourceLoss {
		t.Errorf("%v", got)
	}
	if err := e.Offer("alice", "alice-pub", chromium("audio")); !errors.Is(err, ErrNoTransport) {
		t.Errorf("Offer on a failed transport: %v", err)
	}
	alice.quiet()
	bob.quiet()
}

func TestClientCloses(t *testing.T) {
	e := newEngine(t, nil)
	alice := newSource(t, e, "alice")
	if err := alice.pc.Close(); err != nil {
		t.Fatal(err)
	}
	if got := alice.next("session failed"); got.text != ReasonICE {
		t.Errorf("%v", got)
	}
	alice.next("transport failed")
}

func TestT_133_NoOffer(t *testing.T) {
	e := newEngine(t, func(c *Config) { c.SessionTimeout = 50 * time.Millisecond })
	c := newClient(t, e, "alice")
	c.publish("x", decls(0, conference.Audio))
	if got := c.next("session failed"); got.session != "x" || got.text != ReasonNoOffer {
		t.Errorf("%v", got)
	}
	if stats := e.Stats(); stats.Publications != 0 || stats.Transports != 1 {
		t.Errorf("stats %+v", stats)
	}
	// The transport is still good.
	c.send(c.track(conference.Audio))
	e.mu.Lock()
	e.config.SessionTimeout = time.Minute
	e.mu.Unlock()
	c.publish("y", decls(0, conference.Audio))
	c.negotiate()
	c.next("transport ready")
	c.next("session ready")
}

func TestErrors(t *testing.T) {
	e := newEngine(t, func(c *Config) { c.MaxTransports, c.MaxSessions = 2, 3 })
	o := newOwner(t)
	spec := func(transport, session string, isNew bool, tracks ...TrackDecl) PublishSpec {
		return PublishSpec{Participant: "a", Transport: transport, Session: session, New: isNew, Tracks: tracks, Accept: allFormats, Events: o}
	}
	audio := func(mid string) TrackDecl { return TrackDecl{Kind: conference.Audio, Mid: mid} }
	check := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	check("unknown transport", e.Publish(spec("x", "s", false, audio("0"))), ErrNoTransport)
	check("no tracks", e.Publish(spec("x", "x", true)), ErrBadTracks)
	check("mid twice", e.Publish(spec("x", "x", true, audio("0"), audio("0"))), ErrBadTracks)
	check("empty mid", e.Publish(spec("x", "x", true, audio(""))), ErrBadTracks)
	check("no kind", e.Publish(spec("x", "x", true, TrackDecl{Mid: "0"})), ErrBadTracks)
	check("first", e.Publish(spec("x", "x", true, audio("0"))), nil)
	check("transport twice", e.Publish(spec("x", "y", true, audio("0"))), ErrIDInUse)
	check("session twice", e.Publish(spec("x", "x", false, audio("1"))), ErrIDInUse)
	check("mid in use", e.Publish(spec("x", "y", false, audio("1"), audio("0"))), ErrMidInUse)
	check("second", e.Publish(spec("x", "y", false, audio("1"))), nil)
	check("third", e.Publish(spec("x", "z", false, audio("2"))), nil)
	check("fourth", e.Publish(spec("x", "w", false, audio("3"))), ErrTooMany)
	check("second transport", e.Publish(spec("x2", "x2", true, audio("0"))), nil)
	check("third transport", e.Publish(spec("x3", "x3", true, audio("0"))), ErrTooMany)
	other := spec("x", "v", false, audio("9"))
	other.Participant = "b"
	check("another's transport", e.Publish(other), ErrNoTransport)
	check("another's transport, offer", e.Offer("b", "x", chromium("audio")), ErrNoTransport)
	check("another's transport, candidate", e.Candidate("b", "x", "a=candidate:1 1 udp 1 127.0.0.1 9 typ host", "", 0), ErrNoTransport)
	check("another's transport, removed", e.RemovedCandidates("b", "x", nil), ErrNoTransport)
	check("unknown track", e.Subscribe(SubscribeSpec{
		Participant: "a", Transport: "x2", Session: "q", Tracks: []SubTrack{{Kind: conference.Audio, Mid: "1", From: "nothing"}}, Events: o}), ErrNoSuchTrack)
	check("bad offer", e.Offer("a", "x", "v=0\r\n"), ErrBadOffer)
	check("long offer", e.Offer("a", "x", strings.Repeat("x", 2<<20)), ErrBadOffer)
	e.Stop("y")
	check("after Stop", e.Publish(spec("x", "w", false, audio("1"))), nil)
	e.CloseParticipant("a")
	e.CloseParticipant("a")
	check("after leaving", e.Publish(spec("x", "u", false, audio("1"))), ErrNoTransport)
	check("ids are free", e.Publish(spec("x", "x", true, audio("0"))), nil)
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	check("after Close", e.Publish(spec("n", "n", true, audio("0"))), ErrClosed)
	o.quiet()
}

func TestOfferFlood(t *testing.T) {
	e := newEngine(t, nil)
	o := newOwner(t)
	if err := e.Publish(PublishSpec{Participant: "a", Transport: "x", Session: "x", New: true, Tracks: decls(0, conference.Audio), Events: o}); err != nil {
		t.Fatal(err)
	}
	text := chromium("audio")
	accepted, refused := 0, 0
	for range 500 {
		switch err := e.Offer("a", "x", text); {
		case err == nil:
			accepted++
		case errors.Is(err, ErrTooMany):
			refused++
		default:
			t.Fatal(err)
		}
	}
	for range accepted { // each that was accepted is answered
		for e := o.next2(); e.name != "answer"; e = o.next2() {
		}
	}
	if refused == 0 {
		t.Error("none was refused")
	}
}

// next2 is the next event, whatever it is.
func (o *owner) next2() event {
	o.t.Helper()
	select {
	case e := <-o.got:
		return e
	case <-time.After(patience):
		o.t.Fatal("no event")
	}
	return event{}
}

func TestCloseParticipantEndsSubscriptions(t *testing.T) {
	e := newEngine(t, nil)
	alice := newSource(t, e, "alice")
	alice.receive(conference.Video)
	alice.subscribe("self", SubTrack{Kind: conference.Video, Mid: "2", From: "alice-pub-1"})
	alice.negotiate()
	alice.next("session ready")
	bob := watch(t, e, "bob", "alice-pub-1")
	e.CloseParticipant("alice")
	if got := bob.next("session failed"); got.session != "bob" || got.text != ReasonSourceLoss {
		t.Errorf("%v", got)
	}
	if stats := e.Stats(); stats.Participants != 1 || stats.Tracks != 0 || stats.Subscriptions != 0 {
		t.Errorf("stats %+v", stats)
	}
	alice.quiet()
}

// TestControlOfStrangers: RTCP about streams that do not exist is of no consequence.
func TestControlOfStrangers(t *testing.T) {
	e := newEngine(t, nil)
	alice := newSource(t, e, "alice")
	bob := watch(t, e, "bob", "alice-pub-1")
	reports := make([]rtcp.Packet, 0, 100)
	for i := range uint32(5000) {
		reports = append(reports, &rtcp.PictureLossIndication{MediaSSRC: 5000 + i})
		if len(reports) == cap(reports) {
			if err := alice.pc.WriteRTCP(reports); err != nil {
				t.Fatal(err)
			}
			reports = reports[:0]
		}
	}
	alice.start()
	r := bob.arrived()
	for range 100 {
		bob.read(r.track)
	}
	alice.quiet()
}

// TestNoTheftByCandidate: naming another client's address as one's own takes nothing away from it.
func TestNoTheftByCandidate(t *testing.T) {
	e := newEngine(t, nil)
	alice := newSource(t, e, "alice")
	bob := watch(t, e, "bob", "alice-pub-1")
	mallory := newSource(t, e, "mallory")
	port := alice.wire.LocalAddr().(*net.UDPAddr).Port
	if err := e.Candidate("mallory", "mallory-pub", fmt.Sprintf("candidate:1 1 udp 2130706431 127.0.0.1 %d typ host", port), "0", 0); err != nil {
		t.Fatal(err)
	}
	mallory.publish("more", decls(2, conference.Audio))
	mallory.send(mallory.track(conference.Audio))
	mallory.negotiate() // by now the candidate has been handled
	mallory.next("session ready")
	alice.start()
	r := bob.arrived()
	for range 100 {
		bob.read(r.track)
	}
	alice.quiet()
}

// TestICERestart: new credentials in an offer restart ICE; media goes on.
func TestICERestart(t *testing.T) {
	e := newEngine(t, nil)
	alice := newSource(t, e, "alice")
	bob := watch(t, e, "bob", "alice-pub-1")
	alice.start()
	r := bob.arrived()
	bob.read(r.track)
	before := attribute(parsed(t, alice.pc.RemoteDescription().SDP).MediaDescriptions[0], "ice-ufrag")
	offer, err := alice.pc.CreateOffer(restartOptions)
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	answer := alice.finish(offer.SDP, nil)
	if after := attribute(parsed(t, answer).MediaDescriptions[0], "ice-ufrag"); after == before {
		t.Error("our credentials are the old ones")
	}
	for range 300 {
		bob.read(r.track)
	}
	alice.quiet()
}

func TestPublicAddresses(t *testing.T) {
	if _, err := New(Config{Listen: "127.0.0.1:0", PublicIPs: []string{"example.com"}}); err == nil {
		t.Error("accepts a name as public address")
	}
	if _, err := New(Config{Listen: "127.0.0.1:99999"}); err == nil {
		t.Error("opens port 99999")
	}
	e := newEngine(t, func(c *Config) { c.PublicIPs = []string{"203.0.113.7", "2001:db8::7"} })
	o := newOwner(t)
	if err := e.Publish(PublishSpec{Participant: "a", Transport: "x", Session: "x", New: true, Tracks: decls(0, conference.Audio), Events: o}); err != nil {
		t.Fatal(err)
	}
	if err := e.Offer("a", "x", chromium("audio")); err != nil {
		t.Fatal(err)
	}
	answer := o.next("answer").text
	port := e.Addr().(*net.UDPAddr).Port
	for _, want := range []string{
		fmt.Sprintf("a=candidate:1 1 udp 2130706431 203.0.113.7 %d typ host\r\n", port),
		fmt.Sprintf(" 2001:db8::7 %d typ host\r\n", port), " 127.0.0.1 ", // kept: loopback is allowed
	} {
		if !strings.Contains(answer, want) {
			t.Errorf("no %q in\n%s", want, answer)
		}
	}
}

// TestNoAddress: a transport that nobody could reach fails at once and says so in the log.
func TestNoAddress(t *testing.T) {
	messages := make(chan string, 100)
	e := newEngine(t, func(c *Config) { c.AllowLoopback = false; c.Log = slog.New(logTo{messages}) })
	o := newOwner(t)
	if err := e.Publish(PublishSpec{Participant: "a", Transport: "x", Session: "x", New: true, Tracks: decls(0, conference.Audio), Events: o}); err != nil {
		t.Fatal(err)
	}
	if err := e.Offer("a", "x", chromium("audio")); err != nil {
		t.Fatal(err)
	}
	o.next("session failed")
	o.next("transport failed")
	if got := <-messages; got != "transport cannot be made" {
		t.Errorf("logged %q", got)
	}
}

// logTo is a slog.Handler that hands on messages from Warn up.
type logTo struct{ messages chan string }

func (l logTo) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (l logTo) Handle(_ context.Context, r slog.Record) error    { l.messages <- r.Message; return nil }
func (l logTo) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l logTo) WithGroup(string) slog.Handler                    { return l }
