// Package wt carries the data streams of participants over WebTransport (portal protocol 8.12): what one writes to the streams of
// its publication comes out of streams that the edge opens to every subscriber. It stands beside rtc, which does the same for
// audio and video; the rooms decide who may, and hear of it through Events.
//
// A participant's Transport is one WebTransport session on a QUIC connection of its own (RFC 9000, RFC 9114, RFC 9220,
// draft-ietf-webtrans-http3). It is known by id from the login on, and open once the client has shown its token. All streams are
// bidirectional and begin with an id of 16 bytes; numbers are little-endian:
//
//	client to edge, once   16 zero bytes, uint32 length, token text      answered by 16 zero bytes, or the session is closed
//	client to edge         16 bytes id of a publication, then its data   answered by the 16 bytes of the Transport's id
//	edge to client         16 bytes id of a subscription, then the data of one stream of the publication
//
// Each stream of a publication becomes one stream to each subscriber, from where it is when the subscription begins, and ends as it
// ends. A subscription has a stream from its start, also when there is nothing to carry yet: OWT's clients wait for that.
//
// A publisher is read as fast as it sends, whatever its subscribers do: each has a bounded queue, and one that overflows ends its
// subscription with an error, and nothing else.
//
// A publication may be on another edge: then somebody else brings its data (Remote), and takes those of ours there (Tap), for which the
// same bound holds. While a participant moves, its publication may be on both; the subscriptions stay, and are given the streams of both.
package wt

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"

	"portico/shared/conference"
	"portico/shared/task"
)

// Errors of the Server's calls.
var (
	ErrNoTransport = errors.New("wt: no such transport of this participant")
	ErrNoSource    = errors.New("wt: no such publication")
	ErrTooMany     = errors.New("wt: too many sessions")
	ErrID          = errors.New("wt: id is in use, or not 32 hexadecimal digits")
	ErrSlow        = errors.New("wt: it does not keep up") // a Tap
	ErrClosed      = errors.New("wt: closed")
)

// Reasons given to Events for failures (portal protocol 7.3).
const (
	ReasonSourceLoss = "Source stream loss"
	ReasonLost       = "WebTransport connection lost"
	ReasonNoStream   = "No data stream within the time allowed"
	ReasonSlow       = "Data is not read fast enough"
)

// Events is told what becomes of a participant's sessions. Calls come one at a time and in order; they must not block. What the
// owner ends itself, by Stop and CloseParticipant, is not reported to it, and after SessionFailed nothing comes for that session.
type Events interface {
	// SessionReady says that data can flow; tracks is nil.
	SessionReady(transport, session string, tracks []conference.Track)
	SessionFailed(transport, session, reason string)
}

// Config is what New needs. Zero values stand for the defaults given with the fields.
type Config struct {
	// Conn carries QUIC. The Server alone reads it, and leaves it open.
	Conn net.PacketConn
	// Certificate is that of HTTPS. Without it the Server makes its own, whose hashes clients must be told: see Hashes.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Key signs the tokens that admit clients (portal protocol 4.6).
	Key []byte
	// Origins are the origins of pages that may connect, as https://app.example.org; "*" lets all. Hosts are those that the
	// edge's own pages come from, with their ports. Clients that are no pages may always connect.
	Origins, Hosts []string
	// Allow, unless it is nil, lets in pages of origins besides; it must not block.
	Allow func(origin string) bool

	HandshakeTimeout time.Duration // until a connection has shown its token, and a stream its id; default 10 s
	SessionTimeout   time.Duration // until a publication or subscription has its first stream; default 60 s
	// Linger is how long subscriptions outlive the connection of who published: it may be on another edge, and who knows of that
	// opens a Remote, while who knows that it is not stops them. 0: they end at once.
	Linger time.Duration
	// Lead is how long the first data of a subscription waits after its id: OWT's JavaScript SDK loses what it reads
	// together with the id. Default 100 ms; negative means none.
	Lead time.Duration

	MaxConnections int   // at a time; default 10,000
	MaxPending     int   // of them, without a token yet; default 1024, a quarter of it from one address
	MaxStreams     int   // that a client may have open at a time; default 100
	MaxSessions    int   // publications and subscriptions of a participant; default 64
	MaxQueue       int   // bytes that wait for one subscription, and half of those for one participant; default 8 MB
	MaxQueued      int64 // bytes that wait in all: beyond, slow subscriptions are ended early; default 256 MB

	Log *slog.Logger // default: nothing is logged
}

func (c *Config) fill() {
	setDefault(&c.HandshakeTimeout, 10*time.Second)
	setDefault(&c.SessionTimeout, 60*time.Second)
	if c.Lead == 0 {
		c.Lead = 100 * time.Millisecond
	}
	setDefault(&c.MaxConnections, 10_000)
	setDefault(&c.MaxPending, 1024)
	setDefault(&c.MaxStreams, 100)
	setDefault(&c.MaxSessions, 64)
	setDefault(&c.MaxQueue, 8<<20)
	setDefault(&c.MaxQueued, 256<<20)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Path is where on the edge clients open their session.
const Path = "/"

// Server holds the data streams of an edge. Make it with New. All methods are safe for concurrent use, and none waits for the
// network but Close.
type Server struct {
	config Config
	log    *slog.Logger
	own    *ownCertificate // nil with one that was given
	tasks  *task.Group
	events *task.Loop // tells Events, in order and outside mu
	quic   *quic.Transport
	listen *quic.EarlyListener
	h3     *webtransport.Server
	totals totals

	// mu guards the fields below and all that is marked as guarded by it. It is not held while calling out, but for posting to
	// events and starting goroutines.
	mu            sync.Mutex
	closed        bool
	connections   map[*quic.Conn]*connection
	transports    map[string]*transport
	participants  map[string]*transport
	publications  map[string]*publication // of participants here
	sources       map[string]*source      // what can be subscribed to
	subscriptions map[string]*subscription

	door door
}

// Bounds that are no settings.
const (
	streamWindow     = 2 << 20 // bytes a client may send ahead on a stream
	connectionWindow = 4 << 20 // and on all of its streams
	maxHeader        = 16 << 10
	idleTimeout      = 30 * time.Second
	keepAlive        = 12 * time.Second // a session may be silent for long
	eventQueue       = 1 << 20
)

// New begins to serve. Its owner calls Close.
func New(config Config) (*Server, error) {
	config.fill()
	s := &Server{
		config: config, log: config.Log, connections: map[*quic.Conn]*connection{}, transports: map[string]*transport{},
		participants: map[string]*transport{}, publications: map[string]*publication{}, sources: map[string]*source{},
		subscriptions: map[string]*subscription{},
	}
	s.door = door{limit: config.MaxConnections, pending: map[netip.Addr]int{}, maxPending: config.MaxPending}
	certificate := config.Certificate
	if certificate == nil {
		own, err := newOwnCertificate(time.Now())
		if err != nil {
			return nil, err
		}
		s.own, certificate = own, own.get
	}
	settings := &tls.Config{GetCertificate: certificate, NextProtos: []string{http3.NextProtoH3}, MinVersion: tls.VersionTLS13}
	s.h3 = &webtransport.Server{
		H3: &http3.Server{
			Handler: http.HandlerFunc(s.handle), TLSConfig: settings, MaxHeaderBytes: maxHeader, ConnContext: s.withConnection,
			Logger: slog.New(slog.DiscardHandler), // peers provoke its messages at will
		},
		CheckOrigin: func(*http.Request) bool { return true }, // handle has done it
	}
	s.quic = &quic.Transport{
		Conn: config.Conn, ConnContext: s.enter, ConnectionIDGenerator: ids{},
		VerifySourceAddress: func(net.Addr) bool { return s.door.crowded() },
	}
	var err error
	s.listen, err = s.quic.ListenEarly(settings, &quic.Config{
		MaxIdleTimeout: idleTimeout, KeepAlivePeriod: keepAlive,
		MaxIncomingStreams: int64(config.MaxStreams) + 1, MaxIncomingUniStreams: 8, // the request for the session; HTTP/3's own
		MaxStreamReceiveWindow: streamWindow, MaxConnectionReceiveWindow: connectionWindow,
		EnableDatagrams: true, EnableStreamResetPartialDelivery: true, // WebTransport demands them
	})
	if err != nil {
		_ = s.quic.Close()
		return nil, err
	}
	s.tasks = task.NewGroup(context.Background(), func(e *task.PanicError) {
		s.log.Error("data stream failed unexpectedly", "panic", e.Error(), "stack", e.Stack)
	})
	s.events = task.NewLoop(task.LoopOptions{Mailbox: eventQueue, OnPanic: func(e *task.PanicError) {
		s.log.Error("event of a data stream failed", "panic", e.Error(), "stack", e.Stack)
	}})
	_ = s.tasks.Go(s.accept)
	return s, nil
}

// Hashes are the SHA-256 hashes of the certificates that the Server uses or is about to use, for the option serverCertificateHashes
// of clients. There are none when it was given a certificate.
func (s *Server) Hashes() [][]byte {
	if s.own == nil {
		return nil
	}
	return s.own.hashes()
}

// Close ends every session and returns when all goroutines have ended. Nothing is reported to Events any more.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for _, p := range s.publications {
		p.timer.Stop()
	}
	for _, sub := range s.subscriptions {
		sub.timer.Stop()
	}
	s.mu.Unlock()
	s.events.Close()
	err := s.h3.Close() // tells the clients
	_ = s.listen.Close()
	s.tasks.Close()
	_ = s.quic.Close()
	return err
}

// accept takes connections until the listener is closed.
func (s *Server) accept(ctx context.Context) {
	for {
		q, err := s.listen.Accept(ctx)
		if err != nil {
			return
		}
		if s.tasks.Go(func(context.Context) { s.serve(q) }) != nil {
			_ = q.CloseWithError(0, "")
		}
	}
}

// ids makes connection ids that begin with a 0 bit: those with a 1 bit are of links between nodes, which share the port.
type ids struct{}

// GenerateConnectionID implements quic.ConnectionIDGenerator.
func (ids) GenerateConnectionID() (quic.ConnectionID, error) {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	b[0] &^= 0x80
	return quic.ConnectionIDFromBytes(b[:]), nil
}

// ConnectionIDLen implements quic.ConnectionIDGenerator.
func (ids) ConnectionIDLen() int { return 6 }

// enter counts a connection in, or turns it away.
func (s *Server) enter(ctx context.Context, client *quic.ClientInfo) (context.Context, error) {
	from := addressOf(client.RemoteAddr)
	if !s.door.enter(from) {
		s.totals.refusedFull.Add(1)
		return nil, ErrTooMany
	}
	visit := &visit{door: &s.door, from: from}
	context.AfterFunc(ctx, visit.leave)
	return context.WithValue(ctx, visitKey{}, visit), nil
}

func addressOf(a net.Addr) netip.Addr {
	if udp, ok := a.(*net.UDPAddr); ok {
		return udp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// allowed applies to a page's origin what the Socket.IO server does (portal protocol 1.9).
func (s *Server) allowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	for _, o := range s.config.Origins {
		if o == "*" || o == origin {
			return true
		}
	}
	scheme, host, ok := strings.Cut(origin, "://")
	if !ok {
		return false
	}
	for _, own := range append([]string{r.Host}, s.config.Hosts...) {
		if strings.EqualFold(withPort(host, scheme), withPort(own, scheme)) {
			return true
		}
	}
	return s.config.Allow != nil && s.config.Allow(origin)
}

// withPort writes out the port that a host has by its scheme.
func withPort(host, scheme string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	if scheme == "https" {
		return host + ":443"
	}
	return host + ":80"
}

// Stats are what the Server holds, and totals since the start.
type Stats struct {
	Connections, Pending                               int // the second without a token yet
	Publications, Subscriptions                        int
	Remotes, Taps                                      int   // publications of other edges, and those of ours that others take
	Queued                                             int64 // bytes
	Admitted                                           uint64
	RefusedFull, RefusedOrigin, RefusedToken, TimedOut uint64
	BytesIn, BytesOut                                  uint64
	Slow                                               uint64 // subscriptions ended because they did not keep up
}

type totals struct {
	admitted, refusedFull, refusedOrigin, refusedToken, timedOut, bytesIn, bytesOut, slow atomic.Uint64
	queued                                                                                atomic.Int64
}

// Stats is a snapshot.
func (s *Server) Stats() Stats {
	t := &s.totals
	n := Stats{
		Queued: t.queued.Load(), Admitted: t.admitted.Load(), RefusedFull: t.refusedFull.Load(), RefusedOrigin: t.refusedOrigin.Load(),
		RefusedToken: t.refusedToken.Load(), TimedOut: t.timedOut.Load(), BytesIn: t.bytesIn.Load(), BytesOut: t.bytesOut.Load(), Slow: t.slow.Load(),
	}
	n.Connections, n.Pending = s.door.count()
	s.mu.Lock()
	defer s.mu.Unlock()
	n.Publications, n.Subscriptions = len(s.publications), len(s.subscriptions)
	for _, p := range s.publications {
		n.Taps += len(p.taps)
	}
	for _, src := range s.sources {
		if src.remote != nil {
			n.Remotes++
		}
	}
	return n
}
