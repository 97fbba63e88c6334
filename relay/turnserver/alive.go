package turnserver

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
)

// Alive sends a Binding request to the server's own UDP listener, or TCP listener when there is no other, and waits for the answer
// until ctx ends: nil means that requests go in and answers come out.
func (s *Server) Alive(ctx context.Context) error {
	addr := s.UDPAddr()
	if addr == nil {
		addr = s.TCPAddr()
	}
	if addr == nil {
		return nil // TLS only: its handshake is not worth doing every second
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, addr.Network(), reachable(addr))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	request := make([]byte, stunHeader)
	binary.BigEndian.PutUint16(request, bindingRequest)
	binary.BigEndian.PutUint32(request[4:], stunCookie)
	_, _ = rand.Read(request[8:]) // never fails
	if _, err := conn.Write(request); err != nil {
		return err
	}
	answer := make([]byte, 128)
	n, err := io.ReadAtLeast(conn, answer, stunHeader)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	case n < stunHeader || binary.BigEndian.Uint16(answer) != bindingRequest|classSuccess:
		return errors.New("the answer is none to a Binding request")
	}
	return nil
}

// reachable is a local address that leads to a listener, which may be bound to all.
func reachable(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
