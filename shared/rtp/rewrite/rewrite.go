// Package rewrite renumbers and restamps the packets of one outgoing RTP stream, so that its receiver sees one unbroken stream
// whatever happens at the source: a pause, a restart, a switch to another encoding, packets left out on purpose.
//
// The writer of a subscription asks it for the place of each packet it sends, and, when the receiver reports a loss, which packet
// of the source a number stood for. Packets are known by the index of their source (see seqnum).
//
// Within a run the outgoing number is the index plus a constant, so that losses at the source stay visible as gaps and late
// packets fall into their place. A run ends where numbering closes up (at a switch, a resume, a packet left out), or where
// anything else of the place changes. So a packet sent again has exactly the place that it had.
package rewrite

// MaxRuns is how many runs are remembered: that many breaks back a lost packet can still be found. Where layers are left out there
// is one for each picture.
const MaxRuns = 128

const firstRuns = 4

// Stream is the numbering of one outgoing stream. Make it with New. Not safe for concurrent use: its writer owns it.
type Stream struct {
	runs []run // a ring; the newest is runs[(n-1)%len]
	next int64 // outgoing index that the next run begins with
	n    int   // runs begun so far
}

// Offsets are what is added to the numbers in the payload, or in its descriptor, that count on from picture to picture. They wrap
// as those do.
type Offsets struct {
	Picture uint16 // picture id of VP8 and VP9
	Frame   uint16 // frame number of a dependency descriptor
	TL0     uint8  // TL0PICIDX of VP8 and VP9
}

// Place is what a packet is on the outgoing stream.
type Place struct {
	Seq   uint16
	Stamp uint32 // what is added to timestamps
	Offsets
	Note uint32 // the caller's, see Annotate
}

// run is a stretch of packets whose outgoing index is the source's index plus delta.
type run struct {
	source      int   // how many switches came before
	first, last int64 // indexes of the source; last < first: nothing yet
	delta       int64
	place       Place // of its packets, but for Seq
}

// New makes a Stream whose first packet will have the sequence number first.
func New(first uint16) *Stream { return &Stream{next: 1<<16 + int64(first)} }

// Switch begins a new source: its packet index, with timestamp ts, gets the number after the last one given and the timestamp
// outTS, which the caller lets follow what it sent before by the time that has passed.
func (s *Stream) Switch(index int64, ts, outTS uint32, offsets Offsets) {
	source := 0
	if s.n > 0 {
		source = s.current().source + 1
	}
	s.begin(run{source: source, first: index, place: Place{Stamp: outTS - ts, Offsets: offsets}})
}

// Resume goes on with the same source at index after a pause: numbering closes up, timestamps keep their distance.
// It must not come before Switch.
func (s *Stream) Resume(index int64, offsets Offsets) {
	now := s.current()
	place := now.place
	place.Offsets = offsets
	s.begin(run{source: now.source, first: index, place: place})
}

// Restamp gives the packets from index on another distance of timestamps; numbering goes on. Forward of index has to follow. It
// must not come before Switch.
func (s *Stream) Restamp(index int64, stamp uint32) {
	place := s.current().place
	place.Stamp = stamp
	s.divide(index, place)
}

// Annotate keeps note with the packets from index on, for those that are sent again; numbering goes on. Forward of index has to
// follow. It must not come before Switch.
func (s *Stream) Annotate(index int64, note uint32) {
	place := s.current().place
	place.Note = note
	s.divide(index, place)
}

// divide lets a run begin at index without a break in numbering: packets that are missing before it stay in the one before.
func (s *Stream) divide(index int64, place Place) {
	now := s.current()
	if now.last < now.first {
		now.place = place
		return
	}
	if index <= now.last {
		return
	}
	now.last = index - 1
	s.begin(run{source: now.source, first: index, place: place})
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
	if s.n >= len(s.runs) && len(s.runs) < MaxRuns {
		s.grow()
	}
	s.runs[s.n%len(s.runs)] = r
	s.n++
}

func (s *Stream) grow() {
	old := s.runs
	s.runs = make([]run, max(firstRuns, 2*len(old)))
	for i := max(0, s.n-len(old)); i < s.n; i++ {
		s.runs[i%len(s.runs)] = old[i%len(old)]
	}
}

func (s *Stream) current() *run { return &s.runs[(s.n-1)%len(s.runs)] }

// older calls each with the runs from the newest on, until it returns true.
func (s *Stream) older(each func(r *run) bool) {
	for i := s.n - 1; i >= 0 && i >= s.n-len(s.runs); i-- {
		if each(&s.runs[i%len(s.runs)]) {
			return
		}
	}
}

// Next is the index from which on the packets of the current source have no place yet; 0 before Switch.
func (s *Stream) Next() int64 {
	if s.n == 0 {
		return 0
	}
	return s.current().last + 1
}

// Forward gives the place of the packet index of the current source. ok is false when it has none: before Switch, or when it comes
// from a time at which nothing was forwarded. Asking again for the same packet gives the same answer.
func (s *Stream) Forward(index int64) (p Place, ok bool) {
	if s.n == 0 {
		return p, false
	}
	now := s.current()
	if index > now.last {
		if index < now.first {
			return p, false
		}
		now.last = index
		return now.at(index), true
	}
	s.older(func(r *run) bool {
		if r.source != now.source {
			return true
		}
		if ok = index >= r.first && index <= r.last; ok {
			p = r.at(index)
		}
		return ok
	})
	return p, ok
}

func (r *run) at(index int64) Place {
	p := r.place
	p.Seq = uint16(index + r.delta)
	return p
}

// Skip leaves the packet index out and lets numbering close up behind it, picture ids too by so many pictures. It returns false,
// and changes nothing, when a later packet has been forwarded already: then the number is taken and must be used, or the receiver
// will ask for it.
func (s *Stream) Skip(index int64, pictures uint16) bool {
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
		now.place.Picture -= pictures
		return true
	}
	place, source := now.place, now.source
	place.Picture -= pictures
	now.last = index - 1 // packets missing before the one left out keep their numbers
	s.begin(run{source: source, first: index + 1, place: place})
	return true
}

// Lookup tells which packet the sequence number seq stood for: its index and its place. ok is false when it was never given, is
// forgotten, or belongs to a source from before the last switch.
func (s *Stream) Lookup(seq uint16) (index int64, p Place, ok bool) {
	if s.n == 0 {
		return 0, p, false
	}
	now := s.current()
	newest := now.last + now.delta // the same as next-1 in a run without packets
	out := newest + int64(int16(seq-uint16(newest)))
	if out > newest {
		return 0, p, false
	}
	s.older(func(r *run) bool {
		if r.source != now.source {
			return true
		}
		index = out - r.delta
		if ok = index >= r.first && index <= r.last; ok {
			p = r.at(index)
		}
		return ok
	})
	return index, p, ok
}

// Current is the place that the newest packets have, but for Seq; ok is false before Switch.
func (s *Stream) Current() (p Place, ok bool) {
	if s.n == 0 {
		return p, false
	}
	return s.current().place, true
}
