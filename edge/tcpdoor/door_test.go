package tcpdoor

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// friend is a Side that takes connections whose first packet begins with "me".
type friend struct{ joined chan *guest }

func newFriend() *friend { return &friend{joined: make(chan *guest, 1<<10)} }

func (f *friend) Join(first []byte, c *Conn) Receiver {
	if !strings.HasPrefix(string(first), "me") {
		return nil
	}
	g := &guest{conn: c, got: make(chan string, 1<<10), gone: make(chan struct{})}
	f.joined <- g
	return g
}

type guest struct {
	conn *Conn
	got  chan string
	gone chan struct{}
}

func (g *guest) Receive(b []byte) { g.got <- string(b) }

func (g *guest) Gone() { close(g.gone) }

// framed is packets as they are on the wire.
func framed(packets ...string) []byte {
	var b []byte
	for _, p := range packets {
		b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
		b = append(b, p...)
	}
	return b
}

// site is a Door with an HTTP server behind it.
func site(t testing.TB, secure bool) (*Door, *friend, *http.Client, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	d, f := Over(l), newFriend()
	d.Open(f)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/echo" {
			echo(w)
			return
		}
		_, _ = fmt.Fprintf(w, "%s %v", r.Method, r.TLS != nil)
	}))
	_ = s.Listener.Close()
	s.Listener = d.Web()
	s.Config.ReadHeaderTimeout, s.Config.ErrorLog = 10*time.Second, log.New(io.Discard, "", 0)
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(func() {
		s.Close()
		must(t, d.Close())
		must(t, d.Close())
	})
	return d, f, s.Client(), s.URL
}

// echo takes the connection away from HTTP, as WebSockets do.
func echo(w http.ResponseWriter) {
	c, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
	line, _ := rw.ReadString('\n')
	_, _ = io.WriteString(c, line)
}

func TestWebAndICEOnOnePort(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("secure %v", secure), func(t *testing.T) {
			d, f, client, url := site(t, secure)
			r, err := client.Get(url)
			must(t, err)
			body, err := io.ReadAll(r.Body)
			must(t, err)
			must(t, r.Body.Close())
			if want := fmt.Sprintf("GET %v", secure); string(body) != want {
				t.Errorf("%q, not %q", body, want)
			}
			c, err := net.Dial("tcp", d.Addr().String())
			must(t, err)
			defer func() { _ = c.Close() }()
			_, err = c.Write(framed("me", "one", "", "two", strings.Repeat("x", maxPacket)))
			must(t, err)
			g := <-f.joined
			for _, want := range []string{"me", "one", "", "two", strings.Repeat("x", maxPacket)} {
				if got := <-g.got; got != want {
					t.Errorf("%q, not %q", got, want)
				}
			}
			if local := c.LocalAddr().(*net.TCPAddr).AddrPort(); g.conn.RemoteAddr() != local {
				t.Errorf("from %v, not %v", g.conn.RemoteAddr(), local)
			}
			must(t, g.conn.Write([]byte("back")))
			g.conn.Close()
			all, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(all, framed("back")) {
				t.Errorf("%q, %v", all, err)
			}
			<-g.gone
			if err := g.conn.Write([]byte("late")); err != net.ErrClosed {
				t.Error(err)
			}
		})
	}
}

// TestTakenAwayFromHTTP: what becomes a WebSocket goes on.
func TestTakenAwayFromHTTP(t *testing.T) {
	d, _, _, _ := site(t, false)
	c, err := net.Dial("tcp", d.Addr().String())
	must(t, err)
	defer func() { _ = c.Close() }()
	_, err = io.WriteString(c, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\nsaid\n")
	must(t, err)
	all, err := io.ReadAll(c)
	if err != nil || !strings.HasSuffix(string(all), "\r\n\r\nsaid\n") {
		t.Errorf("%q, %v", all, err)
	}
}

// TestFirstBytes: whatever a connection begins with, it ends, or is answered by the one whose it is.
func TestFirstBytes(t *testing.T) {
	d, _, _, _ := site(t, false)
	for first := range 256 {
		c, err := net.Dial("tcp", d.Addr().String())
		must(t, err)
		_, err = c.Write(append([]byte{byte(first), 3}, "\r\n\r\n"+strings.Repeat("z", maxPacket)...))
		must(t, err)
		must(t, c.(*net.TCPConn).CloseWrite())
		answer, _ := io.ReadAll(c) // an error is the end too
		if web := bytes.HasPrefix(answer, []byte("HTTP/1.1 400")); web != (first > 5) {
			t.Errorf("%#x: %q", first, answer)
		}
		_ = c.Close()
	}
	if s := d.Stats(); s.Unknown != 6 || s.Open != 0 {
		t.Errorf("%+v", s)
	}
}

// TestNobodyThere: as long as nobody takes connections of ICE, HTTP answers.
func TestNobodyThere(t *testing.T) {
	d, _, _, _ := site(t, false)
	d.Open(nil)
	c, err := net.Dial("tcp", d.Addr().String())
	must(t, err)
	defer func() { _ = c.Close() }()
	_, err = c.Write(append(framed("me"), "\r\n\r\n"...))
	must(t, err)
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 400") {
		t.Errorf("%q, %v", line, err)
	}
}

// TestTLSThatIsICE: a TLS server does not write into a connection that is no longer its own.
func TestTLSThatIsICE(t *testing.T) {
	d, f, _, _ := site(t, true)
	c, err := net.Dial("tcp", d.Addr().String())
	must(t, err)
	defer func() { _ = c.Close() }()
	for _, b := range framed("me") { // the server sees the first byte alone
		_, err = c.Write([]byte{b})
		must(t, err)
	}
	g := <-f.joined
	must(t, g.conn.Write([]byte("back")))
	b := make([]byte, 6)
	if _, err := io.ReadFull(c, b); err != nil || !bytes.Equal(b, framed("back")) {
		t.Errorf("%q, %v", b, err)
	}
	secure, err := tls.Dial("tcp", d.Addr().String(), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the test's own
	must(t, err)
	must(t, secure.Close())
}

// pipes is a listener of connections within the process, with addresses.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv6loopback, Port: 1} }

type pipe struct {
	net.Conn
	from net.Addr
}

func (p pipe) RemoteAddr() net.Addr { return p.from }

// dial opens a connection from an address.
func (p *pipes) dial(d *Door, from string, first []byte) net.Conn {
	near, far := net.Pipe()
	at, _ := net.ResolveTCPAddr("tcp", from)
	go func() { p.conns <- pipe{far, at} }()
	c, _ := d.Web().Accept()
	go func() { // as an HTTP server does
		_, _ = c.Read(make([]byte, 64))
		_ = c.Close()
	}()
	_, _ = near.Write(first)
	return near
}

// waiting is how many connections are nobody's yet.
func (d *Door) waitingNow() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.waits
}

// TestSlowBeginnings: who does not say in time whose it is goes, and until then takes nobody else's place.
func TestSlowBeginnings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		d, f := Over(p), newFriend()
		d.Open(f)
		start := time.Now()
		for i := range perAddress { // one address of IPv6 is as good as all of its network
			p.dial(d, fmt.Sprintf("[2001:db8::%x]:99", i), []byte{0, 9, 'm'})
		}
		synctest.Wait()
		if n := d.waitingNow(); n != perAddress {
			t.Fatalf("%d wait", n)
		}
		more := p.dial(d, "[2001:db8::ffff]:99", []byte{0, 9})
		if _, err := more.Read(make([]byte, 1)); err != io.EOF {
			t.Error("one more from there is taken")
		}
		other := p.dial(d, "[2001:db8:0:1::1]:99", framed("me too"))
		if got := <-(<-f.joined).got; got != "me too" {
			t.Error(got)
		}
		for range 4 { // a byte a second is no beginning
			time.Sleep(time.Second)
		}
		if n := d.waitingNow(); n != perAddress {
			t.Errorf("%d wait after %v", n, time.Since(start))
		}
		time.Sleep(firstTime)
		synctest.Wait()
		if s := d.Stats(); s.Open != 1 || s.Refused != 1 || s.Unknown != perAddress || d.waitingNow() != 0 || len(d.waiting) != 0 {
			t.Errorf("%+v", s)
		}
		time.Sleep(idleTime) // it says nothing more
		if _, err := other.Read(make([]byte, 1)); err != io.EOF {
			t.Error("one that says nothing stays")
		}
		must(t, d.Close())
	})
}

func TestTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		d := Over(p)
		d.Open(newFriend())
		for i := range maxUnknown {
			p.dial(d, fmt.Sprintf("10.0.%d.%d:99", i>>8, i&255), []byte{0})
		}
		synctest.Wait()
		if n := d.waitingNow(); n != maxUnknown {
			t.Fatalf("%d wait", n)
		}
		if _, err := p.dial(d, "10.1.0.1:99", []byte{0}).Read(make([]byte, 1)); err != io.EOF {
			t.Error("one more is taken")
		}
		must(t, d.Close()) // it waits for all of them
		if s := d.Stats(); s.Open != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestSlowClient: one that reads nothing costs what it is sent, and nobody waits for it; what it finds at last is fresh.
func TestSlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		d, f := Over(p), newFriend()
		d.Open(f)
		c := p.dial(d, "10.0.0.1:99", framed("me"))
		g := <-f.joined
		media, control := []byte{0x80, 1}, []byte{0x14, 2}
		must(t, g.conn.Write([]byte{0x80, 0})) // it is on its way, and stays there: a pipe has no room
		synctest.Wait()
		must(t, g.conn.Write(media))
		must(t, g.conn.Write(control))
		time.Sleep(maxAge + time.Millisecond)
		must(t, g.conn.Write([]byte{0x80, 3}))
		b := make([]byte, 12)
		if _, err := io.ReadFull(c, b); err != nil || !bytes.Equal(b, framed("\x80\x00", "\x14\x02", "\x80\x03")) {
			t.Errorf("% x, %v", b, err)
		}
		must(t, g.conn.Write(media)) // on its way, as above
		synctest.Wait()
		for range 2 * queueLimit {
			must(t, g.conn.Write(media))
		}
		if n := d.Stats().Dropped; n != queueLimit+1 {
			t.Errorf("%d dropped", n)
		}
		time.Sleep(stallTime + time.Second)
		select {
		case <-g.gone:
		default:
			t.Error("one that takes nothing stays")
		}
		must(t, d.Close())
	})
}

// TestCloseWaitsNotForLong: what is queued for one that reads nothing is given up.
func TestCloseWaitsNotForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		d, f := Over(p), newFriend()
		d.Open(f)
		p.dial(d, "10.0.0.1:99", framed("me"))
		g := <-f.joined
		for range 100 {
			must(t, g.conn.Write(bytes.Repeat([]byte{0x14}, 1000)))
		}
		start := time.Now()
		g.conn.Close()
		g.conn.Close()
		<-g.gone
		if took := time.Since(start); took > 2*flushTime {
			t.Errorf("%v", took)
		}
		must(t, d.Close())
	})
}

func TestWriteRefuses(t *testing.T) {
	c := &Conn{door: new(Door), queue: make(chan *packet, 1), closing: make(chan struct{})}
	for _, b := range [][]byte{nil, make([]byte, maxPacket+1)} {
		if err := c.Write(b); err != errLength {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
	must(t, c.Write(make([]byte, maxPacket)))
}

// FuzzNext: however a stream is cut, the packets in it are the same, and one that is too long ends it.
func FuzzNext(f *testing.F) {
	f.Add(framed("a", "", "bcd"), uint8(1))
	f.Add(framed(strings.Repeat("x", maxPacket), "y"), uint8(200))
	f.Add([]byte{0xff, 0xff, 1}, uint8(0))
	f.Add(framed("cut")[:4], uint8(3))
	f.Fuzz(func(t *testing.T, stream []byte, cut uint8) {
		first := stream[:min(int(cut), len(stream))]
		c := newConn(new(Door), &reads{rest: stream[len(first):], cut: int(cut)}, address(nil), first)
		rest := stream
		for {
			b, err := c.next()
			if err != nil {
				if len(rest) >= 2 {
					if n := int(binary.BigEndian.Uint16(rest)); n <= maxPacket && n <= len(rest)-2 {
						t.Fatalf("%v, with a packet of %d bytes in % x", err, n, rest)
					}
				}
				return
			}
			want := framed(string(b))
			if !bytes.HasPrefix(rest, want) {
				t.Fatalf("% x is not the next of % x", b, rest)
			}
			rest = rest[len(want):]
		}
	})
}

// reads is a connection that gives what it has in pieces.
type reads struct {
	net.Conn
	rest []byte
	cut  int
}

func (r *reads) Read(b []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, r.rest[:min(len(r.rest), r.cut+1)])
	r.rest = r.rest[n:]
	return n, nil
}
