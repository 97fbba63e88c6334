package peer

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/ice/v4"
)

// certificateAge is the time after which a new certificate is made for later connections.
const certificateAge = 24 * time.Hour

// Certificates keeps the DTLS certificate, which connections share while it is fresh: making one costs a key. The zero value is
// ready, and safe for concurrent use.
type Certificates struct {
	mu   sync.Mutex // guards the fields below
	last *tls.Certificate
	made time.Time
}

// Get returns the certificate for connections that begin now.
func (c *Certificates) Get(now time.Time) (tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil || now.Sub(c.made) > certificateAge {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return tls.Certificate{}, err
		}
		made, err := selfsign.SelfSign(key)
		if err != nil {
			return tls.Certificate{}, err
		}
		c.last, c.made = &made, now
	}
	return *c.last, nil
}

// fingerprintOf is a certificate's fingerprint as SDP writes it (RFC 8122 section 5).
func fingerprintOf(certificate tls.Certificate) (string, error) {
	parsed, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		return "", fmt.Errorf("read the certificate: %w", err)
	}
	value, err := fingerprint.Fingerprint(parsed, crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("make the fingerprint: %w", err)
	}
	return "sha-256 " + strings.ToUpper(value), nil
}

var errFingerprint = errors.New("the client's certificate has not the fingerprint of its offer")

// verify checks the client's certificate against the fingerprint in its offer.
func (c *Conn) verify(certificates [][]byte, _ [][]*x509.Certificate) error {
	if len(certificates) == 0 {
		return errFingerprint
	}
	parsed, err := x509.ParseCertificate(certificates[0])
	if err != nil {
		return err
	}
	algorithm, want, ok := strings.Cut(c.remote.Fingerprint, " ")
	if !ok {
		return errFingerprint
	}
	hash, err := fingerprint.HashFromString(strings.ToLower(algorithm))
	if err != nil {
		return err
	}
	have, err := fingerprint.Fingerprint(parsed, hash)
	if err != nil {
		return err
	}
	if !strings.EqualFold(have, strings.TrimSpace(want)) {
		return errFingerprint
	}
	return nil
}

// handshake makes the DTLS association. SRTP's AES-GCM goes before AES-CM: it costs a sixth.
func (c *Conn) handshake(ctx context.Context, conn *ice.Conn) (*dtls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	common := []dtls.Option{
		dtls.WithCertificates(c.config.Certificate),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80),
		dtls.WithInsecureSkipVerify(true), // the fingerprint decides
		dtls.WithVerifyPeerCertificate(c.verify),
		dtls.WithFlightInterval(dtlsRetry),
		dtls.WithLoggerFactory(c.config.Logs),
	}
	var association *dtls.Conn
	var err error
	if c.remote.Active {
		options := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert)}
		for _, o := range common {
			options = append(options, o)
		}
		association, err = dtls.ServerWithOptions(dtlsConn{c, conn}, conn.RemoteAddr(), options...)
	} else {
		options := make([]dtls.ClientOption, 0, len(common))
		for _, o := range common {
			options = append(options, o)
		}
		association, err = dtls.ClientWithOptions(dtlsConn{c, conn}, conn.RemoteAddr(), options...)
	}
	if err != nil {
		return nil, err
	}
	if err := association.HandshakeContext(ctx); err != nil {
		_ = association.Close()
		return nil, err
	}
	return association, nil
}

// dtlsConn is what DTLS sees of an ICE connection: SRTP that came through it is taken out on the way.
type dtlsConn struct {
	peer *Conn
	ice  *ice.Conn
}

// ReadFrom implements net.PacketConn.
func (d dtlsConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, err := d.ice.Read(b)
		if err != nil {
			return n, nil, err
		}
		switch {
		case n > 0 && isDTLS(b[0]):
			return n, d.ice.RemoteAddr(), nil
		case n > 0 && isSRTP(b[0]):
			d.peer.receive(b[:n], -1, d.peer.port.options.Now())
		}
	}
}

// WriteTo implements net.PacketConn.
func (d dtlsConn) WriteTo(b []byte, _ net.Addr) (int, error) { return d.ice.Write(b) }

// Close implements net.PacketConn. What is below is not DTLS's to close.
func (d dtlsConn) Close() error { return d.ice.SetReadDeadline(time.Now()) }

// LocalAddr implements net.PacketConn.
func (d dtlsConn) LocalAddr() net.Addr { return d.ice.LocalAddr() }

// SetDeadline implements net.PacketConn.
func (d dtlsConn) SetDeadline(t time.Time) error { return d.ice.SetDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (d dtlsConn) SetReadDeadline(t time.Time) error { return d.ice.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn.
func (d dtlsConn) SetWriteDeadline(t time.Time) error { return d.ice.SetWriteDeadline(t) }

// What a datagram is, by its first byte (RFC 7983).
func isDTLS(first byte) bool { return first >= 20 && first < 64 }
func isSRTP(first byte) bool { return first >= 128 && first < 192 }
