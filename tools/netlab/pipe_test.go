package netlab

import (
	"math"
	"testing"
	"time"
)

const (
	packetSize = 1000
	second     = int64(time.Second)
)

// offer puts packets of packetSize into the pipe, so many a second, and calls passed with each that comes out until the end.
func offer(p *pipe, perSecond int, length time.Duration, passed func(packet []byte, number int, sent, at int64)) {
	type origin struct {
		number int
		sent   int64
	}
	origins := map[*byte]origin{}
	end := int64(length)
	now, number := int64(0), 0
	sendAt := int64(0)
	for {
		at, due := p.next()
		switch {
		case sendAt < end && (!due || sendAt < at):
			now = sendAt
			b := make([]byte, packetSize)
			origins[&b[0]] = origin{number, now}
			p.put(b, now)
			number++
			sendAt = int64(number) * second / int64(perSecond)
		case due && at <= end:
			now = at
		default:
			return
		}
		for b := p.take(now); b != nil; b = p.take(now) {
			if o := origins[&b[0]]; passed != nil {
				passed(b, o.number, o.sent, now)
			}
		}
	}
}

// TestRate: twice as much as fits comes out at the rate, and the rest is counted.
func TestRate(t *testing.T) {
	for _, rate := range []int{300, 3000, 20_000} {
		p := newPipe(Shape{Rate: rate}, 1, 1)
		offer(p, rate*1000/8/packetSize*2, 10*time.Second, nil)
		c := p.counts
		if got := float64(c.PassedBytes) * 8 / 10 / 1000; math.Abs(got/float64(rate)-1) > 0.01 {
			t.Errorf("%d kbit/s passed at %d", int(got), rate)
		}
		if on := c.Packets - c.Passed - c.Lost - c.Overflowed; c.Lost != 0 || on > DefaultQueue/packetSize+1 {
			t.Errorf("%+v: %d unaccounted for", c, on)
		}
	}
}

// TestQueue: never more waits than may, and what waits is late by what that takes.
func TestQueue(t *testing.T) {
	const queue = 20_000
	p := newPipe(Shape{Rate: 800, Queue: queue}, 1, 1) // 100 packets a second
	var latest int64
	offer(p, 500, 5*time.Second, func(_ []byte, _ int, sent, at int64) { latest = max(latest, at-sent) })
	if c := p.counts; c.LongestQueue != queue || c.Overflowed < 1900 || c.Overflowed > 2000 {
		t.Errorf("%+v", c)
	}
	if want := 210 * time.Millisecond; time.Duration(latest) > want || time.Duration(latest) < want-10*time.Millisecond {
		t.Errorf("a packet came after %v, want %v", time.Duration(latest), want)
	}
}

func TestDelayAndJitter(t *testing.T) {
	const delay, jitter = 50 * time.Millisecond, 20 * time.Millisecond
	p := newPipe(Shape{Delay: delay}, 1, 1)
	offer(p, 100, time.Second, func(_ []byte, _ int, sent, at int64) {
		if time.Duration(at-sent) != delay {
			t.Errorf("delay %v", time.Duration(at-sent))
		}
	})
	p = newPipe(Shape{Delay: delay, Jitter: jitter}, 1, 1)
	least, most, next := time.Hour, time.Duration(0), 0
	offer(p, 20, 20*time.Second, func(_ []byte, number int, sent, at int64) {
		d := time.Duration(at - sent)
		least, most = min(least, d), max(most, d)
		if number != next {
			t.Errorf("packet %d came where %d was due", number, next)
		}
		next++
	})
	if least < delay-jitter || least > delay-jitter*9/10 || most > delay+jitter || most < delay+jitter*9/10 {
		t.Errorf("between %v and %v", least, most)
	}
}

// TestLoss: the share is right, and a seed says which ones.
func TestLoss(t *testing.T) {
	lost := func(loss float64, seed uint64) (list []int, count int) {
		p := newPipe(Shape{Loss: loss}, seed, 1)
		next := 0
		offer(p, 10_000, 10*time.Second, func(_ []byte, number int, _, _ int64) {
			for ; next < number; next++ {
				list = append(list, next)
			}
			next = number + 1
		})
		return list, int(p.counts.Lost)
	}
	for _, loss := range []float64{0, 0.05, 0.2, 1} {
		list, n := lost(loss, 7)
		if got := float64(n) / 100_000; math.Abs(got-loss) > 0.005 || loss < 1 && n-len(list) > 10 {
			t.Errorf("%v of the packets lost at %v", got, loss)
		}
	}
	a, _ := lost(0.05, 7)
	b, _ := lost(0.05, 7)
	other, _ := lost(0.05, 8)
	if len(a) != len(b) || a[10] != b[10] || a[len(a)-1] != b[len(b)-1] {
		t.Error("one seed gave two series of losses")
	}
	if a[0] == other[0] && a[1] == other[1] && a[2] == other[2] {
		t.Error("two seeds gave one series of losses")
	}
}

// TestChange: a queue drains at the new rate at once, and a link that goes down loses what is on its way.
func TestChange(t *testing.T) {
	p := newPipe(Shape{Rate: 80, Delay: 10 * time.Millisecond}, 1, 1) // 100 ms a packet
	for range 11 {
		p.put(make([]byte, packetSize), 0)
	}
	p.set(Shape{Rate: 8000, Delay: 10 * time.Millisecond}, 0) // 1 ms
	count := 0
	for b := p.take(120 * int64(time.Millisecond)); b != nil; b = p.take(120 * int64(time.Millisecond)) {
		count++
	}
	if count != 11 || p.counts.Waiting != 0 {
		t.Errorf("%d packets after the change, want 11: %+v", count, p.counts)
	}
	now := second
	for range 3 {
		p.put(make([]byte, packetSize), now)
	}
	p.set(Shape{Rate: 0}, now)
	if b := p.take(now + int64(10*time.Millisecond)); b == nil {
		t.Error("a queue outlived its rate")
	}
	p.put(make([]byte, packetSize), now)
	p.set(Shape{Down: true}, now)
	p.put(make([]byte, packetSize), now)
	if b := p.take(now + second); b != nil {
		t.Error("a packet passed a link that is down")
	}
	p.set(Shape{}, now)
	p.put(make([]byte, packetSize), now)
	if b := p.take(now); b == nil {
		t.Error("a link does not come back")
	}
	if c := p.counts; c.Packets != c.Passed+c.Lost {
		t.Errorf("%+v", c)
	}
}
