package rtc

import (
	"strconv"
	"time"

	"portico/edge/sfu"
	"portico/edge/sfu/bitrate"
	"portico/edge/sfu/feedback"
	"portico/shared/conference"
	"portico/shared/flight"
)

// What the recorders of sessions and transports tell of. From and To are heights of pictures in pixels for those of the picture,
// bit/s for the estimate, and percent for loss.
const (
	EventEstablished = "established" // its m-lines were negotiated
	EventReady       = "ready"       // media can flow
	EventPath        = "path"        // ICE has chosen a pair of addresses, or another one: Detail
	EventBegins      = "begins"      // a track is sent from now on
	EventStops       = "stops"       // and no more: Reason
	EventLayer       = "layer"       // another layer is sent
	EventReason      = "reason"      // the same is sent for another reason
	EventDisplay     = "display"     // the client shows the picture at another size
	EventKeyFrame    = "key frame"   // was asked for: by whom is in Detail
	EventEstimate    = "estimate"    // of what fits to the client has changed by more than a quarter
	EventLoss        = "loss"        // above lossWorthTelling
	EventConversion  = "conversion"  // what is made for it does not come: Reason
	EventStall       = "stall"       // the client says nothing more of what arrives, or again: Detail
)

const (
	observeInterval  = 250 * time.Millisecond
	pathInterval     = time.Second
	lossWorthTelling = 13 // of 256, as receivers report it: a little more than 5 %
)

// observed is what the steerer saw of an m-line or a transport when it looked last, to tell of changes only.
type observed struct {
	current       sfu.Target
	size          [2]int // of the picture sent
	reason        sfu.Reason
	chosen        sfu.Reason // for which the present target was chosen
	width, height int        // as displayed
	known         bool
}

// sightings is the same of a transport.
type sightings struct {
	at       int64
	estimate bitrate.Bitrate
	stalled  bool
}

// observe records what has changed for the subscriptions of a transport. The steerer calls it after its decisions.
func (s *steering) observe(t *transport, now int64) {
	if now-s.seen.at < int64(observeInterval) {
		return
	}
	s.seen.at = now
	var estimate bitrate.Bitrate
	var stalled bool
	t.estimator.use(now, func(b *bitrate.Estimator) { estimate, stalled = b.Estimate(), b.Stalled() })
	if old := s.seen.estimate; old == 0 {
		s.seen.estimate = estimate
	} else if 4*max(estimate-old, old-estimate) > old {
		s.seen.estimate = estimate
		t.flight.Record(now, flight.Note{Kind: EventEstimate, From: int64(old), To: int64(estimate)})
	}
	if stalled != s.seen.stalled {
		s.seen.stalled = stalled
		detail := "the client reports again"
		if stalled {
			detail = "the client reports nothing"
		}
		t.flight.Record(now, flight.Note{Kind: EventStall, Detail: detail})
	}
	for i := range s.lines {
		s.lines[i].observe(now)
	}
}

// observe records what has changed for one m-line.
func (x *steeredLine) observe(now int64) {
	s, recorder := &x.line.seen, &x.line.session.flight
	if x.width != s.width || x.height != s.height {
		n := flight.Note{Kind: EventDisplay, From: int64(s.height), To: int64(x.height), Detail: sizeText(x.width, x.height)}
		s.width, s.height = x.width, x.height
		recorder.Record(now, n)
	}
	q := x.out.Quality(now)
	if !s.known {
		s.known, s.current = true, sfu.Target{Encoding: -1}
	}
	if q.Current == s.current && (q.Reason == s.reason || q.Reason == sfu.ReasonKeyFrame) {
		return // a key frame that a change waits for is news when it is there
	}
	n := flight.Note{Reason: q.Reason.String(), From: int64(s.size[1])}
	if q.Reason == sfu.ReasonKeyFrame && s.chosen != sfu.ReasonNone { // that of the next change, before which this one came
		n.Reason = s.chosen.String()
	}
	before, at := s.size, now
	s.size = x.sizeOf(q.Current)
	n.To = int64(s.size[1])
	switch sends, sent := q.Current.Encoding >= 0, s.current.Encoding >= 0; {
	case sends && !sent:
		n.Kind, n.Detail = EventBegins, string(x.line.kind)
	case sent && !sends:
		n.Kind, n.Detail = EventStops, string(x.line.kind)
	case q.Current != s.current:
		n.Kind, n.Detail = EventLayer, x.layerText(before, s.current)+" to "+x.layerText(s.size, q.Current)
	default:
		n.Kind, n.Detail, at = EventReason, string(x.line.kind), q.Since.UnixNano()
	}
	s.current, s.reason = q.Current, q.Reason
	recorder.Record(at, n)
}

// sizeOf is the width and height of what is sent, 0 for nothing and while unknown.
func (x *steeredLine) sizeOf(c sfu.Target) (size [2]int) {
	if c.Encoding < 0 || c.Encoding >= len(x.sources) {
		return size
	}
	for _, l := range x.layers {
		if int(l.Encoding) == c.Encoding && l.Spatial == c.Spatial && l.Width != 0 {
			return [2]int{l.Width, l.Height}
		}
	}
	size[0], size[1] = x.sources[c.Encoding].Size()
	return size
}

func sizeText(width, height int) string { return strconv.Itoa(width) + "×" + strconv.Itoa(height) }

// layerText names a layer for people: its size, and the temporal layer where that is not the highest.
func (x *steeredLine) layerText(size [2]int, t sfu.Target) string {
	text := sizeText(size[0], size[1])
	for _, l := range x.layers {
		if int(l.Encoding) == t.Encoding && l.Temporal > t.Temporal && t.Temporal >= 0 {
			return text + " T" + strconv.Itoa(int(t.Temporal))
		}
	}
	return text
}

// layerNumber is the number of the highest layer that is let through, -1 for all.
func layerNumber(n int8) int {
	if n < 0 || n >= 127 {
		return -1
	}
	return int(n)
}

// heard records what the client says of an m-line that it gets.
func (l *mline) heard(p feedback.Packet, now int64) {
	if p.Type == feedback.TypePayload {
		if p.WantsKeyFrame(l.ssrc) {
			l.session.flight.Record(now, flight.Note{Kind: EventKeyFrame, Detail: "the receiver asks for one"})
		}
		return
	}
	p.Reports(func(r feedback.Report) {
		if r.SSRC == l.ssrc {
			l.session.lost(string(l.kind), r.FractionLost, now)
		}
	})
}

// trackName names a published track for people.
func trackName(kind conference.Kind, rid string) string {
	if rid == "" {
		return string(kind)
	}
	return string(kind) + " " + rid
}

// lost records a loss that is worth telling.
func (s *session) lost(what string, fraction uint8, now int64) {
	if fraction >= lossWorthTelling {
		percent := int64(fraction) * 100 / 256
		s.flight.Record(now, flight.Note{Kind: EventLoss, Detail: what, From: percent, To: percent})
	}
}

// reported records what we tell a publisher of how its media arrive.
func (u *upstream) reported(r feedback.Report, now int64) {
	u.fraction.Store(uint32(r.FractionLost))
	u.session.lost(u.name, r.FractionLost, now)
}

// asked records that a publisher was asked for a key frame.
func (u *upstream) asked() {
	u.session.flight.Record(u.transport.engine.now(), flight.Note{Kind: EventKeyFrame, Detail: "asked for of the publisher"})
}

// watchPath records the pair of addresses in use when it is another one than before.
func (t *transport) watchPath(now int64) {
	local, remote := t.addresses()
	if remote == "" {
		return
	}
	n := flight.Note{Kind: EventPath, Reason: "selected", Detail: local + " - " + remote}
	old := t.path.Swap(&n.Detail)
	switch {
	case old == nil:
	case *old == n.Detail:
		return
	default:
		n.Reason = "changed"
	}
	t.flight.Record(now, n)
}

// addresses is the pair in use, empty without one. It asks the connection.
func (t *transport) addresses() (local, remote string) {
	if c := t.way.Load(); c != nil {
		return c.Selected()
	}
	return "", ""
}

// watch looks after the paths of all transports from time to time.
func (s *steerer) watch(now int64) {
	if now-s.watched < int64(pathInterval) {
		return
	}
	s.watched = now
	e := s.engine
	e.mu.Lock()
	for _, t := range e.transports {
		s.paths = append(s.paths, t)
	}
	e.mu.Unlock()
	for _, t := range s.paths {
		t.watchPath(now)
	}
	clear(s.paths)
	s.paths = s.paths[:0]
}

// Of the subscriptions of a publication that have ended, the last are remembered, each with its last events.
const (
	maxEnded       = 8
	maxEndedEvents = 24
)

// EndedSubscription is one that is no more.
type EndedSubscription struct {
	ID, Participant string
	At              time.Time
	Reason          string // empty: its participant ended it, or left
	Events          []flight.Event
}

// remember leaves word of a subscription that ends with the publications that it was of. The Engine's mu is held.
func (s *session) remember(now int64) {
	if s.publishes {
		return
	}
	events := s.flight.Events(nil)
	s.epitaph = &EndedSubscription{
		ID: s.id, Participant: s.transport.participant, At: time.Unix(0, now), Events: events[max(0, len(events)-maxEndedEvents):],
	}
	for _, l := range s.lines {
		if l.feed == nil || l.feed.line.session == nil { // a slot's, who is in it changes
			continue
		}
		of := l.feed.line.session
		if len(of.gone) > 0 && of.gone[len(of.gone)-1] == s.epitaph { // sound and picture of one publication
			continue
		}
		if len(of.gone) == maxEnded {
			copy(of.gone, of.gone[1:])
			of.gone = of.gone[:maxEnded-1]
		}
		of.gone = append(of.gone, s.epitaph)
	}
}
