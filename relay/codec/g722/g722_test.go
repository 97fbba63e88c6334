package g722

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"testing"

	"portico/relay/codec"
	"portico/shared/conference"
)

// What another implementation, FFmpeg's, makes of the signal of this test, and what it makes of that again: G.722 is exact to the bit.
var (
	//go:embed testdata/signal.g722
	wantPackets []byte
	//go:embed testdata/signal.s16
	wantSound []byte
)

// signal is 200 ms of two triangles of sound and noise, quiet and loud: the signal of the golden files.
func signal() (pcm []int16) {
	noise := uint32(1)
	for i := range rate / 5 {
		noise = noise*1664525 + 1013904223
		low, high := i%37-18, i%5-2
		v := low*200 + high*300 + int(noise>>24) - 128
		if i > rate/10 {
			v = low*1500 + high*2000 + int(noise>>18) - 8192
		}
		pcm = append(pcm, int16(max(-32768, min(v, 32767))))
	}
	return pcm
}

func TestExact(t *testing.T) {
	e, err := NewEncoder(codec.AudioConfig{Format: conference.Format{Codec: "g722"}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDecoder(conference.Format{Codec: "g722"})
	if err != nil {
		t.Fatal(err)
	}
	var packets []byte
	in := signal()
	for i := 0; i < len(in); i += frame {
		if packets, err = e.Encode(packets, in[i:i+frame]); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(packets, wantPackets) {
		t.Errorf("%d bytes encoded differ from the %d expected", len(packets), len(wantPackets))
	}
	var sound []int16
	for i := 0; i < len(wantPackets); i += frame / 2 {
		if sound, err = d.Decode(sound, wantPackets[i:i+frame/2]); err != nil {
			t.Fatal(err)
		}
	}
	var out []byte
	for _, v := range sound {
		out = binary.LittleEndian.AppendUint16(out, uint16(v))
	}
	if !bytes.Equal(out, wantSound) {
		t.Errorf("%d bytes of sound differ from the %d expected", len(out), len(wantSound))
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(wantPackets[:160])
	f.Add(bytes.Repeat([]byte{0xc3}, 320))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := NewDecoder(conference.Format{Codec: "g722"})
		if err != nil {
			t.Fatal(err)
		}
		pcm, err := d.Decode(nil, data)
		if err == nil && len(pcm) != 2*len(data) || err != nil && len(pcm) != 0 {
			t.Fatalf("%d bytes: %d samples, %v", len(data), len(pcm), err)
		}
	})
}
