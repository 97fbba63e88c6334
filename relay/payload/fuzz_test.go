package payload

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

// push gives the depacketiser what the script says: a byte with marker, missing, another timestamp and how long, then the payload.
func push(t *testing.T, codec string, script []byte) {
	d := depacketiser(t, codec)
	now := uint32(0)
	for len(script) > 0 {
		head := script[0]
		n := min(int(head&0x1f), len(script)-1)
		p := Packet{Marker: head&0x80 != 0, Missing: head&0x40 != 0, Payload: script[1 : 1+n]}
		if head&0x20 != 0 {
			now++
		}
		p.Timestamp = now
		script = script[1+n:]
		f, err := d.Push(p)
		if err != nil && !errors.Is(err, ErrBroken) {
			t.Fatal(err)
		}
		if len(f.Data) > MaxFrame || f.Data != nil && len(f.Data) == 0 || f.Width < 0 || f.Height < 0 {
			t.Fatalf("%+v", f)
		}
	}
}

func fuzzPush(f *testing.F, codec string, packets ...string) {
	var script []byte
	for i, s := range packets {
		b := unhex(f, s)
		head := byte(len(b))
		if i == len(packets)-1 {
			head |= 0x80
		}
		script = append(append(script, head), b...)
	}
	f.Add(script)
	f.Add(append(bytes.Clone(script), script...))
	f.Fuzz(func(t *testing.T, script []byte) { push(t, codec, script) })
}

func FuzzVP8(f *testing.F) { fuzzPush(f, "vp8", "90 f0 8141 07 a3 d001", "80 f0 8141 07 a3 d2") }

func FuzzVP9(f *testing.F) {
	fuzzPush(f, "vp9", "8a 8123 38 014000b4 02800168 02 14 01 00 8601", "84 8123 00", "ac 01 03 07 8602 8603 c1 02 02 c1",
		"dc 8123 05 05 02 8601")
}

func FuzzH264(f *testing.F) {
	fuzzPush(f, "h264", "78 0002 6742 0000 0002 68ce", "7c 85 8801", "7c 05 02", "7c 45 03", "4181")
}

func FuzzAV1(f *testing.F) {
	fuzzPush(f, "av1", "68 02 0801 30 01", "a0 01 02 30 03", "50 34", "90 08 03", "30 02 1200 02 7801 30 01")
}

// FuzzSplit splits any frames and puts them together again: the same comes out, and what is no frame is refused. Frames are
// lengthened by repeating them.
func FuzzSplit(f *testing.F) {
	for i, codec := range all {
		for _, n := range []int{1, 100, 3000} {
			f.Add(uint8(i), uint8(1), sample(rand.New(rand.NewPCG(1, 2)), codec, n, true))
		}
	}
	f.Add(uint8(3), uint8(200), []byte{0x32, 0x02, 1, 2, 0x36, 0x08, 0x01, 0x03})
	f.Fuzz(func(t *testing.T, which, times uint8, frame []byte) {
		codec := all[int(which)%len(all)]
		frame = bytes.Repeat(frame, int(times)+1)
		payloads, err := packetiser(t, codec).Split(frame)
		if err != nil {
			if !errors.Is(err, ErrFrame) || len(payloads) > 0 {
				t.Fatal(err)
			}
			return
		}
		d := depacketiser(t, codec)
		var got Frame
		for i, payload := range payloads {
			if len(payload) == 0 || len(payload) > MaxPayload {
				t.Fatalf("a payload of %d bytes", len(payload))
			}
			if got, err = d.Push(Packet{Marker: i == len(payloads)-1, Payload: payload}); err != nil && codec != "vp9" {
				t.Fatalf("%s: %v", codec, err)
			}
		}
		if want := normal(codec, frame); codec != "vp9" && !bytes.Equal(got.Data, want) {
			t.Fatalf("%s: %x\nbecame %x", codec, want, got.Data)
		} else if codec == "vp9" && len(got.Data) > 0 && !bytes.HasPrefix(frame, got.Data[:1]) {
			t.Fatalf("%x\nbecame %x", frame, got.Data)
		}
	})
}

// normal is the frame as the depacketiser makes it: start codes of 4 bytes, OBUs with sizes, without what is left out.
func normal(codec string, frame []byte) (b []byte) {
	switch codec {
	case "h264":
		for nal := range nalUnits(frame) {
			if kind := nal[0] & nalType; kind != nalDelimiter && kind != nalFiller {
				b = append(append(b, startCode...), nal...)
			}
		}
	case "av1":
		for len(frame) > 0 {
			o, rest, _ := readOBU(frame)
			frame = rest
			if o.dropped() {
				continue
			}
			b = append(b, o.header|obuSized)
			if o.header&obuExtended != 0 {
				b = append(b, o.extension)
			}
			b = append(appendLEB128(b, len(o.data)), o.data...)
		}
	default:
		return frame
	}
	return b
}
