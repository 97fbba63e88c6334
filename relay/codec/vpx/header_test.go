package vpx

import (
	"errors"
	"testing"

	"portico/relay/codec"
)

// keyVP8 is the beginning of a key frame of VP8.
func keyVP8(width, height, first, rest int) []byte {
	tag := first<<5 | 1<<4
	head := []byte{byte(tag), byte(tag >> 8), byte(tag >> 16), 0x9d, 0x01, 0x2a, byte(width), byte(width >> 8), byte(height), byte(height >> 8)}
	return append(head, make([]byte, rest)...)
}

func TestHeadersOfVP8(t *testing.T) {
	for name, c := range map[string]struct {
		frame []byte
		key   bool
		want  error
	}{
		"key":           {keyVP8(640, 360, 20, 30), true, nil},
		"scaled":        {keyVP8(640|1<<14, 360|2<<14, 20, 30), true, nil},
		"largest":       {keyVP8(4096, 2304, 20, 30), true, nil},
		"too wide":      {keyVP8(4098, 16, 20, 30), false, codec.ErrTooLarge},
		"too many":      {keyVP8(4096, 4096, 20, 30), false, codec.ErrTooLarge},
		"absurd":        {keyVP8(16383, 16383, 20, 30), false, codec.ErrTooLarge},
		"no width":      {keyVP8(0, 16, 20, 30), false, codec.ErrCorrupt},
		"cut":           {keyVP8(640, 360, 20, 30)[:9], false, codec.ErrCorrupt},
		"part missing":  {keyVP8(640, 360, 31, 30), false, codec.ErrCorrupt},
		"no start code": {[]byte{0x10, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}, false, codec.ErrCorrupt},
		"delta":         {[]byte{0x31, 0, 0, 7}, false, nil},
		"short":         {[]byte{1, 0}, false, codec.ErrCorrupt},
		"nothing":       {nil, false, codec.ErrCorrupt},
	} {
		key, err := checkVP8(c.frame)
		if !errors.Is(err, c.want) || err == nil && key != c.key {
			t.Errorf("%s: %v, %v", name, key, err)
		}
	}
}

// writer writes from the most significant bit on.
type writer struct {
	data []byte
	n    int
}

func (w *writer) put(v, bits int) *writer {
	for i := bits - 1; i >= 0; i-- {
		if w.n%8 == 0 {
			w.data = append(w.data, 0)
		}
		w.data[w.n/8] |= byte(v>>i&1) << (7 - w.n%8)
		w.n++
	}
	return w
}

func keyVP9(width, height int) []byte {
	w := new(writer).put(2, 2).put(0, 2).put(0, 1).put(0, 1).put(1, 1).put(0, 1).put(syncVP9, 24).put(2, 3).put(0, 1)
	return w.put(width-1, 16).put(height-1, 16).put(0, 40).data
}

// interVP9 refers to frames before it: with a size of its own, if width is not 0.
func interVP9(width, height int) []byte {
	w := new(writer).put(2, 2).put(0, 2).put(0, 1).put(1, 1).put(1, 1).put(0, 1).put(0, 2).put(1, 8).put(0, 12)
	if width == 0 {
		w.put(0, 1).put(1, 1)
	} else {
		w.put(0, 3).put(width-1, 16).put(height-1, 16)
	}
	return w.put(0, 40).data
}

func intraVP9(width, height int) []byte {
	w := new(writer).put(2, 2).put(0, 2).put(0, 1).put(1, 1).put(0, 1).put(0, 1).put(1, 1).put(0, 2).put(syncVP9, 24).put(1, 8)
	return w.put(width-1, 16).put(height-1, 16).put(0, 40).data
}

// joined is a superframe, its sizes in two bytes each.
func joined(frames ...[]byte) (out []byte) {
	marker := byte(0xc0 | 1<<3 | (len(frames) - 1))
	index := []byte{marker}
	for _, f := range frames {
		out = append(out, f...)
		index = append(index, byte(len(f)), byte(len(f)>>8))
	}
	return append(append(out, index...), marker)
}

func TestHeadersOfVP9(t *testing.T) {
	profile1 := new(writer).put(2, 2).put(2, 2).put(0, 20).data
	repeat := new(writer).put(2, 2).put(0, 2).put(1, 1).put(3, 3).data
	lying := joined(keyVP9(64, 48))
	lying[len(lying)-3] = 0xff
	for name, c := range map[string]struct {
		frame        []byte
		key, indexed bool
		want         error
	}{
		"key":                  {keyVP9(640, 360), true, false, nil},
		"absurd":               {keyVP9(65536, 65536), false, false, codec.ErrTooLarge},
		"delta":                {interVP9(0, 0), false, false, nil},
		"delta with a size":    {interVP9(320, 180), false, false, nil},
		"delta that explodes":  {interVP9(65536, 65536), false, false, codec.ErrTooLarge},
		"intra":                {intraVP9(320, 180), false, false, nil},
		"intra that explodes":  {intraVP9(5000, 10), false, false, codec.ErrTooLarge},
		"layers":               {joined(keyVP9(320, 180), interVP9(640, 360)), true, true, nil},
		"layers that explode":  {joined(keyVP9(320, 180), interVP9(60000, 60000)), false, false, codec.ErrTooLarge},
		"layers of deltas":     {joined(interVP9(0, 0), interVP9(0, 0)), false, true, nil},
		"shown again":          {repeat, false, false, nil},
		"other profile":        {profile1, false, false, codec.ErrUnsupported},
		"cut":                  {keyVP9(640, 360)[:6], false, false, codec.ErrCorrupt},
		"not a frame":          {[]byte{0, 0, 0}, false, false, codec.ErrCorrupt},
		"index beyond the end": {lying, false, false, codec.ErrCorrupt},
		"empty frame":          {joined(keyVP9(64, 48), nil), false, false, codec.ErrCorrupt},
		"nothing":              {nil, false, false, codec.ErrCorrupt},
	} {
		key, indexed, err := checkVP9(c.frame)
		if !errors.Is(err, c.want) || key != c.key || indexed != c.indexed {
			t.Errorf("%s: %v, %v, %v", name, key, indexed, err)
		}
	}
}

// An index made here reads as one frame, whatever the frame's own last bytes look like.
func TestIndexOfOneFrame(t *testing.T) {
	for _, frame := range [][]byte{keyVP9(64, 48), append(keyVP9(64, 48), 0xc0), make([]byte, 70_000)} {
		sizes, indexed, err := superframe(appendIndex(append([]byte(nil), frame...), len(frame)))
		if err != nil || !indexed || len(sizes) != 1 || sizes[0] != len(frame) {
			t.Errorf("%d bytes: %v, %v, %v", len(frame), sizes, indexed, err)
		}
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add(keyVP8(640, 360, 20, 30))
	f.Add(joined(keyVP9(320, 180), interVP9(640, 360)))
	f.Add(intraVP9(320, 180))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = checkVP8(data)
		if _, _, err := checkVP9(data); err != nil {
			return
		}
		sizes, indexed, err := superframe(data)
		sum := 0
		for _, n := range sizes {
			sum += n
		}
		if err != nil || sum > len(data) || !indexed && sum != len(data) {
			t.Fatalf("%v of %d bytes, %v", sizes, len(data), err)
		}
	})
}
