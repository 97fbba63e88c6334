package av1

import (
	"errors"
	"testing"

	"portico/relay/codec"
)

func TestUnits(t *testing.T) {
	for name, c := range map[string]struct {
		unit  []byte
		start bool
		want  error
	}{
		"key frame":       {[]byte{0x0a, 2, 1, 2, 0x32, 1, 9}, true, nil},
		"delta":           {[]byte{0x32, 3, 1, 2, 3}, false, nil},
		"layer":           {[]byte{0x36, 0x08, 1, 5}, false, nil},
		"long":            {append([]byte{0x32, 0x80, 0x01}, make([]byte, 128)...), false, nil},
		"the rest":        {[]byte{0x30, 1, 2, 3}, false, nil},
		"cut":             {[]byte{0x32, 4, 1, 2, 3}, false, codec.ErrCorrupt},
		"no size":         {[]byte{0x32}, false, codec.ErrCorrupt},
		"endless size":    {[]byte{0x32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, false, codec.ErrCorrupt},
		"forbidden bit":   {[]byte{0xb2, 0}, false, codec.ErrCorrupt},
		"broken behind":   {[]byte{0x0a, 1, 1, 0x32, 9}, false, codec.ErrCorrupt},
		"nothing":         {nil, false, codec.ErrCorrupt},
		"empty sequences": {[]byte{0x0a, 0, 0x0a, 0}, true, nil},
	} {
		start, err := check(c.unit)
		if !errors.Is(err, c.want) || err == nil && start != c.start {
			t.Errorf("%s: %v, %v", name, start, err)
		}
	}
}

func TestWithoutDelimiter(t *testing.T) {
	for in, want := range map[string]string{"\x12\x00\x32\x01a": "\x32\x01a", "\x32\x01a": "\x32\x01a", "": ""} {
		if got := withoutDelimiter([]byte(in)); string(got) != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func FuzzUnits(f *testing.F) {
	f.Add([]byte{0x0a, 2, 1, 2, 0x32, 1, 9})
	f.Add([]byte{0x12, 0, 0x36, 0x08, 1, 5})
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := check(data); err == nil && len(data) == 0 {
			t.Fatal("nothing is a temporal unit")
		}
		if n := len(withoutDelimiter(data)); n > len(data) {
			t.Fatal(n)
		}
	})
}
