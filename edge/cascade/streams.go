package cascade

import (
	"math/rand/v2"
	"sync"
	"time"

	"portico/edge/room"
	"portico/edge/rtc"
	"portico/edge/sfu/feedback"
	"portico/shared/conference"
	"portico/shared/meshproto"
	"portico/shared/relayproto"
)

// stream is one that is published on another edge.
type stream struct {
	cascade  *Cascade
	room, id string
	changing sync.Mutex  // held while the engine is told of it
	remote   *rtc.Remote // and this is set

	// The Loop owns the fields below.
	edge     string
	codecs   map[string]conference.Format // of its tracks
	wants    map[string]*want
	shunned  map[string]shunned // parents that did not have it when they were asked last
	relook   *time.Timer        // when the next of them may be asked again, it is looked; nil: nobody is waited for
	timeline *feedback.Timeline // of what comes by
	from     *neighbour         // this one,
	life     int                // in this life of its
}

// Remote implements room.Media: the stream is published on another edge, or on another one than before, or with other tracks. Streams of
// data are not its business, but package conduit's.
func (c *Cascade) Remote(r room.RemoteStream) {
	if r.Data || r.Edge == c.self {
		return
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	s := c.streams[r.Stream]
	if s == nil {
		s = &stream{cascade: c, room: r.Room, id: r.Stream, wants: make(map[string]*want), shunned: make(map[string]shunned)}
		c.streams[r.Stream] = s
	}
	c.mu.Unlock()
	c.post(func() { s.located(r.Edge, r.Tracks) })
	s.changing.Lock()
	defer s.changing.Unlock()
	tracks := remoteTracks(r.Tracks)
	if s.remote != nil {
		if err := s.remote.Update(tracks); err != nil {
			c.log.Warn("stream of another edge cannot be had as it is now", "room", r.Room, "stream", r.Stream, "node", r.Edge, "err", err)
		}
		return
	}
	remote, err := c.options.Media.OpenRemote(rtc.RemoteSpec{
		Session: r.Stream, Participant: r.Participant, Tracks: tracks,
		Wanted: func(track string, on bool) { c.post(func() { s.wanted(track, on) }) },
	})
	if err != nil {
		c.log.Warn("stream of another edge cannot be had", "room", r.Room, "stream", r.Stream, "node", r.Edge, "err", err)
		c.forget(s)
		return
	}
	s.remote = remote
}

// RemoteEnded implements room.Media: the stream is no more, or published here.
func (c *Cascade) RemoteEnded(id string) {
	c.mu.Lock()
	s := c.streams[id]
	c.mu.Unlock()
	if s != nil {
		c.forget(s)
		s.close()
	}
}

func (c *Cascade) forget(s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[s.id] == s {
		delete(c.streams, s.id)
	}
}

// close ends the stream. What is pulled of it the engine lets go of, at once or when it has been taken over.
func (s *stream) close() {
	s.cascade.post(func() {
		if clear(s.shunned); s.relook != nil {
			s.relook.Stop()
		}
	})
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.remote != nil {
		s.remote.Close()
	}
}

// remoteTracks are a stream's tracks in the engine's words.
func remoteTracks(tracks []conference.Track) []rtc.RemoteTrack {
	list := make([]rtc.RemoteTrack, len(tracks))
	for i := range tracks {
		t := &tracks[i]
		list[i] = rtc.RemoteTrack{
			ID: t.ID, Kind: t.Kind, Mid: t.Mid, Rid: t.Rid, Source: t.Source, Format: t.Format, Size: t.Parameters.Resolution,
			Muted: t.Inactive,
		}
	}
	return list
}

// located takes note of where the stream is, on the Loop.
func (s *stream) located(edge string, tracks []conference.Track) {
	moved := s.edge != edge
	s.edge = edge
	s.codecs = make(map[string]conference.Format, len(tracks))
	for i := range tracks {
		s.codecs[tracks[i].ID] = tracks[i].Format
	}
	if moved {
		clear(s.shunned)
	}
	for _, w := range s.wants {
		if f := s.codecs[w.track]; f != w.format && f.Codec != "" {
			w.format = f
			w.let()
		}
		if moved {
			w.failures, w.lost = 0, time.Time{}
		}
		w.look()
	}
}

// Reparent looks again at where streams come from: which edges a room has, or what is known of them, has changed.
func (c *Cascade) Reparent() {
	c.mu.Lock()
	streams := make([]*stream, 0, len(c.streams))
	for _, s := range c.streams {
		streams = append(streams, s)
	}
	c.mu.Unlock()
	c.post(func() {
		for _, s := range streams {
			s.look()
		}
	})
}

// look has all that is wanted come from where it is to come from, on the Loop.
func (s *stream) look() {
	for _, w := range s.wants {
		w.look()
	}
}

// shunned is a parent that did not have the stream.
type shunned struct {
	times int
	until time.Time // it is not asked
}

// maxShuns bounds how often the time doubles for which a parent is shunned.
const maxShuns = 4

// shun has a parent not be asked for a while. After that it is looked again whether the stream comes from there. It is called on the Loop.
func (s *stream) shun(parent string) {
	x := s.shunned[parent]
	if time.Now().Before(x.until) {
		return // for another track
	}
	wait := s.cascade.options.shun << min(x.times, maxShuns)
	x.until = time.Now().Add(wait + rand.N(wait/4))
	x.times++
	s.shunned[parent] = x
	s.lookLater()
}

// lookLater has the stream looked at when the first of the parents may be asked again, on the Loop.
func (s *stream) lookLater() {
	now, wait := time.Now(), time.Duration(0)
	for _, x := range s.shunned {
		if left := x.until.Sub(now); left > 0 && (wait == 0 || left < wait) {
			wait = left
		}
	}
	if s.relook != nil {
		s.relook.Stop()
	}
	if s.relook = nil; wait > 0 {
		s.relook = time.AfterFunc(wait+time.Millisecond, func() {
			s.cascade.post(func() {
				s.look()
				s.lookLater()
			})
		})
	}
}

// source is the edge to pull from. Who sends to others what it has not got itself gets it from its origin. It is called on the Loop.
func (s *stream) source() (edge string, via bool) {
	c := s.cascade
	c.mu.Lock()
	feeds := c.fed[s.id] > 0
	c.mu.Unlock()
	if feeds || c.options.Parent == nil {
		return s.edge, false
	}
	parent := c.options.Parent(s.room, s.id, s.edge)
	if parent == "" || parent == c.self || parent == s.edge || time.Now().Before(s.shunned[parent].until) {
		return s.edge, false
	}
	return parent, true
}

// wanted takes the engine's word that a track is of use, or not any more, on the Loop.
func (s *stream) wanted(track string, on bool) {
	w := s.wants[track]
	switch {
	case on && w == nil:
		s.changing.Lock() // it may be wanted before OpenRemote returns
		remote := s.remote
		s.changing.Unlock()
		if remote == nil {
			return
		}
		w = &want{stream: s, remote: remote, track: track, format: s.codecs[track]}
		s.wants[track] = w
		w.look()
	case !on && w != nil:
		delete(s.wants, track)
		w.close()
	}
}

// timelineOf is shared by all that comes of the stream by one call.
func (s *stream) timelineOf(n *neighbour) *feedback.Timeline {
	if s.timeline == nil || s.from != n || s.life != n.life {
		s.timeline, s.from, s.life = new(feedback.Timeline), n, n.life
	}
	return s.timeline
}

// want is a track that is wanted here. The Loop owns it.
type want struct {
	stream   *stream
	remote   *rtc.Remote
	track    string
	format   conference.Format
	pull     *pull       // nil while a pause is made
	before   *pull       // goes on until what is pulled now comes
	intake   *rtc.Intake // of the last attempt
	prior    *rtc.Intake // by which the track comes until that comes
	failures int
	lost     time.Time // since when its edge cannot be reached; 0: it can, as far as is known
	turn     int       // counts the pauses
	closed   bool
}

// look pulls the track from where it is to come from, if it does not come from there.
func (w *want) look() {
	if w.closed || w.stream.edge == "" {
		return
	}
	edge, via := w.stream.source()
	if w.pull != nil && w.pull.n.name == edge && w.pull.ask.Via == via {
		return
	}
	if edge == w.stream.cascade.self {
		return // it is published here now, and soon the engine wants it no more
	}
	if w.pull != nil {
		if w.before != nil {
			w.before.n.drop(w.before)
		}
		w.before = w.pull
	}
	w.turn++
	w.pull = &pull{
		n: w.stream.cascade.neighbour(edge), owner: w,
		ask: meshproto.Pull{Room: w.stream.room, Stream: w.stream.id, Track: w.track, Via: via},
	}
	w.pull.n.add(w.pull)
}

// intakeFlow is a flow of a track that is published on another edge.
type intakeFlow struct{ in *rtc.Intake }

func (f intakeFlow) rtp(packet []byte)    { f.in.Ingest(packet) }
func (f intakeFlow) rtcp(compound []byte) { f.in.Control(compound) }

// begin implements puller.
func (w *want) begin(p *pull, ssrc uint32) receiver {
	n, flow := p.n, p.flow
	if p == w.before { // it was to go on, and has ended
		w.before = nil
	}
	if p != w.pull {
		return nil
	}
	var in *rtc.Intake
	in, err := w.remote.Begin(w.track, rtc.IntakeSpec{
		SSRC: ssrc, PayloadType: relayproto.PayloadType(w.format.Codec), Redundant: meshproto.PayloadRedundant, Extensions: extensions,
		Timeline: w.stream.timelineOf(n), Send: func(compound []byte) { n.control(flow, compound) },
		Came: func() { w.stream.cascade.post(func() { w.came(in) }) },
	})
	if err != nil { // the track has ended, and soon it is wanted no more
		return nil
	}
	if w.intake != nil {
		if w.prior == nil || w.intake.Came() {
			w.prior, w.intake = w.intake, nil
		} else {
			w.intake.Close()
		}
	}
	w.intake = in
	return intakeFlow{in}
}

// came takes note that the track comes by an intake.
func (w *want) came(in *rtc.Intake) {
	if w.closed || w.intake != in {
		return
	}
	w.failures, w.lost = 0, time.Time{}
	if w.pull != nil && w.pull.ask.Via {
		delete(w.stream.shunned, w.pull.n.name)
	}
	if w.prior != nil {
		w.prior.Close()
		w.prior = nil
	}
	if w.before != nil {
		w.before.n.drop(w.before)
		w.before = nil
	}
}

// said implements puller. What comes in another form than was said is of no use: the stream will be told of anew.
func (w *want) said(p *pull, m *meshproto.PullMessage) {
	if m.Pulled != nil && relayproto.PayloadType(m.Pulled.Format.Codec) != relayproto.PayloadType(w.format.Codec) {
		p.n.drop(p)
		w.ended(p, meshproto.PullUnable, "it comes as "+m.Pulled.Format.Codec)
	}
}

// ended implements puller: it is tried again, first at once from the origin where a parent did not have it.
func (w *want) ended(p *pull, why meshproto.PullReason, detail string) {
	c := w.stream.cascade
	if p == w.before {
		w.before = nil
		return
	}
	if p != w.pull || w.closed {
		return
	}
	c.log.Debug("track of another edge does not come", "room", w.stream.room, "stream", w.stream.id, "track", w.track, "node", p.n.name,
		"why", string(why), "detail", detail)
	if p.ask.Via {
		w.stream.shun(p.n.name)
		p.n.drop(p)
		w.pull = nil
		w.look()
		return
	}
	if why == unreachable { // it is asked for again as soon as the edge is back
		if w.lost.IsZero() {
			w.lost = time.Now()
		} else if time.Since(w.lost) > forsakeTime {
			c.forsake(w.stream.id, w.track)
		}
		return
	}
	w.pull = nil
	pause := min(leastPause<<min(w.failures, 8), mostPause)
	w.failures++
	w.turn++
	turn := w.turn
	time.AfterFunc(pause, func() {
		c.post(func() {
			if w.turn == turn {
				w.look()
			}
		})
	})
}

// tick implements puller.
func (w *want) tick(p *pull) {
	if p == w.pull && w.intake != nil {
		w.intake.Report()
	}
}

// close lets go of the track.
func (w *want) close() {
	w.closed = true
	w.let()
}

// let lets go of all that is pulled.
func (w *want) let() {
	for _, p := range []*pull{w.pull, w.before} {
		if p != nil {
			p.n.drop(p)
		}
	}
	for _, in := range []*rtc.Intake{w.intake, w.prior} {
		if in != nil {
			in.Close()
		}
	}
	w.pull, w.before, w.intake, w.prior = nil, nil, nil, nil
}

// count implements puller.
func (w *want) count(x *Stat) {
	if w.intake == nil {
		return
	}
	s := w.intake.Stats()
	x.Packets, x.Bytes, x.Requested, x.Lost = s.Packets, s.Bytes, s.PacketsRequested, s.Lost
}
