// Package udpbatch makes one UDP port of several sockets, read and written in batches: many datagrams cost one system call, and
// datagrams of one size to one address cross the kernel as one.
//
// It stands at the very beginning and the very end of a packet's way. On Linux a socket is read with recvmmsg, and the kernel may
// join what came in a row from one sender (UDP_GRO); it is written with sendmmsg, and a message may hold up to 64 datagrams, which
// are cut apart behind the kernel's per-packet work (UDP_SEGMENT, called GSO). What a kernel lacks or refuses is done without,
// down to one call per datagram, which is also the way of other systems: callers see no difference.
//
// The sockets of a Port share its address by SO_REUSEPORT. The kernel chooses the socket of an incoming datagram by a hash of both
// addresses, so that what comes from one address always comes from the same socket, as long as the Port lives. Anything may be
// sent from any of them. IPv4 addresses are plain IPv4 on both sides, also where the socket is one of IPv6.
package udpbatch

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
)

// defaultBuffer is asked of the system for each direction of each socket: about 200 ms of a gigabit. It gives what it allows.
const defaultBuffer = 8 << 20

// Options of a Port. The zero value is what a server wants.
type Options struct {
	Sockets int // how many sockets share the port; 0: GOMAXPROCS for Listen, the given ones for New
	Buffer  int // bytes of kernel buffer for each direction of each socket; 0: 8 MiB

	NoGSO bool // send every datagram as a message of its own
	NoGRO bool // have the kernel join nothing on the way in
	Plain bool // one system call per datagram

	Log *slog.Logger // nil: silent
}

// Port is a UDP port. Make it with Listen or New. Its methods are safe for concurrent use, but Read is for one goroutine per
// socket.
type Port struct {
	options Options
	sockets []*socket
	addr    netip.AddrPort
	closed  chan struct{}
	once    sync.Once
	err     error // of closing

	gso, sendmmsg, gro, recvmmsg atomic.Bool
	mu                           sync.Mutex
	why                          string // guarded by mu
	system                       system
}

// socket is one of a Port's.
type socket struct {
	port *Port
	conn *net.UDPConn
	raw  syscall.RawConn
	ipv4 bool // takes addresses of IPv4 only
	counters
}

// Listen opens a port: "host:port", as net.ListenPacket takes it. Port 0 lets the system choose one for all sockets. A port that
// is in use, be it by another Port, is an error.
func Listen(address string, o Options) (*Port, error) {
	conn, err := listen(address)
	if err != nil {
		return nil, err
	}
	if o.Sockets == 0 {
		o.Sockets = runtime.GOMAXPROCS(0)
	}
	p, err := New([]*net.UDPConn{conn}, o)
	if err != nil {
		_ = conn.Close()
	}
	return p, err
}

// New makes a Port of bound sockets, at least one, all of the same address. Where Options asks for more, they are opened beside
// the first, if the system spreads datagrams over sockets that share an address; otherwise the Port has those it was given. The
// Port owns them from here on, unless there is an error: nobody else may read them, since datagrams may come joined.
func New(conns []*net.UDPConn, o Options) (*Port, error) {
	if len(conns) == 0 {
		return nil, errors.New("udpbatch: a port has at least one socket")
	}
	if o.Buffer == 0 {
		o.Buffer = defaultBuffer
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Port{options: o, closed: make(chan struct{}), addr: unmap(conns[0].LocalAddr().(*net.UDPAddr).AddrPort())}
	more, err := siblings(conns[0], o.Sockets-len(conns))
	if err != nil {
		o.Log.Warn("udp port has fewer sockets than it should", "sockets", len(conns)+len(more), "wanted", o.Sockets, "error", err)
	}
	for _, conn := range append(append([]*net.UDPConn{}, conns...), more...) {
		raw, err := conn.SyscallConn()
		if err != nil {
			closeAll(more)
			return nil, err
		}
		p.sockets = append(p.sockets, &socket{port: p, conn: conn, raw: raw})
	}
	p.enlarge()
	p.probe()
	return p, nil
}

// enlarge asks for the buffers; smaller ones work too, but lose datagrams when there is a burst.
func (p *Port) enlarge() {
	read, write := p.options.Buffer, p.options.Buffer
	for _, s := range p.sockets {
		r, w := s.enlarge(p.options.Buffer)
		read, write = min(read, r), min(write, w)
	}
	if read < p.options.Buffer || write < p.options.Buffer {
		p.options.Log.Info("udp buffers are smaller than wanted", "wanted", p.options.Buffer, "read", read, "write", write,
			"limits", "net.core.rmem_max, net.core.wmem_max")
	}
}

// closeAll closes sockets that are not needed after all.
func closeAll(conns []*net.UDPConn) {
	for _, c := range conns {
		_ = c.Close()
	}
}

// Sockets says how many sockets there are. Each wants a goroutine in Read.
func (p *Port) Sockets() int { return len(p.sockets) }

// Addr is the address the port is bound to, of IPv6 (“::”) where it takes both families.
func (p *Port) Addr() netip.AddrPort { return p.addr }

// LocalAddr is Addr, as net.PacketConn has it.
func (p *Port) LocalAddr() net.Addr { return p.sockets[0].conn.LocalAddr() }

// Mode says how the port is read and written: "recvmmsg+gro, sendmmsg+gso" at best, "plain" at least. It may change while the
// port works, since some refusals show only then.
func (p *Port) Mode() string {
	in, out := "plain", "plain"
	if p.recvmmsg.Load() {
		in = "recvmmsg"
	}
	if p.gro.Load() {
		in += "+gro"
	}
	if p.sendmmsg.Load() {
		out = "sendmmsg"
	}
	if p.gso.Load() {
		out += "+gso"
	}
	if in == out {
		return in
	}
	return in + ", " + out
}

// Why says what keeps the Mode from the best one; empty when nothing does.
func (p *Port) Why() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.why
}

// because adds to the reasons.
func (p *Port) because(reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.why != "" {
		p.why += "; "
	}
	p.why += reason
}

// without switches something off that was refused at run time; once, however many notice.
func (p *Port) without(what *atomic.Bool, name string, err error) {
	if what.CompareAndSwap(true, false) {
		p.because(name + " was refused: " + err.Error())
		p.options.Log.Warn("udp port goes on without "+name, "error", err)
	}
}

// WriteTo sends one datagram. It may wait while the kernel's buffer is full.
func (p *Port) WriteTo(b []byte, to netip.AddrPort) (int, error) {
	s := p.sockets[int(to.Port())%len(p.sockets)]
	n, err := s.conn.WriteToUDPAddrPort(b, unmap(to))
	s.sent(err == nil, n)
	return n, err
}

// Close closes the sockets; Read returns and whatever is written from then on fails, both with net.ErrClosed. It waits for
// handlers of Read that are being called, so they must not call it. Closing twice is safe.
func (p *Port) Close() error {
	p.once.Do(func() {
		close(p.closed)
		for _, s := range p.sockets {
			p.err = errors.Join(p.err, s.conn.Close())
		}
	})
	return p.err
}

// unmap makes an IPv4 address of IPv6 (::ffff:192.0.2.1) a plain one.
func unmap(a netip.AddrPort) netip.AddrPort {
	if a.Addr().Is4In6() {
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	return a
}
