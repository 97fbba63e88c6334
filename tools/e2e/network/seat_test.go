//go:build linux

package network

import (
	"context"
	"io"
	"net"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"portico/shared/client"
	"portico/shared/conference"
	"portico/shared/wsconn"
	"portico/tools/netlab"
	"portico/tools/pionpeer"
	"portico/tools/portico/manage"
)

// The directions of a participant's line.
const (
	up   = netlab.Forth
	down = netlab.Back
)

// usual is a line at its best: fast, and 20 ms there and back.
var usual = netlab.Shape{Delay: 10 * time.Millisecond}

// seat is a participant in a namespace of its own, with a line to the edge.
type seat struct {
	client.NoEvents
	*edge
	name string
	home *netlab.Namespace
	line *netlab.Link
	c    *client.Conference
	gate gate

	camera  *camera
	tasks   sync.WaitGroup // what sends and receives
	leaving chan struct{}

	mu     sync.Mutex // guards what follows
	states []string   // of its connections
	ended  []string   // sessions that are over, and why
}

// join has a participant come into the room; it leaves when the test ends.
func (e *edge) join(name string, up, down netlab.Shape) *seat {
	e.t.Helper()
	s := &seat{edge: e, name: name, home: e.lab.Namespace(name), leaving: make(chan struct{})}
	s.gate.open()
	s.line = e.lab.Link(s.home, e.home, up, down)
	socket, err := s.home.ListenUDP(0)
	if err != nil {
		e.t.Fatal(err)
	}
	silent := &logging.DefaultLoggerFactory{Writer: io.Discard} // lost packets are to be expected
	mux := webrtc.NewICEUDPMux(silent.NewLogger("ice"), gatedUDP{socket, &s.gate})
	e.t.Cleanup(func() { _ = mux.Close() })
	factory, err := pionpeer.New(pionpeer.Options{
		Settings: func(x *webrtc.SettingEngine) {
			x.SetICEUDPMux(mux)
			x.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
		},
		RTCP: func(_ string, packets []rtcp.Packet) { s.heard(packets) },
		Log:  silent,
	})
	if err != nil {
		e.t.Fatal(err)
	}
	token, err := e.api.CreateToken(e.t.Context(), e.room, name, "presenter", manage.Place{})
	if err != nil {
		e.t.Fatal(err)
	}
	// A type of SDK whose participants may resume.
	s.c, err = client.Join(e.t.Context(), token, client.Options{
		Peers: peers{factory}, Events: s, Dial: client.DialSocketIOBy(s.connect), SDKType: "JavaScript", SDKVersion: "5.1",
	})
	if err != nil {
		e.t.Fatalf("%s cannot join: %v", name, err)
	}
	e.t.Cleanup(func() {
		s.gate.open()
		s.line.SetBoth(netlab.Shape{})
		close(s.leaving)
		_ = s.c.Leave(context.Background())
		s.tasks.Wait()
	})
	return s
}

// heard takes what the edge says of what is sent.
func (s *seat) heard(packets []rtcp.Packet) {
	s.mu.Lock()
	c := s.camera
	s.mu.Unlock()
	if c != nil {
		c.heard(packets)
	}
}

// State implements client.Events.
func (s *seat) State(state client.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states = append(s.states, string(state.Signaling)+"/"+state.Media)
}

// SessionEnded implements client.Events.
func (s *seat) SessionEnded(_, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.leaving:
	default:
		s.ended = append(s.ended, reason)
	}
}

// connect opens a WebSocket to the portal from within the namespace.
func (s *seat) connect(ctx context.Context, url string) (wsconn.Conn, error) {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := s.home.DialContext(ctx, network, address)
		return gatedConn{conn, &s.gate}, err
	}
	return wsconn.Dial(ctx, url, wsconn.DialOptions{Platform: wsconn.Platform{DialContext: dial}})
}

// peers makes PeerConnections for a participant.
type peers struct{ *pionpeer.Factory }

// NewPeer implements client.PeerFactory.
func (f peers) NewPeer(config client.PeerConfig, events client.PeerEvents) (client.Peer, error) {
	p, err := f.Factory.NewPeer(config, events)
	return &peer{Peer: p}, err
}

// peer tells a camera's layers their m-line. And it keeps NACK to viewers: pion goes on asking for packets that have come as RTX.
type peer struct {
	client.Peer
	sends atomic.Bool
}

// AddTransceiver implements client.Peer.
func (p *peer) AddTransceiver(kind conference.Kind, dir client.Direction, local any, options client.SendOptions) (client.Transceiver, error) {
	t, err := p.Peer.AddTransceiver(kind, dir, local, options)
	if list, ok := local.([]webrtc.TrackLocal); ok && err == nil {
		p.sends.Store(true)
		for _, l := range list {
			l.(*layer).line.Store(&t)
		}
	}
	return t, err
}

var nackLine = regexp.MustCompile(`a=rtcp-fb:\d+ nack\r\n`)

// Answer implements client.Peer.
func (p *peer) Answer(ctx context.Context, sdp string) error {
	if !p.sends.Load() {
		sdp = nackLine.ReplaceAllString(sdp, "")
	}
	return p.Peer.Answer(ctx, sdp)
}

// gate holds back what a participant reads while it is shut, as if its process had stopped.
type gate struct {
	mu   sync.Mutex // guards shut
	wait chan struct{}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.wait == nil {
		g.wait = make(chan struct{})
		close(g.wait)
		return
	}
	select {
	case <-g.wait:
	default:
		close(g.wait)
	}
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wait = make(chan struct{})
}

func (g *gate) pass() {
	g.mu.Lock()
	wait := g.wait
	g.mu.Unlock()
	<-wait
}

type gatedUDP struct {
	*net.UDPConn
	gate *gate
}

// ReadFrom implements net.PacketConn.
func (c gatedUDP) ReadFrom(b []byte) (int, net.Addr, error) {
	c.gate.pass()
	return c.UDPConn.ReadFrom(b)
}

type gatedConn struct {
	net.Conn
	gate *gate
}

// Read implements net.Conn.
func (c gatedConn) Read(b []byte) (int, error) {
	c.gate.pass()
	return c.Conn.Read(b)
}
