package red

import (
	"bytes"
	"slices"
	"testing"
)

// build writes a payload of opus (111) blocks 960 ticks apart; the last is the primary one.
func build(blocks ...string) []byte {
	var b []byte
	for i, block := range blocks[:len(blocks)-1] {
		offset := 960 * (len(blocks) - 1 - i)
		b = append(b, 0x80|111, byte(offset>>6), byte(offset<<2)|byte(len(block)>>8), byte(len(block)))
	}
	b = append(b, 111)
	for _, block := range blocks {
		b = append(b, block...)
	}
	return b
}

func TestPrimary(t *testing.T) {
	long := string(bytes.Repeat([]byte{'x'}, 1023))
	many := slices.Repeat([]string{"r"}, maxBlocks)
	for name, c := range map[string]struct {
		payload []byte
		want    string
		ok      bool
	}{
		"nothing":                      {nil, "", false},
		"primary alone":                {build("now"), "now", true},
		"primary alone and empty":      {build(""), "", true},
		"one redundant":                {build("before", "now"), "now", true},
		"two redundant":                {build("long ago", "before", "now"), "now", true},
		"empty redundant":              {build("", "now"), "now", true},
		"empty primary":                {build("before", ""), "", true},
		"longest redundant":            {build(long, "now"), "now", true},
		"as written by Chromium":       {[]byte{0xef, 0x0f, 0x00, 0x03, 0x6f, 0x78, 0x01, 0x02, 0x78, 0x03}, "\x78\x03", true},
		"most redundant":               {build(append(many, "now")...), "now", true},
		"too many":                     {build(append(many, "r", "now")...), "", false},
		"no primary header":            {build("before", "now")[:4], "", false},
		"cut within a header":          {build("before", "now")[:3], "", false},
		"cut within the redundant":     {build("before", "now")[:10], "", false},
		"cut at the primary":           {build("before", "now")[:11], "", true},
		"length beyond the end":        {[]byte{0xef, 0x0f, 0x03, 0xff, 0x6f, 1, 2, 3}, "", false},
		"redundant headers to the end": {bytes.Repeat([]byte{0xff}, 1400), "", false},
	} {
		got, ok := Primary(c.payload)
		if ok != c.ok || string(got) != c.want {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
}

func TestPrimaryIsPartOfThePayload(t *testing.T) {
	payload := build("before", "now")
	if n := testing.AllocsPerRun(100, func() { Primary(payload) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	got, _ := Primary(payload)
	got[0] = 'N'
	if !bytes.HasSuffix(payload, []byte("Now")) {
		t.Errorf("%q", payload)
	}
}

// FuzzPrimary: any payload is refused, or its primary block is its end and what is before it is accounted for.
func FuzzPrimary(f *testing.F) {
	f.Add([]byte{})
	f.Add(build("now"))
	f.Add(build("before", "now"))
	f.Add(build("", "before", ""))
	f.Add([]byte{0xef, 0x0f, 0x03, 0xff, 0x6f, 1, 2, 3})
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, ok := Primary(payload)
		if !ok {
			if len(payload) > 0 && payload[0]&0x80 == 0 {
				t.Errorf("a primary block alone is refused: %x", payload)
			}
			return
		}
		if !bytes.HasSuffix(payload, got) {
			t.Fatalf("%x is no end of %x", got, payload)
		}
		before, headers := 0, payload
		for ; headers[0]&0x80 != 0; headers = headers[4:] {
			before += 4 + (int(headers[2])<<8|int(headers[3]))&0x3ff
		}
		if len(payload) != before+1+len(got) {
			t.Errorf("%d bytes: %d of other blocks, %d of the primary one", len(payload), before, len(got))
		}
	})
}

func BenchmarkPrimary(b *testing.B) {
	payload := build(string(make([]byte, 80)), string(make([]byte, 80)))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := Primary(payload); !ok {
			b.Fatal("refused")
		}
	}
}

func TestSetPayloadType(t *testing.T) {
	for _, blocks := range [][]string{{"c"}, {"ab", "c"}, {"", "abc", "ab", ""}} {
		payload := build(blocks...)
		SetPayloadType(payload, 0xff)
		if want := bytes.ReplaceAll(build(blocks...), []byte{111}, []byte{0x7f}); !bytes.Equal(payload, bytes.ReplaceAll(want, []byte{0x80 | 111}, []byte{0xff})) {
			t.Errorf("%q: % x", blocks, payload)
		}
	}
}

// FuzzSetPayloadType: the blocks stay as they are, and nothing outside of them is touched.
func FuzzSetPayloadType(f *testing.F) {
	f.Add(build("before", "now"), uint8(100))
	f.Add([]byte{0xef, 0x0f}, uint8(1))
	f.Fuzz(func(t *testing.T, payload []byte, payloadType uint8) {
		before, ok := Primary(payload)
		want := bytes.Clone(before)
		guarded := append(bytes.Clone(payload), 0xa5)
		SetPayloadType(guarded[:len(payload)], payloadType)
		if guarded[len(payload)] != 0xa5 {
			t.Fatal("wrote beyond the end")
		}
		after, still := Primary(guarded[:len(payload)])
		if ok != still || !bytes.Equal(want, after) {
			t.Fatalf("%x, %v became %x, %v", want, ok, after, still)
		}
	})
}
