package h264

import (
	"bytes"
	"errors"
	"slices"
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

func (w *writer) ue(v int) *writer {
	n := 0
	for (v+1)>>(n+1) > 0 {
		n++
	}
	return w.put(0, n).put(v+1, n+1)
}

// sequenceSet is a baseline parameter set, sizes in macroblocks.
func sequenceSet(width, height, references int) []byte {
	w := new(writer).put(66, 8).put(0xc0, 8).put(31, 8).ue(0).ue(0).ue(2).ue(references).put(0, 1).ue(width-1).ue(height-1).put(1, 1)
	return w.put(1, 1).put(0, 1).put(0, 1).put(1, 1).data
}

// highSet has scaling lists and a chroma format.
func highSet(chroma int) []byte {
	w := new(writer).put(100, 8).put(0, 8).put(40, 8).ue(0).ue(chroma).ue(0).ue(0).put(0, 1).put(1, 1)
	for i := range 8 {
		if i%2 == 0 {
			w.put(0, 1)
			continue
		}
		w.put(1, 1).ue(3).ue(16) // one step of 2, then -8: the rest as it was
		w.ue(0)
		size := 16
		if i >= 6 {
			size = 64
		}
		for range size - 3 {
			w.ue(0)
		}
	}
	return w.ue(0).ue(2).ue(4).put(0, 1).ue(119).ue(67).put(1, 1).put(0, 8).data
}

func TestSequenceSets(t *testing.T) {
	fields := new(writer).put(77, 8).put(0, 8).put(31, 8).ue(0).ue(0).ue(2).ue(1).put(0, 1).ue(44).ue(17).put(0, 2).put(1, 8).data
	cycle := new(writer).put(66, 8).put(0xc0, 8).put(31, 8).ue(0).ue(0).ue(1).put(0, 1).ue(4).ue(4).ue(2).ue(1).ue(1).ue(1).put(0, 1).
		ue(39).ue(22).put(1, 1).put(0, 8).data
	for name, c := range map[string]struct {
		set  []byte
		want error
	}{
		"640x368":             {sequenceSet(40, 23, 1), nil},
		"largest":             {sequenceSet(256, 144, 5), nil},
		"too many pixels":     {sequenceSet(256, 145, 1), codec.ErrTooLarge},
		"absurd":              {sequenceSet(1<<20, 1<<20, 1), codec.ErrTooLarge},
		"wide":                {sequenceSet(300, 1, 1), codec.ErrTooLarge},
		"too many to keep":    {sequenceSet(256, 144, 6), codec.ErrTooLarge},
		"17 references":       {sequenceSet(10, 10, 17), codec.ErrTooLarge},
		"high":                {highSet(1), nil},
		"4:4:4":               {highSet(3), codec.ErrUnsupported},
		"fields":              {fields, codec.ErrUnsupported},
		"cycle of counts":     {cycle, nil},
		"cut":                 {sequenceSet(40, 23, 1)[:4], codec.ErrCorrupt},
		"nothing":             {nil, codec.ErrCorrupt},
		"zeros without end":   {append([]byte{66, 0, 0}, make([]byte, 100)...), codec.ErrCorrupt},
		"high without an end": {[]byte{100, 0, 40}, codec.ErrCorrupt},
	} {
		if err := checkSequence(c.set); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, expected %v", name, err, c.want)
		}
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		"\x01\x02": "\x01\x02", "\x00\x00\x03\x01": "\x00\x00\x01", "\x00\x00\x03\x00\x00\x03": "\x00\x00\x00\x00", "": "",
		"a\x00\x00\x03\x00\x00\x03\x03": "a\x00\x00\x00\x00\x03",
	} {
		if got := unescape([]byte(in)); string(got) != want {
			t.Errorf("%q: %q, expected %q", in, got, want)
		}
	}
}

func TestFilter(t *testing.T) {
	set := append([]byte{0x67}, sequenceSet(40, 23, 1)...)
	join := func(units ...[]byte) (out []byte) {
		for i, u := range units {
			if i%2 == 0 {
				out = append(out, 0)
			}
			out = append(append(out, 0, 0, 1), u...)
		}
		return out
	}
	long := func(units ...[]byte) (out []byte) {
		for _, u := range units {
			out = append(append(out, 0, 0, 0, 1), u...)
		}
		return out
	}
	picture, idr, slice := []byte{0x68, 1}, []byte{0x65, 2, 3}, []byte{0x41, 4}
	for name, c := range map[string]struct {
		in, want []byte
		found    content
		err      error
	}{
		"key frame":       {join(set, picture, idr), long(set, picture, idr), content{true, true}, nil},
		"delta":           {join(slice, slice), long(slice, slice), content{slices: true}, nil},
		"sets alone":      {join(set, picture), long(set, picture), content{}, nil},
		"other units":     {join([]byte{9, 1}, []byte{6, 5}, slice, []byte{0x6e, 1}, []byte{0x0c, 0xff}), long(slice), content{slices: true}, nil},
		"zeros behind":    {append(join(slice), 0, 0, 0), long(slice), content{slices: true}, nil},
		"no start code":   {[]byte("hello"), nil, content{}, nil},
		"nothing":         {nil, nil, content{}, nil},
		"forbidden bit":   {join([]byte{0xc1, 4}), nil, content{slices: true}, codec.ErrCorrupt},
		"too large a set": {join(append([]byte{0x67}, sequenceSet(4000, 4000, 1)...), idr), nil, content{}, codec.ErrTooLarge},
	} {
		got, found, err := filter(nil, c.in)
		if !bytes.Equal(got, c.want) || found != c.found || !errors.Is(err, c.err) {
			t.Errorf("%s: % x, %+v, %v", name, got, found, err)
		}
	}
}

func FuzzFilter(f *testing.F) {
	f.Add(slices.Concat([]byte{0, 0, 0, 1, 0x67}, sequenceSet(40, 23, 1), []byte{0, 0, 1, 0x68, 1, 0, 0, 1, 0x65, 2}))
	f.Add(slices.Concat([]byte{0, 0, 1, 0x67}, highSet(1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		out, found, err := filter(nil, data)
		if err != nil {
			return
		}
		again, found2, err := filter(nil, out)
		if !bytes.Equal(out, again) || found != found2 || err != nil {
			t.Fatalf("% x became % x, %v", out, again, err)
		}
	})
}
