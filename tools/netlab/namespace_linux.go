package netlab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Namespace is a network of its own. What is opened in it belongs to it, wherever it is used afterwards. All methods are safe for
// concurrent use.
type Namespace struct {
	name    string
	address netip.Addr
	file    *os.File
	jobs    chan func() // for the thread that made it
	end     chan struct{}
	ended   chan struct{}
	once    sync.Once

	tunnels tunnels

	mu      sync.Mutex // guards devices
	devices map[*Namespace]string
}

// newNamespace makes a namespace on a thread of its own, which stays: programs that it starts are killed when it ends.
func newNamespace(name string, address netip.Addr) (*Namespace, error) {
	n := &Namespace{
		name: name, address: address, devices: map[*Namespace]string{},
		jobs: make(chan func()), end: make(chan struct{}), ended: make(chan struct{}),
	}
	made := make(chan error)
	go n.own(made)
	if err := <-made; err != nil {
		<-n.ended
		return nil, err
	}
	return n, nil
}

func (n *Namespace) own(made chan<- error) {
	defer close(n.ended)
	runtime.LockOSThread() // for good: a thread that ends locked is not used for anything else
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		made <- os.NewSyscallError("unshare", err)
		return
	}
	var err error
	if n.file, err = current(); err != nil {
		made <- err
		return
	}
	// Without it no packet goes out but those of the test. A kernel without IPv6 has no such file.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0)
	if err := n.loopback(); err != nil {
		_ = n.file.Close()
		made <- err
		return
	}
	made <- nil
	for {
		select {
		case job := <-n.jobs:
			job()
		case <-n.end:
			return
		}
	}
}

// loopback brings the loopback device up, with the namespace's address: it can be bound to before there is a link.
func (n *Namespace) loopback() error {
	if err := setUp("lo"); err != nil || !n.address.IsValid() {
		return err
	}
	return addAddress("lo", n.address)
}

// close ends the thread, which kills the programs that were started. What was opened in the namespace keeps it until it is closed.
func (n *Namespace) close() {
	n.once.Do(func() {
		n.tunnels.close()
		close(n.end)
		<-n.ended
		_ = n.file.Close()
	})
}

// Addr is the address under which linked namespaces know it.
func (n *Namespace) Addr() netip.Addr { return n.address }

// Path names the namespace for nsenter --net=…, as long as this process lives.
func (n *Namespace) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

// Do calls f in the namespace: what f opens belongs to it. Goroutines that f starts do not run in it.
func (n *Namespace) Do(f func() error) error { return within(n.file, f) }

// DialContext is that of a net.Dialer in the namespace. address has to be one of IP; names are not looked up there.
func (n *Namespace) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = n.Do(func() error {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// ListenUDP opens a UDP socket on its address; port 0 is any.
func (n *Namespace) ListenUDP(port uint16) (conn *net.UDPConn, err error) {
	err = n.Do(func() error {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(n.address, port)))
		return err
	})
	return conn, err
}

// Start starts a program in the namespace. It is killed when the Lab is closed or this process ends.
func (n *Namespace) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // when the thread ends
	started := make(chan error, 1)
	select {
	case n.jobs <- func() { started <- cmd.Start() }:
		return <-started
	case <-n.ended:
		return fmt.Errorf("namespace %s is closed", n.name)
	}
}

// Forward has the namespace pass on packets that are not for it, as a router does.
func (n *Namespace) Forward() error {
	return n.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) })
}

// attach makes a device the one that leads to a neighbour.
func (n *Namespace) attach(device string, to *Namespace) error {
	n.mu.Lock()
	n.devices[to] = device
	n.mu.Unlock()
	return n.Do(func() error {
		if err := addAddress(device, n.address); err != nil {
			return fmt.Errorf("address of %s: %w", n.name, err)
		}
		if err := setUp(device); err != nil {
			return err
		}
		return addRoute(netip.PrefixFrom(to.address, to.address.BitLen()), netip.Addr{}, device)
	})
}

// Route leads packets for the addresses to a neighbour, which is linked already, for it to forward.
func (n *Namespace) Route(to netip.Prefix, neighbour *Namespace) error {
	n.mu.Lock()
	device := n.devices[neighbour]
	n.mu.Unlock()
	if device == "" {
		return fmt.Errorf("%s is not linked to %s", n.name, neighbour.name)
	}
	return n.Do(func() error { return addRoute(to, neighbour.address, device) })
}

// Expose opens a TCP port on this machine's loopback that leads to an address in the namespace, and returns where: for browsers and
// HTTP clients that cannot be opened inside. It is there until the Lab is closed.
func (n *Namespace) Expose(address netip.AddrPort) (netip.AddrPort, error) {
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return netip.AddrPort{}, err
	}
	n.tunnels.open(listener, func(ctx context.Context) (net.Conn, error) { return n.DialContext(ctx, "tcp", address.String()) })
	return listener.Addr().(*net.TCPAddr).AddrPort(), nil
}
