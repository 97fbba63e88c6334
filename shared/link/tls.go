package link

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/quic-go/quic-go"

	"portico/shared/identity"
)

// alpn is the version of the format. Nodes of different ones refuse each other.
const alpn = "portico-link/1"

// Codes with which a connection is closed.
const (
	codeClosed  quic.ApplicationErrorCode = iota // by its owner
	codeRefused                                  // the peer is not one that is taken; the reason is in words
	codeBadPeer                                  // the peer does not keep to the format
	codeFull                                     // too many Links
)

// Errors of QUIC that are alerts of TLS (RFC 9001 section 4.8, RFC 8446 section 6).
const (
	cryptoError       quic.TransportErrorCode = 0x100
	alertsEnd         quic.TransportErrorCode = 0x200
	badCertificate                            = cryptoError + 42
	noApplicationALPN                         = cryptoError + 120
)

// greeting begins each side's stream of long packets.
const greeting = 1

// tlsConfig is that of both sides. Names of hosts mean nothing: the authority says who the peer is.
func tlsConfig(id *identity.Identity) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{id.Certificate},
		NextProtos:             []string{alpn},
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // and verify below, as the system's authorities and the name do not matter
		SessionTicketsDisabled: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			_, _, err := id.Verify(s.PeerCertificates)
			return err
		},
	}
}

func quicConfig(o *Options) *quic.Config {
	return &quic.Config{
		Versions:              []quic.Version{quic.Version2},
		HandshakeIdleTimeout:  handshakeTimeout,
		MaxIdleTimeout:        o.DeadAfter,
		KeepAlivePeriod:       min(keepAlive, o.DeadAfter/2),
		InitialPacketSize:     uint16(o.PacketSize),
		EnableDatagrams:       true,
		MaxIncomingStreams:    int64(o.MaxCalls),
		MaxIncomingUniStreams: 1,
		// What a peer can make us hold of messages that nobody reads.
		InitialStreamReceiveWindow:     64 << 10,
		MaxStreamReceiveWindow:         512 << 10,
		InitialConnectionReceiveWindow: 1 << 20,
		MaxConnectionReceiveWindow:     16 << 20,
	}
}

// establish makes a Link of a connection after its handshake: each side tells the other that it takes it, and waits for the same. The
// error is one line; the connection is closed then, but what release is for.
func establish(outer context.Context, conn *quic.Conn, dialed bool, id *identity.Identity, o *Options, release func()) (*Link, error) {
	ctx, cancel := context.WithTimeout(outer, 2*handshakeTimeout)
	defer cancel()
	name, role, err := id.Verify(conn.ConnectionState().TLS.PeerCertificates)
	switch {
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrRefused, err)
	case len(o.Roles) > 0 && !slices.Contains(o.Roles, role):
		err = fmt.Errorf("%w: %s is of the role %q, and only %s is taken here", ErrRefused, name, role, strings.Join(o.Roles, " or "))
	}
	if err != nil {
		if dialed { // before the other side's handshake is over, it would not be told why (RFC 9000 section 10.2.3)
			_, _ = conn.AcceptUniStream(ctx)
		}
		_ = conn.CloseWithError(codeRefused, strings.TrimPrefix(err.Error(), ErrRefused.Error()+": "))
		return nil, err
	}
	in, out, err := greet(ctx, conn)
	if err != nil {
		gone := context.Cause(conn.Context())
		_ = conn.CloseWithError(codeBadPeer, "no greeting")
		switch {
		case gone != nil:
			return nil, explain(gone)
		case ctx.Err() != nil:
			return nil, cmp.Or(outer.Err(), fmt.Errorf("%w: it does not greet", ErrLost))
		}
		return nil, explain(err)
	}
	return newLink(conn, o, name, role, in, out, release), nil
}

func greet(ctx context.Context, conn *quic.Conn) (in *quic.ReceiveStream, out *quic.SendStream, err error) {
	if out, err = conn.OpenUniStreamSync(ctx); err != nil {
		return nil, nil, err
	}
	if _, err = out.Write([]byte{greeting}); err != nil {
		return nil, nil, err
	}
	if in, err = conn.AcceptUniStream(ctx); err != nil {
		return nil, nil, err
	}
	deadline, _ := ctx.Deadline()
	var b [1]byte
	_ = in.SetReadDeadline(deadline)
	if _, err = io.ReadFull(in, b[:]); err != nil {
		return nil, nil, err
	}
	if b[0] != greeting {
		return nil, nil, fmt.Errorf("%w: it does not greet", ErrBadPeer)
	}
	return in, out, in.SetReadDeadline(time.Time{})
}

// app2err explains why a side closed the connection.
func app2err(e *quic.ApplicationError) error {
	switch {
	case e.ErrorCode == codeClosed && e.Remote:
		return fmt.Errorf("%w by the peer", ErrClosed)
	case e.ErrorCode == codeClosed:
		return ErrClosed
	case e.ErrorCode == codeRefused && e.Remote:
		return fmt.Errorf("%w by the peer: %s", ErrRefused, printable(e.ErrorMessage))
	case e.ErrorCode == codeFull && e.Remote:
		return fmt.Errorf("%w: the peer has too many links", ErrFull)
	case e.Remote:
		return fmt.Errorf("%w, it says the same of us: %s", ErrBadPeer, printable(e.ErrorMessage))
	}
	return fmt.Errorf("%w: %s", ErrBadPeer, printable(e.ErrorMessage))
}

// transport2err explains an error of QUIC or TLS.
func transport2err(e *quic.TransportError) error {
	switch {
	case e.ErrorCode == noApplicationALPN:
		return fmt.Errorf("%w: the peer does not speak %s: it is of another version, or no node", ErrRefused, alpn)
	case e.Remote && e.ErrorCode == quic.ApplicationErrorErrorCode:
		return fmt.Errorf("%w by the peer, before the handshake was over", ErrClosed)
	case e.Remote && e.ErrorCode == badCertificate:
		return fmt.Errorf("%w by the peer: %w", ErrRefused, &certError{
			"it takes our certificate for one of another cluster, or for expired: bring this node what portico cluster issue makes there",
		})
	case e.Remote && e.ErrorCode >= cryptoError && e.ErrorCode < alertsEnd:
		return fmt.Errorf("%w by the peer: %s", ErrRefused, e.ErrorCode)
	case errors.Is(e, identity.ErrForeign), errors.Is(e, identity.ErrExpired), errors.Is(e, identity.ErrNoNode):
		return fmt.Errorf("%w: %w", ErrRefused, &certError{verifyText(e)})
	}
	return fmt.Errorf("%w: %w", ErrBadPeer, e)
}

// certError is that one side does not take the other's certificate.
type certError struct{ text string }

func (e *certError) Error() string { return e.text }

// subject is what nodes refuse each other for: the same for both, and whoever dials.
func subject(err error) string {
	if _, ok := errors.AsType[*certError](err); ok {
		return "certificate"
	}
	_, text, ok := strings.Cut(err.Error(), ErrRefused.Error())
	if !ok {
		return err.Error()
	}
	return strings.TrimPrefix(strings.TrimPrefix(text, " by the peer"), ": ")
}

// verifyText is what was wrong with the certificate, without what QUIC says around it.
func verifyText(e *quic.TransportError) string {
	for _, inner := range e.Unwrap() {
		for next := inner; next != nil; next = errors.Unwrap(next) {
			inner = next
			if strings.HasPrefix(next.Error(), "the certificate") {
				return next.Error()
			}
		}
	}
	return e.Error()
}

// printable makes what a peer says fit for a log.
func printable(text string) string {
	const limit = 200
	if len(text) > limit {
		text = text[:limit]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return ' '
		}
		return r
	}, text)
}
