package bitrate

// A meter's buckets: one second in all.
const (
	buckets    = 40
	bucketTime = 25 * millisecond
)

// meter measures a rate over up to a second before the newest time it has seen.
type meter struct {
	bytes   [buckets]int64
	newest  int64 // time of the newest bytes
	first   int64 // time of the first bytes
	started bool
}

// add counts bytes at a time; what is older than the window is left out.
func (m *meter) add(at int64, bytes int) {
	if !m.started {
		*m = meter{newest: at, first: at, started: true}
	}
	m.advance(at)
	if floorDiv(m.newest, bucketTime)-floorDiv(at, bucketTime) < buckets {
		m.bytes[place(at)] += int64(bytes)
	}
}

// advance empties the buckets between the newest time and at.
func (m *meter) advance(at int64) {
	if at <= m.newest || !m.started {
		return
	}
	from, to := floorDiv(m.newest, bucketTime), floorDiv(at, bucketTime)
	for b := max(from+1, to-buckets+1); b <= to; b++ {
		m.bytes[((b%buckets)+buckets)%buckets] = 0
	}
	m.newest = at
}

// rate is the mean over the last window, at least 100 ms and at most a second; known is false before there is so much.
func (m *meter) rate(window int64) (rate Bitrate, known bool) {
	if !m.started {
		return 0, false
	}
	last := floorDiv(m.newest, bucketTime)
	n := min(window/bucketTime, buckets-1)
	sum := int64(0)
	for b := last - n; b <= last; b++ {
		sum += m.bytes[((b%buckets)+buckets)%buckets]
	}
	length := m.newest - max((last-n)*bucketTime, m.first)
	if length < 100*millisecond {
		return 0, false
	}
	return Bitrate(float64(sum) * 8 * float64(second) / float64(length)), true
}

func place(at int64) int64 { return ((floorDiv(at, bucketTime) % buckets) + buckets) % buckets }

func floorDiv(a, b int64) int64 {
	if a < 0 {
		return -((-a + b - 1) / b)
	}
	return a / b
}
