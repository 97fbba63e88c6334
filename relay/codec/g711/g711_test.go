package g711

import (
	"testing"

	"portico/relay/codec"
	"portico/shared/conference"
)

// Codes of the recommendation: silence, the loudest, and the borders of the smallest steps.
func TestKnownCodes(t *testing.T) {
	for _, c := range []struct {
		law    string
		linear int16
		code   byte
		back   int16
	}{
		{"pcmu", 0, 0xff, 0}, {"pcmu", 32767, 0x80, 32124}, {"pcmu", -32768, 0x00, -32124}, {"pcmu", 8, 0xfe, 8}, {"pcmu", -8, 0x7e, -8},
		{"pcmu", 1000, 0xce, 988}, {"pcmu", -1000, 0x4e, -988},
		{"pcma", 0, 0xd5, 8}, {"pcma", -1, 0x55, -8}, {"pcma", 32767, 0xaa, 32256}, {"pcma", -32768, 0x2a, -32256}, {"pcma", 1000, 0xfa, 1008},
		{"pcma", -1000, 0x7a, -1008},
	} {
		l := laws[c.law]
		if got := l.compress(c.linear); got != c.code || l.linear[got] != c.back {
			t.Errorf("%s %d: %#x, back %d; expected %#x, %d", c.law, c.linear, got, l.linear[got], c.code, c.back)
		}
	}
}

// Every code stands for itself, louder never becomes quieter, and what comes back is within half a step.
func TestAllSamples(t *testing.T) {
	for name, l := range laws {
		for b := range 256 {
			if again := l.compress(l.linear[b]); l.linear[again] != l.linear[b] {
				t.Errorf("%s %#x: %d becomes %d", name, b, l.linear[b], l.linear[again])
			}
		}
		last := int16(-32768)
		for v := -32768; v < 32768; v++ {
			got := l.linear[l.compress(int16(v))]
			size := max(v, -v)
			if got < last || max(int(got)-v, v-int(got)) > max(8, (size+132)/32+8) {
				t.Fatalf("%s %d: %d after %d", name, v, got, last)
			}
			last = got
		}
	}
}

func TestFrames(t *testing.T) {
	e, err := NewEncoder(codec.AudioConfig{Format: conference.Format{Codec: "pcmu"}})
	if err != nil {
		t.Fatal(err)
	}
	packet, err := e.Encode(nil, make([]int16, 160))
	if err != nil || len(packet) != 160 || packet[0] != 0xff {
		t.Errorf("%d bytes, %v", len(packet), err)
	}
}
