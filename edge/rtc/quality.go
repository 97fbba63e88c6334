package rtc

import (
	"cmp"
	"slices"
	"time"

	"portico/edge/sfu"
	"portico/edge/sfu/bitrate"
	"portico/shared/conference"
	"portico/shared/flight"
)

// Bounds of one Quality.
const (
	maxQualitySubscriptions = 200
	maxQualityEvents        = 64 // of a session, the newest
)

// Quality is what becomes of a publication, and why: what comes, and what each subscriber gets of it.
type Quality struct {
	ID, Participant, Transport string
	Path                       Path
	Tracks                     []TrackQuality
	Events                     []flight.Event // of the session and its transport, oldest first
	// Subscriptions are in the order of their participants' ids. Of very many only the first are here; Omitted counts the others.
	Subscriptions []SubscriptionQuality
	Omitted       int
	Ended         []EndedSubscription // the last of those that have ended, oldest first
}

// Path is the pair of addresses that ICE has chosen, each with its type and network; empty before there is one.
type Path struct{ Local, Remote string }

// TrackQuality is one encoding that a publisher sends.
type TrackQuality struct {
	ID, Mid, Rid  string
	Kind          conference.Kind
	Format        conference.Format
	Muted         bool
	Width, Height int             // 0 while unknown
	Layers        []sfu.LayerRate // of video; read only
	Loss          float64         // part lost on the way here, as last reported to the publisher: 0 to 1
	Stats         sfu.EncodingStats
}

// SubscriptionQuality is what one subscription gets.
type SubscriptionQuality struct {
	ID, Participant, Transport string
	Ready                      bool
	Path                       Path
	Network                    bitrate.Snapshot // of the transport
	Tracks                     []ReceivedTrack
	Events                     []flight.Event
}

// ReceivedTrack is one track of a subscription.
type ReceivedTrack struct {
	Kind    conference.Kind
	Mid     string
	From    string // id of the track that it was subscribed to
	Made    string // Mixed or Transcoded; empty: it is forwarded as it came
	Format  conference.Format
	Adapts  bool // it gets what fits
	Display conference.Resolution
	// Source is the largest there is, Target what it is meant to get, Current what it gets; nil for nothing.
	Source, Target, Current *Layer
	Reason                  sfu.Reason // why not all of Source
	Since                   time.Time  // when that became the reason
	Bitrate                 float64    // bit/s sent, without what was sent again
	FrameRate               float64
	Stats                   sfu.SubscriptionStats
}

// How a received track came to be.
const (
	Mixed      = "mixed"
	Transcoded = "transcoded"
)

// madeHow is one of these. The Engine's mu is held.
func (l *mline) madeHow() string {
	switch {
	case l.made == nil:
		return ""
	case l.feed.virtual:
		return Mixed
	}
	return Transcoded
}

// Layer is a picture that is, or could be, sent. Of audio only Rid means something.
type Layer struct {
	Rid               string
	Spatial, Temporal int // highest layer of it, -1 for all
	Width, Height     int // 0 while unknown
}

// Quality looks at a publication; ok is false when there is none with that id. With a participant's id its subscriptions are shown alone.
func (e *Engine) Quality(publication, subscriber string) (q Quality, ok bool) {
	now := e.now()
	e.mu.Lock()
	s, lines := e.sessions[publication], e.linesOf(publication)
	if s != nil && !s.publishes || s == nil && lines == nil {
		e.mu.Unlock()
		return q, false
	}
	var t *transport
	if q.ID = publication; s != nil {
		t = s.transport
		q.Participant, q.Transport, q.Events = t.participant, t.id, s.events()
	} else {
		q.Participant = e.remotes[publication].spec.Participant
	}
	for _, p := range tracksOf(lines) {
		q.Tracks = append(q.Tracks, p.quality(now))
	}
	subscriptions := subscriptionsOf(lines, subscriber)
	q.Omitted = max(0, len(subscriptions)-maxQualitySubscriptions)
	subscriptions = subscriptions[:len(subscriptions)-q.Omitted]
	for _, sub := range subscriptions {
		q.Subscriptions = append(q.Subscriptions, sub.quality(now))
	}
	if s != nil {
		for _, ended := range s.gone {
			if subscriber == "" || subscriber == ended.Participant {
				q.Ended = append(q.Ended, *ended)
			}
		}
	}
	e.mu.Unlock()
	if t != nil {
		q.Path.Local, q.Path.Remote = t.addresses()
	}
	for i, sub := range subscriptions {
		sub.transport.complete(&q.Subscriptions[i], now)
	}
	return q, true
}

// SubscriptionQuality looks at one subscription; ok is false when there is none with that id.
func (e *Engine) SubscriptionQuality(session string) (q SubscriptionQuality, ok bool) {
	now := e.now()
	e.mu.Lock()
	s := e.sessions[session]
	if s == nil || s.publishes {
		e.mu.Unlock()
		return q, false
	}
	q = s.quality(now)
	e.mu.Unlock()
	s.transport.complete(&q, now)
	return q, true
}

// subscriptionsOf are those of a publication's m-lines, or those of one participant among them, in a fixed order. The Engine's mu is held.
func subscriptionsOf(lines []*mline, participant string) []*session {
	var list []*session
	for _, l := range lines {
		for _, p := range l.tracks {
			for sub := range p.subscribers {
				if participant == "" || participant == sub.transport.participant {
					list = append(list, sub)
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b *session) int {
		return cmp.Or(cmp.Compare(a.transport.participant, b.transport.participant), cmp.Compare(a.id, b.id))
	})
	return slices.Compact(list)
}

// events are the last of the session and its transport, in order. They may be read without a lock.
func (s *session) events() []flight.Event {
	events := s.transport.flight.Events(s.flight.Events(nil))
	slices.SortStableFunc(events, func(a, b flight.Event) int { return cmp.Compare(a.At, b.At) })
	return events[max(0, len(events)-maxQualityEvents):]
}

// quality is what comes of a published track. The Engine's mu is held.
func (p *published) quality(now int64) TrackQuality {
	q := TrackQuality{
		ID: p.id, Mid: p.line.mid, Rid: p.rid, Kind: p.line.kind, Format: p.format, Muted: p.muted, Layers: p.encoding.Layers(now),
		Loss: float64(p.up.fraction.Load()) / 256, Stats: p.encoding.Stats(),
	}
	q.Width, q.Height = p.encoding.Size()
	return q
}

// quality is what a subscription gets, without what its transport knows. The Engine's mu is held.
func (s *session) quality(now int64) SubscriptionQuality {
	q := SubscriptionQuality{ID: s.id, Participant: s.transport.participant, Transport: s.transport.id, Ready: s.ready, Events: s.events()}
	for _, l := range s.lines {
		if l.out != nil && l.feed != nil {
			q.Tracks = append(q.Tracks, l.quality(now))
		}
	}
	return q
}

// complete fills in what a transport knows.
func (t *transport) complete(q *SubscriptionQuality, now int64) {
	q.Path.Local, q.Path.Remote = t.addresses()
	t.estimator.use(now, func(b *bitrate.Estimator) { q.Network = b.Snapshot() })
}

// quality is what a subscribed m-line gets. The Engine's mu is held.
func (l *mline) quality(now int64) ReceivedTrack {
	sent := l.out.Quality(now)
	q := ReceivedTrack{
		Kind: l.kind, Mid: l.mid, From: l.from, Made: l.madeHow(), Format: l.sent, Adapts: l.adapts && l.made == nil, Display: l.display,
		Reason: sent.Reason, Since: sent.Since, Bitrate: sent.Bitrate, FrameRate: sent.FrameRate, Stats: l.out.Stats(),
	}
	sources := l.order(nil)
	q.Source = l.layer(sources, sfu.All(len(sources)-1), now)
	q.Target, q.Current = l.layer(sources, sent.Target, now), l.layer(sources, sent.Current, now)
	return q
}

// layer describes what of the m-line's sources a target means, nil when it means nothing. The Engine's mu is held.
func (l *mline) layer(sources []*sfu.Encoding, t sfu.Target, now int64) *Layer {
	if t.Encoding < 0 || len(sources) == 0 {
		return nil
	}
	e := sources[min(t.Encoding, len(sources)-1)]
	x := &Layer{Rid: l.ridOf(e), Spatial: layerNumber(t.Spatial), Temporal: layerNumber(t.Temporal)}
	x.Width, x.Height = e.Size()
	for _, r := range e.Layers(now) {
		if int(r.Spatial) == x.Spatial && r.Width != 0 {
			x.Width, x.Height = r.Width, r.Height
		}
	}
	return x
}

// ridOf is the rid of an encoding of the m-line's source. The Engine's mu is held.
func (l *mline) ridOf(e *sfu.Encoding) string {
	if l.feed.line == nil {
		return ""
	}
	for _, p := range l.feed.line.tracks {
		if p.encoding == e {
			return p.rid
		}
	}
	return ""
}
