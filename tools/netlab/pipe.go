package netlab

import (
	"math/rand/v2"
	"time"
)

// Shape is what one direction of a Link does to its packets, in the order of the fields. The zero value passes everything on at once.
type Shape struct {
	Down   bool          // nothing passes, and what was on its way is lost
	Loss   float64       // share of packets lost at random, before they take room in the queue; 0 to 1
	Rate   int           // kbit/s, counted over whole IP packets; 0: as fast as this process can
	Queue  int           // bytes that wait behind the packet being sent, the excess is dropped; 0: DefaultQueue; no matter without Rate
	Delay  time.Duration // on the way, after the queue
	Jitter time.Duration // added to or taken from Delay, evenly spread; packets keep their order
}

// DefaultQueue is the Queue of a Shape that names none, in bytes: 64 packets of 1,000 bytes.
const DefaultQueue = 64_000

func (s Shape) queue() int {
	if s.Queue > 0 {
		return s.Queue
	}
	return DefaultQueue
}

// Counts are what has happened to the packets of one direction so far. What is on its way is in Packets only.
type Counts struct {
	Packets, Bytes      uint64 // that came
	Passed, PassedBytes uint64 // that were handed over at the other end
	Lost                uint64 // by chance, or because the link was down
	Overflowed          uint64 // because the queue was full
	Waiting             int    // bytes in the queue now
	LongestQueue        int    // bytes, the most there ever were
}

// Since is what has happened since earlier counts of the same direction; Waiting and LongestQueue are those of now.
func (c Counts) Since(earlier Counts) Counts {
	c.Packets -= earlier.Packets
	c.Bytes -= earlier.Bytes
	c.Passed -= earlier.Passed
	c.PassedBytes -= earlier.PassedBytes
	c.Lost -= earlier.Lost
	c.Overflowed -= earlier.Overflowed
	return c
}

// pipe is one direction of a Link without sockets and clock: times are nanoseconds of the caller's clock, and must not run backwards.
type pipe struct {
	shape  Shape
	chance *rand.Rand
	queue  [][]byte // the first is being sent
	sent   int64    // when that will be done
	flight []flying // in the order of due
	last   int64    // due of the latest that took off
	counts Counts
}

type flying struct {
	packet []byte
	due    int64
}

func newPipe(shape Shape, seed, stream uint64) *pipe {
	return &pipe{shape: shape, chance: rand.New(rand.NewPCG(seed, stream))}
}

// set changes the shape. The packet that is being sent is sent at the old rate.
func (p *pipe) set(shape Shape, now int64) {
	p.advance(now)
	p.shape = shape
	if shape.Down {
		p.counts.Lost += uint64(len(p.queue) + len(p.flight))
		p.queue, p.flight, p.counts.Waiting, p.last = nil, nil, 0, now
		return
	}
	if shape.Rate == 0 {
		for _, packet := range p.queue {
			p.takeOff(packet, now)
		}
		p.queue, p.counts.Waiting = nil, 0
	}
}

// put takes a packet that has come; the pipe keeps it.
func (p *pipe) put(packet []byte, now int64) {
	p.advance(now)
	c := &p.counts
	c.Packets++
	c.Bytes += uint64(len(packet))
	switch {
	case p.shape.Down || p.shape.Loss > 0 && p.chance.Float64() < p.shape.Loss:
		c.Lost++
	case p.shape.Rate == 0:
		p.takeOff(packet, now)
	case len(p.queue) == 0:
		p.queue = append(p.queue, packet)
		p.sent = now + p.sending(packet)
	case c.Waiting+len(packet) > p.shape.queue():
		c.Overflowed++
	default:
		p.queue = append(p.queue, packet)
		c.Waiting += len(packet)
		c.LongestQueue = max(c.LongestQueue, c.Waiting)
	}
}

// sending is how long a packet takes at the rate.
func (p *pipe) sending(packet []byte) int64 {
	return int64(len(packet)) * 8 * int64(time.Millisecond) / int64(p.shape.Rate)
}

// advance sends what is due to be sent.
func (p *pipe) advance(now int64) {
	for len(p.queue) > 0 && p.sent <= now {
		p.takeOff(p.queue[0], p.sent)
		p.queue = p.queue[1:]
		if len(p.queue) > 0 {
			p.counts.Waiting -= len(p.queue[0])
			p.sent += p.sending(p.queue[0])
		}
	}
}

// takeOff sends a packet on its way at a time.
func (p *pipe) takeOff(packet []byte, at int64) {
	due := at + int64(p.shape.Delay)
	if j := int64(p.shape.Jitter); j > 0 {
		due += p.chance.Int64N(2*j+1) - j
	}
	p.last = max(p.last, due)
	p.flight = append(p.flight, flying{packet, p.last})
}

// take is the next packet that is due, nil when there is none.
func (p *pipe) take(now int64) []byte {
	p.advance(now)
	if len(p.flight) == 0 || p.flight[0].due > now {
		return nil
	}
	packet := p.flight[0].packet
	p.flight = p.flight[1:]
	p.counts.Passed++
	p.counts.PassedBytes += uint64(len(packet))
	return packet
}

// next is when something is due again; false when nothing is on its way.
func (p *pipe) next() (int64, bool) {
	switch {
	case len(p.flight) > 0 && (len(p.queue) == 0 || p.flight[0].due < p.sent):
		return p.flight[0].due, true
	case len(p.queue) > 0:
		return p.sent, true
	}
	return 0, false
}
