package videomix

import (
	"math/rand/v2"
	"slices"
	"testing"

	"portico/relay/codec"
)

// copied is a picture with memory of its own.
func copied(p *codec.Picture) *codec.Picture {
	c := *p
	c.Y, c.U, c.V = slices.Clone(p.Y), slices.Clone(p.U), slices.Clone(p.V)
	return &c
}

// spoil writes to a picture as a decoder does to one that it has back.
func spoil(p *codec.Picture) {
	for _, plane := range [][]byte{p.Y, p.U, p.V} {
		for i := range plane {
			plane[i] ^= 0xff
		}
	}
}

// roughly is check for what was scaled twice, which rounds twice.
func (p *pair) roughly(what string) {
	p.t.Helper()
	want := p.draw()
	p.now++
	got, _ := p.c.Compose(p.now)
	for _, planes := range [][2][]byte{{got.Y, want.Y}, {got.U, want.U}, {got.V, want.V}} {
		for i, v := range planes[0] {
			if d := int(v) - int(planes[1][i]); d < -2 || d > 2 {
				p.t.Fatalf("%s: %d in place of %d", what, v, planes[1][i])
			}
		}
	}
}

// TestLoan has regions change while a picture is on loan, after it was kept, and after it was not.
func TestLoan(t *testing.T) {
	small, large := area(0, 0, 25, 50), area(50, 0, 50, 100)
	for _, crop := range []bool{false, true} {
		rng := rand.New(rand.NewPCG(9, 9))
		p := newPair(t, Config{Width: 320, Height: 200, Crop: crop})
		p.setScene(scene(small))
		in, m := p.input("S1")
		lend := func(picture *codec.Picture, at int64) *codec.Picture {
			loan := copied(picture)
			in.Lend(loan, at)
			m.last, m.veiled = picture, false
			return loan
		}
		loan := lend(random(rng, 300, 200), 0)
		p.check("lent")
		p.setScene(scene(large))
		p.check("moved while lent")
		in.Return(true)
		spoil(loan)
		p.check("kept")
		p.setScene(scene(small))
		p.check("moved when kept")
		in.Return(false)
		in.Return(true)
		p.setScene(scene(large))
		p.check("returned without a loan")

		loan = lend(plain(300, 200, 90), p.now)
		waiting := plain(300, 200, 120)
		in.Return(false)
		spoil(loan)
		p.check("given back")
		p.setScene(scene(small))
		p.roughly("moved when given back")
		loan = lend(waiting, p.now+1000)
		in.Return(false)
		spoil(loan)
		p.setScene(scene(large))
		p.roughly("what waited is the newest")
		p.setScene(nil)
		p.check("nowhere")
		p.show("S1", random(rng, 320, 200))
		p.setScene(scene(large))
		p.check("shown again")
	}
}

// TestLoanOfOneWhoShowsNothing: what is lent while it cannot be shown is not read.
func TestLoanOfOneWhoShowsNothing(t *testing.T) {
	p := newPair(t, Config{Width: 64, Height: 64})
	p.setScene(scene(area(0, 0, 50, 50), area(50, 50, 50, 50)))
	p.show("S1", plain(16, 16, 100))
	in, _ := p.input("S1")
	loan := plain(16, 16, 150)
	in.Lend(loan, 0)
	p.mute("S1", true)
	spoil(loan)
	p.check("muted")
	in.Lend(loan, 0)
	in.Return(true)
	p.mute("S1", false)
	p.setScene(scene(area(0, 0, 100, 100)))
	p.check("nothing came since")
	in.Lend(loan, p.now)
	p.remove("S1")
	spoil(loan)
	in.Return(true)
	p.check("gone")
	if in.own != nil || in.last != nil {
		t.Error("an input that is gone has memory")
	}
}
