//go:build cgo && linux

package pipeline

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"portico/relay/codec"
	"portico/relay/codec/yuv"
	"portico/shared/conference"
	"portico/shared/layout"
	"portico/shared/relayproto"
)

// The clocks of CPU time, of clock_gettime.
const (
	process = 2
	thread  = 3
)

// cpu is the CPU time of the thread, or of the process, in nanoseconds.
func cpu(clock uintptr) int64 {
	var t syscall.Timespec
	if _, _, e := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&t)), 0); e != 0 {
		panic(e)
	}
	return t.Nano()
}

// spent measures the CPU time of fn, which stays on its thread.
func spent(to *atomic.Int64, fn func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := cpu(thread)
	fn()
	to.Add(cpu(thread) - before)
}

// costs are what parts of the work took.
type costs struct{ decode, scale, encode, packets atomic.Int64 }

// clocked are the codecs of the program, whose work is measured.
type clocked struct {
	built
	costs *costs
}

func (c clocked) VideoDecoder(name string) (codec.VideoDecoder, error) {
	d, err := c.built.VideoDecoder(name)
	return clockedDecoder{d, c.costs}, err
}

func (c clocked) VideoEncoder(config codec.VideoConfig) (codec.VideoEncoder, error) {
	e, err := c.built.VideoEncoder(config)
	return clockedEncoder{e, c.costs}, err
}

type clockedDecoder struct {
	codec.VideoDecoder
	costs *costs
}

func (d clockedDecoder) Decode(frame []byte) (p *codec.Picture, err error) {
	spent(&d.costs.decode, func() { p, err = d.VideoDecoder.Decode(frame) })
	return p, err
}

type clockedEncoder struct {
	codec.VideoEncoder
	costs *costs
}

func (e clockedEncoder) Encode(p *codec.Picture, ticks int64, key bool) (b []byte, isKey bool, err error) {
	spent(&e.costs.encode, func() { b, isKey, err = e.VideoEncoder.Encode(p, ticks, key) })
	return b, isKey, err
}

type clockedStage struct {
	stage
	costs *costs
}

func (s clockedStage) add(id string) tile       { return clockedTile{s.stage.add(id), s.costs} }
func (s clockedStage) remove(id string, t tile) { s.stage.remove(id, t.(clockedTile).tile) }

type clockedTile struct {
	tile
	costs *costs
}

func (t clockedTile) Show(p *codec.Picture, at int64) {
	spent(&t.costs.scale, func() { t.tile.Show(p, at) })
}

// clip is a second of moving pictures, encoded.
type clip struct {
	frames [][]byte
	packed [][][]byte
}

const (
	clipWidth, clipHeight, clipFrames = 640, 360, 60
	clipRate                          = 800_000
)

// newClip draws soft shapes that move over a grain that does not.
func newClip(b *testing.B, name string) *clip {
	e, err := built{}.VideoEncoder(codec.VideoConfig{
		Format: conference.Format{Codec: name}, Width: clipWidth, Height: clipHeight, Framerate: 30, Bitrate: clipRate,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	parts, err := built{}.Packetiser(name, 1)
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	grain := make([]byte, clipWidth*clipHeight)
	for i := range grain {
		grain[i] = byte(r.IntN(12))
	}
	c := &clip{}
	p := codec.NewPicture(clipWidth, clipHeight)
	for n := range clipFrames {
		for y := range clipHeight {
			for x := range clipWidth {
				p.Y[y*clipWidth+x] = byte(60+(x+4*n)/8%64+(y+2*n)/4%64) + grain[y*clipWidth+x]
			}
		}
		for i := range p.U {
			p.U[i], p.V[i] = byte(100+(i+n)/32%50), byte(100+(i+3*n)/64%50)
		}
		frame, _, err := e.Encode(p, int64(n)*3000, n == 0)
		if err != nil {
			b.Fatal(err)
		}
		list, err := parts.Split(frame)
		if err != nil {
			b.Fatal(err)
		}
		var packed [][]byte
		for _, part := range list {
			packed = append(packed, slices.Clone(part))
		}
		c.frames, c.packed = append(c.frames, slices.Clone(frame)), append(c.packed, packed)
	}
	return c
}

// player sends a clip, over and over.
type player struct {
	packets
	clip *clip
	at   int64
	n    int
}

func (p *player) next() int64 { return p.at }

func (p *player) send(w *world) {
	list := p.clip.packed[p.n%clipFrames]
	for i, b := range list {
		p.packet(w, b, i == len(list)-1, p.at)
	}
	p.n++
	p.at += second / 30
}

func (p *player) rtcp(*world, []byte) {}

func BenchmarkMix4(b *testing.B)  { benchmarkMix(b, 4) }
func BenchmarkMix9(b *testing.B)  { benchmarkMix(b, 9) }
func BenchmarkMix16(b *testing.B) { benchmarkMix(b, 16) }

// benchmarkMix mixes n inputs of 640x360 into one output of 1280x720 with 30 pictures a second, in simulated time: it tells the CPU
// time of each picture, all of it (the better of two runs) and, in a run whose clocks cost something themselves, by
// parts, and how much more that is than the libraries take for the same clips.
func benchmarkMix(b *testing.B, n int) {
	for _, name := range []string{"vp8", "h264"} {
		b.Run(name, func(b *testing.B) {
			c := newClip(b, name)
			frames := max(b.N, 60)
			alone := min(aloneMix(b, c, name, n, frames), aloneMix(b, c, name, n, frames))
			var total, made, withClocks, again float64
			var k costs
			ok := testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{
				Name: b.Name(), F: func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						total, _ = pipelineMix(t, built{}, c, name, n, frames, new(costs))
						again, made = pipelineMix(t, built{}, c, name, n, frames, new(costs))
						total = min(total, again)
						withClocks, again = pipelineMix(t, clocked{costs: &k}, c, name, n, frames, &k)
					})
				},
			}})
			if !ok || made == 0 || math.Abs(again-made) > 2 {
				b.Fatal("failed")
			}
			ms := func(ns float64) float64 { return ns / made / 1e6 }
			parts := float64(k.decode.Load() + k.scale.Load() + k.encode.Load())
			b.ReportMetric(ms(float64(k.decode.Load())), "decode-ms/frame")
			b.ReportMetric(ms(float64(k.scale.Load())), "scale-ms/frame")
			b.ReportMetric(ms(float64(k.encode.Load())), "encode-ms/frame")
			b.ReportMetric(ms(withClocks-parts), "rest-ms/frame")
			b.ReportMetric(ms(total), "ms/frame")
			b.ReportMetric(alone/float64(frames)/1e6, "alone-ms/frame")
			b.ReportMetric(total/made/(alone/float64(frames)), "ratio")
			b.ReportMetric(1000/30/ms(total), "mixes/core")
		})
	}
}

// aloneMix is the CPU time of decoding, scaling and encoding with the libraries, and nothing else.
func aloneMix(b *testing.B, c *clip, name string, n, frames int) float64 {
	var decoders []codec.VideoDecoder
	for range n {
		d, err := built{}.VideoDecoder(name)
		if err != nil {
			b.Fatal(err)
		}
		defer d.Close()
		decoders = append(decoders, d)
	}
	e, err := built{}.VideoEncoder(codec.VideoConfig{
		Format: conference.Format{Codec: name}, Width: 1280, Height: 720, Framerate: 30, Bitrate: 2_000_000,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	canvas := codec.NewPicture(1280, 720)
	places := placesOf(b, n)
	var took atomic.Int64
	spent(&took, func() {
		for i := range frames {
			for k, d := range decoders {
				p, err := d.Decode(c.frames[i%clipFrames])
				if err != nil || p == nil {
					b.Fatal(err)
				}
				_, dst := layout.Fit(layout.Letterbox, layout.Size{W: p.Width, H: p.Height}, places[k])
				yuv.Scale(canvas, dst, p, yuv.Whole(p))
			}
			if _, _, err := e.Encode(canvas, int64(i)*3000, false); err != nil {
				b.Fatal(err)
			}
		}
	})
	return float64(took.Load())
}

func placesOf(b *testing.B, n int) (places []layout.Rect) {
	a, err := layout.New(conference.Templates{Base: "fluid"}, 16)
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		a = a.Add(fmt.Sprint("S", i))
	}
	for _, p := range a.Scene() {
		places = append(places, layout.Place(p.Region.Area, layout.Size{W: 1280, H: 720}))
	}
	return places
}

// pipelineMix is the CPU time of the job for the frames it made, without that of the world around it.
func pipelineMix(t *testing.T, with codecs, c *clip, name string, n, frames int, k *costs) (took, made float64) {
	w := newWorld(t, with)
	defer w.close()
	w.step = 5 * time.Millisecond
	w.viewOf(1280, 720, 30)
	if _, ok := with.(clocked); ok {
		w.job.video.stage = clockedStage{newMixed(w.order.View, nil), k}
	}
	var ids []string
	for i := range n {
		p := &player{packets: w.packets(name), clip: c, at: time.Now().UnixNano()}
		p.net.delay = time.Duration(i) * time.Millisecond
		w.sources = append(w.sources, p)
		ids = append(ids, fmt.Sprint("S", i))
		w.input(ids[i]).Video = &relayproto.InputTrack{Flow: p.flow, Format: conference.Format{Codec: name}}
	}
	w.scene("fluid", ids...)
	w.order.Outputs = []relayproto.Output{{ID: "v", Flow: w.newFlow(), Kind: conference.Video, Format: conference.Format{Codec: name},
		Framerate: 30, Bitrate: 2000}}
	w.give()
	w.run(500 * time.Millisecond)
	for _, v := range []*atomic.Int64{&k.decode, &k.scale, &k.encode, &k.packets} {
		v.Store(0)
	}
	out := w.job.outputs[0].video
	before := out.frames.Load()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	all, own := cpu(process), cpu(thread)
	w.measure = func(fn func()) { spent(&k.packets, fn) }
	w.run(time.Duration(frames) * time.Second / 30)
	all, own = cpu(process)-all, cpu(thread)-own
	if r := w.inputReport("S0"); r.Trouble != "" {
		t.Error(r.Trouble)
	}
	return float64(all - own + k.packets.Load()), float64(out.frames.Load() - before)
}

// BenchmarkSound100 mixes the Opus of a hundred participants, five of whom talk, for a hundred listeners: it tells how many cores that
// takes. What the world around it does is not counted.
func BenchmarkSound100(b *testing.B) {
	var cores float64
	testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{
		Name: b.Name(), F: func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, built{})
				defer w.close()
				for i := range 100 {
					name := fmt.Sprint("P", i)
					amplitude := 20.0
					if i%20 == 0 {
						amplitude = loud / 2
					}
					w.talk("S"+name, name, opusFormat, 200+20*float64(i), amplitude)
					w.order.Outputs = append(w.order.Outputs, relayproto.Output{ID: name, Flow: w.newFlow(), Kind: conference.Audio,
						Format: opusFormat, Participant: name})
				}
				w.step = 5 * time.Millisecond
				w.give()
				w.run(2 * time.Second)
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				var packets atomic.Int64
				w.measure = func(fn func()) { spent(&packets, fn) }
				length := max(time.Duration(b.N)*100*time.Millisecond, 2*time.Second)
				all, own := cpu(process), cpu(thread)
				w.run(length)
				all, own = cpu(process)-all, cpu(thread)-own
				cores = float64(all-own+packets.Load()) / float64(length)
			})
		},
	}})
	b.ReportMetric(cores, "cores")
}
