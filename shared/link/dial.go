package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/quic-go/quic-go"

	"portico/shared/identity"
)

// Dial opens a Link to the node at an address, "host:port". It takes some seconds at the most when nobody answers. An error is one
// line with the address in it; ErrRefused when one side does not take the other, ErrLost when there is no answer.
func Dial(ctx context.Context, address string, id *identity.Identity, o Options) (*Link, error) {
	o.fill()
	places, err := resolve(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("dialing %s: %w", address, err)
	}
	for _, at := range places {
		var l *Link
		if l, err = dial(ctx, at, id, &o); err == nil {
			return l, nil
		}
		if ctx.Err() != nil || errors.Is(err, ErrRefused) {
			break
		}
	}
	return nil, fmt.Errorf("dialing %s: %w", address, err)
}

// maxPlaces is how many addresses of a name are tried.
const maxPlaces = 4

func resolve(ctx context.Context, address string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "udp", service)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var list []netip.AddrPort
	for _, ip := range ips[:min(len(ips), maxPlaces)] {
		list = append(list, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	return list, nil
}

func dial(ctx context.Context, at netip.AddrPort, id *identity.Identity, o *Options) (*Link, error) {
	network := "udp6"
	if at.Addr().Is4() {
		network = "udp4"
	}
	socket, err := net.ListenUDP(network, nil)
	if err != nil {
		return nil, err
	}
	transport := &quic.Transport{Conn: wrap(socket)}
	release := sync.OnceFunc(func() {
		_ = transport.Close()
		_ = socket.Close()
	})
	conn, err := transport.Dial(ctx, net.UDPAddrFromAddrPort(at), tlsConfig(id), quicConfig(o))
	if err != nil {
		release()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, explain(err)
	}
	l, err := establish(ctx, conn, true, id, o, release)
	if err != nil {
		release()
	}
	return l, err
}
