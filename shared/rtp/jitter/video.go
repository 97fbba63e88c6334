package jitter

import "time"

// VideoConfig are a Video's bounds. Zero means the default.
type VideoConfig struct {
	ClockRate int           // of the RTP timestamps; default 90000
	Wait      time.Duration // for a missing packet, that it is sent again, while those behind it are there; default 100 ms
	Packets   int           // held at most, rounded up to a power of two; default 512
}

// VideoItem is the next packet of video.
type VideoItem struct {
	Seq     uint16
	TS      uint32
	Marker  bool
	Missing int    // packets right before this one that did not come: what needs them cannot be decoded
	Payload []byte // valid until the next call of Push or Pop
}

// Video gives the packets of one encoding of video back in order, each at once, but behind a gap only when the missing packet has
// come or is given up. When pictures are shown is the compositor's business, who asks PlayTime. Make it with NewVideo. It is not
// safe for concurrent use.
type Video struct {
	intake
	queue queue
	wait  int64
	stats Stats
	given bool
	lost  int // packets given up since the last Pop that gave one
}

// NewVideo makes a Video that nothing has arrived at.
func NewVideo(config VideoConfig) *Video {
	if config.ClockRate <= 0 {
		config.ClockRate = 90_000
	}
	if config.Wait <= 0 {
		config.Wait = 100 * time.Millisecond
	}
	if config.Packets <= 0 {
		config.Packets = 512
	}
	v := &Video{queue: newQueue(config.Packets), wait: int64(config.Wait)}
	v.timing.rate = int64(config.ClockRate)
	v.timing.delays.expect(int64(firstTarget))
	return v
}

// Push takes a packet that arrived at the time now, in nanoseconds. p.Payload is copied. Any numbers may come in.
func (v *Video) Push(p Packet, now int64) Result {
	arrived := v.take(p, now)
	result := arrived.result
	if result == Stored {
		result = v.store(arrived, p, now)
	}
	v.stats.count(result)
	return result
}

func (v *Video) store(arrived arrival, p Packet, now int64) Result {
	size, index := int64(len(v.queue.slots)), arrived.index
	if arrived.restart {
		v.stats.Skipped += uint64(v.queue.advance(index))
		v.queue.highest = index - 1
		if !arrived.first {
			v.stats.Restarts++
			v.lost = max(v.lost, 1)
		}
	}
	switch {
	case index < v.queue.next && !v.given && v.queue.highest-index < size:
		v.queue.next = index
	case index < v.queue.next:
		return Late
	case v.queue.has(index):
		return Duplicate
	case index-v.queue.next >= size:
		passed := index - size + 1 - v.queue.next
		dropped := v.queue.advance(index - size + 1)
		v.stats.Skipped += uint64(dropped)
		v.giveUp(passed - int64(dropped))
		v.lost += dropped
	}
	v.queue.put(index, p, arrived.ts, now)
	return Stored
}

func (v *Video) giveUp(missing int64) {
	v.lost += int(missing)
	v.stats.Lost += uint64(missing)
}

// Pop gives the next packet, as long as there is one; ok is false when none is, or one before it is still waited for. now is in
// nanoseconds.
func (v *Video) Pop(now int64) (it VideoItem, ok bool) {
	s := v.queue.first()
	if s == nil {
		return it, false
	}
	if s.index > v.queue.next {
		if now < s.came+v.wait {
			return it, false
		}
		v.giveUp(s.index - v.queue.next)
	}
	it = VideoItem{Seq: uint16(s.index), TS: uint32(s.ts), Marker: s.marker, Missing: v.lost, Payload: s.data}
	v.queue.next = s.index + 1
	v.queue.held--
	s.index, v.lost, v.given = -1, 0, true
	return it, true
}

// Due is when Pop has something to give though nothing more arrives, in nanoseconds; ok is false when never.
func (v *Video) Due() (at int64, ok bool) {
	s := v.queue.first()
	if s == nil {
		return 0, false
	}
	if s.index == v.queue.next {
		return s.came, true
	}
	return s.came + v.wait, true
}

// PlayTime is when the picture with this RTP timestamp, which is near the newest one, is to be shown, on the clock of Push: when
// 97 of 100 packets with it would be there. ok is false before the first packet.
func (v *Video) PlayTime(timestamp uint32) (at int64, ok bool) {
	if !v.started {
		return 0, false
	}
	return v.timing.playTime(timestamp, v.timing.delays.within()), true
}

// Stats are the figures so far; Starved and Delay are zero.
func (v *Video) Stats() Stats {
	s := v.stats
	s.Target, s.Drift = time.Duration(v.timing.delays.within()), v.timing.drift*1e6
	return s
}
