package peer

import (
	"net"
	"net/netip"
	"strconv"
	"time"
)

// addresses are those that the sockets are reached at.
func (m *mux) addresses() (udp, tcp []netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := time.Now(); now.After(m.until) {
		m.found, m.until = m.readAddresses(boundTo(m.port.sockets.LocalAddr())), now.Add(addressAge)
		if m.port.options.TCP != nil {
			m.foundTCP = m.readAddresses(boundTo(m.port.options.TCP.Addr()))
		}
	}
	return m.found, m.foundTCP
}

// boundTo is a socket's own address.
func boundTo(a net.Addr) netip.AddrPort {
	var at netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		at = a.AddrPort()
	case *net.TCPAddr:
		at = a.AddrPort()
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// readAddresses are the address that a socket is bound to, or all of the host's when that is none, loopback ones last.
func (m *mux) readAddresses(bound netip.AddrPort) []netip.AddrPort {
	if !bound.IsValid() {
		return nil
	}
	if !bound.Addr().IsUnspecified() {
		if bound.Addr().IsLoopback() && !m.loopback {
			return nil
		}
		return []netip.AddrPort{bound}
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var list, loopback []netip.AddrPort
	for _, a := range all {
		network, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(network.IP)
		ip = ip.Unmap()
		at := netip.AddrPortFrom(ip, bound.Port())
		switch {
		case !ok, ip.IsLinkLocalUnicast(), ip.IsMulticast(), bound.Addr().Is4() && !ip.Is4():
		case !ip.IsLoopback():
			list = append(list, at)
		case m.loopback:
			loopback = append(loopback, at)
		}
	}
	return append(list, loopback...)
}

// candidates are the addresses as SDP has them, those of UDP first.
func (m *mux) candidates() []string {
	udp, tcp := m.addresses()
	var list []string
	for i, a := range udp {
		list = append(list, UDPCandidate(i, a.Addr().String(), int(a.Port())))
	}
	for i, a := range tcp {
		list = append(list, TCPCandidate(i, a.Addr().String(), int(a.Port())))
	}
	return list
}

// UDPCandidate is the i-th of our addresses as SDP has it (RFC 8839 section 5.1), the first, 0, with the highest priority (RFC 8445
// section 5.1.2).
func UDPCandidate(i int, address string, port int) string {
	priority := 126<<24 | (65535-min(i, 65535))<<8 | 255
	return "candidate:" + strconv.Itoa(i+1) + " 1 udp " + strconv.Itoa(priority) + " " + address + " " + strconv.Itoa(port) + " typ host"
}

// TCPCandidate is the i-th of our addresses for connections of TCP that clients open. Its priority is below that of every one of UDP,
// and among those of TCP the one that RFC 6544 section 4.2 has.
func TCPCandidate(i int, address string, port int) string {
	const (
		host    = 126 - 27 // less than what clients reach by UDP, reflexive addresses too
		passive = 4
	)
	priority := host<<24 | (passive<<13|8191-min(i, 8191))<<8 | 255
	return "candidate:" + strconv.Itoa(101+i) + " 1 tcp " + strconv.Itoa(priority) + " " + address + " " + strconv.Itoa(port) +
		" typ host tcptype passive"
}
