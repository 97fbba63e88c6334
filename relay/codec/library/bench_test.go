package library

import (
	"testing"

	"portico/relay/codec"
	"portico/shared/conference"
)

func BenchmarkDecode640x360(b *testing.B) {
	for _, name := range videoNames {
		b.Run(name, func(b *testing.B) {
			needVideo(b, name)
			frames := sequence(b, name, 640, 360, 60)
			d := openDecoder(b, name)
			for i := 0; b.Loop(); i++ {
				if f := frames[i%len(frames)].frame; len(f) > 0 {
					if _, err := d.Decode(f); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkEncode1280x720(b *testing.B) {
	for _, name := range videoNames {
		b.Run(name, func(b *testing.B) {
			needVideo(b, name)
			e := openEncoder(b, name, 1280, 720, 2_000_000)
			m := newMovie(1280, 720)
			for i := 0; b.Loop(); i++ {
				if _, _, err := e.Encode(m.at(i), int64(i)*3000, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAudio20ms(b *testing.B) {
	for _, f := range []conference.Format{{Codec: "opus", ChannelNum: 2}, {Codec: "opus", ChannelNum: 1}, {Codec: "g722"}, {Codec: "pcmu"}} {
		e, d := openAudio(b, codec.AudioConfig{Format: f})
		pcm := tone(e, 0)
		packet, err := e.Encode(nil, pcm)
		if err != nil {
			b.Fatal(err)
		}
		name := f.Codec
		if f.ChannelNum == 2 {
			name += "-stereo"
		}
		b.Run(name+"/encode", func(b *testing.B) {
			var out []byte
			for b.Loop() {
				out, _ = e.Encode(out[:0], pcm)
			}
		})
		b.Run(name+"/decode", func(b *testing.B) {
			var out []int16
			for b.Loop() {
				out, _ = d.Decode(out[:0], packet)
			}
		})
	}
}
