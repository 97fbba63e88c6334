package turnserver

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
)

// Allowed is a peer that may be relayed to although its class is refused.
type Allowed struct {
	Prefix netip.Prefix // one address has all its bits
	Port   uint16       // 0 is every port
}

// ParseAllowed reads an entry of the allow list: an address, "10.1.2.3"; a prefix, "10.1.2.0/24"; or an address with
// one port, "10.1.2.3:8080" or "[fd00::1]:8080". Its error is a line that says what to write.
func ParseAllowed(text string) (Allowed, error) {
	if ap, err := netip.ParseAddrPort(text); err == nil && ap.Addr().Zone() == "" && ap.Port() != 0 {
		a := ap.Addr().Unmap()
		return Allowed{netip.PrefixFrom(a, a.BitLen()), ap.Port()}, nil
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return Allowed{Prefix: netip.PrefixFrom(a, a.BitLen())}, nil
	}
	if p, err := netip.ParsePrefix(text); err == nil && !p.Addr().Is4In6() {
		if p != p.Masked() {
			return Allowed{}, fmt.Errorf("%q has bits behind its prefix: write %s, or one address without /%d", text, p.Masked(), p.Bits())
		}
		return Allowed{Prefix: p}, nil
	}
	return Allowed{}, fmt.Errorf("%q is no address, prefix or address with port: write 10.1.2.3, 10.1.2.0/24 or 10.1.2.3:8080", text)
}

// String writes the entry as ParseAllowed reads it.
func (a Allowed) String() string {
	switch {
	case !a.Prefix.IsSingleIP():
		return a.Prefix.String()
	case a.Port == 0:
		return a.Prefix.Addr().String()
	}
	return netip.AddrPortFrom(a.Prefix.Addr(), a.Port).String()
}

func (a Allowed) admits(peer netip.AddrPort) bool {
	return a.Prefix.Contains(peer.Addr()) && (a.Port == 0 || a.Port == peer.Port())
}

// policy decides which peers a relay may exchange packets with. Its ports change; the rest is fixed.
type policy struct {
	allow []Allowed
	own   map[netip.Addr]bool // this machine's addresses and the advertised one

	mu    sync.RWMutex   // guards ports
	ports map[uint16]int // relayed ports in use; two addresses can have the same one
}

func newPolicy(allow []Allowed, advertised netip.Addr) *policy {
	p := &policy{allow: allow, own: map[netip.Addr]bool{advertised: true}, ports: map[uint16]int{}}
	addrs, _ := net.InterfaceAddrs() // without them the advertised address still counts
	for _, a := range addrs {
		if ipnet, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(ipnet.IP); ok {
				p.own[ip.Unmap()] = true
			}
		}
	}
	return p
}

// opened and closed tell which relayed ports are in use: they are the only ports of this machine that a peer may have.
func (p *policy) opened(port uint16) { p.count(port, 1) }
func (p *policy) closed(port uint16) { p.count(port, -1) }

func (p *policy) count(port uint16, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ports[port] += n; p.ports[port] <= 0 {
		delete(p.ports, port)
	}
}

// refuseIP judges an address for a permission, which has no port: it refuses when no port of it could pass.
func (p *policy) refuseIP(ip netip.Addr) Reason {
	ip = ip.Unmap()
	class := Classify(ip)
	for _, a := range p.allow {
		if a.Prefix.Contains(ip) {
			class = Public
		}
	}
	switch {
	case class != Public:
		return reasonOf(class)
	case ip.Is6():
		return PeerFamily
	}
	return passes
}

// refuse judges the peer of one packet. It takes no lock except for addresses of this machine.
func (p *policy) refuse(peer netip.AddrPort) Reason {
	peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
	for _, a := range p.allow {
		if a.admits(peer) {
			return p.refuseIP(peer.Addr())
		}
	}
	switch class := Classify(peer.Addr()); {
	case class != Public:
		return reasonOf(class)
	case peer.Addr().Is6():
		return PeerFamily
	case peer.Port() == 0:
		return PeerInvalid
	case p.own[peer.Addr()]:
		p.mu.RLock()
		open := p.ports[peer.Port()] > 0
		p.mu.RUnlock()
		if !open {
			return PeerOwn
		}
	}
	return passes
}

// userName is the user behind a name of the REST scheme, "<unix expiry>:<name>": credentials are renewed, quotas stay.
func userName(username string) string {
	expiry, name, ok := strings.Cut(username, ":")
	if _, err := strconv.ParseInt(expiry, 10, 64); ok && err == nil {
		return name
	}
	return username
}
