package rtc

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"portico/edge/sfu"
	"portico/edge/sfu/bitrate"
	"portico/edge/sfu/feedback"
	"portico/shared/conference"
)

// How often it is decided anew what to send.
const (
	steerInterval = 100 * time.Millisecond
	probeInterval = 10 * time.Millisecond // while some transport is probing
)

// estimator is a transport's view of its way to the client. The worker notes what it sends, the reader what the client says of it, the
// steerer asks.
type estimator struct {
	mu  sync.Mutex // a leaf
	est *bitrate.Estimator
}

// use calls f with the Estimator, which is made at the first use.
func (b *estimator) use(now int64, f func(*bitrate.Estimator)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.est == nil {
		b.est = bitrate.New(bitrate.Config{}, now)
	}
	f(b.est)
}

// sent notes a packet with or without a transport-wide number.
func (b *estimator) sent(packet []byte, number uint16, numbered bool, now int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.est == nil {
		b.est = bitrate.New(bitrate.Config{}, now)
	}
	switch {
	case !numbered:
		b.est.SentPlain(len(packet), now)
	case packet[0]&0x20 != 0 && int(packet[len(packet)-1]) >= len(packet)-12-maxHeaderExtension: // nothing but padding
		b.est.SentPadding(number, len(packet), now)
	default:
		b.est.Sent(number, len(packet), now)
	}
}

// maxHeaderExtension is the longest header extension of a packet of padding, in bytes.
const maxHeaderExtension = 16

// receive takes the RTCP packets that tell how our media arrive.
func (b *estimator) receive(p feedback.Packet, now int64) {
	switch {
	case p.Type == feedback.TypeTransport && p.Format == formatTransportCC && len(p.Body) > 4:
		b.use(now, func(e *bitrate.Estimator) { _ = e.Feedback(p.Body[4:], now) }) // what is malformed is of no use
	case p.Type == feedback.TypePayload && p.Format == formatApplication:
		if bps, ok := readREMB(p.Body); ok {
			b.use(now, func(e *bitrate.Estimator) { e.REMB(bps, now) })
		}
	default:
		p.Reports(func(r feedback.Report) {
			b.use(now, func(e *bitrate.Estimator) { e.Report(r.FractionLost, roundTrip(r, now), now) })
		})
	}
}

// Formats of feedback that the forwarding core has no use for.
const (
	formatTransportCC = 15 // of TypeTransport
	formatApplication = 15 // of TypePayload
)

// readREMB reads the rate of a REMB (draft-alvestrand-rmcat-remb-03 section 2.2): after the media SSRC "REMB", the number of SSRCs, an
// exponent of 6 bits and a mantissa of 18.
func readREMB(body []byte) (bps uint64, ok bool) {
	if len(body) < 12 || string(body[4:8]) != "REMB" {
		return 0, false
	}
	word := binary.BigEndian.Uint32(body[8:])
	exponent, mantissa := word>>18&0x3f, uint64(word&0x3ffff)
	if mantissa<<exponent>>exponent != mantissa {
		return 1 << 62, true
	}
	return mantissa << exponent, true
}

// roundTrip is the time that a report block shows (RFC 3550 section 6.4.1), 0 when it shows none.
func roundTrip(r feedback.Report, now int64) time.Duration {
	if r.LastSR == 0 {
		return 0
	}
	took := int32(uint32(feedback.ToNTP(now)>>16) - r.LastSR - r.Delay)
	if took <= 0 || took > 60<<16 {
		return 0
	}
	return time.Duration(took) * time.Second >> 16
}

// steerer decides what the transports send: one goroutine for all. Between its rounds nothing changes but by the clients' wishes.
type steerer struct {
	engine *Engine
	end    chan struct{}
	once   sync.Once // of closing end
	done   chan struct{}
	kick   chan struct{} // one token: the next round is to come soon

	// The goroutine's own.
	transports []*transport
	paths      []*transport                      // scratch
	taps       []tapRound                        // scratch
	watched    int64                             // when the paths were looked at
	rates      map[*sfu.Encoding][]sfu.LayerRate // of this round
	wanted     wanted
}

func newSteerer(e *Engine) *steerer {
	s := &steerer{
		engine: e, end: make(chan struct{}), done: make(chan struct{}), kick: make(chan struct{}, 1),
		rates: make(map[*sfu.Encoding][]sfu.LayerRate),
	}
	go s.run()
	return s
}

func (s *steerer) close() {
	s.once.Do(func() { close(s.end) })
	<-s.done
}

func (s *steerer) run() {
	defer close(s.done)
	timer := time.NewTimer(steerInterval)
	defer timer.Stop()
	var steered int64
	for {
		interval := steerInterval
		select {
		case <-timer.C:
		case <-s.kick:
			interval = probeInterval
		case <-s.end:
			return
		}
		now := s.engine.now()
		if wait := probeInterval - time.Duration(now-steered); interval == probeInterval && wait > 0 {
			s.soon()
			select {
			case <-time.After(wait):
			case <-s.end:
				return
			}
			continue
		}
		waiting := s.succession(now)
		if now-steered >= int64(interval) || now-steered >= int64(steerInterval) {
			steered = now
			s.round(now)
			s.wanted.tell(s.engine, now)
			s.watch(now)
		}
		if s.probe(now) || waiting { // also what the round has planned, which must not go out as one lump
			timer.Reset(probeInterval)
		} else {
			timer.Reset(steerInterval)
		}
	}
}

// soon lets the next round come within probeInterval: something has changed that somebody waits for.
func (s *steerer) soon() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// round decides for every transport that sends.
func (s *steerer) round(now int64) {
	e := s.engine
	clear(s.rates)
	e.mu.Lock()
	s.transports = append(s.transports[:0], e.senders...)
	for _, t := range s.transports {
		t.steering.lineUp(t, now)
	}
	e.mu.Unlock()
	for _, t := range s.transports {
		t.steering.decide(s, t, now)
	}
	s.steerTaps(now)
}

// probe lets the transports that want to know more send padding, and tells whether some are at it.
func (s *steerer) probe(now int64) bool {
	some := false
	for _, t := range s.transports {
		var bytes int
		t.estimator.use(now, func(b *bitrate.Estimator) {
			_, bytes, _ = b.Probe(now)
			some = some || b.Probing()
		})
		if bytes > 0 {
			t.steering.pad(bytes)
		}
	}
	return some
}

// layers are an encoding's, measured once a round.
func (s *steerer) layers(e *sfu.Encoding, now int64) []sfu.LayerRate {
	rates, ok := s.rates[e]
	if !ok {
		rates = e.Layers(now)
		s.rates[e] = rates
	}
	return rates
}

// steering is what a transport's subscriptions are given. It is the steerer's, but for what lineUp is given under the Engine's mu.
type steering struct {
	lines     []steeredLine
	allocator bitrate.Allocator
	demands   []bitrate.Demand
	grants    []bitrate.Grant
	seen      sightings
}

// steeredLine is one m-line as of the beginning of a round.
type steeredLine struct {
	line    *mline
	out     *sfu.Subscription
	sources []*sfu.Encoding
	made    *conversion // nil: the sources are as they were published
	fed     int         // the m-line's fedTimes
	adapts  bool
	flat    bool
	paused  bool
	width   int // as displayed
	height  int
	off     []bool          // of the sources, that nobody sends them but would
	sizes   [][2]int        // of the sources' pictures, as far as they are known
	remote  bool            // what it is fed by is published on another edge
	active  bool            // the subscriber has not paused it
	layers  []bitrate.Layer // scratch
}

// lineUp takes note of what the transport sends. The Engine's mu is held.
func (s *steering) lineUp(t *transport, now int64) {
	n := 0
	for _, l := range t.sending {
		if l.out == nil || l.session.ended {
			continue
		}
		if n == len(s.lines) {
			s.lines = append(s.lines, steeredLine{})
			s.grants = append(s.grants, bitrate.Grant{})
		}
		x := &s.lines[n]
		if x.line != l {
			s.grants[n] = bitrate.Grant{}
		}
		from := l.supply()
		x.line, x.out, x.made, x.fed, x.flat, x.paused = l, l.out, from.made, l.fedTimes, l.flat, !l.active || !l.open || l.feed.muted
		x.adapts = from.adapts && from.made == nil
		x.width, x.height = l.display.Width, l.display.Height
		x.sources = from.order(x.sources[:0])
		x.off, x.sizes = from.offs(x.off[:0], x.sizes[:0], x.sources, now)
		x.remote, x.active = from.made == nil && from.feed.remote != nil, l.active && l.open
		n++
	}
	clear(s.lines[n:])
	s.lines, s.grants = s.lines[:n], s.grants[:n]
}

// order appends the encodings that an m-line chooses from, the smallest picture first. The Engine's mu is held.
func (l *mline) order(list []*sfu.Encoding) []*sfu.Encoding {
	s := l.supply()
	return s.order(list)
}

// supply is where the media of an m-line come from at present. The Engine's mu is held.
func (l *mline) supply() supply {
	if l.before != nil {
		return *l.before
	}
	return supply{l.feed, l.made, l.adapts}
}

// order is the same of where media come from: nothing while what is made has not come.
func (s *supply) order(list []*sfu.Encoding) []*sfu.Encoding {
	switch {
	case s.made != nil && s.made.encoding != nil:
		return append(list, s.made.encoding)
	case s.made != nil || s.feed.encoding == nil:
		return list
	case !s.adapts || s.feed.line == nil || len(s.feed.line.tracks) < 2:
		return append(list, s.feed.encoding)
	}
	return smallestFirst(list, s.feed.line.tracks)
}

// smallestFirst appends the encodings of tracks, the smallest picture first. The Engine's mu is held.
func smallestFirst(list []*sfu.Encoding, tracks []*published) []*sfu.Encoding {
	start := len(list)
	for i, p := range tracks {
		at, area := start, p.area()
		for _, before := range tracks[:i] {
			if before.area() <= area {
				at++
			}
		}
		list = slices.Insert(list, min(at, len(list)), p.encoding)
	}
	return list
}

// offs says of each source whether it is off, though it would come if somebody asked for it, and how large it is. The Engine's mu is
// held.
func (s *supply) offs(list []bool, sizes [][2]int, sources []*sfu.Encoding, now int64) ([]bool, [][2]int) {
	for _, e := range sources {
		var off bool
		var size [2]int
		size[0], size[1] = e.Size()
		if s.made == nil && s.feed.line != nil {
			for _, p := range s.feed.line.tracks {
				if p.encoding == e {
					off = p.rests(now)
					size[0], size[1] = p.size()
				}
			}
		}
		list, sizes = append(list, off), append(sizes, size)
	}
	return list, sizes
}

// rests tells whether nobody sends the track at the moment, because nobody wants it. The Engine's mu is held.
func (p *published) rests(now int64) bool { return p.off || p.remote != nil && p.remote.rests(now) }

// decide divides what there is among the subscriptions.
func (s *steering) decide(steerer *steerer, t *transport, now int64) {
	s.demands = s.demands[:0]
	for i := range s.lines {
		s.demands = append(s.demands, s.lines[i].demand(steerer, now))
	}
	var budget bitrate.Budget
	var rtt time.Duration
	t.estimator.use(now, func(b *bitrate.Estimator) {
		b.Update(now)
		budget, rtt = b.Budget(), b.RTT()
	})
	s.allocator.Allocate(now, budget, s.demands, s.grants)
	t.estimator.use(now, func(b *bitrate.Estimator) { b.Want(s.allocator.Wanted() + s.missing()) })
	s.tellCeilings(budget, now)
	s.repair(budget, rtt)
	for i := range s.lines {
		s.lines[i].apply(s.grants[i], now)
		s.lines[i].grant(&steerer.wanted, s.grants[i], now)
	}
	s.observe(t, now)
}

// leastRepair is how much may be sent again, in bytes a second, even where little fits: what was lost of a small picture is worth it.
const leastRepair = 15_000

// repair bounds what is sent again by a half of what fits, so that answers to losses do not keep a queue full.
func (s *steering) repair(budget bitrate.Budget, rtt time.Duration) {
	if budget.Starting { // nothing is known yet
		return
	}
	videos := 0
	for i := range s.lines {
		if s.lines[i].line.kind == conference.Video {
			videos++
		}
	}
	for i := range s.lines {
		if x := &s.lines[i]; x.line.kind == conference.Video {
			x.out.SetRepair(feedback.Repair{Rate: max(leastRepair, int(budget.Rate)/8/2) / videos, Pause: rtt})
		}
	}
}

// sizeOrGuess is the size of an encoding's picture. One that was turned off before it ever came is taken to be twice as large as the one
// below it: without any size, the others would not be held against the display either.
func (x *steeredLine) sizeOrGuess(i int) (width, height int) {
	if width, height = x.sources[i].Size(); width == 0 && i < len(x.sizes) {
		width, height = x.sizes[i][0], x.sizes[i][1]
	}
	if n := len(x.layers); width == 0 && n > 0 {
		width, height = 2*x.layers[n-1].Width, 2*x.layers[n-1].Height
	}
	return width, height
}

// demand is what an m-line would like to get.
func (x *steeredLine) demand(steerer *steerer, now int64) bitrate.Demand {
	d := bitrate.Demand{Kind: bitrate.Video, Width: x.width, Height: x.height, Paused: x.paused}
	if x.line.kind == conference.Audio {
		d.Kind = bitrate.Audio
	}
	x.layers = x.layers[:0]
	for i, e := range x.sources {
		rates := steerer.layers(e, now)
		if len(rates) == 0 && i < len(x.off) && x.off[i] { // it comes back when it is asked for
			width, height := x.sizeOrGuess(i)
			x.layers = append(x.layers, bitrate.Layer{Encoding: int8(i), Spatial: -1, Temporal: -1, Width: width, Height: height})
		}
		for _, r := range rates {
			if x.flat && r.Spatial > 0 {
				continue
			}
			x.layers = append(x.layers, bitrate.Layer{
				Encoding: int8(i), Spatial: r.Spatial, Temporal: r.Temporal, Width: r.Width, Height: r.Height,
				FrameRate: r.FrameRate, Bitrate: bitrate.Bitrate(r.Bitrate),
			})
		}
	}
	x.guessFrames()
	d.Layers = x.layers
	return d
}

// guessFrames takes those that do not come to have as many pictures as the others: with none, a larger one would count for less than a
// smaller one that comes, and would never be asked for.
func (x *steeredLine) guessFrames() {
	most := 0.0
	for i := range x.layers {
		most = max(most, x.layers[i].FrameRate)
	}
	for i := range x.layers {
		if l := &x.layers[i]; l.FrameRate == 0 && l.Bitrate == 0 {
			l.FrameRate = most
		}
	}
}

// apply tells the forwarding core what to send.
func (x *steeredLine) apply(g bitrate.Grant, now int64) {
	if !x.adapts || x.line.kind != conference.Video || x.paused || g.Reason == bitrate.Unknown {
		return
	}
	x.line.feeding.Lock()
	defer x.line.feeding.Unlock()
	if x.line.fedTimes != x.fed { // these are not its sources any more
		return
	}
	x.out.SetSources(x.sources, now) // the same ones change nothing
	target := sfu.Target{Encoding: -1}
	if g.Layer >= 0 && g.Layer < len(x.layers) {
		target = x.target(&x.layers[g.Layer])
	}
	x.line.seen.chosen = steerReason(g.Reason)
	x.out.SetTarget(target, x.line.seen.chosen, now)
}

// target asks for a layer, with all of its pictures where no temporal layer above it has come lately: an encoder that drops pictures
// after a key frame drops these, and the receiver is to get them as soon as they come again.
func (x *steeredLine) target(l *bitrate.Layer) sfu.Target {
	t := sfu.Target{Encoding: int(l.Encoding), Spatial: l.Spatial, Temporal: l.Temporal}
	if x.flat {
		t.Spatial = 0
	}
	for i := range x.layers {
		if o := &x.layers[i]; o.Encoding == l.Encoding && o.Spatial == l.Spatial && o.Temporal > l.Temporal {
			return t
		}
	}
	t.Temporal = -1
	return t
}

// steerReason puts the allocation's reason into the words of the forwarding core.
func steerReason(r bitrate.Reason) sfu.Reason {
	switch r {
	case bitrate.Everything:
		return sfu.ReasonSourceEnds
	case bitrate.LimitedByDisplay, bitrate.Hidden:
		return sfu.ReasonDisplayed
	case bitrate.LimitedByBandwidth, bitrate.PausedForBandwidth:
		return sfu.ReasonBandwidth
	}
	return sfu.ReasonNone
}

// pad sends padding on the first stream that can carry it.
func (s *steering) pad(bytes int) {
	if bytes <= 0 {
		return
	}
	for i := range s.lines {
		if x := &s.lines[i]; x.line.kind == conference.Video && !x.paused {
			x.out.Pad(bytes)
			return
		}
	}
}
