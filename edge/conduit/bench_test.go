package conduit

import (
	"io"
	"testing"
	"time"
)

// BenchmarkHop is the time that a message of 100 bytes takes from a publisher to a subscriber, on one edge and over a link.
func BenchmarkHop(b *testing.B) {
	for _, across := range []bool{false, true} {
		b.Run(map[bool]string{false: "one edge", true: "two edges"}[across], func(b *testing.B) {
			out, in := path(b, across)
			message, got := make([]byte, 100), make([]byte, 100)
			for b.Loop() {
				if _, err := out.Write(message); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(in, got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkThroughput is how fast much data goes the same ways.
func BenchmarkThroughput(b *testing.B) {
	for _, across := range []bool{false, true} {
		b.Run(map[bool]string{false: "one edge", true: "two edges"}[across], func(b *testing.B) {
			const piece = 1 << 20
			out, in := path(b, across)
			b.SetBytes(piece)
			data := make([]byte, piece)
			for b.Loop() {
				go func() { _, _ = out.Write(data) }()
				if _, err := io.CopyN(io.Discard, in, piece); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// path is a stream of a publication and what a subscriber gets of it.
func path(b *testing.B, across bool) (io.Writer, io.Reader) {
	b.Helper()
	x := newCluster(b, 2, nil, nil)
	at := x.edges[0]
	alice := x.connect(at, "alice")
	p := alice.publish("")
	if across {
		at = x.edges[1]
		at.Remote(room, p, x.edges[0].name)
	}
	bob := x.connect(at, "bob")
	s := bob.subscribe(p)
	in := bob.want(s)
	at.expect("ready " + s)
	out := alice.send(p)
	_ = in.SetDeadline(time.Time{})
	_ = out.SetDeadline(time.Time{})
	return out, in
}
