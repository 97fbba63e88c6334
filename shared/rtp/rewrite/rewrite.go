// Package rewrite renumbers and restamps the packets of one outgoing RTP stream, so that its receiver sees one unbroken stream
// whatever happens at the source: a pause, a restart, a switch to another encoding, packets left out on purpose.
//
// The writer of a subscription asks it for the sequence number and timestamp of each packet it sends, and, when the receiver
// reports a loss, which packet of the source a number stood for. Packets are known by the index of their source (see seqnum).
//
// Within a run the outgoing number is the index plus a constant, so that losses at the source stay visible as gaps and late
// packets fall into their place. A run ends where numbering closes up: at a switch, a resume, or a packet left out.
package rewrite

// Runs that are remembered: that many breaks back a lost packet can still be found.
const keptRuns = 64

// Stream is the numbering of one outgoing stream. Make it with New. Not safe for concurrent use: its writer owns it.
type Stream struct {
	runs [keptRuns]run // a ring; the newest is runs[(count-1)%keptRuns]
	next int64         // outgoing index that the next run begins with
	n    int           // runs begun so far
}

// run is a stretch of packets whose outgoing index is the source's index plus delta.
type run struct {
	source      int   // how many switches came before
	first, last int64 // indexes of the source; last < first: nothing yet
	delta       int64
	stamp       uint32 // what is added to timestamps
}

// New makes a Stream whose first packet will have the sequence number first.
func New(first uint16) *Stream { return &Stream{next: 1<<16 + int64(first)} }

// Switch begins a new source: its packet index, with timestamp ts, gets the number after the last one given and the timestamp
// outTS, which the caller lets follow what it sent before by the time that has passed.
func (s *Stream) Switch(index int64, ts, outTS uint32) {
	source := 0
	if s.n > 0 {
		source = s.current().source + 1
	}
	s.begin(run{source: source, first: index, stamp: outTS - ts})
}

// Resume goes on with the same source at index after a pause: numbering closes up, timestamps keep their distance.
// It must not come before Switch.
func (s *Stream) Resume(index int64) {
	now := s.current()
	s.begin(run{source: now.source, first: index, stamp: now.stamp})
}

func (s *Stream) begin(r run) {
	if s.n > 0 {
		if now := s.current(); now.last >= now.first {
			s.next = now.last + now.delta + 1
		} else {
			s.n-- // nothing was sent in it: it never was
		}
	}
	r.last, r.delta = r.first-1, s.next-r.first
	s.runs[s.n%keptRuns] = r
	s.n++
}

func (s *Stream) current() *run { return &s.runs[(s.n-1)%keptRuns] }

// Forward gives the number and timestamp for the packet index of the current source. ok is false when it has no place: before
// Switch, or when it comes from a time at which nothing was forwarded. Asking again for the same packet gives the same answer.
func (s *Stream) Forward(index int64, ts uint32) (seq uint16, outTS uint32, ok bool) {
	if s.n == 0 {
		return 0, 0, false
	}
	now := s.current()
	if index > now.last {
		if index < now.first {
			return 0, 0, false
		}
		now.last = index
		return uint16(index + now.delta), ts + now.stamp, true
	}
	for i := s.n - 1; i >= 0 && i >= s.n-keptRuns; i-- {
		r := &s.runs[i%keptRuns]
		if r.source != now.source {
			break
		}
		if index >= r.first && index <= r.last {
			return uint16(index + r.delta), ts + r.stamp, true
		}
	}
	return 0, 0, false
}

// Skip leaves the packet index out and lets numbering close up behind it. It returns false, and changes nothing, when a later
// packet has been forwarded already: then the number is taken and must be used, or the receiver will ask for it.
func (s *Stream) Skip(index int64) bool {
	if s.n == 0 {
		return false
	}
	now := s.current()
	if index <= now.last || index < now.first {
		return false
	}
	if now.last < now.first { // nothing sent since the run began: it begins one later
		now.delta -= index - now.first + 1
		now.first, now.last = index+1, index
		return true
	}
	skipped := *now
	now.last = index - 1 // packets missing before the one left out keep their numbers
	s.begin(run{source: skipped.source, first: index + 1, stamp: skipped.stamp})
	return true
}

// Lookup tells which packet the sequence number seq stood for: its index, and its source, counted in switches. ok is false
// when it was never given or is forgotten.
func (s *Stream) Lookup(seq uint16) (source int, index int64, ok bool) {
	if s.n == 0 {
		return 0, 0, false
	}
	now := s.current()
	newest := now.last + now.delta // the same as next-1 in a run without packets
	out := newest + int64(int16(seq-uint16(newest)))
	if out > newest {
		return 0, 0, false
	}
	for i := s.n - 1; i >= 0 && i >= s.n-keptRuns; i-- {
		r := &s.runs[i%keptRuns]
		if index := out - r.delta; index >= r.first && index <= r.last {
			return r.source, index, true
		}
	}
	return 0, 0, false
}

// Timestamp converts a timestamp of the current source, for sender reports; ok is false before Switch.
func (s *Stream) Timestamp(ts uint32) (outTS uint32, ok bool) {
	if s.n == 0 {
		return 0, false
	}
	return ts + s.current().stamp, true
}

// Source is the number of the current source, counted in switches; -1 before the first.
func (s *Stream) Source() int {
	if s.n == 0 {
		return -1
	}
	return s.current().source
}
