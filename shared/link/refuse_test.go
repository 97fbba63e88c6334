package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"portico/shared/identity"
	"portico/shared/task"
)

// lines collects what is logged.
type lines chan string

func (l lines) Enabled(context.Context, slog.Level) bool { return true }
func (l lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l lines) WithGroup(string) slog.Handler            { return l }
func (l lines) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.Key + "=" + a.Value.String()
		return true
	})
	l <- text
	return nil
}

func (l lines) next(t *testing.T) string {
	t.Helper()
	select {
	case s := <-l:
		return s
	case <-patient(t).Done():
		t.Fatal("nothing was logged")
		return ""
	}
}

// Who does not belong together is told so, once on each side.
func TestRefusals(t *testing.T) {
	const unloved = "it takes our certificate for one of another cluster, or for expired: bring this node what portico cluster issue makes there"
	ids := identities(t, identity.Edge, identity.Relay)
	foreign := identities(t, identity.Edge)[0]
	half := *foreign // takes our nodes for its peers, and is none of ours
	half.CA = ids[0].CA
	for _, c := range []struct {
		name         string
		id           *identity.Identity
		dial, listen Options
		here, there  string
	}{
		{name: "we take nobody of theirs", id: foreign, here: "link: refused: the certificate is not of this cluster's authority",
			there: "link: refused by the peer: " + unloved},
		{name: "they do not take us", id: &half, there: "link: refused: the certificate is not of this cluster's authority",
			here: "link: refused by the peer: " + unloved},
		{name: "role of the one who dials", id: ids[0], listen: Options{Roles: []string{identity.Relay}},
			here:  `link: refused by the peer: edge-1 is of the role "edge", and only relay is taken here`,
			there: `link: refused: edge-1 is of the role "edge", and only relay is taken here`},
		{name: "role of the one who listens", id: ids[0], dial: Options{Roles: []string{identity.Edge}},
			here:  `link: refused: relay-1 is of the role "relay", and only edge is taken here`,
			there: `link: refused by the peer: relay-1 is of the role "relay", and only edge is taken here`},
	} {
		t.Run(c.name, func(t *testing.T) {
			logged := make(lines, 10)
			c.listen.Log = slog.New(logged)
			l := listen(t, ids[1], c.listen)
			for range 3 {
				_, err := Dial(patient(t), l.Addr().String(), c.id, c.dial)
				if !errors.Is(err, ErrRefused) || err.Error() != "dialing "+l.Addr().String()+": "+c.here {
					t.Errorf("here: %v", err)
				}
			}
			if s := logged.next(t); !strings.HasPrefix(s, "link of another node not taken address=127.0.0.1:") || !strings.HasSuffix(s, " error="+c.there) {
				t.Errorf("there: %s", s)
			}
			l.Close()
			if len(logged) > 0 {
				t.Errorf("said again: %s", <-logged)
			}
		})
	}
}

// Two nodes that do not take each other dial each other, and each speaks of the other once.
func TestRefusedBothWays(t *testing.T) {
	ours, theirs := identities(t, identity.Edge)[0], identities(t, identity.Edge)[0]
	logged := make(lines, 10)
	l, other := listen(t, ours, Options{Log: slog.New(logged)}), listen(t, theirs, Options{})
	_, err := Dial(patient(t), l.Addr().String(), theirs, Options{})
	if !errors.Is(err, ErrRefused) {
		t.Fatal(err)
	}
	logged.next(t)
	_, err = Dial(patient(t), other.Addr().String(), ours, Options{})
	if !errors.Is(err, ErrRefused) || l.First(other.Addr().String(), err) {
		t.Errorf("%v is to be said again", err)
	}
	if !l.First("192.0.2.1:8080", err) || l.First("192.0.2.1:8081", err) {
		t.Error("of another host it is not to be said once")
	}
	const role = `edge-1 is of the role "edge", and only relay is taken here`
	if subject(fmt.Errorf("%w by the peer: %s", ErrRefused, role)) != role || subject(fmt.Errorf("dialing x: %w: %s", ErrRefused, role)) != role {
		t.Error("the same role is refused for two reasons")
	}
}

func TestAnotherVersion(t *testing.T) {
	const want = "link: refused: the peer does not speak portico-link/1: it is of another version, or no node"
	ids := identities(t, identity.Edge, identity.Relay)
	logged := make(lines, 10)
	l := listen(t, ids[1], Options{Log: slog.New(logged)})
	config := tlsConfig(ids[0])
	config.NextProtos = []string{"portico-link/2"}
	o := calm(Options{})
	o.fill()
	if _, err := quic.DialAddr(patient(t), l.Addr().String(), config, quicConfig(&o)); err == nil || explain(err).Error() != want {
		t.Errorf("here: %v", err)
	}
	if s := logged.next(t); !strings.HasSuffix(s, " error="+want) {
		t.Errorf("there: %s", s)
	}

	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	other, err := quic.Listen(socket, config, quicConfig(&o))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if _, err := Dial(patient(t), socket.LocalAddr().String(), ids[0], o); !errors.Is(err, ErrRefused) || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("a listener of another version: %v", err)
	}
}

// A certificate that the system's authorities would take, and none at all, are both none of ours.
func TestNoCertificate(t *testing.T) {
	ids := identities(t, identity.Edge, identity.Relay)
	logged := make(lines, 10)
	l := listen(t, ids[1], Options{Log: slog.New(logged)})
	config := tlsConfig(ids[0])
	config.Certificates = nil
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
	o := calm(Options{})
	o.fill()
	conn, err := quic.DialAddr(patient(t), l.Addr().String(), config, quicConfig(&o))
	if err == nil { // a client of TLS 1.3 is ready before the other side has looked
		<-conn.Context().Done()
		err = context.Cause(conn.Context())
	}
	if !errors.Is(explain(err), ErrRefused) {
		t.Errorf("here: %v", explain(err))
	}
	if s := logged.next(t); !strings.Contains(s, " error=link: ") {
		t.Errorf("there: %s", s)
	}
}

func TestAddressesThatAreNone(t *testing.T) {
	id := identities(t, identity.Edge)[0]
	for _, address := range []string{"", "relay", "127.0.0.1:", "127.0.0.1:99999", "[::1:3"} {
		if l, err := Dial(patient(t), address, id, Options{}); l != nil || err == nil || !strings.HasPrefix(err.Error(), "dialing "+address+": ") {
			t.Errorf("%q: %v", address, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, "127.0.0.1:9", id, Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel() // it takes as long as a handshake may
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	if _, err := Dial(patient(t), socket.LocalAddr().String(), identities(t, identity.Edge)[0], Options{}); !errors.Is(err, ErrLost) {
		t.Error(err)
	}
}

// Whoever knocks under ever new addresses fills neither the log nor our memory.
func TestRefusalsUnderManyAddresses(t *testing.T) {
	logged := make(lines, 2*maxRefusals)
	l := &Listener{options: &Options{Log: slog.New(logged)}, refusals: map[string]time.Time{}, tasks: task.NewGroup(t.Context(), nil)}
	defer l.tasks.Close()
	for i := range 3 * maxRefusals {
		l.refused(&net.UDPAddr{IP: net.IPv4(192, 0, byte(i>>8), byte(i)), Port: 9}, ErrRefused)
		if len(logged) > maxRefusals {
			t.Fatalf("%d lines after %d refusals", len(logged), i+1)
		}
	}
	if len(logged) != maxRefusals || len(l.refusals) > maxRefusals {
		t.Errorf("%d lines, %d are remembered", len(logged), len(l.refusals))
	}
	for key := range l.refusals {
		l.refusals[key] = time.Now().Add(-refusalQuiet)
	}
	l.refused(&net.UDPAddr{IP: net.IPv4(198, 51, 100, 1), Port: 9}, ErrRefused)
	if len(logged) != maxRefusals+1 || len(l.refusals) != 1 {
		t.Errorf("a while later: %d lines, %d are remembered", len(logged), len(l.refusals))
	}
}
