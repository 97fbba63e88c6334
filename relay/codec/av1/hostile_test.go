//go:build cgo

package av1

import (
	"bytes"
	"errors"
	"testing"

	"portico/relay/codec"
)

// writer writes from the most significant bit on.
type writer struct {
	data []byte
	n    int
}

func (w *writer) put(v, n int) *writer {
	for i := n - 1; i >= 0; i-- {
		if w.n%8 == 0 {
			w.data = append(w.data, 0)
		}
		w.data[w.n/8] |= byte(v>>i&1) << (7 - w.n%8)
		w.n++
	}
	return w
}

// still is a temporal unit of a still picture of any size, of which only headers are there.
func still(width, height int) []byte {
	w := new(writer).put(0, 3).put(1, 1).put(1, 1).put(31, 5)               // profile, still picture with a short header, level
	w.put(15, 4).put(15, 4).put(width-1, 16).put(height-1, 16).put(0, 3)    // size, no tools
	w.put(0, 3)                                                             // no super-resolution, CDEF, restoration
	w.put(0, 2).put(0, 1).put(0, 1).put(0, 2).put(0, 1).put(0, 1).put(1, 1) // 8 bits, colour, no film grain; end
	header := w.data
	out := append([]byte{0x0a, byte(len(header))}, header...)
	return append(append(out, 0x32, 100), bytes.Repeat([]byte{0}, 100)...)
}

func TestDecoderRefusesSizes(t *testing.T) {
	for _, size := range [][2]int{{65536, 65536}, {8192, 4320}, {4096, 2306}} {
		d, err := NewDecoder()
		if err != nil {
			t.Fatal(err)
		}
		if p, err := d.Decode(still(size[0], size[1])); p != nil || !errors.Is(err, codec.ErrTooLarge) {
			t.Errorf("%v: %v, %v", size, p, err)
		}
		d.Close()
	}
	// The same headers with a size that is allowed: corrupt, for there is no picture behind them, but not too large.
	d, err := NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Decode(still(640, 360)); errors.Is(err, codec.ErrTooLarge) {
		t.Error(err)
	}
}
