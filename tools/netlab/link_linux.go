package netlab

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Direction is one of the two of a Link.
type Direction int

// The directions of a Link, from its first namespace to its second and from there.
const (
	Forth Direction = iota
	Back
)

const (
	tunDevice = "/dev/net/tun"
	maxPacket = 65535 // bytes, whatever a device may be set to
)

// Link joins two namespaces. Its methods are safe for concurrent use.
type Link struct {
	ways   [2]way
	ends   [2]*os.File
	moving sync.WaitGroup
	once   sync.Once
}

// way carries the packets of one direction.
type way struct {
	from, to *os.File
	began    time.Time

	mu   sync.Mutex // guards pipe, and the deadline of from
	pipe *pipe
}

// Link joins two namespaces with a pair of TUN devices; forth is the shape of the way from a to b.
func (l *Lab) Link(a, b *Namespace, forth, back Shape) (*Link, error) {
	name := l.device()
	k := &Link{}
	for i, side := range [][2]*Namespace{{a, b}, {b, a}} {
		if err := side[0].Do(func() (err error) {
			k.ends[i], err = openTUN(name)
			return err
		}); err != nil {
			k.close()
			return nil, fmt.Errorf("device of %s: %w", side[0].name, err)
		}
		if err := side[0].attach(name, side[1]); err != nil {
			k.close()
			return nil, err
		}
	}
	began := time.Now()
	for i, shape := range []Shape{forth, back} {
		l.streams++
		w := &k.ways[i]
		w.from, w.to, w.began, w.pipe = k.ends[i], k.ends[1-i], began, newPipe(shape, l.seed, l.streams)
		k.moving.Go(w.carry)
	}
	l.links = append(l.links, k)
	return k, nil
}

// openTUN makes a TUN device in this thread's namespace, which is there until the file is closed.
func openTUN(name string) (*os.File, error) {
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: tunDevice, Err: err}
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = os.NewSyscallError("TUNSETIFF", unix.IoctlIfreq(fd, unix.TUNSETIFF, request))
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), tunDevice), nil
}

// Set changes the shape of a direction, for what comes from now on and for what waits in its queue.
func (k *Link) Set(d Direction, s Shape) {
	w := &k.ways[d]
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pipe.set(s, w.now())
	_ = w.from.SetReadDeadline(w.began) // long over: carry looks anew
}

// SetBoth changes both directions.
func (k *Link) SetBoth(s Shape) {
	k.Set(Forth, s)
	k.Set(Back, s)
}

// Shape is that of a direction now.
func (k *Link) Shape(d Direction) Shape {
	w := &k.ways[d]
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pipe.shape
}

// Counts are those of a direction.
func (k *Link) Counts(d Direction) Counts {
	w := &k.ways[d]
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pipe.advance(w.now())
	return w.pipe.counts
}

func (k *Link) close() {
	k.once.Do(func() {
		for _, f := range k.ends {
			if f != nil {
				_ = f.Close()
			}
		}
		k.moving.Wait()
	})
}

func (w *way) now() int64 { return int64(time.Since(w.began)) }

// carry takes packets in and hands over those that are due, until the devices are gone.
func (w *way) carry() {
	buffer := make([]byte, maxPacket)
	for {
		w.deliver()
		n, err := w.from.Read(buffer)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if n > 0 {
			w.mu.Lock()
			w.pipe.put(append([]byte(nil), buffer[:n]...), w.now())
			w.mu.Unlock()
		}
	}
}

// deliver hands over what is due and has the next reading end when something is due again.
func (w *way) deliver() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for packet := w.pipe.take(w.now()); packet != nil; packet = w.pipe.take(w.now()) {
			_, _ = w.to.Write(packet) // a device that is gone or down takes none
		}
		at, ok := w.pipe.next()
		switch {
		case !ok:
			_ = w.from.SetReadDeadline(time.Time{})
			return
		case at > w.now():
			_ = w.from.SetReadDeadline(w.began.Add(time.Duration(at)))
			return
		}
	}
}
