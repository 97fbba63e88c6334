package payload

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func depacketiser(t testing.TB, codec string) *Depacketiser {
	t.Helper()
	d, err := NewDepacketiser(codec)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func packetiser(t testing.TB, codec string) *Packetiser {
	t.Helper()
	p, err := NewPacketiser(codec, 0x7ffe)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// noise is n bytes that hold no start code, because none is 0.
func noise(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.IntN(255) + 1)
	}
	return b
}

var all = []string{"vp8", "vp9", "h264", "av1"}

// sample makes a frame of the codec with about n bytes.
func sample(rng *rand.Rand, codec string, n int, key bool) []byte {
	switch codec {
	case "vp8":
		head := []byte{0x11, 2, 0}
		if key {
			head = []byte{0x10, 2, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01} // 640x360
		}
		return append(head, noise(rng, n)...)
	case "vp9":
		head := []byte{0x86}
		if key {
			head = []byte{0x82, 0x49, 0x83, 0x42, 0x20, 0x27, 0xf0, 0x16, 0x70} // 640x360
		}
		return append(append(head, noise(rng, n)...), 1)
	case "h264":
		var frame []byte
		if key {
			frame = append(frame, 0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe4) // 1280x720
			frame = append(frame, 0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80)
			frame = append(frame, 0, 0, 0, 1, 0x65, 0xb8)
		} else {
			frame = append(frame, 0, 0, 0, 1, 0x41, 0x9a)
		}
		return append(frame, noise(rng, n)...)
	default:
		var frame []byte
		if key {
			frame = append(frame, 0x0a, 3, 1, 2, 3)
		}
		frame = append(frame, 0x32)
		frame = appendLEB128(frame, n)
		return append(frame, noise(rng, n)...)
	}
}

func sizes() []int {
	return []int{1, 2, 100, 1135, 1136, 1137, 1140, 1145, 1146, 1147, 1148, 1149, 1150, 1151, 2291, 2292, 2300, 5000, 100_000}
}

// TestRoundTrip splits frames and puts them together again.
func TestRoundTrip(t *testing.T) {
	for _, codec := range all {
		t.Run(codec, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			p, d := packetiser(t, codec), depacketiser(t, codec)
			for i, n := range sizes() {
				key := i%3 == 0
				want := sample(rng, codec, n, key)
				payloads, err := p.Split(want)
				if err != nil {
					t.Fatal(err)
				}
				if least := len(want) / MaxPayload; len(payloads) < least || len(payloads) > least+3 {
					t.Errorf("%d bytes: %d payloads", len(want), len(payloads))
				}
				for k, payload := range payloads {
					if len(payload) == 0 || len(payload) > MaxPayload {
						t.Fatalf("a payload of %d bytes", len(payload))
					}
					last := k == len(payloads)-1
					f, err := d.Push(Packet{Timestamp: uint32(i), Marker: last, Payload: payload})
					if err != nil || (f.Data != nil) != last {
						t.Fatalf("%d bytes, payload %d of %d: %d bytes, %v", n, k, len(payloads), len(f.Data), err)
					}
					if last && (!bytes.Equal(f.Data, want) || f.Key != key || f.Timestamp != uint32(i)) {
						t.Fatalf("%d bytes: came out as %d bytes, key %v, time %d", len(want), len(f.Data), f.Key, f.Timestamp)
					}
					if last && key && codec != "av1" && f.Width*f.Height == 0 {
						t.Errorf("size %dx%d", f.Width, f.Height)
					}
				}
			}
		})
	}
}

// TestLoss loses each packet of a frame in turn: that frame does not come, the ones before and behind do, and it is said once.
func TestLoss(t *testing.T) {
	for _, codec := range all {
		t.Run(codec, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, 4))
			p := packetiser(t, codec)
			var packets []Packet
			first, last := 0, 0
			for i := range 3 {
				payloads, err := p.Split(sample(rng, codec, 4000, i == 0))
				if err != nil {
					t.Fatal(err)
				}
				if i == 1 {
					first = len(packets)
				}
				for k, payload := range payloads {
					packets = append(packets, Packet{Timestamp: uint32(i), Marker: k == len(payloads)-1, Payload: bytes.Clone(payload)})
				}
				if i == 1 {
					last = len(packets) - 1
				}
			}
			for lost := first; lost <= last; lost++ {
				d := depacketiser(t, codec)
				var came []uint32
				broken := 0
				for i, packet := range packets {
					if i == lost {
						continue
					}
					packet.Missing = i == lost+1
					f, err := d.Push(packet)
					if f.Data != nil {
						came = append(came, f.Timestamp)
					}
					if errors.Is(err, ErrBroken) {
						broken++
					}
				}
				if fmt.Sprint(came) != "[0 2]" || broken != 1 {
					t.Errorf("packet %d of %d to %d lost: %v came, broken %d times", lost, first, last, came, broken)
				}
			}
		})
	}
}

// TestWholeFrameLost says so, though every frame that comes is whole.
func TestWholeFrameLost(t *testing.T) {
	d := depacketiser(t, "vp8")
	frame := unhex(t, "10 11020000")
	for i, missing := range []bool{false, true, false} {
		f, err := d.Push(Packet{Timestamp: uint32(i), Marker: true, Missing: missing, Payload: frame})
		if f.Data == nil || (err != nil) != missing {
			t.Errorf("%d: %v, %v", i, f, err)
		}
	}
	if _, err := d.Push(Packet{Missing: true}); !errors.Is(err, ErrBroken) {
		t.Errorf("padding behind a gap: %v", err)
	}
	if f, err := d.Push(Packet{Marker: true, Payload: frame}); f.Data == nil || err != nil {
		t.Errorf("the gap was said already: %v, %v", f, err)
	}
}

// TestWithoutMarkers ends frames where the next begins.
func TestWithoutMarkers(t *testing.T) {
	for _, codec := range all {
		rng := rand.New(rand.NewPCG(5, 6))
		p, d := packetiser(t, codec), depacketiser(t, codec)
		var want, got [][]byte
		for i := range 6 {
			frame := sample(rng, codec, []int{10, 3000}[i/2%2], false)
			want = append(want, frame)
			payloads, err := p.Split(frame)
			if err != nil {
				t.Fatal(err)
			}
			for k, payload := range payloads {
				f, err := d.Push(Packet{Timestamp: uint32(i), Marker: i%2 == 1 && k == len(payloads)-1, Payload: payload})
				if err != nil {
					t.Fatal(err)
				}
				if f.Data != nil {
					got = append(got, bytes.Clone(f.Data))
				}
			}
		}
		f, err := d.Push(Packet{Timestamp: 6})
		if f.Data != nil {
			got = append(got, f.Data)
		}
		if err != nil || len(got) != len(want) {
			t.Fatalf("%s: %d frames, want %d; %v", codec, len(got), len(want), err)
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Errorf("%s: frame %d has %d bytes, want %d", codec, i, len(got[i]), len(want[i]))
			}
		}
	}
}

// TestTooLarge leaves a frame out that never ends, and goes on.
func TestTooLarge(t *testing.T) {
	for codec, c := range map[string]struct{ first, next, whole string }{
		"vp8":  {"10", "00", "10"},
		"vp9":  {"08", "00", "0c"},
		"h264": {"7c85", "7c05", "65"},
		"av1":  {"50 30", "d0", "10 30"},
	} {
		d := depacketiser(t, codec)
		rest := noise(rand.New(rand.NewPCG(7, 8)), 60_000)
		broken := 0
		for i := range 40 {
			head := c.next
			if i == 0 {
				head = c.first
			}
			f, err := d.Push(Packet{Timestamp: 1, Payload: append(unhex(t, head), rest...)})
			if err != nil {
				broken++
			}
			if f.Data != nil || cap(d.buffer) > 2*MaxFrame || broken == 0 && i > 36 {
				t.Fatalf("%s: %d bytes after %d packets", codec, len(d.buffer), i)
			}
		}
		if broken != 1 {
			t.Errorf("%s: broken %d times", codec, broken)
		}
		f, err := d.Push(Packet{Timestamp: 2, Marker: true, Payload: append(unhex(t, c.whole), rest...)})
		if err != nil || f.Data == nil {
			t.Errorf("%s: the next: %v", codec, err)
		}
	}
}

func TestUnknownCodecs(t *testing.T) {
	for _, codec := range []string{"", "opus", "h265", "VP8"} {
		if d, err := NewDepacketiser(codec); d != nil || !errors.Is(err, ErrCodec) {
			t.Errorf("%q: %v", codec, err)
		}
		if p, err := NewPacketiser(codec, 0); p != nil || !errors.Is(err, ErrCodec) {
			t.Errorf("%q: %v", codec, err)
		}
	}
}

func TestNoSuchFrame(t *testing.T) {
	for codec, frames := range map[string][]string{
		"vp8":  {""},
		"vp9":  {""},
		"h264": {"", "01", "00000001", "0000000100", "0000000109f0", "000000011c01", "00000001e501"},
		"av1":  {"", "80", "1200", "3205", "36", "0a", "32ffffffff0f"},
	} {
		for _, s := range frames {
			if payloads, err := packetiser(t, codec).Split(unhex(t, s)); !errors.Is(err, ErrFrame) {
				t.Errorf("%s %s: %x, %v", codec, s, payloads, err)
			}
		}
		if _, err := packetiser(t, codec).Split(make([]byte, MaxFrame+1)); !errors.Is(err, ErrFrame) {
			t.Errorf("%s too large: %v", codec, err)
		}
	}
}

func TestAllocations(t *testing.T) {
	for _, codec := range all {
		p, d := packetiser(t, codec), depacketiser(t, codec)
		frame := sample(rand.New(rand.NewPCG(9, 10)), codec, 20_000, true)
		now := uint32(0)
		once := func() {
			payloads, err := p.Split(frame)
			if err != nil {
				t.Fatal(err)
			}
			now++
			for i, payload := range payloads {
				if _, err := d.Push(Packet{Timestamp: now, Marker: i == len(payloads)-1, Payload: payload}); err != nil {
					t.Fatal(err)
				}
			}
		}
		once()
		once()
		if n := testing.AllocsPerRun(20, once); n > 0 {
			t.Errorf("%s: %v allocations a frame", codec, n)
		}
	}
}

func BenchmarkVP8(b *testing.B) {
	p, d := packetiser(b, "vp8"), depacketiser(b, "vp8")
	frame := sample(rand.New(rand.NewPCG(9, 10)), "vp8", 8000, false)
	b.SetBytes(int64(len(frame)))
	for i := range b.N {
		payloads, _ := p.Split(frame)
		for k, payload := range payloads {
			if _, err := d.Push(Packet{Timestamp: uint32(i), Marker: k == len(payloads)-1, Payload: payload}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
