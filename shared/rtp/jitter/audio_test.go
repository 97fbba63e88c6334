package jitter

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestSteady(t *testing.T) {
	p, s := run(t, path{length: time.Minute, seq: 65_000, ts: math.MaxUint32 - 480_000}, Config{})
	if p.items[Sound] < 2999 || s.Lost+s.Late+s.Skipped+s.Starved+s.Restarts != 0 {
		t.Error("something is missing of a steady stream, whose numbers and timestamps wrap")
	}
	if s.Target != 20*time.Millisecond || s.Delay > 36*time.Millisecond || s.Delay < 15*time.Millisecond {
		t.Errorf("delay %v, target %v", s.Delay, s.Target)
	}
}

func TestJitterRaisesTheDelay(t *testing.T) {
	for _, most := range []int64{20, 60, 120} {
		p, s := run(t, path{length: time.Minute, jitter: uniform(most * ms), seed: 3}, Config{})
		if target := s.Target.Milliseconds(); target < most-10 || target > most+10 {
			t.Errorf("jitter up to %d ms gives a target of %d", most, target)
		}
		if share := float64(p.items[Sound]) / 3000; share < 0.96 {
			t.Errorf("jitter up to %d ms: %.1f %% are played", most, share*100)
		}
	}
}

func TestTargetHasBounds(t *testing.T) {
	_, s := run(t, path{length: 20 * time.Second, jitter: uniform(600 * ms)}, Config{})
	if s.Target != 200*time.Millisecond || s.Delay > 300*time.Millisecond {
		t.Errorf("delay %v, target %v", s.Delay, s.Target)
	}
	_, s = run(t, path{length: 20 * time.Second}, Config{Min: 80 * time.Millisecond})
	if s.Target != 80*time.Millisecond || s.Delay < 70*time.Millisecond {
		t.Errorf("delay %v, target %v", s.Delay, s.Target)
	}
}

func TestDelayComesDownAgain(t *testing.T) {
	bad := func(r *rand.Rand, at int64) int64 {
		if at < 20*second {
			return r.Int64N(150 * ms)
		}
		return r.Int64N(5 * ms)
	}
	p, s := run(t, path{length: 90 * time.Second, jitter: bad}, Config{})
	if s.Delay > 50*time.Millisecond {
		t.Errorf("delay %v after 70 s of rest", s.Delay)
	}
	if s.Skipped > 0 || float64(p.items[Sound]) < 0.98*4500 {
		t.Errorf("%d skipped, %d played", s.Skipped, p.items[Sound])
	}
}

func TestLossIsReported(t *testing.T) {
	p, s := run(t, path{length: time.Minute, lose: loss(0.1), jitter: uniform(10 * ms), seed: 5}, Config{})
	lost := int(s.Lost)
	if missing := 3000 - p.items[Sound]; lost > missing || lost < missing-4 {
		t.Errorf("%d lost, %d counted", missing, lost)
	}
	if p.items[Lost]+p.items[Starved] < lost-10 || p.items[Lost] < lost*8/10 {
		t.Errorf("of %d lost, %d are reported and %d starved", lost, p.items[Lost], p.items[Starved])
	}
	if p.fec < p.items[Lost]*8/10 {
		t.Errorf("%d of %d lost packets have the next one", p.fec, p.items[Lost])
	}
	if p.items[Silence] > 40 {
		t.Errorf("%d times silence: loss is taken for that", p.items[Silence])
	}
}

func TestBurstsOfLoss(t *testing.T) {
	burst := func(_ *rand.Rand, n int) bool { return n%250 >= 100 && n%250 < 105 }
	p, s := run(t, path{length: time.Minute, lose: burst}, Config{})
	if s.Lost != 60 || p.items[Silence] > 40 {
		t.Errorf("%d lost", s.Lost)
	}
	// The first of a burst may be asked for before anything behind it is there.
	if got := p.items[Lost] + p.items[Starved]; got < 55 || got > 65 {
		t.Errorf("%d concealed", got)
	}
}

func TestReorderedAndTwice(t *testing.T) {
	p, s := run(t, path{length: time.Minute, jitter: uniform(50 * ms), twice: 0.3, seed: 8}, Config{})
	if p.items[Sound] < 2900 || s.Duplicates+s.Late < 700 {
		t.Errorf("%d played, %d duplicates", p.items[Sound], s.Duplicates)
	}
}

func TestSilenceIsNoLoss(t *testing.T) {
	// Five seconds of speech, then five of silence in which a packet comes every 400 ms, as Opus does it.
	talk := func(at int64) bool { return at/(5*second)%2 == 1 && at%(400*ms) >= 20*ms }
	for _, untold := range []bool{false, true} {
		p, s := run(t, path{length: time.Minute, silent: talk, jitter: uniform(15 * ms), untold: untold}, Config{})
		if s.Lost != 0 || s.Late != 0 || s.Restarts != 0 || p.items[Lost] != 0 {
			t.Errorf("untold %v: silence is taken for loss", untold)
		}
		least := int64(20_000) // of 27 s
		if untold {
			least = 10_000 // each time it takes a while until the sender counts as silent
		}
		if got := p.ticks[Silence] / 48; got < least || got > 31_000 {
			t.Errorf("untold %v: %d ms of silence", untold, got)
		}
		if s.Delay > 70*time.Millisecond {
			t.Errorf("untold %v: delay %v", untold, s.Delay)
		}
	}
}

func TestDrift(t *testing.T) {
	for _, ppm := range []float64{-200, -50, 0, 50, 200} {
		p, s := run(t, path{length: 10 * time.Minute, drift: ppm, jitter: uniform(20 * ms), seed: 4}, Config{})
		if share := float64(p.even) / float64(p.now/(10*ms)); share < 0.8 {
			t.Errorf("%v ppm: the sound is stretched by just the drift in %.0f %% of the time", ppm, share*100)
		}
		if math.Abs(s.Drift-ppm) > 10 {
			t.Errorf("%v ppm are taken for %.1f", ppm, s.Drift)
		}
		if s.Skipped+s.Restarts != 0 || p.items[Starved] > 300 {
			t.Errorf("%v ppm: %d starved, %+v", ppm, p.items[Starved], s)
		}
		if s.Delay > 60*time.Millisecond || s.Delay < 8*time.Millisecond {
			t.Errorf("%v ppm: delay %v", ppm, s.Delay)
		}
		stretched := float64(p.played-p.ticks[Starved])/48_000 - p.nominal()
		if want := 600 * ppm / 1e6; math.Abs(stretched-want) > 0.05 {
			t.Errorf("%v ppm: %.3f s were left out, not %.3f", ppm, stretched, want)
		}
	}
}

// nominal is how many seconds the player has run.
func (p *player) nominal() float64 { return float64(p.now) / float64(second) }

func TestDriftAmidTrouble(t *testing.T) {
	spikes := func(r *rand.Rand, at int64) int64 {
		if at%(7*second) < 600*ms {
			return 80*ms + r.Int64N(40*ms)
		}
		return r.Int64N(25 * ms)
	}
	p, s := run(t, path{length: 10 * time.Minute, drift: 150, jitter: spikes, lose: loss(0.05), seed: 9}, Config{})
	if math.Abs(s.Drift-150) > 30 {
		t.Errorf("drift %.1f", s.Drift)
	}
	if float64(p.items[Sound]) < 0.9*30_000 {
		t.Errorf("%d played", p.items[Sound])
	}
}

func TestAnotherPath(t *testing.T) {
	// The path becomes 120 ms longer, and short again.
	detour := func(r *rand.Rand, at int64) int64 {
		if at > 60*second && at < 120*second {
			return 120*ms + r.Int64N(10*ms)
		}
		return r.Int64N(10 * ms)
	}
	p, s := run(t, path{length: 4 * time.Minute, jitter: detour, drift: 100}, Config{})
	if float64(p.items[Sound]) < 0.99*12_000 || s.Delay > 60*time.Millisecond || s.Restarts != 0 {
		t.Errorf("%d played, delay %v", p.items[Sound], s.Delay)
	}
	if math.Abs(s.Drift-100) > 20 {
		t.Errorf("drift %.1f", s.Drift)
	}
}

// TestAnotherPathEarly: what was measured on the first path does not spoil the second one's.
func TestAnotherPathEarly(t *testing.T) {
	detour := func(r *rand.Rand, at int64) int64 {
		if at > 15*second {
			return 120*ms + r.Int64N(10*ms)
		}
		return r.Int64N(80 * ms)
	}
	_, s := run(t, path{length: 75 * time.Second, jitter: detour, drift: 200, seed: 3}, Config{})
	if math.Abs(s.Drift-200) > 20 {
		t.Errorf("drift %.1f", s.Drift)
	}
}

// TestSmallHoles: timestamps a little further apart than the packets are long are neither loss nor silence.
func TestSmallHoles(t *testing.T) {
	a := NewAudio(Config{})
	sounds := 0
	for n := range int64(500) {
		a.Push(Packet{Seq: uint16(n), Timestamp: uint32(n) * 960, Ticks: 950}, n*20*ms)
		for more := true; more; more = n == 100 && a.queue.held > 0 { // once, to have less delay than is aimed at
			it := a.Pop(n * 20 * ms)
			if it.Kind == Sound {
				sounds++
			} else if n > 4 {
				t.Fatalf("%d: %+v", n, it)
			}
		}
	}
	if s := a.Stats(); sounds < 490 || s.Lost > 0 {
		t.Errorf("%d of 500 are played, %+v", sounds, s)
	}
}

func TestOutage(t *testing.T) {
	// Three seconds of nothing; then everything comes at once, or was lost.
	for _, burst := range []bool{true, false} {
		held := func(_ *rand.Rand, at int64) int64 {
			if burst && at > 30*second && at < 33*second {
				return 33*second - at
			}
			return 0
		}
		gone := func(_ *rand.Rand, n int) bool { return !burst && n > 1500 && n < 1650 }
		p, s := run(t, path{length: time.Minute, jitter: held, lose: gone}, Config{})
		if s.Delay > 60*time.Millisecond {
			t.Errorf("burst %v: delay %v half a minute later", burst, s.Delay)
		}
		if p.items[Sound] < 2840 {
			t.Errorf("burst %v: %d played", burst, p.items[Sound])
		}
		if p.items[Lost]+p.items[Starved] > 30 {
			t.Errorf("burst %v: %d concealed", burst, p.items[Lost]+p.items[Starved])
		}
	}
}

func TestRestarts(t *testing.T) {
	a := NewAudio(Config{})
	p := &player{t: t, a: a, rate: 48_000}
	first, _ := path{rate: 48_000, frame: 20 * time.Millisecond, length: 10 * time.Second, seq: 100, ts: 5000}.events()
	p.play(first, 11*second)
	for i, next := range []path{
		{seq: 40_000, ts: 5000 + 528_000},        // other numbers, timestamps go on
		{seq: 40_500, ts: 77},                    // numbers go on, other timestamps
		{seq: 9000, ts: 3_000_000_000, seed: 77}, // both are others
	} {
		next.rate, next.frame, next.length, next.delayed = 48_000, 20*time.Millisecond, 10*time.Second, p.now
		list, _ := next.events()
		p.order = p.order[:0]
		p.play(list, p.now+11*second)
		s := a.Stats()
		if len(p.order) < 490 {
			t.Errorf("restart %d: %d of 500 are played, %+v", i, len(p.order), s)
		}
		if s.Restarts != uint64(i+1) {
			t.Errorf("restart %d: %d counted", i, s.Restarts)
		}
	}
}

func TestOtherLengthsAndRates(t *testing.T) {
	for _, c := range []path{
		{rate: 8000, frame: 20 * time.Millisecond}, {rate: 8000, frame: 30 * time.Millisecond, untold: true},
		{rate: 48_000, frame: 60 * time.Millisecond}, {rate: 48_000, frame: 10 * time.Millisecond, untold: true},
		{rate: 48_000, frame: 2500 * time.Microsecond}, {rate: 48_000, frame: 120 * time.Millisecond, untold: true},
		{rate: 16_000, frame: 20 * time.Millisecond}, {rate: 44_100, frame: 20 * time.Millisecond},
	} {
		c.length, c.jitter = 30*time.Second, uniform(8*ms)
		p, s := run(t, c, Config{})
		if want := int(c.length / c.frame); p.items[Sound] < want*99/100 || s.Skipped > 0 {
			t.Errorf("%d Hz, %v: %d of %d played", c.rate, c.frame, p.items[Sound], want)
		}
		if s.Lost > 5 {
			t.Errorf("%d Hz, %v: %d lost", c.rate, c.frame, s.Lost)
		}
	}
}

func TestFirstPacketsOutOfOrder(t *testing.T) {
	a := NewAudio(Config{})
	for _, n := range []uint16{2, 0, 1} {
		if got := a.Push(Packet{Seq: n, Timestamp: uint32(n) * 960, Ticks: 960, Payload: []byte{byte(n)}}, int64(n)); got != Stored {
			t.Errorf("packet %d: %v", n, got)
		}
	}
	for now, want := int64(0), byte(0); want < 3; now += 10 * ms {
		it := a.Pop(now)
		if it.Kind == Sound {
			if it.Payload[0] != want {
				t.Fatalf("%+v, want %d", it, want)
			}
			want++
		}
	}
}

func TestPushSays(t *testing.T) {
	a := NewAudio(Config{})
	push := func(seq uint16, now int64, payload int) Result {
		return a.Push(Packet{Seq: seq, Timestamp: uint32(seq) * 960, Ticks: 960, Payload: make([]byte, payload)}, now*ms)
	}
	for now := int64(0); now < 200; now += 20 {
		if got := push(uint16(now/20), now, 10); got != Stored {
			t.Fatal(got)
		}
		a.Pop(now * ms)
	}
	for _, c := range []struct {
		name    string
		seq     uint16
		payload int
		want    Result
	}{{"late", 0, 10, Late}, {"twice", 9, 10, Duplicate}, {"far away", 30_000, 10, Strange}, {"long", 10, MaxPayload + 1, TooLong},
		{"longest", 10, MaxPayload, Stored}, {"next", 11, 0, Stored}} {
		if got := push(c.seq, 200, c.payload); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if s := a.Stats(); s.Late != 1 || s.Duplicates != 1 || s.Strange != 1 || s.TooLong != 1 || s.Packets != 16 {
		t.Errorf("%+v", s)
	}
}

// TestAnyPath plays paths of all kinds. The order is checked by the player; here, that every packet is accounted for, that the
// sound lasts as long as the clock says, and that the delay stays within bounds.
func TestAnyPath(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	for range 60 {
		most, share, drift := r.Int64N(150), 0.3*r.Float64()*r.Float64(), 400*r.Float64()-200
		c := path{
			seed: r.Uint64(), length: time.Duration(20+r.IntN(60)) * time.Second, seq: uint16(r.Uint32()), ts: r.Uint32(),
			frame: []time.Duration{10, 20, 40, 60}[r.IntN(4)] * time.Millisecond, rate: []int{8000, 16_000, 48_000}[r.IntN(3)],
			drift: drift, jitter: uniform(most * ms), lose: loss(share), twice: 0.1 * r.Float64(), untold: r.IntN(2) == 0,
		}
		if r.IntN(3) == 0 {
			c.silent = func(at int64) bool { return at/(3*second)%2 == 1 && at%(400*ms) >= int64(c.frame) }
		}
		p, s := run(t, c, Config{})
		sent := int(p.a.seq.Highest()) - 1<<16 - int(c.seq) + 1
		if got := p.items[Sound] + int(s.Lost+s.Skipped) + p.a.queue.held; got > sent || got < sent-20 {
			t.Errorf("%+v: %d sent, %d accounted for", c, sent, got)
		}
		var ticks int64
		for _, n := range p.ticks {
			ticks += n
		}
		if ticks != p.played+p.have || p.have > int64(c.rate)/5 {
			t.Errorf("%+v: %d ticks given, %d played, %d left", c, ticks, p.played, p.have)
		}
		if limit := time.Duration(most)*time.Millisecond + 2*c.frame + 60*time.Millisecond; s.Delay > limit {
			t.Errorf("%+v: delay %v", c, s.Delay)
		}
		played := p.items[Sound] * 100
		if least := sent * int(100*(1-share)-6); played < least {
			t.Errorf("%+v: %d of %d are played", c, p.items[Sound], sent)
		}
	}
}

func TestNeverAsked(t *testing.T) {
	a := NewAudio(Config{Packets: 32})
	for n := range 10_000 {
		a.Push(Packet{Seq: uint16(n), Timestamp: uint32(n) * 960, Ticks: 960, Payload: make([]byte, 100)}, int64(n)*20*ms)
	}
	if a.queue.held > 32 || len(a.queue.slots) != 32 {
		t.Errorf("%d of %d held", a.queue.held, len(a.queue.slots))
	}
	if it := a.Pop(10_000 * 20 * ms); it.Kind != Sound || int(it.Seq) < 9980 {
		t.Errorf("%+v: not among the newest", it)
	}
}

func TestPlayTime(t *testing.T) {
	a := NewAudio(Config{})
	if _, ok := a.PlayTime(0); ok {
		t.Error("known before the first packet")
	}
	for n := range 200 {
		a.Push(Packet{Seq: uint16(n), Timestamp: uint32(n) * 960, Ticks: 960}, int64(n)*20*ms+5*second)
		a.Pop(int64(n)*20*ms + 5*second)
	}
	if at, ok := a.PlayTime(100 * 960); !ok || at != 7*second+20*ms {
		t.Errorf("%d, %v", at, ok)
	}
}

func TestNoAllocations(t *testing.T) {
	a := NewAudio(Config{})
	payload := bytes.Repeat([]byte{1}, 160)
	n := 0
	step := func() {
		if n%7 != 3 {
			a.Push(Packet{Seq: uint16(n), Timestamp: uint32(n) * 960, Ticks: 960, Payload: payload}, int64(n)*20*ms)
		}
		a.Pop(int64(n) * 20 * ms)
		a.Stretch()
		n++
	}
	for range 500 {
		step()
	}
	if got := testing.AllocsPerRun(20_000, step); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkAudio(b *testing.B) {
	b.ReportAllocs()
	a := NewAudio(Config{})
	payload := bytes.Repeat([]byte{1}, 160)
	for n := range b.N {
		now := int64(n) * 20 * ms
		a.Push(Packet{Seq: uint16(n), Timestamp: uint32(n) * 960, Ticks: 960, Payload: payload}, now)
		a.Pop(now)
		a.Stretch()
		a.Stretch()
	}
}

// FuzzAudio plays a script of hostile packets: nothing panics, order holds, memory is bounded, and every Pop gives something.
func FuzzAudio(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x14\x01\x03\xc0\x00\x14\x02\x07\x80\x00\x14"))
	f.Add([]byte("\x00\xff\xff\xff\x14\x01\x00\x00\x00\x14\x80\x7f\x00\x00\x14\x81\x7f\xff\x00\x14"))
	f.Add(bytes.Repeat([]byte{0xfe, 0x80, 0x01, 0x02, 0xff}, 50))
	f.Fuzz(func(t *testing.T, script []byte) {
		a := NewAudio(Config{Packets: 32})
		var now int64
		var seq uint16
		var ts uint32
		for ; len(script) >= 5; script = script[5:] {
			seq += uint16(int8(script[0])) * uint16(script[3]+1)
			ts += uint32(int32(int8(script[1]))<<24) + uint32(script[2])*240
			now += int64(script[4]) * ms
			p := Packet{Seq: seq, Timestamp: ts, Ticks: int(int8(script[3])) * 64, Quiet: script[3] == 7, Payload: script[:script[3]%6]}
			a.Push(p, now)
			for range script[4] % 4 {
				it := a.Pop(now)
				if it.Ticks <= 0 || it.Ticks > 2*48_000 {
					t.Fatalf("%+v", it)
				}
			}
			if s := a.Stretch(); math.IsNaN(s) || math.Abs(s) > 48_000*(maxStretch+maxDrift)+1 {
				t.Fatal(s)
			}
			held := 0
			for i := range a.queue.slots {
				held += btoi(a.queue.slots[i].index >= 0)
			}
			if held != a.queue.held || held > 32 {
				t.Fatalf("%d held, %d counted", held, a.queue.held)
			}
		}
	})
}
