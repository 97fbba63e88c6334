package peer

import (
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/pion/transport/v5/stdnet"
	"portico/edge/tcpdoor"
	"portico/shared/udpbatch"
)

// Sockets is the UDP port below: *udpbatch.Port, or the media side of a udpdoor.Door.
type Sockets interface {
	// Sockets is how many there are; each has a reader of its own.
	Sockets() int
	// Read reads from one of them until Close. handle gets each datagram, which is its own during the call; end comes after those
	// that the system gave at once.
	Read(socket int, handle func(datagram []byte, from netip.AddrPort), end func()) error
	WriteTo(b []byte, to netip.AddrPort) (int, error)
	NewBatch(socket int, l udpbatch.Limits) *udpbatch.Batch
	LocalAddr() net.Addr
	// Mode names the way of reading and writing, Why the reason for it.
	Mode() string
	Why() string
	Close() error
}

// PortOptions are the choices of a Port.
type PortOptions struct {
	Loopback bool // offer loopback addresses
	// Plain leaves every packet to ICE, one system call each.
	Plain bool
	// TCP, if set, brings the connections of clients that reach us by TCP only. Its owner closes it, after the Port.
	TCP *tcpdoor.Door
	// BatchEnd, if set, is called by each reader after a batch, with its index.
	BatchEnd func(reader int)
	// Now is the clock: nanoseconds that never step back.
	Now func() int64
}

// Port is the UDP port that all Conns share. Make it with NewPort.
type Port struct {
	sockets Sockets
	plain   bool
	options PortOptions
	mux     *mux
	net     *stdnet.Net // what ICE asks for interfaces; made once, as reading them takes long
	readers sync.WaitGroup
}

// NewPort takes over the sockets, unless it fails. Start begins to read them; its owner calls Close.
func NewPort(sockets Sockets, options PortOptions) (*Port, error) {
	network, err := stdnet.NewNet()
	if err != nil {
		return nil, fmt.Errorf("peer: read the network interfaces: %w", err)
	}
	p := &Port{sockets: sockets, plain: options.Plain, options: options, net: network}
	p.mux = newMux(p, options.Loopback)
	return p, nil
}

// Start begins to read, once.
func (p *Port) Start() {
	if p.options.TCP != nil {
		p.options.TCP.Open(p.mux)
	}
	for i := range p.sockets.Sockets() {
		r := &reader{port: p, index: i, known: make(map[netip.AddrPort]*Conn)}
		p.readers.Go(r.run)
	}
}

// Sockets is how many there are, and readers.
func (p *Port) Sockets() int { return p.sockets.Sockets() }

// LocalAddr is the address of the port.
func (p *Port) LocalAddr() net.Addr { return p.sockets.LocalAddr() }

// TCPPort is the number of the port for connections of TCP, 0 when there is none that clients could reach.
func (p *Port) TCPPort() int {
	if _, tcp := p.mux.addresses(); len(tcp) > 0 {
		return int(tcp[0].Port())
	}
	return 0
}

// Path names the way that packets take, and why, for people.
func (p *Port) Path() (path, why string) {
	if p.plain {
		return "plain", "chosen by the settings"
	}
	if why = p.sockets.Why(); why == "" {
		why = "the system can do all of it"
	}
	return "fast (" + p.sockets.Mode() + ")", why
}

// Dropped counts datagrams that came faster than they were taken, or were too long.
func (p *Port) Dropped() uint64 { return p.mux.dropped.Load() }

// Close closes the sockets, and returns when nothing is read any more. Conns should have ended before.
func (p *Port) Close() error {
	p.mux.close()
	err := p.sockets.Close()
	p.readers.Wait()
	return err
}

// reader reads one socket. Its fields are its goroutine's.
type reader struct {
	port    *Port
	index   int
	now     int64                    // of the batch
	known   map[netip.AddrPort]*Conn // of the mux's media, so that no lock is shared
	version uint64
}

// maxKnown bounds what a reader remembers; beyond it, it begins anew.
const maxKnown = 1 << 16

func (r *reader) run() {
	// It fails when the sockets are closed; nothing else ends it.
	_ = r.port.sockets.Read(r.index, r.handle, r.end)
}

func (r *reader) handle(b []byte, from netip.AddrPort) {
	if len(b) == 0 {
		return
	}
	if r.now == 0 {
		r.now = r.port.options.Now()
	}
	if isSRTP(b[0]) && !r.port.plain {
		if c := r.find(from); c != nil {
			c.receive(b, r.index, r.now)
		}
		return
	}
	r.port.mux.deliver(b, from, r.now)
}

func (r *reader) find(from netip.AddrPort) *Conn {
	m := r.port.mux
	if version := m.version.Load(); version != r.version || len(r.known) > maxKnown {
		clear(r.known)
		r.version = version
	}
	c, ok := r.known[from]
	if !ok {
		c = m.mediaOf(from)
		r.known[from] = c // also when it is nobody's: the next change of the mux clears it
	}
	return c
}

func (r *reader) end() {
	r.now = 0
	if r.port.options.BatchEnd != nil {
		r.port.options.BatchEnd(r.index)
	}
}
