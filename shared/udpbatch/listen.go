package udpbatch

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// listen opens the first socket of a port, without sharing it: a port that somebody has must not be shared by mistake.
func listen(address string) (*net.UDPConn, error) {
	conn, err := net.ListenPacket("udp", address)
	if err == nil {
		return conn.(*net.UDPConn), nil
	}
	host, port, fault := net.SplitHostPort(address)
	if fault != nil || !errors.Is(err, syscall.EAFNOSUPPORT) {
		return nil, err
	}
	if at, fault := netip.ParseAddr(host); fault != nil || at != netip.IPv6Unspecified() {
		return nil, err
	}
	conn, fault = net.ListenPacket("udp4", net.JoinHostPort("0.0.0.0", port)) // a machine without IPv6 has all addresses there
	if fault != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// siblings opens n more sockets of the same address beside a bound one, or those that can be had.
func siblings(first *net.UDPConn, n int) ([]*net.UDPConn, error) {
	if n <= 0 || !spreads {
		return nil, nil
	}
	raw, err := first.SyscallConn()
	if err != nil {
		return nil, err
	}
	network, err := share(raw)
	if err != nil {
		return nil, err
	}
	var list []*net.UDPConn
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		_, err := share(raw)
		return err
	}}
	for range n {
		conn, err := config.ListenPacket(context.Background(), network, first.LocalAddr().String())
		if err != nil {
			return list, err
		}
		list = append(list, conn.(*net.UDPConn))
	}
	return list, nil
}
