package videomix

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"portico/relay/codec"
	"portico/relay/codec/yuv"
	"portico/shared/layout"
)

// model draws by the rules alone, everything each time.
type model struct {
	config Config
	scene  layout.Scene
	inputs map[string]*modelInput
}

type modelInput struct {
	last          *codec.Picture
	muted, veiled bool
}

func (m *model) draw() *codec.Picture {
	canvas := codec.NewPicture(m.config.Width, m.config.Height)
	y, u, v := convert(m.config.Background)
	yuv.Fill(canvas, yuv.Whole(canvas), y, u, v)
	policy := layout.Letterbox
	if m.config.Crop {
		policy = layout.Crop
	}
	for _, p := range m.scene {
		in := m.inputs[p.Stream]
		if in == nil {
			continue
		}
		picture := in.last
		if in.veiled {
			picture = m.config.Avatar
		}
		if picture == nil {
			continue
		}
		place := layout.Place(p.Region.Area, layout.Size{W: canvas.Width, H: canvas.Height})
		src, dst := layout.Fit(policy, layout.Size{W: picture.Width, H: picture.Height}, place)
		yuv.Scale(canvas, dst, picture, src)
	}
	return canvas
}

// pair does the same to a Compositor and to the model.
type pair struct {
	t testing.TB
	model
	c     *Compositor
	now   int64
	loans map[*Input]*codec.Picture
}

func newPair(t testing.TB, config Config) *pair {
	if config.Avatar == nil {
		config.Avatar = Avatar()
	}
	m := model{config: config, inputs: make(map[string]*modelInput)}
	return &pair{t: t, model: m, c: New(config), loans: make(map[*Input]*codec.Picture)}
}

func (p *pair) setScene(s layout.Scene) {
	p.scene = s
	p.c.SetScene(s)
}

func (p *pair) input(stream string) (*Input, *modelInput) {
	if p.inputs[stream] == nil {
		p.inputs[stream] = new(modelInput)
	}
	return p.c.AddInput(stream), p.inputs[stream]
}

func (p *pair) show(stream string, picture *codec.Picture) {
	in, m := p.input(stream)
	in.Show(picture, p.now)
	if !m.muted {
		m.last, m.veiled = picture, false
	}
}

// lend is show with a picture that is given back, and kept; at once or with settle.
func (p *pair) lend(stream string, picture *codec.Picture, later bool) {
	in, m := p.input(stream)
	loan := copied(picture)
	in.Lend(loan, p.now)
	p.loans[in] = loan
	if !m.muted {
		m.last, m.veiled = picture, false
	}
	p.settle(!later)
}

// settle takes back what is on loan.
func (p *pair) settle(now bool) {
	if !now {
		return
	}
	for in, loan := range p.loans {
		in.Return(true)
		spoil(loan)
		delete(p.loans, in)
	}
}

func (p *pair) mute(stream string, muted bool) {
	in, m := p.input(stream)
	in.SetMuted(muted)
	if m.muted = muted; muted {
		m.last, m.veiled = nil, true
	}
}

func (p *pair) remove(stream string) {
	in, _ := p.input(stream)
	p.c.RemoveInput(in)
	delete(p.inputs, stream)
}

// check composes, twice: the second time nothing has changed.
func (p *pair) check(what string) {
	p.t.Helper()
	want := p.draw()
	for range 2 {
		p.now++
		got, changed := p.c.Compose(p.now)
		if !same(got, want) {
			p.t.Fatalf("%s: the canvas is not what it should be (changed %v)", what, changed)
		}
	}
	if _, changed := p.c.Compose(p.now); changed {
		p.t.Fatalf("%s: changed without a reason", what)
	}
}

func random(rng *rand.Rand, width, height int) *codec.Picture {
	p := codec.NewPicture(width, height)
	for _, plane := range [][]byte{p.Y, p.U, p.V} {
		for i := range plane {
			plane[i] = byte(rng.Uint32())
		}
	}
	return p
}

func TestThirtyInputs(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, crop := range []bool{false, true} {
		p := newPair(t, Config{Width: 640, Height: 360, Crop: crop})
		for i := range 30 {
			p.setScene(templated(t, "fluid", 30, i+1))
			p.show(fmt.Sprint("S", i+1), random(rng, 64+2*i, 90))
			p.check(fmt.Sprint(i+1, " inputs"))
		}
		for i := range 30 {
			p.show(fmt.Sprint("S", i+1), random(rng, 160, 90+i))
		}
		p.check("all at once")
	}
}

// TestAbsurdSizes has canvases and pictures that nobody would send.
func TestAbsurdSizes(t *testing.T) {
	sizes := []layout.Size{{W: 1, H: 1}, {W: 2, H: 2}, {W: 3, H: 3}, {W: 1, H: 500}, {W: 641, H: 481},
		{W: 4096, H: 2}, {W: 2, H: 4096}, {W: 17, H: 16}}
	rng := rand.New(rand.NewPCG(3, 4))
	for _, canvas := range sizes {
		for _, crop := range []bool{false, true} {
			p := newPair(t, Config{Width: canvas.W, Height: canvas.H, Crop: crop})
			p.setScene(scene(area(0, 0, 100, 100), area(30, 30, 33, 33), area(-10, 90, 300, 300)))
			for i, size := range sizes {
				p.show(fmt.Sprint("S", i%3+1), random(rng, size.W, size.H))
				p.check(fmt.Sprintf("%v on %v", size, canvas))
			}
			p.mute("S2", true)
			p.check("avatar")
		}
	}
	for _, side := range []int{math.MinInt, -1, 0, math.MaxInt} {
		m := New(Config{Width: side, Height: 2})
		if p, _ := m.Compose(0); p.Width != min(max(side, 1), codec.MaxSide) || !p.Valid() {
			t.Errorf("a canvas %d wide is %d", side, p.Width)
		}
	}
	m := New(Config{Width: 64, Height: 64, Avatar: &codec.Picture{Width: 10, Height: 10}})
	m.SetScene(scene(area(0, 0, 100, 100)))
	in := m.AddInput("S1")
	compose(t, m, 0, true)
	broken := plain(64, 64, 1)
	broken.U = broken.U[:10]
	for _, p := range []*codec.Picture{nil, {}, broken, {Width: codec.MaxSide + 1, Height: 1}, {Width: -1, Height: -1}} {
		in.Show(p, 0)
	}
	compose(t, m, 1, false)
	in.SetMuted(true)
	if p := compose(t, m, 2, true); at(p, 32, 32) == at(p, 1, 1) {
		t.Error("a broken avatar is not replaced")
	}
}

// FuzzCompositor does things in any order with any sizes; the canvas is always what drawing everything would have made.
func FuzzCompositor(f *testing.F) {
	f.Add(uint8(40), uint8(30), false, []byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"))
	f.Add(uint8(33), uint8(17), true, []byte("\x00\x00\x00\x64\x64\x03\x05\x10\x10\x04\x02\x03\x0d\x20\x10"+
		"\x00\x10\x10\x30\x30\x03\x05\x11\x10"))
	f.Fuzz(func(t *testing.T, width, height uint8, crop bool, script []byte) {
		if len(script) > 400 {
			return
		}
		rng := rand.New(rand.NewPCG(5, 6))
		p := newPair(t, Config{Width: int(width) + 1, Height: int(height) + 1, Crop: crop, Avatar: random(rng, 18, 18)})
		next := func() int {
			if len(script) == 0 {
				return 0
			}
			b := script[0]
			script = script[1:]
			return int(b)
		}
		for len(script) > 0 {
			op := next()
			stream := fmt.Sprint("S", op>>3%4+1)
			switch op & 7 {
			case 0, 1:
				var areas []layout.Area
				for range op>>3%4 + 1 {
					areas = append(areas, area(int64(int8(next())), int64(int8(next())), int64(int8(next())), int64(next())))
				}
				p.setScene(scene(areas...))
			case 2:
				p.mute(stream, op&0x80 != 0)
			case 3:
				p.remove(stream)
			case 4:
				p.lend(stream, random(rng, next()%100+1, next()%100+1), op&0x80 != 0)
			default:
				p.show(stream, random(rng, next()%100+1, next()%100+1))
			}
			p.settle(op&0x20 == 0)
			if op&0x40 == 0 {
				p.check(fmt.Sprintf("after %d", op))
			}
		}
	})
}

// TestManyGoroutines has everything happen at once, and what comes out be right in the end.
func TestManyGoroutines(t *testing.T) {
	p := newPair(t, Config{Width: 160, Height: 90})
	p.setScene(templated(t, "fluid", 8, 8))
	var all sync.WaitGroup
	for i := range 8 {
		in, _ := p.input(fmt.Sprint("S", i+1))
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 7))
			for k := range 60 {
				in.Show(random(rng, 32+2*(k%3), 18), int64(k%7))
				if in.Place().Empty() && k%5 == 0 {
					in.SetMuted(false)
				}
			}
		})
	}
	all.Go(func() {
		for k := range 60 {
			p.c.SetScene(templated(t, "fluid", 8, k%8+1))
			in := p.c.AddInput(fmt.Sprint("S", k%8+1))
			in.SetMuted(k%3 == 0)
		}
	})
	all.Go(func() {
		extra := p.c.AddInput("S9")
		for k := range 60 {
			p.c.RemoveInput(extra)
			extra = p.c.AddInput("S9")
			extra.Show(plain(16, 16, byte(k)), 0)
		}
	})
	all.Go(func() {
		for k := range int64(200) {
			p.c.Compose(k)
		}
	})
	all.Wait()
	rng := rand.New(rand.NewPCG(8, 8))
	p.now = 1000
	p.setScene(templated(t, "fluid", 8, 8))
	for i := range 8 {
		stream := fmt.Sprint("S", i+1)
		p.mute(stream, false)
		p.c.Compose(p.now) // lets what waits go
		p.show(stream, random(rng, 64, 36))
	}
	p.check("in the end")
}

func steady(t testing.TB, n int) func() {
	m := New(Config{Width: 1280, Height: 720})
	m.SetScene(templated(t, "fluid", 16, n))
	rng := rand.New(rand.NewPCG(1, 1))
	picture := random(rng, 640, 360)
	var inputs []*Input
	for i := range n {
		inputs = append(inputs, m.AddInput(fmt.Sprint("S", i+1)))
	}
	now := int64(0)
	return func() {
		for _, in := range inputs {
			in.Show(picture, now)
		}
		now++
		if _, changed := m.Compose(now); !changed {
			t.Fatal("nothing changed")
		}
	}
}

func TestAllocations(t *testing.T) {
	once := steady(t, 9)
	for range 5 {
		once()
	}
	if n := testing.AllocsPerRun(20, once); n > allowedAllocations {
		t.Errorf("%v allocations for a picture", n)
	}
}

// BenchmarkShowAndCompose is all the work for one picture of the mix.
func BenchmarkShowAndCompose(b *testing.B) {
	for _, n := range []int{4, 9, 16} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			once := steady(b, n)
			once()
			for b.Loop() {
				once()
			}
		})
	}
}

// BenchmarkCompose is without scaling: the share of it that is not in parallel.
func BenchmarkCompose(b *testing.B) {
	m := New(Config{Width: 1280, Height: 720})
	m.SetScene(templated(b, "fluid", 16, 9))
	for i := range 9 {
		m.AddInput(fmt.Sprint("S", i+1)).Show(plain(640, 360, 99), 0)
	}
	m.Compose(1)
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			m.whole = true
			m.Compose(1)
		}
	})
	b.Run("nothing", func(b *testing.B) {
		for b.Loop() {
			m.Compose(1)
		}
	})
}

// BenchmarkSetScene is a layout in which every region changes its size, during which nothing is composed.
func BenchmarkSetScene(b *testing.B) {
	m := New(Config{Width: 1280, Height: 720})
	scenes := []layout.Scene{templated(b, "fluid", 30, 25), templated(b, "fluid", 36, 30)}
	m.SetScene(scenes[0])
	for i := range 30 {
		m.AddInput(fmt.Sprint("S", i+1)).Show(plain(640, 360, 99), 0)
	}
	i := 0
	for b.Loop() {
		i++
		m.SetScene(scenes[i%2])
	}
}
