//go:build linux

package netlab

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(crashing) != "" {
		crash()
	}
	goleak.VerifyTestMain(m)
}

// pair is a link between two namespaces, and a UDP socket in each.
type pair struct {
	*Link
	near, far *net.UDPConn
	began     time.Time
}

func newPair(t *testing.T, forth, back Shape) *pair {
	t.Helper()
	lab := ForTest(t, 1)
	a, b := lab.Namespace("a"), lab.Namespace("b")
	p := &pair{Link: lab.Link(a, b, forth, back), began: time.Now()}
	for _, x := range []struct {
		conn **net.UDPConn
		at   *Namespace
	}{{&p.near, a}, {&p.far, b}} {
		conn, err := x.at.ListenUDP(0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		*x.conn = conn
	}
	return p
}

// datagram is one of those that send sends, when it came, and how long that took.
type datagram struct {
	number   int
	at, took time.Duration
}

// headers are those of IPv4 and UDP.
const headers = 28

// send sends datagrams from near to far, so that IP packets have the size, evenly spread over the time, and gives those that come
// until nothing comes for a while.
func (p *pair) send(t *testing.T, count, size int, over time.Duration) []datagram {
	t.Helper()
	came := make(chan []datagram)
	go func() {
		var list []datagram
		b := make([]byte, 2000)
		for {
			_ = p.far.SetReadDeadline(time.Now().Add(over/time.Duration(count) + 300*time.Millisecond))
			n, err := p.far.Read(b)
			if err != nil || n < 16 {
				came <- list
				return
			}
			at := time.Since(p.began)
			list = append(list, datagram{int(binary.BigEndian.Uint64(b)), at, at - time.Duration(binary.BigEndian.Uint64(b[8:]))})
		}
	}()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	start := time.Now()
	for sent := 0; sent < count; <-ticker.C {
		for due := int(time.Since(start) * time.Duration(count) / over); sent < min(due, count); sent++ {
			b := make([]byte, size-headers)
			binary.BigEndian.PutUint64(b, uint64(sent))
			binary.BigEndian.PutUint64(b[8:], uint64(time.Since(p.began)))
			if _, err := p.near.WriteTo(b, p.far.LocalAddr()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return <-came
}

// TestLinkRate: twice as much as fits passes at the rate, and the excess is dropped. A machine that stands still for a moment gets
// another chance.
func TestLinkRate(t *testing.T) {
	const chances = 3
	for _, rate := range []int{300, 3000} {
		for chance := 1; ; chance++ {
			got := linkRate(t, rate)
			t.Logf("%d kbit/s: %.0f measured", rate, got)
			if math.Abs(got/float64(rate)-1) < 0.04 {
				break
			}
			if chance == chances {
				t.Errorf("%.0f kbit/s passed at %d", got, rate)
				break
			}
		}
	}
}

// linkRate measures what passes a link of so many kbit/s, in kbit/s.
func linkRate(t *testing.T, rate int) float64 {
	t.Helper()
	const size, queue, length = 1000, 10_000, 2 * time.Second
	p := newPair(t, Shape{Rate: rate, Queue: queue}, Shape{})
	came := p.send(t, 2*int(length.Seconds())*rate*1000/8/size, size, length)
	c := p.Counts(Forth)
	if c.LongestQueue > queue || c.Overflowed == 0 || c.Lost != 0 || c.Packets != c.Passed+c.Overflowed || c.Passed != uint64(len(came)) {
		t.Errorf("at %d kbit/s %d came: %+v", rate, len(came), c)
	}
	first, last := came[0], came[len(came)-1]
	return float64((len(came)-1)*size*8) / (last.at - first.at).Seconds() / 1000
}

func TestLinkDelay(t *testing.T) {
	const delay, jitter = 50 * time.Millisecond, 20 * time.Millisecond
	for _, j := range []time.Duration{0, jitter} {
		p := newPair(t, Shape{Delay: delay, Jitter: j}, Shape{})
		came := p.send(t, 100, 200, time.Second)
		if len(came) != 100 {
			t.Fatalf("%d of 100 came", len(came))
		}
		slices.SortFunc(came, func(a, b datagram) int { return int(a.took - b.took) })
		least, median := came[0].took, came[50].took
		if least < delay-j || median < delay-2*time.Millisecond || median > delay+j/2+30*time.Millisecond {
			t.Errorf("delay %v ±%v: at least %v, median %v", delay, j, least, median)
		}
		t.Logf("delay %v ±%v: %v to %v, median %v", delay, j, least, came[99].took, median)
	}
}

func TestLinkLoss(t *testing.T) {
	var first []int
	for _, run := range []string{"once", "again"} {
		p := newPair(t, Shape{Loss: 0.2}, Shape{})
		came := p.send(t, 3000, 100, time.Second)
		if lost := 1 - float64(len(came))/3000; math.Abs(lost-0.2) > 0.03 {
			t.Errorf("%.3f lost at 0.2", lost)
		}
		if c := p.Counts(Forth); c.Packets != 3000 || c.Lost != uint64(3000-len(came)) {
			t.Errorf("%d came: %+v", len(came), c)
		}
		var numbers []int
		for _, d := range came {
			numbers = append(numbers, d.number)
		}
		if run == "once" {
			first = numbers
		} else if !slices.Equal(first, numbers) {
			t.Error("the same packets and the same seed gave other losses")
		}
	}
}

// TestLinkDown: what is opened stays while the link is down, and works when it comes back.
func TestLinkDown(t *testing.T) {
	p := newPair(t, Shape{}, Shape{Delay: time.Millisecond})
	if n := len(p.send(t, 10, 100, 50*time.Millisecond)); n != 10 {
		t.Errorf("%d of 10 came", n)
	}
	p.SetBoth(Shape{Down: true})
	if n := len(p.send(t, 10, 100, 50*time.Millisecond)); n != 0 {
		t.Errorf("%d came over a link that is down", n)
	}
	p.SetBoth(Shape{})
	if n := len(p.send(t, 10, 100, 50*time.Millisecond)); n != 10 {
		t.Errorf("%d of 10 came afterwards", n)
	}
}

// echo serves TCP on an address of the namespace: it sends back what it gets.
func echo(t *testing.T, n *Namespace) netip.AddrPort {
	t.Helper()
	var listener net.Listener
	if err := n.Do(func() (err error) {
		listener, err = net.Listen("tcp", netip.AddrPortFrom(n.Addr(), 0).String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(conn, conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return listener.Addr().(*net.TCPAddr).AddrPort()
}

// says fails the test unless the other end of the connection sends back what it gets.
func says(t *testing.T, conn net.Conn, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 5)
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "hello" {
		t.Fatalf("%q, %v", b, err)
	}
}

// TestTopology: a wire, a link over a router to the same place, and a way in from outside.
func TestTopology(t *testing.T) {
	lab := ForTest(t, 1)
	server, near, router, far := lab.Namespace("server"), lab.Namespace("near"), lab.Namespace("router"), lab.Namespace("far")
	lab.Wire(server, near)
	lab.Wire(server, router)
	line := lab.Link(router, far, Shape{Delay: 10 * time.Millisecond}, Shape{Delay: 10 * time.Millisecond})
	if err := router.Forward(); err != nil {
		t.Fatal(err)
	}
	if err := far.Route(netip.PrefixFrom(server.Addr(), 32), router); err != nil {
		t.Fatal(err)
	}
	if err := server.Route(netip.PrefixFrom(far.Addr(), 32), router); err != nil {
		t.Fatal(err)
	}
	at := echo(t, server)
	conn, err := near.DialContext(t.Context(), "tcp", at.String())
	says(t, conn, err)
	if line.Counts(Back).Packets != 0 {
		t.Error("the neighbour's packets took the long way")
	}
	before := time.Now()
	conn, err = far.DialContext(t.Context(), "tcp", at.String())
	says(t, conn, err)
	if took := time.Since(before); took < 40*time.Millisecond || line.Counts(Back).Packets < 3 {
		t.Errorf("two round trips took %v, with %+v", took, line.Counts(Back))
	}
	outside, err := server.Expose(at)
	if err != nil {
		t.Fatal(err)
	}
	conn, err = net.Dial("tcp", outside.String())
	says(t, conn, err)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", at.String()); err == nil {
		_ = conn.Close()
		t.Error("the namespace is reached from outside it")
	}
}

// TestStart: a program runs in the namespace, and not longer than the Lab.
func TestStart(t *testing.T) {
	lab, err := Open(1)
	if err != nil {
		t.Skip(err)
	}
	defer lab.Close()
	n, err := lab.Namespace("n")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "1000")
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if here, there := namespaceOf(os.Getpid()), namespaceOf(cmd.Process.Pid); here == there || there == "" {
		t.Errorf("the program runs in %q, this process in %q", there, here)
	}
	lab.Close()
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the program ended with %v", err)
	}
}

func namespaceOf(pid int) string {
	name, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid)) // empty: it has ended
	return name
}

// crashing has the test binary be the process of TestCrash.
const crashing = "NETLAB_CRASH"

// crash makes a lab with everything in it, tells where, and waits to be killed.
func crash() {
	lab, err := Open(1)
	if err != nil {
		panic(err)
	}
	a, _ := lab.Namespace("a")
	b, _ := lab.Namespace("b")
	if _, err := lab.Link(a, b, Shape{}, Shape{}); err != nil {
		panic(err)
	}
	cmd := exec.Command("sleep", "1000")
	if err := a.Start(cmd); err != nil {
		panic(err)
	}
	fmt.Println(namespaceOf(cmd.Process.Pid))
	select {}
}

// TestCrash: a process that is killed leaves neither programs nor namespaces.
func TestCrash(t *testing.T) {
	ForTest(t, 1)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashing+"=1")
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	name, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	name = strings.TrimSpace(name)
	if !inUse(name) {
		t.Fatalf("no process is in %q", name)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(10 * time.Second); inUse(name); <-look.C {
		if time.Now().After(deadline) {
			t.Fatal("something is left in the namespace")
		}
	}
}

// inUse tells whether a process of this machine is in the namespace.
func inUse(name string) bool {
	processes, _ := filepath.Glob("/proc/[0-9]*/task/*/ns/net")
	return slices.ContainsFunc(processes, func(p string) bool {
		at, _ := os.Readlink(p)
		return at == name
	})
}
