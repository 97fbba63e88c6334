package rtc

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"portico/edge/sfu"
	"portico/shared/conference"
	"portico/shared/flight"
)

// session is a publication or a subscription: a set of m-lines on one transport. The Engine's mu guards its fields.
type session struct {
	id        string
	transport *transport
	publishes bool
	accept    conference.MediaIn // of a publication
	lines     []*mline
	timer     *time.Timer // until its offer comes

	established bool // an offer with its m-lines was answered
	ready       bool // and its owner was told that media can flow
	ended       bool
	resized     atomic.Bool // news of a picture's size is on its way; this one needs no lock

	flight  flight.Recorder      // needs no lock
	gone    []*EndedSubscription // of a publication: the last that have ended
	epitaph *EndedSubscription   // of a subscription that has ended
}

// mline is one m-line of a session. The Engine's mu guards its fields.
type mline struct {
	session *session
	kind    conference.Kind
	mid     string
	source  string                // of a publication
	svc     bool                  // of a publication: one encoding with all layers in it
	from    string                // of a subscription: the id of the source
	feed    *published            // and the source
	active  bool                  // of a subscription: not paused
	adapts  bool                  // it gets what fits, of all layers that the source has
	flat    bool                  // and of spatial layers in one stream only the lowest: the client could not put them together
	display conference.Resolution // the size at which the client shows it, 0 while unknown

	accepted bool // negotiated with a codec
	open     bool // the client still wants it
	codec    string

	making     Making            // of a subscription: what the source is to be made into
	negotiated format            // as the client offered it
	sent       conference.Format // what goes out in it
	made       *conversion       // by which; nil: the source goes out as it is
	before     *supply           // goes on until made has come; nil: nothing
	feeding    sync.Mutex        // orders changes of what out gets; taken before the Engine's mu
	fedTimes   int               // how often out was fed otherwise; changed with feeding and the Engine's mu held

	obeys   bool              // of a publication: its client turns layers off when it is told that nobody has a use for them
	begun   int64             // when its layers were looked at first; the steerer's alone
	tracks  []*published      // of a publication: one, or one per rid
	grouped bool              // its rids are made up: the layers are known by their SSRCs
	out     *sfu.Subscription // of a subscription
	ssrc    uint32
	rtxSSRC uint32
	seen    observed // the steerer's alone
}

// published is a track that can be subscribed to. The Engine's mu guards its fields.
type published struct {
	id          string
	line        *mline
	rid         string
	format      conference.Format
	clock       int
	encoding    *sfu.Encoding
	up          *upstream
	muted       bool
	off         bool // its publisher was told not to send it
	virtual     bool // it is a feed's: there is no encoding, all that goes out is made
	subscribers map[*session]bool
	taps        map[*Tap]bool
	engine      *Engine     // of what has an encoding of its own
	remote      *remoteFlow // of what is published on another edge; nil: here
	gone        bool        // it has ended
	heir        *published  // that gets what is fed by it: see inherit.go
	forebears   []*published
}

// size is that of the picture, as far as it is known.
func (p *published) size() (width, height int) {
	width, height = p.encoding.Size()
	if width == 0 && p.remote != nil {
		return p.remote.size.Width, p.remote.size.Height
	}
	return width, height
}

// area is that in pixels; one that is not known is the largest.
func (p *published) area() int {
	if width, height := p.size(); width != 0 {
		return width * height
	}
	return 1 << 30
}

// publication is whose track it is: the session that published it, here or on another edge.
func (p *published) publication() string {
	switch {
	case p.remote != nil:
		return p.remote.of.spec.Session
	case p.line.session != nil:
		return p.line.session.id
	}
	return ""
}

// enter makes the session known and starts the clock for its offer. The Engine's mu is held.
func (s *session) enter(t *transport) {
	e := t.engine
	s.transport = t
	e.sessions[s.id] = s
	t.sessions[s.id] = s
	for _, l := range s.lines {
		t.lines[l.mid] = l
		if l.feed != nil {
			l.feed.subscribers[s] = true
		}
	}
	s.timer = time.AfterFunc(e.config.SessionTimeout, func() { s.fail(ReasonNoOffer, func() bool { return !s.established }) })
}

// fail ends the session and tells its owner why, if it is still alive and the condition holds; nil is none.
func (s *session) fail(reason string, condition func() bool) {
	e := s.transport.engine
	var effects effects
	e.mu.Lock()
	if !s.ended && (condition == nil || condition()) {
		s.end(&effects)
		effects.tell(s, reason)
	}
	e.mu.Unlock()
	effects.run(e.now())
}

// end takes the session out, and with a publication its subscriptions. What has to be done without the lock goes to effects.
// The Engine's mu is held.
func (s *session) end(effects *effects) {
	if s.ended {
		return
	}
	s.ended = true
	s.timer.Stop()
	e, t := s.transport.engine, s.transport
	s.remember(e.now())
	delete(e.sessions, s.id)
	delete(t.sessions, s.id)
	for _, l := range s.lines {
		if t.lines[l.mid] == l { // a dropped one's mid may belong to another session by now
			delete(t.lines, l.mid)
		}
		if l.feed != nil {
			delete(l.feed.subscribers, s)
		}
		effects.leave(l)
		if l.out != nil {
			t.unsend(l)
			effects.closeOut(t, l)
			e.totals.addSubscription(l.out.Stats())
		}
		for _, p := range l.tracks {
			p.end(effects)
		}
		if len(l.tracks) > 0 {
			effects.unroute(t, l.mid)
		}
	}
}

// end takes the track out. The Engine's mu is held.
func (p *published) end(effects *effects) {
	if p.gone {
		return
	}
	e := p.engine
	p.gone = true
	if e.tracks[p.id] == p {
		delete(e.tracks, p.id)
	}
	effects.closeIn(p.encoding)
	e.totals.addEncoding(p.encoding.Stats())
	p.bequeath(effects)
	for tap := range p.taps {
		tap.lost(effects)
	}
	p.lose(effects)
}

// describe is the publication's tracks in the words of the room. The Engine's mu is held.
func (s *session) describe() []conference.Track {
	var tracks []conference.Track
	for _, l := range s.lines {
		for _, p := range l.tracks {
			track := conference.Track{
				ID: p.id, Kind: l.kind, Source: l.source, Mid: l.mid, Rid: p.rid, Format: p.format, Inactive: p.muted,
			}
			width, height := p.size()
			track.Parameters.Resolution = conference.Resolution{Width: width, Height: height}
			tracks = append(tracks, track)
		}
	}
	return tracks
}

// publish makes the tracks of an accepted m-line. The Engine's mu is held.
func (l *mline) publish(s *section, f *format) {
	t := l.session.transport
	rids := l.layers(s, f)
	for _, rid := range rids {
		id := t.id + "-" + l.mid
		if rid != "" {
			id += ":" + rid
		}
		p := &published{
			id: id, line: l, rid: rid, format: f.reported(), clock: f.clock, up: &upstream{transport: t, session: l.session, name: trackName(l.kind, rid)},
			subscribers: make(map[*session]bool), engine: t.engine,
		}
		feedback := s.feedback(f, recvOnly)
		config := sfu.EncodingConfig{
			Video: l.kind == conference.Video, Codec: f.name, ClockRate: f.clock, PayloadType: f.payloadType,
			NACK: len(feedback) > 0 && feedback[0] == "nack", Upstream: p.up, Timeline: &t.timeline,
			Extensions: extensions(s, f),
		}
		if config.Video {
			config.Picture = func(int, int) { t.pictureChanged(l.session) }
		} else {
			config.Level = p.heard // the selectors hear the track
		}
		p.encoding = sfu.NewEncoding(config)
		l.tracks = append(l.tracks, p)
		t.engine.tracks[id] = p
	}
}

// layers are the rids of the tracks that an m-line becomes: those of its simulcast, or one empty. A simulcast by SSRCs gets
// rids by their order, and one of VP9 with a scalability mode is none (portal protocol 8.8).
func (l *mline) layers(s *section, f *format) []string {
	switch {
	case l.kind == conference.Audio:
	case len(s.rids) > 1:
		return s.rids
	case len(s.rids) == 0 && len(s.layers) > 1 && !(l.svc && f.name == "vp9"):
		l.grouped = true
		var rids []string
		for i := range s.layers {
			rids = append(rids, strconv.Itoa(i))
		}
		return rids
	}
	return []string{""}
}

// subscribe makes the outgoing stream of an accepted m-line. The Engine's mu is held.
func (l *mline) subscribe(s *section, f *format) {
	t := l.session.transport
	l.ssrc = 1 + rand.Uint32N(1<<32-2)
	l.rtxSSRC = 1 + (l.ssrc+rand.Uint32N(1<<32-3))%(1<<32-2) // another one
	x := extensionsOut(s, f)
	l.flat = f.name == "av1" && x.DependencyDescriptor == 0
	l.out = sfu.NewSubscription(sfu.SubscriptionConfig{
		Video: l.kind == conference.Video, SSRC: l.ssrc, RTXSSRC: l.rtxSSRC, ClockRate: f.clock, PayloadType: f.payloadType,
		Extensions: x, Sink: t, Writer: t.workerFor().writer,
	})
}

// extensions are the header extensions of a published m-line that the forwarding core reads.
func extensions(s *section, f *format) sfu.Extensions {
	x := sfu.Extensions{AudioLevel: s.extensionID(extAudioLevel)}
	if f.name == "av1" {
		x.DependencyDescriptor = s.extensionID(extDependency)
	}
	return x
}

// extensionsOut are those of a subscribed one. Without an RTX stream packets are sent again as they were, to the bit, as SRTP
// demands: then they can have no transport-wide number, which would be another one.
func extensionsOut(s *section, f *format) sfu.Extensions {
	x := extensions(s, f)
	x.AudioLevel = oneByteID(x.AudioLevel)
	if s.rtxOf(f) != nil && slices.Contains(f.feedback, "transport-cc") {
		x.TransportSeq = oneByteID(s.extensionID(extTransportSeq))
	}
	return x
}

// oneByteID is an extension's id if it fits the form with one byte, else 0: then the extension is not sent.
func oneByteID(id uint8) uint8 {
	if id > 14 {
		return 0
	}
	return id
}

// effects is what has to be done after the Engine's lock is given back: calls into the forwarding core, and news for owners.
type effects struct {
	closing []*sfu.Encoding
	outs    []outEffect
	routes  []routeEffect
	news    []newsEffect
	ended   []func()      // those who tapped what has ended
	opening []*conversion // before those leaving, as they may have something in common
	leaving []*conversion
	feeding []*mline // get another source
	tapping []*Tap   // as well
	pulls   []*published
}

type outEffect struct {
	transport *transport // set: the stream ends
	out       *sfu.Subscription
	ssrc      uint32
	active    bool
}

type routeEffect struct {
	transport *transport
	mid       string
}

type newsEffect struct {
	session *session
	reason  string
}

func (x *effects) closeIn(e *sfu.Encoding) { x.closing = append(x.closing, e) }

func (x *effects) closeOut(t *transport, l *mline) {
	x.outs = append(x.outs, outEffect{transport: t, out: l.out, ssrc: l.ssrc})
}

// addActive applies the m-line's wish to be paused or not.
func (x *effects) addActive(l *mline) {
	if l.out != nil {
		x.outs = append(x.outs, outEffect{out: l.out, active: l.active && l.open})
	}
}

// leave lets go of what was made for an m-line.
func (x *effects) leave(l *mline) {
	if l.made != nil {
		x.leaving = append(x.leaving, l.made)
	}
	if l.before != nil && l.before.made != nil {
		x.leaving = append(x.leaving, l.before.made)
	}
}

func (x *effects) unroute(t *transport, mid string) { x.routes = append(x.routes, routeEffect{t, mid}) }

// tell lets the session's owner know that it failed, in order with all that its transport reports.
func (x *effects) tell(s *session, reason string) {
	x.news = append(x.news, newsEffect{s, reason})
	if s.epitaph != nil {
		s.epitaph.Reason = reason
	}
}

func (x *effects) run(now int64) {
	for _, o := range x.outs {
		if o.transport == nil {
			o.out.SetActive(o.active, now)
			continue
		}
		o.out.Close()
		o.transport.streams.removeOut(o.ssrc)
	}
	for _, e := range x.closing {
		e.Close()
	}
	for _, r := range x.routes {
		r.transport.streams.unroute(r.mid)
	}
	for _, c := range x.opening {
		c.open()
	}
	for _, c := range x.leaving {
		c.close()
	}
	for _, l := range x.feeding {
		l.refeed()
	}
	for _, t := range x.tapping {
		t.refeed()
	}
	for _, p := range x.pulls {
		p.say()
	}
	for _, ended := range x.ended {
		ended()
	}
	for _, n := range x.news {
		t := n.session.transport
		_ = t.loop.Post(func() { // refused: the transport has ended, and its owner with it
			t.log.Info("session failed", "session", n.session.id, "reason", n.reason)
			t.events.SessionFailed(t.id, n.session.id, n.reason)
		})
	}
}
