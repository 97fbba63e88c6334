package sfu

import (
	"math"
	"sync/atomic"
	"time"
)

// meter measures what a Subscription sends: a Writer's goroutine adds, anybody reads.
type meter struct {
	began    int64 // when the present second began
	bytes    uint64
	pictures uint32

	bitrate   atomic.Uint64 // of the last whole second, float64
	frameRate atomic.Uint64
	at        atomic.Int64 // when that was
}

const meterPeriod = int64(time.Second)

// add counts what was sent.
func (m *meter) add(c *counts, now int64) {
	if passed := now - m.began; passed >= meterPeriod {
		if passed < 2*meterPeriod {
			seconds := float64(passed) / float64(time.Second)
			m.bitrate.Store(math.Float64bits(float64(m.bytes) * 8 / seconds))
			m.frameRate.Store(math.Float64bits(float64(m.pictures) / seconds))
			m.at.Store(now)
		}
		m.began, m.bytes, m.pictures = now, 0, 0
	}
	m.bytes += c.media
	m.pictures += c.pictures
}

// read fills in the rates, if they are not old.
func (m *meter) read(q *Quality, now int64) {
	if now-m.at.Load() < 3*meterPeriod {
		q.Bitrate = math.Float64frombits(m.bitrate.Load())
		q.FrameRate = math.Float64frombits(m.frameRate.Load())
	}
}
