// Package wttest is for tests of data streams: what a test writes to a WebTransport stream, and what it wants to read from one.
package wttest

import (
	"errors"
	"io"
	"testing"

	"github.com/quic-go/webtransport-go"
)

// Write writes a text, or ends the test.
func Write(t testing.TB, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

// Want reads a text, or ends the test.
func Want(t testing.TB, r io.Reader, text string) {
	t.Helper()
	b := make([]byte, len(text))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != text {
		t.Fatalf("read %q, %v; want %q", b, err, text)
	}
}

// WantEnd wants the stream to end in order, with nothing more in it.
func WantEnd(t testing.TB, r io.Reader) {
	t.Helper()
	if n, err := r.Read(make([]byte, 10)); n != 0 || err != io.EOF {
		t.Fatalf("read %d bytes, %v; want the end", n, err)
	}
}

// WantReset reads until the stream is reset with a code.
func WantReset(t testing.TB, r io.Reader, code webtransport.StreamErrorCode) {
	t.Helper()
	_, err := io.Copy(io.Discard, r)
	var reset *webtransport.StreamError
	if !errors.As(err, &reset) || reset.ErrorCode != code {
		t.Fatalf("ended with %v, want a reset with %d", err, code)
	}
}
