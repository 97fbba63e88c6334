package pionpeer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"portico/edge/config"
	"portico/shared/client"
	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/tools/edgetest"
	"portico/tools/pionpeer"
)

// startEdge runs an edge until the test ends and returns its address.
func startEdge(t *testing.T, change func(*config.Settings)) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", edgetest.Start(t, slog.LevelError, change).Port)
}

// joinToken gets a token as the demo page does.
func joinToken(ctx context.Context, edge, user string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+edge+"/demo/token",
		strings.NewReader(`{"room":"r","user":"`+user+`","role":"presenter"}`))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Origin", "http://"+edge)
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	v, err := jsonvalue.Parse(body, jsonvalue.Limits{})
	return v.Get("token").Text(), err
}

// proxy is a line to the edge that can be cut.
type proxy struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu    sync.Mutex // guards the fields below
	cut   bool
	conns map[net.Conn]struct{}
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, target: target, conns: map[net.Conn]struct{}{}}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.setCut(true)
		p.running.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		p.mu.Lock()
		if p.cut {
			_, _ = near.Close(), far.Close()
		} else {
			p.conns[near], p.conns[far] = struct{}{}, struct{}{}
			p.running.Go(func() { p.carry(near, far) })
			p.running.Go(func() { p.carry(far, near) })
		}
		p.mu.Unlock()
	}
}

func (p *proxy) carry(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_, _ = to.Close(), from.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, to)
	delete(p.conns, from)
}

// setCut cuts the line, with a reset and for as long as it stays cut, or mends it.
func (p *proxy) setCut(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	for c := range p.conns {
		if cut {
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}
	}
}

// witness writes down what a participant is told, in order.
type witness struct {
	client.NoEvents
	mu      sync.Mutex // guards said and wake
	said    []string
	changed chan struct{} // closed with the next line
}

func newWitness() *witness { return &witness{changed: make(chan struct{})} }

func (w *witness) say(parts ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, strings.Join(parts, " "))
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *witness) ParticipantJoined(p conference.Participant) { w.say("joined", p.ID) }
func (w *witness) ParticipantLeft(id string)                  { w.say("left", id) }
func (w *witness) StreamAdded(s conference.Stream)            { w.say("stream", s.ID) }
func (w *witness) StreamRemoved(id string)                    { w.say("removed", id) }
func (w *witness) Message(_, _ string, message jsonvalue.Value) {
	w.say("message", message.Text())
}
func (w *witness) SessionEnded(id, reason string) { w.say("ended", id, reason) }
func (w *witness) SessionRestored(old, id string) { w.say("restored", old, id) }
func (w *witness) State(s client.State)           { w.say("state", string(s.Signaling), s.Media) }

// lines are those that begin so.
func (w *witness) lines(prefix string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	for _, line := range w.said {
		if strings.HasPrefix(line, prefix) {
			list = append(list, line)
		}
	}
	return list
}

// wait waits until as many lines begin so.
func (w *witness) wait(t *testing.T, prefix string, count int) {
	t.Helper()
	w.until(t, fmt.Sprintf("%d lines %q", count, prefix), func() bool { return len(w.lines(prefix)) >= count })
}

// until waits until the condition holds, looking again with each new line.
func (w *witness) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		w.mu.Lock()
		changed := w.changed
		w.mu.Unlock()
		if holds() {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%s did not come: %q", what, w.lines(""))
		}
	}
}

// guest is a participant that sends a tone's worth of packets and listens to another.
type guest struct {
	*client.Conference
	t     *testing.T
	saw   *witness
	track *webrtc.TrackLocalStaticSample
	heard atomic.Int64
	tasks sync.WaitGroup
}

func seat(t *testing.T, edge, user string, options client.Options) *guest {
	t.Helper()
	factory, err := pionpeer.New(pionpeer.Options{Settings: loopback})
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{t: t, saw: newWitness()}
	options.Peers, options.Events = factory, g.saw
	options.SDKType, options.SDKVersion = "C++", "6.0"
	token, err := joinToken(t.Context(), edge, user)
	if err != nil {
		t.Fatal(err)
	}
	if g.Conference, err = client.Join(t.Context(), token, options); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	g.track, err = webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, "audio", user)
	if err != nil {
		t.Fatal(err)
	}
	g.tasks.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = g.track.WriteSample(media.Sample{Data: []byte("\xfc\xff\xfe"), Duration: 20 * time.Millisecond})
			case <-stop:
				return
			}
		}
	})
	t.Cleanup(func() {
		close(stop)
		_ = g.Leave(context.Background())
		<-g.Done()
		g.tasks.Wait()
	})
	return g
}

func (g *guest) publish() *client.Publication {
	g.t.Helper()
	p, err := g.Publish(g.t.Context(), client.PublishOptions{Tracks: []client.LocalTrack{{Kind: conference.Audio, Local: g.track}}})
	if err != nil {
		g.t.Fatal(err)
	}
	return p
}

func (g *guest) listen(stream string) *client.Subscription {
	g.t.Helper()
	s, err := g.Subscribe(g.t.Context(), client.SubscribeOptions{Audio: &client.SubscribeTrack{From: stream}})
	if err != nil {
		g.t.Fatal(err)
	}
	g.count(s)
	return s
}

// count counts what comes on a subscription's track until that ends.
func (g *guest) count(s *client.Subscription) {
	remote := s.Tracks()[0].Track.(*pionpeer.Remote).Track
	g.tasks.Go(func() {
		for {
			if _, _, err := remote.ReadRTP(); err != nil {
				return
			}
			g.heard.Add(1)
		}
	})
}

// hears waits for half a second's worth of packets.
func (g *guest) hears() {
	g.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(20 * time.Second)
	for want := g.heard.Load() + 25; g.heard.Load() < want; <-tick.C {
		if time.Now().After(deadline) {
			g.t.Fatalf("no media: %q", g.saw.lines("state"))
		}
	}
}

func (g *guest) text(s string) {
	g.t.Helper()
	if err := g.Send(g.t.Context(), jsonvalue.Of(s), ""); err != nil {
		g.t.Errorf("%s: %v", s, err)
	}
}

// TestSocketIsCut: the line of a running participant is cut again and again. It is the same participant afterwards, the media go on, what was
// said meanwhile arrives once and in order, and the other one saw nothing.
func TestSocketIsCut(t *testing.T) {
	edge := startEdge(t, nil)
	line := newProxy(t, edge)
	bob := seat(t, edge, "bob", client.Options{})
	alice := seat(t, edge, "alice", client.Options{Dial: func(ctx context.Context, o client.DialOptions) (client.Socket, error) {
		o.URL = "http://" + line.listener.Addr().String()
		return client.DialSocketIO(ctx, o)
	}})
	self := alice.Info().Self.ID
	alice.listen(bob.publish().ID())
	bob.listen(alice.publish().ID())
	alice.hears()
	bob.hears()
	bob.saw.wait(t, "stream", 2)
	before := bob.saw.lines("")

	var said []string
	for round := range 3 {
		line.setCut(true)
		alice.saw.wait(t, "state reconnecting", round+1)
		var sending sync.WaitGroup
		for i := range 5 {
			said = append(said, fmt.Sprintf("message %d.%d", round, i))
			bob.text(fmt.Sprintf("%d.%d", round, i))
		}
		alice.hears() // the media do not care
		bob.hears()
		sending.Go(func() { alice.text("kept " + strconv.Itoa(round)) })
		line.setCut(false)
		sending.Wait()
		said = append(said, fmt.Sprintf("message kept %d", round))
		alice.saw.wait(t, "message", len(said))
		bob.saw.wait(t, "message", len(said))
	}
	alice.hears()
	bob.hears()
	for _, g := range []*guest{alice, bob} {
		if got := g.saw.lines("message"); !slices.Equal(got, said) {
			t.Errorf("messages %q, want %q", got, said)
		}
	}
	if id := alice.Info().Self.ID; id != self {
		t.Errorf("participant %s became %s", self, id)
	}
	after := bob.saw.lines("")
	for _, line := range after[len(before):] {
		if !strings.HasPrefix(line, "message") && !strings.HasPrefix(line, "state") {
			t.Errorf("bob was told %q", line)
		}
	}
	if ended := alice.saw.lines("ended"); ended != nil {
		t.Errorf("alice lost %q", ended)
	}
}

// TestICERestart: after a change of the network the media find their way again, also when the line is cut in the middle of the restart.
// pion sends nothing from the offer to its answer, so here the media have to wait for the line.
func TestICERestart(t *testing.T) {
	edge := startEdge(t, nil)
	line := newProxy(t, edge)
	bob := seat(t, edge, "bob", client.Options{})
	alice := seat(t, edge, "alice", client.Options{Dial: func(ctx context.Context, o client.DialOptions) (client.Socket, error) {
		o.URL = "http://" + line.listener.Addr().String()
		return client.DialSocketIO(ctx, o)
	}})
	alice.listen(bob.publish().ID())
	bob.listen(alice.publish().ID())
	alice.hears()
	bob.hears()
	for i := range 8 {
		restarts := len(alice.saw.lines("state joined connecting")) + len(alice.saw.lines("state reconnecting connecting"))
		alice.NetworkChanged()
		if i > 0 {
			<-time.After(time.Duration(i) * time.Millisecond) // somewhere on its way
			line.setCut(true)
			line.setCut(false)
		}
		alice.saw.until(t, "the restart", func() bool {
			return len(alice.saw.lines("state joined connecting"))+len(alice.saw.lines("state reconnecting connecting")) > restarts
		})
		alice.saw.until(t, "the media's return", func() bool {
			states := alice.saw.lines("state")
			return states[len(states)-1] == "state joined connected"
		})
		alice.hears()
		bob.hears()
	}
	if ended := append(alice.saw.lines("ended"), bob.saw.lines("ended")...); ended != nil {
		t.Errorf("ended: %q", ended)
	}
}

// TestCutWhileNegotiating: publications come about or fail with a word; the room has those that came about and no other.
func TestCutWhileNegotiating(t *testing.T) {
	edge := startEdge(t, nil)
	line := newProxy(t, edge)
	alice := seat(t, edge, "alice", client.Options{Dial: func(ctx context.Context, o client.DialOptions) (client.Socket, error) {
		o.URL = "http://" + line.listener.Addr().String()
		return client.DialSocketIO(ctx, o)
	}})
	bob := seat(t, edge, "bob", client.Options{})
	var want []string
	for i := range 8 {
		var p *client.Publication
		done := make(chan error, 1)
		go func() {
			var err error
			p, err = alice.Publish(t.Context(), client.PublishOptions{Tracks: []client.LocalTrack{{Kind: conference.Audio, Local: alice.track}}})
			done <- err
		}()
		<-time.After(time.Duration(i) * 2 * time.Millisecond) // somewhere on its way
		line.setCut(true)
		line.setCut(false)
		if err := <-done; err == nil {
			want = append(want, "stream "+p.ID())
		} else {
			t.Logf("attempt %d: %v", i, err)
		}
	}
	var last *client.Publication
	for last == nil { // the end of the line may not have been noticed yet
		p, err := alice.Publish(t.Context(), client.PublishOptions{Tracks: []client.LocalTrack{{Kind: conference.Audio, Local: alice.track}}})
		if err != nil && !errors.Is(err, client.ErrUnknownOutcome) {
			t.Fatal(err)
		}
		last = p
	}
	want = append(want, "stream "+last.ID())
	for _, s := range want {
		bob.saw.wait(t, s, 1)
	}
	bob.listen(last.ID())
	bob.hears()
	// Whatever came about unnoticed has been ended.
	bob.saw.until(t, "as many streams as publications", func() bool {
		streams := 0
		for _, s := range bob.Info().Streams {
			if s.Type == conference.Forward {
				streams++
			}
		}
		return streams == len(want)
	})
}

// TestJoinsAnew: a participant that was away for too long comes back as another, and brings its publication and subscription with it.
func TestJoinsAnew(t *testing.T) {
	edge := startEdge(t, func(s *config.Settings) { s.Portal.ReconnectTime = time.Second })
	line := newProxy(t, edge)
	bob := seat(t, edge, "bob", client.Options{})
	alice := seat(t, edge, "alice", client.Options{
		Dial: func(ctx context.Context, o client.DialOptions) (client.Socket, error) {
			o.URL = "http://" + line.listener.Addr().String()
			return client.DialSocketIO(ctx, o)
		},
		Token: func(ctx context.Context) (string, error) { return joinToken(ctx, edge, "alice") },
	})
	self := alice.Info().Self.ID
	sub := alice.listen(bob.publish().ID())
	pub := alice.publish()
	bob.listen(pub.ID())
	bob.hears()
	old := pub.ID()
	line.setCut(true)
	bob.saw.wait(t, "left "+self, 1)
	bob.saw.wait(t, "removed "+old, 1)
	line.setCut(false)
	alice.NetworkChanged()
	alice.saw.wait(t, "restored", 2)
	if id := alice.Info().Self.ID; id == self {
		t.Error("it is the same participant")
	}
	if pub.ID() == old {
		t.Error("the publication has its old id")
	}
	bob.saw.wait(t, "stream "+pub.ID(), 1)
	bob.listen(pub.ID())
	alice.count(sub)
	alice.hears()
	bob.hears()
}
