package loadtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// host is what the participants have in common: pollers, address and certificate.
type host struct {
	pollers     []*poller
	meters      map[*poller]*meter
	next        atomic.Uint32
	address     netip.Addr // the one that is offered to the edge
	certificate tls.Certificate
}

// newHost makes a host with so many pollers; edge is an address of the edge, which says of which family ours has to be.
func newHost(pollers int, edge netip.Addr) (*host, error) {
	certificate, err := newCertificate()
	if err != nil {
		return nil, err
	}
	h := &host{address: outward(edge), certificate: certificate, meters: map[*poller]*meter{}}
	for range pollers {
		p, err := newPoller()
		if err != nil {
			h.close()
			return nil, err
		}
		h.pollers = append(h.pollers, p)
		h.meters[p] = &meter{}
	}
	return h, nil
}

func (h *host) nextPoller() *poller { return h.pollers[int(h.next.Add(1))%len(h.pollers)] }

func (h *host) close() {
	for _, p := range h.pollers {
		p.close()
	}
}

// meter is what the participants of one poller measure together. The poller's mu guards it.
type meter struct {
	latency histogram // since measuring began
	recent  histogram // since it was last looked at
}

// locked calls f with the mu of each poller in turn.
func (h *host) locked(f func(p *poller, m *meter)) {
	for _, p := range h.pollers {
		p.mu.Lock()
		f(p, h.meters[p])
		p.mu.Unlock()
	}
}

// outward is this machine's address towards an edge, or towards the internet when that is on this machine: an edge need not accept
// loopback addresses. Nothing is sent.
func outward(edge netip.Addr) netip.Addr {
	towards := edge.Unmap()
	if towards.IsLoopback() || !towards.IsValid() {
		towards = netip.AddrFrom4([4]byte{192, 0, 2, 1})
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(towards, 9)))
	if err != nil {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	defer func() { _ = conn.Close() }()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

// newCertificate makes the one that all participants show the edge.
func newCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "portico load"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
