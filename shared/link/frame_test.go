package link

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
)

// RFC 9000 appendix A.1.
func TestVarint(t *testing.T) {
	for _, c := range []struct {
		in    []byte
		v     uint64
		short bool
	}{
		{[]byte{0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c}, 151288809941952652, true},
		{[]byte{0x9d, 0x7f, 0x3e, 0x7d}, 494878333, true},
		{[]byte{0x7b, 0xbd}, 15293, true},
		{[]byte{0x25}, 37, true},
		{[]byte{0x40, 0x25}, 37, false},
		{[]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, MaxFlowID, true},
	} {
		v, rest, ok := cutVarint(append(c.in, 9))
		if !ok || v != c.v || !bytes.Equal(rest, []byte{9}) {
			t.Errorf("%x: %d %x %v", c.in, v, rest, ok)
		}
		if _, _, ok := cutVarint(c.in[:len(c.in)-1]); ok {
			t.Errorf("%x is one without its last byte", c.in)
		}
		if out := appendVarint(nil, c.v); bytes.Equal(out, c.in) != c.short || c.short && varintLen(c.v) != len(out) {
			t.Errorf("%d becomes %x", c.v, out)
		}
	}
}

func FuzzVarint(f *testing.F) {
	f.Add([]byte{0x25})
	f.Add([]byte{0x7b, 0xbd, 1})
	f.Add([]byte{0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c})
	f.Fuzz(func(t *testing.T, in []byte) {
		v, rest, ok := cutVarint(in)
		if !ok {
			return
		}
		if v > MaxFlowID || len(rest) >= len(in) || !bytes.HasSuffix(in, rest) {
			t.Fatalf("%x: %d %x", in, v, rest)
		}
		again, rest, ok := cutVarint(appendVarint(nil, v))
		if !ok || again != v || len(rest) != 0 || len(in)-len(rest) < varintLen(v) {
			t.Errorf("%d comes back as %d", v, again)
		}
	})
}

// The stream of long packets: whatever comes is read to its end, and what was understood is written the same.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 3, 1, 'a', 'b', 0, 2, 0x40, 0x25})
	f.Add([]byte{0, 0})
	f.Add([]byte{0xff, 0xff, 1})
	f.Add([]byte{0, 2, 0xc0, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		var buf []byte
		for {
			before := r.Len()
			flow, packet, grown, err := readFrame(r, buf)
			if err != nil {
				if err == io.EOF && before != 0 {
					t.Errorf("half a frame passes for the end")
				}
				return
			}
			buf = grown
			n := before - r.Len()
			frame := in[len(in)-before:][:n]
			if int(binary.BigEndian.Uint16(frame)) != n-2 || !bytes.HasSuffix(frame, packet) || flow > MaxFlowID || cap(buf) > maxFrame {
				t.Errorf("%x: flow %d, %x", frame, flow, packet)
			}
		}
	})
}
