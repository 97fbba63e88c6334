package bitrate

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// three is a simulcast of three layers of 150, 500 and 1500 kbit/s.
func three() []Layer {
	return []Layer{
		{Encoding: 0, Width: 320, Height: 180, FrameRate: 30, Bitrate: 150_000},
		{Encoding: 1, Width: 640, Height: 360, FrameRate: 30, Bitrate: 500_000},
		{Encoding: 2, Width: 1280, Height: 720, FrameRate: 30, Bitrate: 1_500_000},
	}
}

func speech() Demand { return Demand{Kind: Audio, Layers: []Layer{{Bitrate: 40_000}}} }
func video() Demand  { return Demand{Kind: Video, Layers: three()} }

// table is an allocation that goes on.
type table struct {
	alloc   Allocator
	demands []Demand
	grants  []Grant
	now     int64
	changes int
}

func newTable(demands ...Demand) *table {
	return &table{demands: demands, grants: make([]Grant, len(demands)), now: startAt}
}

// run allocates every 100 ms.
func (x *table) run(time int64, budget Budget) {
	for end := x.now + time; x.now < end; x.now += 100 * millisecond {
		before := x.layers()
		x.alloc.Allocate(x.now, budget, x.demands, x.grants)
		for i, l := range x.layers() {
			if l != before[i] {
				x.changes++
			}
		}
	}
}

func (x *table) once(rate Bitrate) { x.run(100*millisecond, Budget{Rate: rate}) }

func (x *table) layers() []int {
	all := make([]int, len(x.grants))
	for i, g := range x.grants {
		all[i] = g.Layer
	}
	return all
}

func (x *table) want(t *testing.T, what string, layers ...int) {
	t.Helper()
	if !slices.Equal(x.layers(), layers) {
		t.Errorf("%s: layers %v, want %v", what, x.layers(), layers)
	}
}

func TestAllocateOnce(t *testing.T) {
	with := func(change func(*Demand)) Demand { d := video(); change(&d); return d }
	small := with(func(d *Demand) { d.Width, d.Height = 300, 170 })
	large := with(func(d *Demand) { d.Width, d.Height = 1280, 720 })
	for _, c := range []struct {
		name    string
		demands []Demand
		rate    Bitrate
		layers  []int
		reasons []Reason
	}{
		{"all fits", []Demand{speech(), video()}, 3_000_000, []int{0, 2}, []Reason{Everything, Everything}},
		{"audio before all", []Demand{video(), speech(), speech()}, 50_000, []int{-1, 0, 0},
			[]Reason{PausedForBandwidth, Everything, Everything}},
		{"the lowest for everyone first", []Demand{video(), video(), video()}, 620_000, []int{0, 0, 0},
			[]Reason{LimitedByBandwidth, LimitedByBandwidth, LimitedByBandwidth}},
		{"one step for each before a second", []Demand{video(), video()}, 2_000_000, []int{1, 1},
			[]Reason{LimitedByBandwidth, LimitedByBandwidth}},
		{"the largest first", []Demand{small, large}, 2_200_000, []int{0, 2}, []Reason{LimitedByDisplay, Everything}},
		{"display size", []Demand{small, small}, 9_000_000, []int{0, 0}, []Reason{LimitedByDisplay, LimitedByDisplay}},
		{"a little larger than a layer", []Demand{with(func(d *Demand) { d.Width, d.Height = 350, 200 })}, 9_000_000, []int{0},
			[]Reason{LimitedByDisplay}},
		{"only a height", []Demand{with(func(d *Demand) { d.Height = 400 })}, 9_000_000, []int{1}, []Reason{LimitedByDisplay}},
		{"a high narrow window", []Demand{with(func(d *Demand) { d.Width, d.Height = 300, 2000 })}, 9_000_000, []int{0},
			[]Reason{LimitedByDisplay}},
		{"larger than everything", []Demand{with(func(d *Demand) { d.Width = 4000 })}, 9_000_000, []int{2}, []Reason{Everything}},
		{"hidden and paused", []Demand{with(func(d *Demand) { d.Hidden = true }), with(func(d *Demand) { d.Paused = true })},
			9_000_000, []int{-1, -1}, []Reason{Hidden, Paused}},
		{"hidden audio is heard", []Demand{{Kind: Audio, Hidden: true, Layers: []Layer{{Bitrate: 40_000}}}}, 0, []int{0},
			[]Reason{Everything}},
		{"priority", []Demand{video(), with(func(d *Demand) { d.Priority = 1 })}, 2_000_000, []int{0, 2},
			[]Reason{LimitedByBandwidth, Everything}},
		{"priority on a lowest layer", []Demand{video(), with(func(d *Demand) { d.Priority = 1 })}, 200_000, []int{-1, 0},
			[]Reason{PausedForBandwidth, LimitedByBandwidth}},
		{"no layers", []Demand{{Kind: Video}}, 9_000_000, []int{-1}, []Reason{Unknown}},
		{"nothing measured", []Demand{{Kind: Video, Layers: make([]Layer, 1)}}, 9_000_000, []int{0}, []Reason{Unknown}},
		{"nothing measured of two", []Demand{{Kind: Video, Layers: []Layer{{}, {Encoding: 1}}}}, 9_000_000, []int{0}, []Reason{Unknown}},
		{"one layer far too dear", []Demand{{Kind: Video, Layers: three()[2:]}}, 300_000, []int{-1}, []Reason{PausedForBandwidth}},
	} {
		x := newTable(c.demands...)
		x.once(c.rate)
		x.want(t, c.name, c.layers...)
		for i, g := range x.grants {
			if g.Reason != c.reasons[i] {
				t.Errorf("%s: %d is %v, want %v", c.name, i, g.Reason, c.reasons[i])
			}
		}
	}
}

func TestStartingPausesNothing(t *testing.T) {
	x := newTable(Demand{Kind: Video, Layers: three()[2:]}, video())
	x.run(100*millisecond, Budget{Rate: 100_000, Starting: true})
	x.want(t, "starting", 0, 0)
}

func TestDownAtOnceUpLater(t *testing.T) {
	x := newTable(speech(), video())
	x.run(10*second, Budget{Rate: 3_000_000})
	x.once(400_000)
	x.want(t, "down at once", 0, 0)
	since := x.grants[1].Since
	x.run(900*millisecond, Budget{Rate: 2_500_000})
	x.want(t, "not up at once", 0, 0)
	x.run(2*second, Budget{Rate: 2_500_000})
	x.want(t, "up to the best", 0, 2)
	if up := x.grants[1].Since - since; up < betweenRaises {
		t.Errorf("up %d ms after down", ms(up))
	}
	x.once(400_000)
	for range 100 { // room that comes and goes lifts nothing
		x.run(700*millisecond, Budget{Rate: 2_500_000})
		x.once(400_000)
	}
	x.want(t, "room for less than a second", 0, 0)
}

func TestRaisesThatFail(t *testing.T) {
	x := newTable(video())
	x.run(6*second, Budget{Rate: 550_000})
	x.changes = 0
	for range 20 { // a second step fits, until it is taken
		for i := 0; i < 60 && x.grants[0].Layer == 0; i++ {
			x.once(650_000)
		}
		x.run(500*millisecond, Budget{Rate: 400_000})
	}
	long := x.now - startAt
	if x.changes > 40 || long < 100*second {
		t.Errorf("%d changes of layer in %d s", x.changes, long/second)
	}
	if x.grants[0].failures == 0 {
		t.Error("failures were not counted")
	}
	x.run(30*second, Budget{Rate: 3_000_000})
	x.want(t, "after all that", 2)
	x.run(31*second, Budget{Rate: 3_000_000})
	if x.grants[0].failures != 0 {
		t.Error("failures were not forgotten")
	}
}

// TestFluctuation has every measured rate wander by a fifth; budget that just fits must not make layers flap.
func TestFluctuation(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for _, rate := range []Bitrate{700_000, 1_300_000, 2_000_000, 2_600_000, 4_000_000, 5_500_000} {
		x := newTable(speech(), video(), video(), video())
		wander := func(time int64) {
			for end := x.now + time; x.now < end; {
				for i := range x.demands[1:] {
					for j, l := range three() {
						x.demands[i+1].Layers[j].Bitrate = Bitrate(float64(l.Bitrate) * (0.8 + 0.4*random.Float64()))
					}
				}
				x.once(rate)
			}
		}
		wander(10 * second)
		x.changes = 0
		wander(60 * second)
		if x.changes > 2 {
			t.Errorf("%d changes of layer in a minute at %d", x.changes, rate)
		}
	}
}

func TestKeyFrameIsNoDearerLayer(t *testing.T) {
	x := newTable(video())
	x.run(10*second, Budget{Rate: 1_900_000})
	x.want(t, "before", 2)
	x.demands[0].Layers[2].Bitrate = 2_500_000 // half a second of a key frame
	x.run(400*millisecond, Budget{Rate: 1_900_000})
	x.want(t, "key frame", 2)
	x.run(5*second, Budget{Rate: 1_900_000})
	x.want(t, "dearer for good", 1)
}

func TestStarving(t *testing.T) {
	x := newTable(speech(), Demand{Kind: Video, Layers: three()[2:]})
	x.run(10*second, Budget{Rate: 2_000_000})
	x.want(t, "fits", 0, 0)
	x.run(30*second, Budget{Rate: 1_200_000})
	x.want(t, "does not quite fit", 0, 0)
	x.run(800*millisecond, Budget{Rate: 800_000})
	x.want(t, "half fits, not for long", 0, 0)
	x.run(second, Budget{Rate: 800_000})
	x.want(t, "half fits, for a second", 0, -1)
	x.run(20*second, Budget{Rate: 1_700_000})
	x.want(t, "no room to spare", 0, -1)
	x.run(3*second, Budget{Rate: 2_000_000})
	x.want(t, "resumed", 0, 0)
	x.once(300_000)
	x.want(t, "a fifth fits", 0, -1)
}

func TestDisplayChanges(t *testing.T) {
	d := video()
	d.Width, d.Height = 320, 180
	x := newTable(speech(), d)
	x.run(10*second, Budget{Rate: 3_000_000})
	x.want(t, "small", 0, 0)
	x.demands[1].Width, x.demands[1].Height = 1280, 720
	x.once(3_000_000)
	x.want(t, "grown: no wait where there was room", 0, 2)
	x.demands[1].Hidden = true
	x.once(3_000_000)
	x.want(t, "hidden", 0, -1)
	x.demands[1].Hidden = false
	x.once(3_000_000)
	x.want(t, "shown again", 0, 2)
}

func TestLayersChange(t *testing.T) {
	x := newTable(video())
	x.run(10*second, Budget{Rate: 700_000})
	x.want(t, "middle", 1)
	slices.Reverse(x.demands[0].Layers) // indices are the caller's, layers have names
	x.once(700_000)
	x.want(t, "turned around", 1)
	x.demands[0].Layers = three()[1:]
	x.once(700_000)
	x.want(t, "the lowest is gone", 0)
	x.demands[0].Layers = three()[:1]
	x.once(700_000)
	x.want(t, "only the lowest is left", 0)
	if x.grants[0].Reason != Everything {
		t.Error(x.grants[0].Reason)
	}
	x.demands[0].Layers = three()
	x.demands[0].Layers[2].Bitrate = 0 // paused at our request, never measured
	x.run(10*second, Budget{Rate: 5_000_000})
	x.want(t, "a layer with a guessed rate", 2)
}

// TestLadder has three spatial by three temporal layers, as SVC gives them.
func TestLadder(t *testing.T) {
	var layers []Layer
	for s, size := range sizes {
		for tt, rate := range []float64{7.5, 15, 30} {
			part := []float64{0.5, 0.75, 1}[tt]
			layers = append(layers, Layer{Spatial: int8(s), Temporal: int8(tt), Width: size[0], Height: size[1], FrameRate: rate,
				Bitrate: Bitrate(part * []float64{150_000, 500_000, 1_500_000}[s])})
		}
	}
	d := Demand{Kind: Video, Layers: layers}
	for _, c := range []struct {
		rate   Bitrate
		layer  int
		frames float64
		width  int
	}{
		{80_000, 0, 0, 0}, {200_000, 2, 0, 0}, {400_000, 2, 0, 0}, {480_000, 4, 0, 0}, {620_000, 5, 0, 0}, {3_000_000, 8, 0, 0},
		{3_000_000, 7, 15, 0}, {3_000_000, 6, 5, 0}, {3_000_000, 5, 0, 640}, {3_000_000, 4, 15, 640},
	} {
		d.FrameRate, d.Width = c.frames, c.width
		x := newTable(d)
		x.once(c.rate)
		x.want(t, "ladder", c.layer)
	}
}

func TestWanted(t *testing.T) {
	d := video()
	d.Width, d.Height = 640, 360
	x := newTable(speech(), d, video())
	x.once(100_000)
	if w := x.alloc.Wanted(); w < 2_040_000*11/10 || w > 2_040_000*13/10 {
		t.Errorf("wanted %d for 40 + 500 + 1500 kbit/s", w)
	}
	rate := x.alloc.Wanted()
	y := newTable(x.demands...)
	y.once(rate)
	y.want(t, "what is wanted satisfies", 0, 1, 2)
	if g := y.alloc.Granted(); g != 2_040_000 {
		t.Errorf("granted %d", g)
	}
	z := newTable(x.demands...)
	z.run(100*millisecond, Budget{Rate: rate, Loss: 0.2})
	if z.alloc.Wanted() <= rate || z.layers()[2] == 2 {
		t.Error("packets sent again cost nothing")
	}
}

// TestNewcomer joins a transport that is full.
func TestNewcomer(t *testing.T) {
	x := newTable(speech(), video())
	x.run(10*second, Budget{Rate: 2_000_000})
	x.want(t, "alone", 0, 2)
	x.demands = append(x.demands, speech(), video())
	x.grants = append(x.grants, Grant{}, Grant{})
	x.once(2_000_000)
	if l := x.layers(); l[2] != 0 || l[3] < 0 {
		t.Errorf("the newcomer waits: %v", l)
	}
	x.run(10*second, Budget{Rate: 2_000_000})
	x.want(t, "shared", 0, 1, 0, 1)
}

// TestAnything allocates for random demands and checks what must always hold.
func TestAnything(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	for range 300 {
		x := newTable(make([]Demand, random.IntN(12))...)
		for range 60 {
			rate := Bitrate(random.Int64N(1 << (10 + random.IntN(14))))
			budget := Budget{Rate: rate, Loss: random.Float64(), Starting: random.IntN(9) == 0}
			for i := range x.demands {
				if random.IntN(20) == 0 || x.demands[i].Layers == nil {
					x.demands[i] = anyDemand(random)
				}
			}
			x.now += random.Int64N(second)
			x.alloc.Allocate(x.now, budget, x.demands, x.grants)
			check(t, x, budget)
			if t.Failed() {
				return
			}
		}
	}
}

func anyDemand(random *rand.Rand) Demand {
	d := Demand{Kind: Kind(random.IntN(2)), Layers: make([]Layer, random.IntN(15)), Priority: int8(random.IntN(256)),
		Width: random.IntN(2000) * random.IntN(2), Height: (random.IntN(2000) - 100) * random.IntN(2),
		FrameRate: float64(random.IntN(60) * random.IntN(2)), Hidden: random.IntN(9) == 0, Paused: random.IntN(9) == 0}
	for i := range d.Layers {
		d.Layers[i] = Layer{Encoding: int8(i / 4), Temporal: int8(i % 4), Width: random.IntN(2000), Height: random.IntN(2000),
			FrameRate: float64(random.IntN(60)), Bitrate: Bitrate(random.IntN(3_000_000) * random.IntN(3))}
	}
	return d
}

func check(t *testing.T, x *table, budget Budget) {
	t.Helper()
	video, raised := Bitrate(0), false
	left := budget.Rate
	for i, g := range x.grants {
		d := &x.demands[i]
		if g.Layer < -1 || g.Layer >= min(len(d.Layers), MaxLayers) || g.Best < g.Layer && g.Best < 0 && g.Layer >= 0 {
			t.Errorf("layer %d of %d, best %d", g.Layer, len(d.Layers), g.Best)
		}
		switch {
		case d.Kind == Audio && !d.Paused && len(d.Layers) > 0 && g.Layer < 0:
			t.Errorf("audio is not sent: %v", g.Reason)
		case (d.Paused || d.Kind == Video && d.Hidden) && g.Layer >= 0:
			t.Error("sent although hidden or paused")
		case (g.Layer < 0) != (g.Reason == Paused || g.Reason == Hidden || g.Reason == PausedForBandwidth || len(d.Layers) == 0):
			t.Errorf("layer %d, %v", g.Layer, g.Reason)
		}
		if d.Kind == Audio {
			left -= g.Rate
			continue
		}
		video += g.Rate
		raised = raised || x.alloc.works[i].at > 0
	}
	if raised && video > max(left, 0)+1000 {
		t.Errorf("%d of video above the lowest layers in a budget of %d", video, left)
	}
}

func TestAllocateAllocs(t *testing.T) {
	x := crowd(30)
	n := testing.AllocsPerRun(100, func() {
		x.now += 100 * millisecond
		x.alloc.Allocate(x.now, Budget{Rate: 8_000_000}, x.demands, x.grants)
	})
	if n != 0 {
		t.Errorf("Allocate allocates %.1f times", n)
	}
}

// crowd is a table of n participants with audio and video each.
func crowd(n int) *table {
	var demands []Demand
	for i := range n {
		d := video()
		d.Width, d.Height = 320+i*10, 180+i*6
		demands = append(demands, speech(), d)
	}
	x := newTable(demands...)
	x.run(5*second, Budget{Rate: 8_000_000})
	return x
}

func benchmarkAllocate(b *testing.B, n int) {
	x := crowd(n)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		x.now += 100 * millisecond
		x.alloc.Allocate(x.now, Budget{Rate: 8_000_000}, x.demands, x.grants)
	}
}

func BenchmarkAllocate1(b *testing.B)  { benchmarkAllocate(b, 1) }
func BenchmarkAllocate10(b *testing.B) { benchmarkAllocate(b, 10) }
func BenchmarkAllocate50(b *testing.B) { benchmarkAllocate(b, 50) }
