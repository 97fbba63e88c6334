package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// ErrUnavailable says why there can be no Lab here.
var ErrUnavailable = errors.New("networks inside this machine cannot be made")

// Available tells whether a Lab can be made: nil, or ErrUnavailable with what is missing.
func Available() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: that takes root; run the test with sudo", ErrUnavailable)
	}
	if f, err := os.OpenFile(tunDevice, os.O_RDWR, 0); err != nil {
		return fmt.Errorf("%w: the kernel has no TUN devices (%w); as root: modprobe tun", ErrUnavailable, err)
	} else if err := f.Close(); err != nil {
		return err
	}
	n, err := newNamespace("", netip.Addr{})
	if err != nil {
		return fmt.Errorf("%w: the kernel gives no network namespace (%w); a container needs CAP_SYS_ADMIN and CAP_NET_ADMIN",
			ErrUnavailable, err)
	}
	n.close()
	return nil
}

// Lab is a set of namespaces and the links between them. Its methods are for one goroutine; those of what it makes are for any.
type Lab struct {
	seed       uint64
	streams    uint64 // directions of Links so far, each with its own series of losses
	devices    int
	namespaces []*Namespace
	links      []*Link
}

// Open makes an empty Lab. The seed is that of all losses and jitter. The caller closes it.
func Open(seed uint64) (*Lab, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	return &Lab{seed: seed}, nil
}

// ForTest is Open for a test, which is skipped where there can be no Lab and fails where one cannot be built up. What the Lab makes is
// there until the test ends.
func ForTest(t testing.TB, seed uint64) *TestLab {
	t.Helper()
	lab, err := Open(seed)
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lab.Close)
	return &TestLab{t, lab}
}

// Close takes the links down, and the namespaces with what still runs in them. Safe twice.
func (l *Lab) Close() {
	for _, link := range l.links {
		link.close()
	}
	for _, n := range l.namespaces {
		n.close()
	}
	l.links, l.namespaces = nil, nil
}

// Namespace makes a network of its own, with one address under which the others will know it. The name is for messages.
func (l *Lab) Namespace(name string) (*Namespace, error) {
	const most = 250
	if len(l.namespaces) == most {
		return nil, fmt.Errorf("a lab has room for %d namespaces", most)
	}
	n, err := newNamespace(name, netip.AddrFrom4([4]byte{10, 77, 0, byte(1 + len(l.namespaces))}))
	if err != nil {
		return nil, fmt.Errorf("namespace %s: %w", name, err)
	}
	l.namespaces = append(l.namespaces, n)
	return n, nil
}

// Wire joins two namespaces with a pair of veth devices.
func (l *Lab) Wire(a, b *Namespace) error {
	name := l.device()
	err := a.Do(func() error { return addVeth(name, name, int(b.file.Fd())) })
	if err != nil {
		return fmt.Errorf("wire from %s to %s: %w", a.name, b.name, err)
	}
	return errors.Join(a.attach(name, b), b.attach(name, a))
}

// device is the name of the next device; there may be one of it in each namespace.
func (l *Lab) device() string {
	l.devices++
	return fmt.Sprintf("lab%d", l.devices)
}

// TestLab is a Lab whose faults fail the test.
type TestLab struct {
	t   testing.TB
	lab *Lab
}

// Namespace is Lab.Namespace.
func (l *TestLab) Namespace(name string) *Namespace {
	l.t.Helper()
	n, err := l.lab.Namespace(name)
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

// Link is Lab.Link.
func (l *TestLab) Link(a, b *Namespace, forth, back Shape) *Link {
	l.t.Helper()
	link, err := l.lab.Link(a, b, forth, back)
	if err != nil {
		l.t.Fatal(err)
	}
	return link
}

// Wire is Lab.Wire.
func (l *TestLab) Wire(a, b *Namespace) {
	l.t.Helper()
	if err := l.lab.Wire(a, b); err != nil {
		l.t.Fatal(err)
	}
}

// enter moves this thread, which the goroutine must have locked, into a namespace.
func enter(namespace *os.File) error {
	return os.NewSyscallError("setns", unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET))
}

// current is the namespace of this thread.
func current() (*os.File, error) { return os.Open("/proc/thread-self/ns/net") }

// within calls f on a thread in the namespace.
func within(namespace *os.File, f func() error) (err error) {
	runtime.LockOSThread()
	home, err := current()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() { _ = home.Close() }()
	if err := enter(namespace); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() {
		if back := enter(home); back != nil {
			err = errors.Join(err, back) // the thread stays locked, and ends with the goroutine
			return
		}
		runtime.UnlockOSThread()
	}()
	return f()
}
