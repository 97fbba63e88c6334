package node

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"portico/edge/config"
	"portico/edge/tcpdoor"
	shared "portico/shared/config"
	"portico/shared/udpbatch"
)

// Sockets are an edge's port, opened: TCP for HTTP and UDP for media. They are opened before the node is built, since what
// else runs on the machine may have to know their number.
type Sockets struct {
	TCP *net.TCPListener
	UDP *udpbatch.Port

	door *tcpdoor.Door // between HTTP and ICE on TCP; nil: all of it is HTTP
}

// Listen opens the sockets of the settings. Port 0 lets the system choose one number for both. The error is a line that says
// what to do.
func Listen(cfg *config.Settings) (*Sockets, error) {
	const attempts = 20 // at finding a port that is free in both protocols
	address, setting := cfg.ListenAddress(), cfg.ListenSetting()
	for attempt := 1; ; attempt++ {
		tcp, err := net.Listen("tcp", address)
		if err != nil {
			return nil, shared.ListenFault(setting, address, err)
		}
		l := tcp.(*net.TCPListener)
		media := mediaAddress(cfg, l)
		udp, err := udpbatch.Listen(media, udpbatch.Options{})
		if err == nil {
			s := &Sockets{TCP: l, UDP: udp}
			if cfg.Media.TCP {
				s.door = tcpdoor.Over(l)
			}
			return s, nil
		}
		_ = l.Close()
		if _, port, _ := net.SplitHostPort(address); port != "0" || !errors.Is(err, syscall.EADDRINUSE) || attempt == attempts {
			return nil, shared.ListenFault(setting, media+" (UDP)", err)
		}
	}
}

// mediaAddress is the UDP address to listen on: that of the settings, with the port TCP got where it names none.
func mediaAddress(cfg *config.Settings, tcp *net.TCPListener) string {
	address := cfg.MediaAddress()
	host, port, err := net.SplitHostPort(address)
	if err != nil || port != "0" {
		return address
	}
	return net.JoinHostPort(host, strconv.Itoa(tcp.Addr().(*net.TCPAddr).Port))
}

// Port is the number clients connect to.
func (s *Sockets) Port() int { return s.TCP.Addr().(*net.TCPAddr).Port }

// web is the listener for HTTP.
func (s *Sockets) web() net.Listener {
	if s.door != nil {
		return s.door.Web()
	}
	return s.TCP
}

// Close closes both; a node that was built on them does it itself.
func (s *Sockets) Close() {
	_ = s.TCP.Close()
	if s.door != nil {
		_ = s.door.Close()
	}
	_ = s.UDP.Close()
}

// MediaAddrs are the addresses at which media reaches this machine: the one the UDP socket is bound to, or those of all
// interfaces, without link-local ones. The first is the one that leads to the internet; loopback comes last.
func (s *Sockets) MediaAddrs() []netip.AddrPort {
	bound := s.UDP.LocalAddr().(*net.UDPAddr).AddrPort()
	if !bound.Addr().IsUnspecified() {
		return []netip.AddrPort{netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port())}
	}
	var list, loopback []netip.AddrPort
	interfaces, _ := net.InterfaceAddrs() // none: loopback alone is offered below
	for _, a := range interfaces {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil || prefix.Addr().IsLinkLocalUnicast() {
			continue
		}
		switch at := netip.AddrPortFrom(prefix.Addr().Unmap(), bound.Port()); {
		case at.Addr().IsLoopback():
			loopback = append(loopback, at)
		case at.Addr() == outward():
			list = append([]netip.AddrPort{at}, list...)
		default:
			list = append(list, at)
		}
	}
	return append(list, loopback...)
}

// reachable is this machine's address for clients: the one that HTTP is bound to, or that leads to the internet.
func (s *Sockets) reachable() netip.Addr {
	if bound := s.TCP.Addr().(*net.TCPAddr).AddrPort().Addr(); !bound.IsUnspecified() {
		return bound.Unmap()
	}
	return outward()
}

// outward is the address from which this machine would reach the internet, or loopback. Nothing is sent.
func outward() netip.Addr {
	conn, err := net.Dial("udp4", "192.0.2.1:9")
	if err != nil {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	defer func() { _ = conn.Close() }()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}
