package wt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"

	"portico/edge/wt/wttest"
	"portico/shared/token"
)

// Data of one participant reaches two others, each stream as one stream, from where it is on, and ends as it ends.
func TestForwarding(t *testing.T) {
	r := newRig(t, nil)
	alice, bob, carol := r.connect("alice"), r.connect("bob"), r.connect("carol")
	p := alice.publish()
	first := alice.send(p)
	r.expect("ready " + p)
	b := bob.subscribe(p)
	atBob := bob.want(b)
	r.expect("ready " + b)
	wttest.Write(t, first, "one")
	wttest.Want(t, atBob, "one")
	c := carol.subscribe(p)
	atCarol := carol.want(c)
	r.expect("ready " + c)
	wttest.Write(t, first, "two")
	wttest.Want(t, atBob, "two")
	wttest.Want(t, atCarol, "two")

	second := alice.send(p)
	secondAtBob, secondAtCarol := bob.want(b), carol.want(c)
	wttest.Write(t, second, "second")
	wttest.Want(t, secondAtBob, "second")
	second.CancelWrite(77)
	wttest.WantReset(t, secondAtBob, 77)
	wttest.WantReset(t, secondAtCarol, 77)

	wttest.Write(t, first, "end")
	_ = first.Close()
	wttest.Want(t, atBob, "end")
	wttest.WantEnd(t, atBob)
	wttest.Want(t, atCarol, "end")
	wttest.WantEnd(t, atCarol)

	third := alice.send(p) // after all others have ended
	wttest.Write(t, third, "3")
	wttest.Want(t, bob.want(b), "3")

	r.s.Stop(b)
	fourth := alice.send(p)
	wttest.Write(t, fourth, "4")
	_ = carol.want(c) // the third
	wttest.Want(t, carol.want(c), "4")
	if n := r.s.Stats(); n.Publications != 1 || n.Subscriptions != 1 || n.Connections != 3 || n.Pending != 0 || n.Admitted != 3 || n.BytesIn == 0 || n.BytesOut == 0 {
		t.Errorf("%+v", n)
	}
}

// A subscription has a stream from its start on, and the publication's next one takes that.
func TestSubscriptionBeforeData(t *testing.T) {
	r := newRig(t, nil)
	alice, bob := r.connect("alice"), r.admit("bob")
	p := alice.publish()
	b := bob.subscribe(p)
	r.eventually("subscribed", func(s Stats) bool { return s.Subscriptions == 1 })
	bob.open() // only now
	atBob := bob.want(b)
	r.expect("ready " + b)
	stream := alice.send(p)
	r.expect("ready " + p)
	wttest.Write(t, stream, "hello")
	wttest.Want(t, atBob, "hello")
}

// A megabyte arrives as it was sent, through queues much smaller than it, when everybody reads.
func TestBulk(t *testing.T) {
	r := newRig(t, nil)
	alice, bob := r.connect("alice"), r.connect("bob")
	p := alice.publish()
	b := bob.subscribe(p)
	atBob := bob.want(b)
	stream := alice.send(p)
	sent := make([]byte, 1<<20)
	source := rand.New(rand.NewPCG(1, 2))
	for i := range sent {
		sent[i] = byte(source.Uint32())
	}
	go func() {
		_, _ = stream.Write(sent)
		_ = stream.Close()
	}()
	got, err := io.ReadAll(atBob)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes of %d arrived, or others: %v", len(got), len(sent), err)
	}
}

func TestSlowSubscriber(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxQueue = 256 << 10 })
	alice, bob, sleepy := r.connect("alice"), r.connect("bob"), r.connect("sleepy")
	p := alice.publish()
	stream := alice.send(p)
	r.expect("ready " + p)
	b, z := bob.subscribe(p), sleepy.subscribe(p)
	r.expectAll("ready "+b, "ready "+z)
	atBob, atSleepy := bob.want(b), sleepy.want(z)
	const pieces, piece = 40, 64 << 10
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < pieces && err == nil; i++ {
			// Bob keeps up: he has read all before the next piece comes.
			if _, err = stream.Write(make([]byte, piece)); err == nil {
				_, err = io.CopyN(io.Discard, atBob, piece)
			}
		}
		sent <- err
	}()
	r.expect("failed " + z + ": " + ReasonSlow)
	wttest.WantReset(t, atSleepy, codeEnded)
	if err := <-sent; err != nil {
		t.Fatalf("the others were harmed: %v", err)
	}
	if n := r.s.Stats(); n.Slow != 1 || n.Subscriptions != 1 {
		t.Errorf("%+v", n)
	}
}

func TestTokens(t *testing.T) {
	r := newRig(t, nil)
	try := func(text string) error {
		t.Helper()
		_, session, err := r.dial(nil)
		if err != nil {
			t.Fatal(err)
		}
		c := &client{r: r, Session: session}
		if c.show(text) == nil {
			return nil
		}
		select {
		case <-session.Context().Done():
		case <-time.After(patience):
			t.Fatal("the session was not closed")
		}
		_, err = session.AcceptStream(context.Background())
		return err
	}
	refused := func(what, text, want string) {
		t.Helper()
		err := try(text)
		var closed *webtransport.SessionError
		if !errors.As(err, &closed) || closed.Message != want {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	a := r.s.Admit("room", "a")
	read, _ := token.DecodeWebTransport(a.Token)
	foreign := read
	foreign.ParticipantID = "b"
	refused("garbage", "!", "Invalid token.")
	refused("other JSON", "e30=", "Authentication failed.")
	refused("other key", token.MintWebTransport([]byte("other"), read).Encode(), "Authentication failed.")
	refused("changed", foreign.Encode(), "Authentication failed.")
	refused("signed for somebody else", token.MintWebTransport(testKey, foreign).Encode(), "Authentication failed.")
	refused("too long", string(make([]byte, maxToken+1)), "Invalid token.")
	if err := try(a.Token); err != nil {
		t.Fatalf("good token: %v", err)
	}
	refused("used", a.Token, "Authentication failed.")
	b := r.s.Admit("room", "b")
	again := r.s.Admit("room", "b")
	if again.Transport != b.Transport || again.Token == b.Token {
		t.Errorf("renewed as %+v", again)
	}
	refused("renewed", b.Token, "Authentication failed.")
	r.s.CloseParticipant("b")
	refused("left", again.Token, "Authentication failed.")
	if got := r.s.Admit("room", "a"); got != (Admission{}) {
		t.Errorf("who is connected got %+v", got)
	}
	if n := r.s.Stats(); n.RefusedToken != 9 || n.Admitted != 1 {
		t.Errorf("%+v", n)
	}
}

func TestSecondTokenEndsTheSession(t *testing.T) {
	r := newRig(t, nil)
	c := r.connect("a")
	if err := c.show(r.s.Admit("room", "b").Token); err == nil {
		t.Fatal("a second token was taken")
	}
	<-c.Session.Context().Done()
	r.eventually("gone", func(s Stats) bool { return s.Connections == 0 })
}

func TestOrigins(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Origins, c.Hosts = []string{"https://app.example.org"}, []string{"meet.example.org:443", "meet.example.org:8080"}
		c.Allow = func(origin string) bool { return origin == "https://other.example.org:8080" }
	})
	host := r.url[len("https://") : len(r.url)-1]
	for origin, want := range map[string]int{
		"": 200, "https://app.example.org": 200, "https://" + host: 200, "http://" + host: 200, "https://MEET.example.org": 200,
		"http://meet.example.org:8080": 200, "https://other.example.org:8080": 200, "https://other.example.org": 403,
		"https://app.example.org.evil.org": 403, "http://app.example.org": 403, "null": 403,
		"https://meet.example.org:8443": 403, "http://meet.example.org": 403, "https://evil.org": 403,
	} {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		response, _, err := r.dial(header)
		if response == nil || response.StatusCode != want || (err == nil) != (want == 200) {
			t.Errorf("%q: %v %v, want %d", origin, response, err, want)
		}
	}
	if n := r.s.Stats(); n.RefusedOrigin != 7 {
		t.Errorf("%+v", n)
	}
}

func TestAllOrigins(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Origins = []string{"*"} })
	if _, _, err := r.dial(http.Header{"Origin": {"https://any.example.org"}}); err != nil {
		t.Error(err)
	}
}

// What is no request for a session is answered like a page that is not there.
func TestOtherRequests(t *testing.T) {
	r := newRig(t, nil)
	transport := &http3.Transport{TLSClientConfig: r.clientTLS(), QUICConfig: &quic.Config{}}
	defer func() { _ = transport.Close() }()
	answer, err := (&http.Client{Transport: transport, Timeout: patience}).Get(r.url)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusNotFound {
		t.Errorf("status %d", answer.StatusCode)
	}
	r.url += "other"
	if response, _, err := r.dial(nil); err == nil || response == nil || response.StatusCode != http.StatusNotFound {
		t.Errorf("another path: %v, %v", response, err)
	}
}

func TestHandshakeTakesTooLong(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.HandshakeTimeout = 2 * time.Second })
	_, session, err := r.dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := session.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	wttest.Write(t, stream, "half an id")
	select {
	case <-session.Context().Done():
	case <-time.After(patience):
		t.Fatal("a client without a token may stay")
	}
	r.eventually("counted", func(s Stats) bool { return s.TimedOut == 1 && s.Connections == 0 })

	c := r.connect("a") // and one that has shown its token stays, but not its streams that do not begin
	if stream, err = c.OpenStream(); err != nil {
		t.Fatal(err)
	}
	wttest.Write(t, stream, "half an id")
	_ = stream.SetReadDeadline(time.Now().Add(patience))
	wttest.WantReset(t, stream, codeTimeout)
	if c.Session.Context().Err() != nil {
		t.Error("it ended the session")
	}
}

func TestStreamsOfNothing(t *testing.T) {
	r := newRig(t, nil)
	alice, mallory := r.connect("alice"), r.connect("mallory")
	p := alice.publish()
	for _, session := range []string{p, r.newID()} { // somebody else's, nobody's
		stream, err := mallory.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.SetReadDeadline(time.Now().Add(patience))
		head, _ := parseID(session)
		wttest.Write(t, stream, string(head[:]))
		wttest.WantReset(t, stream, codeUnknown)
	}
	uni, err := mallory.OpenUniStream()
	if err != nil {
		t.Fatal(err)
	}
	for err == nil { // until the edge says that it does not want it
		_ = uni.SetWriteDeadline(time.Now().Add(patience))
		_, err = uni.Write([]byte("x"))
	}
	var reset *webtransport.StreamError
	if !errors.As(err, &reset) || reset.ErrorCode != codeUnknown {
		t.Errorf("a stream of one direction: %v", err)
	}
	if n := r.s.Stats(); n.Publications != 1 || n.BytesIn != 0 {
		t.Errorf("%+v", n)
	}
}

func TestNeverReady(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SessionTimeout = 50 * time.Millisecond })
	p := r.admit("alice").publish()
	r.expect("failed " + p + ": " + ReasonNoStream)
	if n := r.s.Stats(); n.Publications+n.Subscriptions != 0 {
		t.Errorf("%+v", n)
	}
}

// A subscriber that never connects loses its subscription only.
func TestSubscriberNeverConnects(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.SessionTimeout = 3 * time.Second })
	alice, bob := r.connect("alice"), r.admit("bob")
	p := alice.publish()
	alice.send(p)
	r.expect("ready " + p)
	b := bob.subscribe(p)
	r.expect("failed " + b + ": " + ReasonNoStream)
	if n := r.s.Stats(); n.Publications != 1 || n.Subscriptions != 0 {
		t.Errorf("%+v", n)
	}
}

// What was sent before the end of a publication still arrives, in order, and then the stream ends.
func TestUnpublish(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Lead = 100 * time.Millisecond })
	alice, bob := r.connect("alice"), r.connect("bob")
	p := alice.publish()
	stream := alice.send(p)
	r.expect("ready " + p)
	b := bob.subscribe(p)
	r.expect("ready " + b)
	wttest.Write(t, stream, "last words")
	r.eventually("received", func(s Stats) bool { return s.BytesIn == 10 })
	r.s.Stop(p)
	r.expect("failed " + b + ": " + ReasonSourceLoss)
	atBob := bob.want(b)
	wttest.Want(t, atBob, "last words")
	wttest.WantEnd(t, atBob)
	r.s.Stop(p) // again, and what there never was
	r.s.Stop("none")
	if n := r.s.Stats(); n.Publications+n.Subscriptions != 0 {
		t.Errorf("%+v", n)
	}
}

func TestUnsubscribe(t *testing.T) {
	r := newRig(t, nil)
	alice, bob := r.connect("alice"), r.connect("bob")
	p := alice.publish()
	alice.send(p)
	r.expect("ready " + p)
	b := bob.subscribe(p)
	r.expect("ready " + b)
	atBob := bob.want(b)
	r.s.Stop(b)
	wttest.WantReset(t, atBob, codeEnded)
	if n := r.s.Stats(); n.Publications != 1 || n.Subscriptions != 0 {
		t.Errorf("%+v", n)
	}
}

func TestParticipantLeaves(t *testing.T) {
	r := newRig(t, nil)
	alice, bob := r.connect("alice"), r.connect("bob")
	p := alice.publish()
	stream := alice.send(p)
	r.expect("ready " + p)
	b := bob.subscribe(p)
	r.expect("ready " + b)
	wttest.Write(t, stream, "bye")
	r.eventually("received", func(s Stats) bool { return s.BytesIn == 3 })
	r.s.CloseParticipant("alice")
	r.expect("failed " + b + ": " + ReasonSourceLoss) // and nothing to alice
	atBob := bob.want(b)
	wttest.Want(t, atBob, "bye")
	wttest.WantEnd(t, atBob)
	select {
	case <-alice.Session.Context().Done():
	case <-time.After(patience):
		t.Fatal("the session of who left stays")
	}
	if err := r.s.Publish(Spec{Participant: "alice", Transport: alice.Transport, Session: r.newID(), Events: r}); !errors.Is(err, ErrNoTransport) {
		t.Errorf("publish after leaving: %v", err)
	}
	if again := r.s.Admit("room", "alice"); again.Transport == alice.Transport || again.Token == "" {
		t.Errorf("the same name again: %+v", again)
	}
	r.eventually("gone", func(s Stats) bool { return s.Connections == 1 })
}

func TestConnectionLost(t *testing.T) {
	r := newRig(t, nil)
	alice, bob := r.connect("alice"), r.connect("bob")
	p := alice.publish()
	alice.send(p)
	r.expect("ready " + p)
	b := bob.subscribe(p)
	r.expect("ready " + b)
	_ = alice.CloseWithError(0, "")
	r.expect("failed " + p + ": " + ReasonLost)
	r.expect("failed " + b + ": " + ReasonSourceLoss)
	if again := r.s.Admit("room", "alice"); again.Transport == alice.Transport || again.Token == "" {
		t.Errorf("admitted again as %+v", again)
	}
}

func TestLimits(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxSessions, c.MaxConnections, c.MaxPending = 2, 3, 8 })
	alice, bob := r.connect("alice"), r.connect("bob")
	p := alice.publish()
	alice.publish()
	spec := Spec{Participant: "alice", Transport: alice.Transport, Session: r.newID(), Events: r}
	if err := r.s.Publish(spec); !errors.Is(err, ErrTooMany) {
		t.Errorf("third session: %v", err)
	}
	spec = Spec{Participant: "bob", Transport: bob.Transport, Session: p, Events: r}
	for what, c := range map[string]struct {
		change func(*Spec)
		want   error
	}{
		"id in use":           {func(*Spec) {}, ErrID},
		"upper case":          {func(s *Spec) { s.Session = "ABCDEF0123456789ABCDEF0123456789" }, ErrID},
		"zero":                {func(s *Spec) { s.Session = signalling.String() }, ErrID},
		"short":               {func(s *Spec) { s.Session = "ab" }, ErrID},
		"somebody else's":     {func(s *Spec) { s.Participant = "alice" }, ErrNoTransport},
		"transport not there": {func(s *Spec) { s.Transport = "x" }, ErrNoTransport},
	} {
		s := spec
		c.change(&s)
		if err := r.s.Publish(s); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
	spec.Session, spec.From = r.newID(), "none"
	if err := r.s.Subscribe(spec); !errors.Is(err, ErrNoSource) {
		t.Errorf("no source: %v", err)
	}
	r.connect("carol")
	if _, _, err := r.dial(nil); err == nil {
		t.Error("a fourth connection was let in")
	}
	if n := r.s.Stats(); n.RefusedFull == 0 || n.Connections != 3 {
		t.Errorf("%+v", n)
	}
}

func TestClosed(t *testing.T) {
	r := newRig(t, nil)
	c := r.connect("a")
	if err := r.s.Close(); err != nil {
		t.Fatal(err)
	}
	<-c.Session.Context().Done()
	if err := r.s.Publish(Spec{Participant: "a", Transport: c.Transport, Session: r.newID()}); !errors.Is(err, ErrClosed) {
		t.Errorf("publish: %v", err)
	}
	if got := r.s.Admit("room", "b"); got != (Admission{}) {
		t.Errorf("admit: %+v", got)
	}
	r.s.CloseParticipant("a")
}
