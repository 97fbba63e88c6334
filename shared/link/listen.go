package link

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"portico/shared/identity"
	"portico/shared/task"
)

// Bounds of those who knock.
const (
	maxPending   = 64               // handshakes at a time
	askPending   = 16               // beyond, an address has to prove itself first (RFC 9000 section 8.1.2)
	acceptQueue  = 16               // Links that wait for Accept
	maxRefusals  = 256              // that are logged in refusalQuiet: whoever can reach the socket can be refused, under any address
	refusalQuiet = 10 * time.Minute // in which the same refusal is logged once
)

// Listener takes the Links that other nodes dial. Make it with Listen. All methods are safe for concurrent use.
type Listener struct {
	id        *identity.Identity
	options   *Options
	conn      net.PacketConn
	transport *quic.Transport
	quic      *quic.EarlyListener
	tasks     *task.Group
	accepted  chan *Link
	pending   atomic.Int64

	mu       sync.Mutex // guards what follows
	links    map[*Link]bool
	count    int                  // of them and of those that are being made
	refusals map[string]time.Time // when it was logged, by address and reason
}

// Listen takes Links on a socket, which is the Listener's from then on, also when it fails.
func Listen(conn net.PacketConn, id *identity.Identity, o Options) (*Listener, error) {
	o.fill()
	l := &Listener{
		id: id, options: &o, conn: conn, accepted: make(chan *Link, acceptQueue),
		links: map[*Link]bool{}, refusals: map[string]time.Time{}, tasks: task.NewGroup(context.Background(), nil),
	}
	l.transport = &quic.Transport{
		Conn: wrap(conn), ConnectionIDGenerator: ids{},
		VerifySourceAddress: func(net.Addr) bool { return l.pending.Load() > askPending },
	}
	config := tlsConfig(id)
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if !slices.Contains(hello.SupportedProtos, alpn) { // TLS refuses it after this, and tells nobody here
			l.refused(hello.Conn.RemoteAddr(), fmt.Errorf("%w: the peer does not speak %s: it is of another version, or no node", ErrRefused, alpn))
		}
		return nil, nil
	}
	var err error
	if l.quic, err = l.transport.ListenEarly(config, quicConfig(&o)); err != nil {
		l.tasks.Close()
		_ = l.transport.Close()
		_ = conn.Close()
		return nil, fmt.Errorf("link: %w", err)
	}
	_ = l.tasks.Go(l.run)
	return l, nil
}

// ids makes connection ids that begin with a 1 bit.
type ids struct{}

// GenerateConnectionID implements quic.ConnectionIDGenerator.
func (ids) GenerateConnectionID() (quic.ConnectionID, error) {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	b[0] |= 0x80
	return quic.ConnectionIDFromBytes(b[:]), nil
}

// ConnectionIDLen implements quic.ConnectionIDGenerator.
func (ids) ConnectionIDLen() int { return 6 }

// Addr is that of the socket.
func (l *Listener) Addr() net.Addr { return l.conn.LocalAddr() }

// Accept waits for the next Link. It fails with ErrClosed after Close, and when ctx ends. Whoever does not accept in time loses the
// Link.
func (l *Listener) Accept(ctx context.Context) (*Link, error) {
	select {
	case link := <-l.accepted:
		return link, nil
	case <-l.tasks.Context().Done():
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close ends all Links that were accepted, and the socket; it returns when nothing of them runs. It is safe twice, but not from
// Receive.
func (l *Listener) Close() {
	l.tasks.Stop()
	_ = l.quic.Close()
	l.tasks.Close()
	l.mu.Lock()
	var links []*Link
	for link := range l.links {
		links = append(links, link)
	}
	l.mu.Unlock()
	for _, link := range links {
		link.Close()
	}
	_ = l.transport.Close()
	_ = l.conn.Close()
}

func (l *Listener) run(ctx context.Context) {
	for {
		conn, err := l.quic.Accept(ctx)
		if err != nil {
			return
		}
		if l.pending.Add(1) > maxPending {
			l.pending.Add(-1)
			_ = conn.CloseWithError(codeFull, "too many at a time")
			continue
		}
		if l.tasks.Go(func(ctx context.Context) {
			defer l.pending.Add(-1)
			l.admit(ctx, conn)
		}) != nil {
			_ = conn.CloseWithError(codeClosed, "")
		}
	}
}

// admit brings one connection from its handshake to Accept.
func (l *Listener) admit(ctx context.Context, conn *quic.Conn) {
	select {
	case <-ctx.Done():
		_ = conn.CloseWithError(codeClosed, "")
		return
	case <-conn.Context().Done():
		l.refused(conn.RemoteAddr(), explain(context.Cause(conn.Context())))
		return
	case <-conn.HandshakeComplete():
	}
	if !l.reserve() {
		_ = conn.CloseWithError(codeFull, "too many links")
		l.refused(conn.RemoteAddr(), fmt.Errorf("%w: there are %d links", ErrFull, l.options.MaxLinks))
		return
	}
	var link *Link
	ready := make(chan struct{}) // link is set: its end may come before
	link, err := establish(ctx, conn, false, l.id, l.options, func() {
		<-ready
		l.remove(link)
	})
	if err != nil {
		l.remove(nil)
		l.refused(conn.RemoteAddr(), err)
		return
	}
	l.mu.Lock()
	l.links[link] = true
	l.mu.Unlock()
	close(ready)
	timer := time.NewTimer(sendTimeout)
	defer timer.Stop()
	select {
	case l.accepted <- link:
	case <-ctx.Done():
	case <-timer.C:
		l.refused(conn.RemoteAddr(), fmt.Errorf("%w: nobody accepted the link", ErrStalled))
		link.shut(codeFull, "nobody accepted the link")
	}
}

// reserve makes room for a Link, which remove gives back; false when there is none.
func (l *Listener) reserve() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count >= l.options.MaxLinks {
		return false
	}
	l.count++
	return true
}

// remove forgets a Link, or one that has not become one.
func (l *Listener) remove(link *Link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.links, link)
	l.count--
}

// refused logs why a node was not taken.
func (l *Listener) refused(addr net.Addr, err error) {
	if l.tasks.Context().Err() != nil {
		return // it is we who go
	}
	if l.First(addr.String(), err) {
		l.options.Log.Warn("link of another node not taken", "address", addr.String(), "error", err)
	}
}

// First tells whether it has not been said lately that there is no link with a node on that host because of err, and takes it as said.
// Nodes dial again and again, and two that do not take each other do so in both directions: who dials asks here too before it logs.
func (l *Listener) First(address string, err error) bool {
	host, _, _ := net.SplitHostPort(address)
	key, now := host+" "+subject(err), time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, known := l.refusals[key]; known && now.Sub(last) < refusalQuiet {
		return false
	}
	if len(l.refusals) >= maxRefusals {
		maps.DeleteFunc(l.refusals, func(_ string, last time.Time) bool { return now.Sub(last) >= refusalQuiet })
	}
	if len(l.refusals) >= maxRefusals {
		return false
	}
	l.refusals[key] = now
	return true
}
