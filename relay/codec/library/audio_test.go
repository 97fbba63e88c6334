package library

import (
	"errors"
	"math"
	"testing"

	"portico/relay/codec"
	"portico/shared/conference"
)

var audioFormats = []conference.Format{
	{Codec: "opus", SampleRate: 48_000, ChannelNum: 2}, {Codec: "opus", ChannelNum: 1}, {Codec: "opus"},
	{Codec: "g722", SampleRate: 16_000, ChannelNum: 1}, {Codec: "g722"}, {Codec: "pcmu"}, {Codec: "pcma", SampleRate: 8000},
}

// eachAudio runs a test with both ends of every codec that is built in.
func eachAudio(t *testing.T, test func(t *testing.T, e codec.AudioEncoder, d codec.AudioDecoder)) {
	for _, f := range audioFormats {
		t.Run(f.Codec, func(t *testing.T) {
			e, d := openAudio(t, codec.AudioConfig{Format: f})
			test(t, e, d)
		})
	}
}

func openAudio(t testing.TB, c codec.AudioConfig) (codec.AudioEncoder, codec.AudioDecoder) {
	t.Helper()
	e, err := AudioEncoder(c)
	if errors.Is(err, codec.ErrUnsupported) && c.Format.Codec == "opus" {
		t.Skip("opus is not built in: build with CGO_ENABLED=1 to test it")
	} else if err != nil {
		t.Fatal(err)
	}
	d, err := AudioDecoder(c.Format)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	t.Cleanup(d.Close)
	return e, d
}

// tone is frame number i of a tone of 440 Hz, of 20 ms.
func tone(e interface {
	Rate() int
	Channels() int
}, i int) []int16 {
	n := e.Rate() / 50
	pcm := make([]int16, 0, n*e.Channels())
	for s := range n {
		v := int16(8000 * math.Sin(2*math.Pi*440*float64(i*n+s)/float64(e.Rate())))
		for range e.Channels() {
			pcm = append(pcm, v)
		}
	}
	return pcm
}

// loudness is the root of the mean square.
func loudness(pcm []int16) float64 {
	sum := 0.0
	for _, v := range pcm {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / float64(max(1, len(pcm))))
}

// purity is the share of the sound's energy that is at 440 Hz, of the first channel.
func purity(pcm []int16, rate, channels int) float64 {
	var re, im, all float64
	for i := 0; i < len(pcm)/channels; i++ {
		v := float64(pcm[i*channels])
		a := 2 * math.Pi * 440 * float64(i) / float64(rate)
		re, im, all = re+v*math.Cos(a), im+v*math.Sin(a), all+v*v
	}
	return 2 * (re*re + im*im) / (all * float64(len(pcm)/channels))
}

func TestTones(t *testing.T) {
	eachAudio(t, func(t *testing.T, e codec.AudioEncoder, d codec.AudioDecoder) {
		if e.Rate() != d.Rate() || e.Channels() != d.Channels() {
			t.Fatal("the ends differ")
		}
		var pcm []int16
		prefix := []byte{1, 2, 3}
		for i := range 50 {
			packet, err := e.Encode(prefix, tone(e, i))
			if err != nil || len(packet) <= 3 || string(packet[:3]) != string(prefix) {
				t.Fatalf("frame %d: %d bytes, %v", i, len(packet), err)
			}
			if pcm, err = d.Decode(pcm, packet[3:]); err != nil {
				t.Fatal(err)
			}
		}
		if len(pcm) != 50*d.Rate()/50*d.Channels() {
			t.Fatalf("%d values", len(pcm))
		}
		settled := pcm[len(pcm)/2:]
		if l := loudness(settled); l < 5000 || l > 6300 { // 8000 by the root of two: 5657
			t.Errorf("loudness %.0f", l)
		}
		if p := purity(settled, d.Rate(), d.Channels()); p < 0.98 {
			t.Errorf("purity %.3f", p)
		}
	})
}

func TestLostPacketsAreConcealed(t *testing.T) {
	eachAudio(t, func(t *testing.T, e codec.AudioEncoder, d codec.AudioDecoder) {
		samples := d.Rate() / 50
		var err error
		var pcm []int16
		for i := range 20 {
			packet, _ := e.Encode(nil, tone(e, i))
			if pcm, err = d.Decode(pcm, packet); err != nil {
				t.Fatal(err)
			}
		}
		start := len(pcm)
		pcm = d.Conceal(pcm, samples)
		if len(pcm)-start != samples*d.Channels() {
			t.Fatalf("%d values made up", len(pcm)-start)
		}
		made := pcm[start:]
		if l := loudness(made); l < 2500 || l > 6500 {
			t.Errorf("one packet: loudness %.0f", l)
		}
		if p := purity(made, d.Rate(), d.Channels()); p < 0.8 {
			t.Errorf("one packet: purity %.3f", p)
		}
		pcm = d.Conceal(pcm[:0], d.Rate())
		if len(pcm) != d.Rate()*d.Channels() {
			t.Fatalf("%d values made up of a second", len(pcm))
		}
		if l := loudness(pcm[len(pcm)*3/4:]); l > 500 {
			t.Errorf("after a second: loudness %.0f", l)
		}
		if got := d.Conceal(nil, 0); len(got) != 0 {
			t.Error("nothing asked, something made")
		}
		if got := d.Conceal(nil, 7); len(got) != 7*d.Channels() {
			t.Errorf("%d values instead of those of 7 samples", len(got))
		}
	})
}

func TestOpusRecoversFromTheNextPacket(t *testing.T) {
	e, d := openAudio(t, codec.AudioConfig{Format: conference.Format{Codec: "opus", ChannelNum: 1}, Bitrate: 32_000})
	_, blind := openAudio(t, codec.AudioConfig{Format: conference.Format{Codec: "opus", ChannelNum: 1}})
	e.SetLoss(0.25)
	const lost = 40
	var packets [][]byte
	for i := range 60 {
		pcm := tone(e, i)
		if i < lost { // silence, and a tone from the lost packet on, which no concealment can guess
			clear(pcm)
		}
		packet, err := e.Encode(nil, pcm)
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, packet)
	}
	var err error
	for _, p := range packets[:lost] {
		if _, err = d.Decode(nil, p); err != nil {
			t.Fatal(err)
		}
		if _, err = blind.Decode(nil, p); err != nil {
			t.Fatal(err)
		}
	}
	got := d.Recover(nil, packets[lost+1], 960)
	guess := blind.Conceal(nil, 960)
	if len(got) != 960 {
		t.Fatalf("%d values", len(got))
	}
	if l, g := loudness(got), loudness(guess); l < 1000 || g > 200 {
		t.Errorf("recovered %.0f, guessed %.0f", l, g)
	}
	if _, err := d.Decode(nil, packets[lost+1]); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		next    []byte
		samples int
	}{{nil, 960}, {[]byte{0xff, 0xff}, 960}, {packets[1], 961}, {packets[1], 20_000}, {packets[1], 480}} {
		if got := d.Recover(nil, c.next, c.samples); len(got) != c.samples {
			t.Errorf("%d samples asked, %d made", c.samples, len(got))
		}
	}
}

func TestOpusPauses(t *testing.T) {
	sent := func(dtx bool) (n int) {
		e, _ := openAudio(t, codec.AudioConfig{Format: conference.Format{Codec: "opus", ChannelNum: 1}, DTX: dtx})
		for range 100 {
			packet, err := e.Encode(nil, make([]int16, 960))
			if err != nil {
				t.Fatal(err)
			}
			if len(packet) > 0 {
				n++
			}
		}
		return n
	}
	if n := sent(false); n != 100 {
		t.Errorf("%d of 100 packets of silence sent", n)
	}
	if n := sent(true); n > 40 {
		t.Errorf("with pauses %d of 100 packets of silence sent", n)
	}
}

func TestAudioRefuses(t *testing.T) {
	eachAudio(t, func(t *testing.T, e codec.AudioEncoder, d codec.AudioDecoder) {
		if _, err := e.Encode(nil, make([]int16, 7)); !errors.Is(err, codec.ErrInput) {
			t.Error(err)
		}
		for _, packet := range [][]byte{nil, {}, make([]byte, 100_000)} {
			if pcm, err := d.Decode([]int16{5}, packet); len(packet) == 0 && (!errors.Is(err, codec.ErrCorrupt) || len(pcm) != 1) {
				t.Errorf("%d bytes: %d values, %v", len(packet), len(pcm), err)
			} else if len(pcm) > 1+d.Rate()*d.Channels() {
				t.Errorf("%d bytes became %d values", len(packet), len(pcm))
			}
		}
		e.SetLoss(-1)
		e.SetLoss(7)
		e.SetLoss(math.NaN())
		d.Close()
		e.Close()
	})
	for _, f := range []conference.Format{{Codec: "pcmu", SampleRate: 16_000}, {Codec: "pcma", ChannelNum: 2}, {Codec: "g722", ChannelNum: 2},
		{Codec: "opus", SampleRate: 8000}, {Codec: "opus", ChannelNum: 3}} {
		if _, err := AudioDecoder(f); !errors.Is(err, codec.ErrUnsupported) {
			t.Errorf("%+v: %v", f, err)
		}
		if _, err := AudioEncoder(codec.AudioConfig{Format: f}); !errors.Is(err, codec.ErrUnsupported) {
			t.Errorf("%+v: %v", f, err)
		}
	}
}

func fuzzAudio(f *testing.F, format conference.Format) {
	e, _ := openAudio(f, codec.AudioConfig{Format: format})
	for i := range 3 {
		packet, err := e.Encode(nil, tone(e, i))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packet, packet[:len(packet)/2])
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		_, d := openAudio(t, codec.AudioConfig{Format: format})
		for _, packet := range [][]byte{first, second} {
			pcm, err := d.Decode(nil, packet)
			if err == nil && len(pcm) == 0 || err != nil && len(pcm) != 0 || len(pcm) > d.Rate()/5*d.Channels() {
				t.Fatalf("%d bytes: %d values, %v", len(packet), len(pcm), err)
			}
			if n := len(d.Recover(nil, packet, d.Rate()/50)); n != d.Rate()/50*d.Channels() {
				t.Fatalf("recovered %d values", n)
			}
		}
	})
}

func FuzzDecodeOpus(f *testing.F) { fuzzAudio(f, conference.Format{Codec: "opus"}) }
func FuzzDecodeG722(f *testing.F) { fuzzAudio(f, conference.Format{Codec: "g722"}) }
func FuzzDecodePCMU(f *testing.F) { fuzzAudio(f, conference.Format{Codec: "pcmu"}) }
