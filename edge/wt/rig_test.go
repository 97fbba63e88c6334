package wt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/webtransport-go"
	"go.uber.org/goleak"

	"portico/edge/udpdoor"
	"portico/shared/conference"
	"portico/shared/udpbatch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

var testKey = []byte(strings.Repeat("0123456789abcdef", 8))

// rig is a Server behind a Door, as an edge has it.
type rig struct {
	t    testing.TB
	s    *Server
	url  string
	ids  int
	told chan string
}

// Events of the rig: texts in the order they came.
func (r *rig) SessionReady(transport, session string, tracks []conference.Track) {
	if tracks != nil {
		r.t.Errorf("data has tracks: %v", tracks)
	}
	r.told <- "ready " + session
}

func (r *rig) SessionFailed(_, session, reason string) { r.told <- "failed " + session + ": " + reason }

func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	port, err := udpbatch.Listen("127.0.0.1:0", udpbatch.Options{Sockets: 1})
	if err != nil {
		t.Fatal(err)
	}
	door := udpdoor.Over(port)
	read := make(chan struct{})
	go func() {
		defer close(read)
		_ = door.Read(0, func([]byte, netip.AddrPort) {}, nil) // until it is closed
	}()
	config := Config{Conn: door.QUIC(), Key: testKey, Lead: -1}
	if change != nil {
		change(&config)
	}
	r := &rig{t: t, url: "https://" + port.LocalAddr().String() + "/", told: make(chan string, 1000)}
	if r.s, err = New(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if n := r.s.Stats(); n.Queued != 0 || n.Connections != 0 || n.Pending != 0 {
			t.Errorf("left behind: %+v", n)
		}
		_ = door.Close()
		<-read
	})
	return r
}

// newID makes an id as the rooms do.
func (r *rig) newID() string {
	r.ids++
	b := id{15: byte(r.ids), 14: byte(r.ids >> 8), 0: 0xab}
	return b.String()
}

// expect waits for the next event.
func (r *rig) expect(want string) {
	r.t.Helper()
	select {
	case got := <-r.told:
		if got != want {
			r.t.Fatalf("told %q, want %q", got, want)
		}
	case <-time.After(patience):
		r.t.Fatalf("not told %q", want)
	}
}

// expectAll waits for events in any order.
func (r *rig) expectAll(want ...string) {
	r.t.Helper()
	left := map[string]bool{}
	for _, w := range want {
		left[w] = true
	}
	for len(left) > 0 {
		select {
		case got := <-r.told:
			if !left[got] {
				r.t.Fatalf("told %q, want one of %v", got, left)
			}
			delete(left, got)
		case <-time.After(patience):
			r.t.Fatalf("not told %v", left)
		}
	}
}

// client is a client's WebTransport session.
type client struct {
	r *rig
	*webtransport.Session
	Admission
	name string
}

// dial opens a session without a token. It takes the Server's certificate by its hash, as browsers do.
func (r *rig) dial(header http.Header) (*http.Response, *webtransport.Session, error) {
	d := &webtransport.Transport{
		TLSClientConfig: r.clientTLS(),
		QUICConfig:      &quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true, MaxIdleTimeout: patience},
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	response, session, err := d.Dial(ctx, r.url, header)
	if err == nil {
		r.t.Cleanup(func() {
			_ = session.CloseWithError(0, "")
			<-session.Context().Done()
		})
	}
	return response, session, err
}

func (r *rig) clientTLS() *tls.Config {
	hashes := r.s.Hashes()
	return &tls.Config{InsecureSkipVerify: true, VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
		for _, h := range hashes {
			if sum := sha256.Sum256(raw[0]); bytes.Equal(sum[:], h) {
				return nil
			}
		}
		return errors.New("no certificate of that hash")
	}}
}

// admit makes a participant with a Transport that is not connected.
func (r *rig) admit(name string) *client {
	return &client{r: r, name: name, Admission: r.s.Admit("room", name)}
}

// connect opens the participant's session and shows the token.
func (r *rig) connect(name string) *client {
	r.t.Helper()
	c := r.admit(name)
	c.open()
	return c
}

func (c *client) open() {
	c.r.t.Helper()
	_, session, err := c.r.dial(nil)
	if err != nil {
		c.r.t.Fatal(err)
	}
	c.Session = session
	if err := c.show(c.Token); err != nil {
		c.r.t.Fatalf("token refused: %v", err)
	}
}

// show sends a token and waits for the answer.
func (c *client) show(text string) error {
	stream, err := c.OpenStream()
	if err != nil {
		return err
	}
	_ = stream.SetDeadline(time.Now().Add(patience))
	head := binary.LittleEndian.AppendUint32(make([]byte, 16), uint32(len(text)))
	if _, err := stream.Write(append(head, text...)); err != nil {
		return err
	}
	got, err := readID(stream)
	if err == nil && got != signalling {
		err = errors.New("answered by " + got.String())
	}
	return err
}

// publish declares a publication.
func (c *client) publish() string {
	c.r.t.Helper()
	session := c.r.newID()
	if err := c.r.s.Publish(Spec{Participant: c.name, Transport: c.Transport, Session: session, Events: c.r}); err != nil {
		c.r.t.Fatal(err)
	}
	return session
}

func (c *client) subscribe(from string) string {
	c.r.t.Helper()
	session := c.r.newID()
	if err := c.r.s.Subscribe(Spec{Participant: c.name, Transport: c.Transport, Session: session, From: from, Events: c.r}); err != nil {
		c.r.t.Fatal(err)
	}
	return session
}

// send opens a stream of a publication and takes its answer.
func (c *client) send(session string) *webtransport.Stream {
	c.r.t.Helper()
	stream, err := c.OpenStream()
	if err != nil {
		c.r.t.Fatal(err)
	}
	_ = stream.SetDeadline(time.Now().Add(patience))
	head, _ := parseID(session)
	if _, err := stream.Write(head[:]); err != nil {
		c.r.t.Fatal(err)
	}
	answer, err := io.ReadAll(stream)
	if want, _ := parseID(c.Transport); err != nil || !bytes.Equal(answer, want[:]) {
		c.r.t.Fatalf("answered by %x, %v", answer, err)
	}
	return stream
}

// receive takes the next stream that the edge opens, and its id.
func (c *client) receive() (session string, stream *webtransport.Stream) {
	c.r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream, err := c.AcceptStream(ctx)
	if err != nil {
		c.r.t.Fatalf("no stream: %v", err)
	}
	_ = stream.SetDeadline(time.Now().Add(patience))
	head, err := readID(stream)
	if err != nil {
		c.r.t.Fatal(err)
	}
	return head.String(), stream
}

func (c *client) want(session string) *webtransport.Stream {
	c.r.t.Helper()
	got, stream := c.receive()
	if got != session {
		c.r.t.Fatalf("stream of %s, want %s", got, session)
	}
	return stream
}

// eventually waits for what no event tells of.
func (r *rig) eventually(what string, is func(Stats) bool) {
	r.t.Helper()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(patience); !is(r.s.Stats()); {
		select {
		case <-ticker.C:
		case <-deadline:
			r.t.Fatalf("%s: %+v", what, r.s.Stats())
		}
	}
}

// fakeStream is a stream without a network: what is written can be held up.
type fakeStream struct {
	io.Reader
	gate   chan struct{} // a token for each write; nil: no gate
	mu     sync.Mutex
	wrote  bytes.Buffer
	closed bool
	code   webtransport.StreamErrorCode
	reset  chan struct{}
}

func newFakeStream(gate chan struct{}) *fakeStream {
	return &fakeStream{gate: gate, reset: make(chan struct{})}
}

func (f *fakeStream) Write(b []byte) (int, error) {
	if f.gate != nil {
		select {
		case <-f.gate:
		case <-f.reset:
			return 0, net.ErrClosed
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wrote.Write(b)
}

func (f *fakeStream) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

func (f *fakeStream) CancelWrite(code webtransport.StreamErrorCode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.code = code
	close(f.reset)
}

func (f *fakeStream) CancelRead(webtransport.StreamErrorCode) {}
func (f *fakeStream) SetReadDeadline(time.Time) error         { return nil }
func (f *fakeStream) SetWriteDeadline(time.Time) error        { return nil }

func (f *fakeStream) state() (wrote string, closed bool, code webtransport.StreamErrorCode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wrote.String(), f.closed, f.code
}
