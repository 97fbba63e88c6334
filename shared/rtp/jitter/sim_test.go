package jitter

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const ms = millisecond

// path is a sender and a network: when which packet arrives. All in nanoseconds of our clock.
type path struct {
	seed    uint64
	rate    int           // ticks a second
	frame   time.Duration // of a packet
	length  time.Duration
	drift   float64 // of the sender's clock, in millionths
	jitter  func(r *rand.Rand, at int64) int64
	lose    func(r *rand.Rand, n int) bool
	twice   float64 // share of packets that come twice
	silent  func(at int64) bool
	seq     uint16
	ts      uint32
	untold  bool // packets say neither how long they are nor that they are the last before a silence
	delayed int64
}

type event struct {
	at int64
	n  int
	p  Packet
}

// events are what arrives, in order of time. The payload says which packet it is.
func (c path) events() (list []event, sent int) {
	r := rand.New(rand.NewPCG(c.seed, 1))
	step := float64(c.frame) / (1 + c.drift/1e6)
	ticks := int(int64(c.rate) * int64(c.frame) / int64(time.Second))
	seq := c.seq
	quiet := false
	for i := 0; float64(i)*step < float64(c.length); i++ {
		at := int64(float64(i) * step)
		was := quiet
		quiet = c.silent != nil && c.silent(at)
		if quiet && was {
			continue
		}
		p := Packet{Seq: seq, Timestamp: c.ts + uint32(i*ticks), Ticks: ticks, Quiet: quiet,
			Payload: binary.BigEndian.AppendUint32(make([]byte, 76), uint32(i))}
		if c.untold {
			p.Ticks, p.Quiet = 0, false
		}
		seq++
		sent++
		lost := c.lose != nil && c.lose(r, i)
		for range 1 + btoi(r.Float64() < c.twice) {
			delay := 30*ms + c.delayed
			if c.jitter != nil {
				delay += c.jitter(r, at)
			}
			if !lost {
				list = append(list, event{at + delay, i, p})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b event) int { return int(a.at - b.at) })
	return list, sent
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// uniform is a jitter between 0 and most.
func uniform(most int64) func(*rand.Rand, int64) int64 {
	return func(r *rand.Rand, _ int64) int64 { return r.Int64N(most + 1) }
}

func loss(share float64) func(*rand.Rand, int) bool {
	return func(r *rand.Rand, _ int) bool { return r.Float64() < share }
}

// player asks an Audio for sound as a mixer does, every 10 ms of our clock.
type player struct {
	t      *testing.T
	a      *Audio
	rate   int64
	have   int64 // ticks not played yet
	frac   float64
	now    int64
	ticks  [4]int64 // by Kind
	items  [4]int
	order  []int // the packets, in the order of playing
	fec    int
	played int64   // ticks
	drift  float64 // of the sender, in millionths
	even   int     // times when only the drift was to be stretched
}

// play runs the events, and the player beside them, until the time end.
func (p *player) play(list []event, end int64) {
	for p.now < end {
		for len(list) > 0 && list[0].at <= p.now {
			p.a.Push(list[0].p, list[0].at)
			list = list[1:]
		}
		want := p.rate / 100
		p.frac += p.a.Stretch() / 100
		whole := int64(p.frac)
		p.frac -= float64(whole)
		want += whole
		for p.have < want {
			p.take(p.a.Pop(p.now))
		}
		p.have -= want
		p.played += want
		p.even += btoi(math.Abs(p.a.Stretch()/float64(p.rate)*1e6-p.drift) < 20)
		p.now += 10 * ms
	}
}

func (p *player) take(it Item) {
	if it.Ticks <= 0 && it.Kind != Sound {
		p.t.Fatalf("%+v has no length", it)
	}
	p.have += int64(it.Ticks)
	p.ticks[it.Kind] += int64(it.Ticks)
	p.items[it.Kind]++
	if it.Next != nil {
		p.fec++
	}
	if it.Kind == Sound {
		n := int(binary.BigEndian.Uint32(it.Payload[76:]))
		if len(p.order) > 0 && n <= p.order[len(p.order)-1] {
			p.t.Fatalf("packet %d comes after %d", n, p.order[len(p.order)-1])
		}
		p.order = append(p.order, n)
	}
}

// run plays the whole of a path.
func run(t *testing.T, c path, config Config) (*player, Stats) {
	t.Helper()
	if c.rate == 0 {
		c.rate = 48_000
	}
	if c.frame == 0 {
		c.frame = 20 * time.Millisecond
	}
	config.ClockRate = c.rate
	list, sent := c.events()
	p := &player{t: t, a: NewAudio(config), rate: int64(c.rate), drift: c.drift}
	p.play(list, int64(c.length)+50*ms)
	s := p.a.Stats()
	t.Logf("%d sent, %d played, kinds %v, delay %v, target %v, drift %+.1f ppm, %+v",
		sent, p.items[Sound], p.items, s.Delay.Round(time.Millisecond), s.Target, s.Drift, s)
	return p, s
}
