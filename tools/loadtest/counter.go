package loadtest

// window is how many numbers back a packet may come and still be told from a duplicate.
const window = 4096

// sequence counts the packets of one SSRC by their numbers. The zero value is ready.
type sequence struct {
	started        bool
	first, highest int64
	received       uint64 // each once
	duplicates     uint64
	late           uint64 // behind a higher number
	stale          uint64 // so far behind that nobody knows
	seen           [window / 64]uint64
}

// packet counts one and returns its unwrapped number.
func (s *sequence) packet(seq uint16) int64 {
	if !s.started {
		// The first may have been overtaken: leave room below.
		s.started, s.first = true, int64(seq)+1<<16
		s.highest = s.first
		s.mark(s.first)
		s.received++
		return s.first
	}
	index := s.highest + int64(int16(seq-uint16(s.highest)))
	switch {
	case index > s.highest:
		for i := max(s.highest+1, index-window+1); i < index; i++ {
			s.clear(i)
		}
		s.mark(index)
		s.highest = index
		s.received++
	case index <= s.highest-window:
		s.stale++
	case s.marked(index) && index >= s.first:
		s.duplicates++
	default:
		s.mark(index)
		s.first = min(s.first, index)
		s.received++
		s.late++
	}
	return index
}

func (s *sequence) mark(i int64)        { s.seen[i%window/64] |= 1 << (i % 64) }
func (s *sequence) clear(i int64)       { s.seen[i%window/64] &^= 1 << (i % 64) }
func (s *sequence) marked(i int64) bool { return s.seen[i%window/64]&(1<<(i%64)) != 0 }

// missing is how many numbers between the first and the highest have not come.
func (s *sequence) missing() uint64 {
	if !s.started {
		return 0
	}
	return uint64(s.highest-s.first+1) - s.received
}

// Counts are packets as subscribers saw them.
type Counts struct {
	Delivered  uint64 `json:"delivered"`  // media packets, each once
	Bytes      uint64 `json:"bytes"`      // of those, with RTP header, without IP and UDP
	Lost       uint64 `json:"lost"`       // gaps in the sequence numbers
	LeftOut    uint64 `json:"leftOut"`    // by the edge, without a gap; known from the sample
	Duplicates uint64 `json:"duplicates"` // came twice
	Late       uint64 `json:"late"`       // came behind a higher number
	Repairs    uint64 `json:"repairs"`    // packets sent again, and padding
	Unknown    uint64 `json:"unknown"`    // of no stream that was subscribed to
	Sampled    uint64 `json:"sampled"`    // decrypted
	Unreadable uint64 `json:"unreadable"` // of those, that could not be decrypted or lacked the trailer
}

func (c *Counts) add(o Counts) { c.combine(o, func(a, b uint64) uint64 { return a + b }) }

// since is what was counted after o.
func (c Counts) since(o Counts) Counts {
	c.combine(o, func(a, b uint64) uint64 {
		if a < b { // a gap was filled
			return 0
		}
		return a - b
	})
	return c
}

func (c *Counts) combine(o Counts, f func(a, b uint64) uint64) {
	c.Delivered = f(c.Delivered, o.Delivered)
	c.Bytes = f(c.Bytes, o.Bytes)
	c.Lost = f(c.Lost, o.Lost)
	c.LeftOut = f(c.LeftOut, o.LeftOut)
	c.Duplicates = f(c.Duplicates, o.Duplicates)
	c.Late = f(c.Late, o.Late)
	c.Repairs = f(c.Repairs, o.Repairs)
	c.Unknown = f(c.Unknown, o.Unknown)
	c.Sampled = f(c.Sampled, o.Sampled)
	c.Unreadable = f(c.Unreadable, o.Unreadable)
}

// Loss is the share of packets that should have come and did not.
func (c Counts) Loss() float64 {
	gone := c.Lost + c.LeftOut
	if gone == 0 {
		return 0
	}
	return float64(gone) / float64(gone+c.Delivered)
}
