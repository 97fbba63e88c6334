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
	"portico/shared/conference"
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
type costs struct{ decode, scale, encode atomic.Int64 }

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

func (t clockedTile) Lend(p *codec.Picture, at int64) {
	spent(&t.costs.scale, func() { t.tile.Lend(p, at) })
}

// clip is two seconds of moving pictures, encoded.
type clip struct {
	frames [][]byte
	packed [][][]byte
}

const (
	clipWidth, clipHeight, clipFrames = 640, 360, 60
	clipRate, mixRate                 = 800_000, 2_000_000
)

// newClip draws soft shapes that move over a grain that does not.
func newClip(b testing.TB, name string) *clip {
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

// A round is a clip, so that all do the same work in it. Mix and libraries take turns in slices of it.
const (
	slicePictures  = 20
	sliceTime      = slicePictures * time.Second / 30
	slicesPerRound = clipFrames / slicePictures
)

func BenchmarkMix4(b *testing.B)  { benchmarkMix(b, 4) }
func BenchmarkMix9(b *testing.B)  { benchmarkMix(b, 9) }
func BenchmarkMix16(b *testing.B) { benchmarkMix(b, 16) }

// benchmarkMix mixes n inputs of 640x360 into one output of 1280x720 with 30 pictures a second, in simulated time, and tells the CPU
// time of a picture: the mix's (ms/frame), that of the libraries alone in the same order (floor-ms/frame, see floor.mixed) and clip
// after clip (clips-ms/frame, see floor.clips); and, of a run whose clocks cost something themselves, the mix's by parts.
//
// Mix and libraries take turns, slice by slice of two thirds of a second: what else the machine has to do then comes and goes with
// both. All figures are the medians of the rounds, ratio is that of the rounds' ratios. There are five rounds, or more with
// -benchtime 9x. All the CPU time of the process counts for the mix that the world around it has not had on its thread: the scheduler
// and the garbage collector do, whoever made it.
func benchmarkMix(b *testing.B, n int) {
	for _, name := range []string{"vp8", "h264"} {
		b.Run(name, func(b *testing.B) {
			c := newClip(b, name)
			f := newFloor(b, c, name, n)
			defer f.close()
			var r rounds
			var parts costs
			var whole float64
			ok := testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{
				Name: b.Name(), F: func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { r = taking(t, newMix(t, built{}, c, name, n, nil), f, max(b.N, 5)) })
					synctest.Test(t, func(t *testing.T) { whole = newMix(t, clocked{costs: &parts}, c, name, n, &parts).round(t) })
				},
			}})
			if !ok {
				b.Fatal("failed")
			}
			ms := func(ns float64) float64 { return ns / clipFrames / 1e6 }
			decode, scale, encode := float64(parts.decode.Load()), float64(parts.scale.Load()), float64(parts.encode.Load())
			b.ReportMetric(ms(decode), "decode-ms/frame")
			b.ReportMetric(ms(scale), "scale-ms/frame")
			b.ReportMetric(ms(encode), "encode-ms/frame")
			b.ReportMetric(ms(whole-decode-scale-encode), "rest-ms/frame")
			b.ReportMetric(ms(median(r.ours)), "ms/frame")
			b.ReportMetric(ms(median(r.floor)), "floor-ms/frame")
			b.ReportMetric(ms(median(r.clips)), "clips-ms/frame")
			b.ReportMetric(median(r.ratio), "ratio")
			b.ReportMetric(1000/30/ms(median(r.ours)), "mixes/core")
		})
	}
}

// rounds are the CPU times of rounds, in nanoseconds, and how many times the floor's the mix's was in each.
type rounds struct{ ours, floor, clips, ratio []float64 }

func taking(t *testing.T, m *mix, f *floor, n int) (r rounds) {
	defer m.w.close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for range n {
		var ours, mixed float64
		for i := range slicesPerRound {
			ours += m.slice(t)
			mixed += f.mixed(i * slicePictures)
		}
		r.ours, r.floor = append(r.ours, ours), append(r.floor, mixed)
		r.clips, r.ratio = append(r.clips, f.clips()), append(r.ratio, ours/mixed)
	}
	return r
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return (list[(len(list)-1)/2] + list[len(list)/2]) / 2
}

// mix is a job that mixes, and the world around it.
type mix struct {
	w       *world
	costs   *costs
	packets atomic.Int64
}

// newMix has a mix begun. Its parts are measured into k, if that is not nil.
func newMix(t *testing.T, with codecs, c *clip, name string, n int, k *costs) *mix {
	w := newWorld(t, with)
	w.step = 5 * time.Millisecond
	w.viewOf(1280, 720, 30)
	if k != nil {
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
		Framerate: 30, Bitrate: mixRate / 1000}}
	w.give()
	w.run(500 * time.Millisecond)
	m := &mix{w: w, costs: k}
	w.measure = func(fn func()) { spent(&m.packets, fn) }
	return m
}

// slice is the CPU time of the job for a slice, without that of the world around it, which has the thread for itself.
func (m *mix) slice(t *testing.T) float64 {
	synctest.Wait()
	m.packets.Store(0)
	out := m.w.job.outputs[0].video
	made := out.frames.Load()
	all, own := cpu(process), cpu(thread)
	m.w.run(sliceTime)
	synctest.Wait()
	all, own = cpu(process)-all, cpu(thread)-own
	if n := out.frames.Load() - made; math.Abs(float64(n)-slicePictures) > 2 {
		t.Errorf("%d pictures in %v", n, sliceTime)
	}
	if r := m.w.inputReport("S0"); r.Trouble != "" {
		t.Error(r.Trouble)
	}
	return float64(all - own + m.packets.Load())
}

// round is the CPU time of a round for a mix whose parts are measured.
func (m *mix) round(t *testing.T) (took float64) {
	defer m.w.close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	synctest.Wait()
	for _, v := range []*atomic.Int64{&m.costs.decode, &m.costs.scale, &m.costs.encode} {
		v.Store(0)
	}
	for range slicesPerRound {
		took += m.slice(t)
	}
	return took
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
