package rtc

import (
	"strings"
	"sync"
	"time"

	"portico/edge/sfu"
	"portico/shared/conference"
)

// RemoteSpec declares a publication that another edge has.
type RemoteSpec struct {
	Session, Participant string
	Tracks               []RemoteTrack
	// Wanted is told when somebody here has a use for a track, and when nobody had for a while. Calls come one at a time; they must
	// neither block nor close the Remote. The media of what is wanted are brought by Remote.Begin.
	Wanted func(track string, on bool)
}

// RemoteTrack is one of its tracks.
type RemoteTrack struct {
	ID       string
	Kind     conference.Kind
	Mid, Rid string // layers of one picture have the same mid
	Source   string
	Format   conference.Format
	Size     conference.Resolution // 0 while unknown
	Muted    bool
}

// format is the track's in the words of the Engine.
func (t *RemoteTrack) format() conference.Format {
	f := t.Format
	f.Codec = strings.ToLower(f.Codec)
	return f
}

// maxRemoteTracks bounds those of one publication.
const maxRemoteTracks = 256

// How long a track is pulled after nobody has a use for it any more, and from when somebody has asked for it until a subscription is
// negotiated.
const (
	unpulledAfter = 2 * time.Second
	heldFor       = 5 * time.Second
)

// A layer that was pulled and does not come is not counted on after a while.
const (
	comesWithin = 3 * time.Second
	silentFor   = 10 * time.Second
)

// Remote is a publication of another edge, whose tracks are subscribed to and tapped like those published here. Its media come only
// while somebody wants them. Make it with Engine.OpenRemote. All methods are safe for concurrent use.
type Remote struct {
	engine *Engine
	spec   RemoteSpec
	saying sync.Mutex // held while Wanted runs; taken before the Engine's mu

	// The Engine's mu guards these.
	lines   []*mline // tracks of a picture's layers together
	tracks  map[string]*published
	told    map[string]bool // what Wanted was told of, by track
	taken   bool            // it is published here now
	leaving bool            // closed, but for tracks that have heirs which have not come
	closed  bool
	pruning bool // those are looked at in a while
}

// remoteFlow is how a track comes from another edge. The Engine's mu guards it.
type remoteFlow struct {
	of     *Remote
	size   conference.Resolution // as the other edge says
	until  int64                 // it is wanted as long, whoever uses it
	pulled bool                  // somebody wants it
	since  int64                 // when that began
	silent int64                 // until then it is not counted on
	intake *Intake               // whose the encoding is; nil: nobody's
}

// rests tells whether it would come if somebody wanted it, or is about to. The Engine's mu is held.
func (f *remoteFlow) rests(now int64) bool {
	if f.pulled {
		return now-f.since < int64(comesWithin)
	}
	return now >= f.silent
}

// OpenRemote makes a publication of another edge known. Where one of that id is published here, its subscriptions and taps go over to
// this one, each with the first picture, or sound, that comes; the other way round too. Its owner calls Close. It fails with ErrIDInUse,
// also when a track is another publication's, ErrBadTracks or ErrClosed.
func (e *Engine) OpenRemote(spec RemoteSpec) (*Remote, error) {
	r := &Remote{engine: e, spec: spec, tracks: make(map[string]*published), told: make(map[string]bool)}
	var effects effects
	e.mu.Lock()
	err := r.open(&effects)
	e.mu.Unlock()
	if err != nil {
		return nil, err
	}
	effects.run(e.now())
	e.steerer.soon()
	return r, nil
}

// open is OpenRemote with the Engine's mu held.
func (r *Remote) open(effects *effects) error {
	e := r.engine
	switch {
	case e.closed:
		return ErrClosed
	case r.spec.Session == "" || e.remotes[r.spec.Session] != nil:
		return ErrIDInUse
	}
	if err := r.check(r.spec.Tracks); err != nil {
		return err
	}
	var before []*published
	if s := e.sessions[r.spec.Session]; s != nil && s.publishes {
		before = s.published()
	}
	e.remotes[r.spec.Session] = r
	r.set(r.spec.Tracks, effects)
	e.succeed(before, r.published(), effects)
	return nil
}

// check tells whether the tracks can be the publication's. The Engine's mu is held.
func (r *Remote) check(tracks []RemoteTrack) error {
	if len(tracks) > maxRemoteTracks {
		return ErrBadTracks
	}
	seen := make(map[string]bool)
	for i := range tracks {
		t := &tracks[i]
		if t.ID == "" || seen[t.ID] || codecOf(t.Kind, t.Format) == nil {
			return ErrBadTracks
		}
		seen[t.ID] = true
		if p := r.engine.trackNamed(t.ID); p != nil && p.publication() != r.spec.Session {
			return ErrIDInUse
		}
	}
	return nil
}

// codecOf is the codec of a format, nil when it is none that is forwarded.
func codecOf(kind conference.Kind, f conference.Format) *codec {
	for i := range codecs {
		if c := &codecs[i]; c.kind == kind && c.name == strings.ToLower(f.Codec) {
			return c
		}
	}
	return nil
}

// Update says what the tracks are now, all of them. Those that are gone end like those of a publication here, and so does one whose form
// is another one now, which begins anew. It fails as OpenRemote does, and then nothing has changed.
func (r *Remote) Update(tracks []RemoteTrack) error {
	e := r.engine
	var effects effects
	e.mu.Lock()
	err := ErrClosed
	switch {
	case r.taken:
		err = nil
	case !r.closed && !r.leaving:
		if err = r.check(tracks); err == nil {
			r.set(tracks, &effects)
		}
	}
	e.mu.Unlock()
	effects.run(e.now())
	e.steerer.soon()
	return err
}

// set makes the tracks those of the publication. The Engine's mu is held.
func (r *Remote) set(tracks []RemoteTrack, effects *effects) {
	named := make(map[string]*RemoteTrack, len(tracks))
	for i := range tracks {
		named[tracks[i].ID] = &tracks[i]
	}
	var ended []*published
	for id, p := range r.tracks {
		if t := named[id]; t == nil || t.Kind != p.line.kind || t.format() != p.format {
			ended = append(ended, p)
			if t != nil { // its id is another one's now
				r.remove(p, effects)
			}
		}
	}
	r.lines = nil
	for i := range tracks {
		r.enter(&tracks[i])
	}
	r.engine.succeed(ended, r.published(), effects)
	for _, p := range ended {
		r.retire(p, effects)
	}
}

// retire ends a track, now or when its heir has come. The Engine's mu is held.
func (r *Remote) retire(p *published, effects *effects) {
	if p.heir == nil || p.gone || len(p.subscribers) == 0 && len(p.taps) == 0 {
		r.remove(p, effects)
		return
	}
	if !r.pruning {
		r.pruning = true
		time.AfterFunc(leaveWithin, r.prune)
	}
}

// remove ends a track. The Engine's mu is held.
func (r *Remote) remove(p *published, effects *effects) {
	if r.tracks[p.id] == p {
		delete(r.tracks, p.id)
	}
	effects.drop(p)
	p.end(effects)
	r.closed = r.closed || r.leaving && len(r.tracks) == 0
}

// leaveWithin is how long a track stays for those who wait for its heir.
const leaveWithin = 3 * time.Second

// prune ends the tracks whose heirs have not come.
func (r *Remote) prune() {
	e := r.engine
	var effects effects
	e.mu.Lock()
	r.pruning = false
	for _, p := range r.tracks {
		if p.heir != nil {
			r.remove(p, &effects)
		}
	}
	e.mu.Unlock()
	effects.run(e.now())
}

// enter makes one track known, or brings it up to date. The Engine's mu is held.
func (r *Remote) enter(t *RemoteTrack) {
	e := r.engine
	p := r.tracks[t.ID]
	if p == nil {
		c := codecOf(t.Kind, t.Format)
		p = &published{
			id: t.ID, rid: t.Rid, format: t.format(), clock: c.clock, subscribers: make(map[*session]bool), engine: e,
			remote: &remoteFlow{of: r}, up: new(upstream),
		}
		p.encoding = nothing(p, t.Kind)
		r.tracks[t.ID] = p
		e.tracks[t.ID] = p
	}
	p.remote.size, p.muted = t.Size, t.Muted
	for _, l := range r.lines {
		if l.kind == t.Kind && l.mid == t.Mid && t.Mid != "" && t.Kind == conference.Video && l.tracks[0].format == p.format {
			l.tracks = append(l.tracks, p)
			p.line = l
			return
		}
	}
	p.line = &mline{kind: t.Kind, mid: t.Mid, source: t.Source, codec: p.format.Codec, tracks: []*published{p}}
	r.lines = append(r.lines, p.line)
}

// nothing is the encoding of a track that does not come: it waits for none.
func nothing(p *published, kind conference.Kind) *sfu.Encoding {
	return sfu.NewEncoding(sfu.EncodingConfig{Video: kind == conference.Video, Codec: p.format.Codec, ClockRate: p.clock, Upstream: nobody{}})
}

// nobody is who sends what does not come.
type nobody struct{}

func (nobody) RequestPackets([]uint16) {}
func (nobody) RequestKeyFrame()        {}

// published are all tracks, in the order that they were declared in. The Engine's mu is held.
func (r *Remote) published() []*published { return tracksOf(r.lines) }

func (s *session) published() []*published { return tracksOf(s.lines) }

func tracksOf(lines []*mline) (list []*published) {
	for _, l := range lines {
		list = append(list, l.tracks...)
	}
	return list
}

// linesOf are the m-lines of a publication, here or on another edge. mu is held.
func (e *Engine) linesOf(publication string) []*mline {
	if s := e.sessions[publication]; s != nil && s.publishes && (s.established || e.remotes[publication] == nil) {
		return s.lines
	}
	if r := e.remotes[publication]; r != nil {
		return r.lines
	}
	return nil
}

// Close ends the publication, and its subscriptions as with any lost source. Those of tracks that have an heir stay: such a track ends
// when they have gone over, or after a while, and its media are wanted until then. It is safe twice.
func (r *Remote) Close() { r.shut(true) }

// shut is Close, with which heirs may wait.
func (r *Remote) shut(may bool) {
	e := r.engine
	var effects effects
	e.mu.Lock()
	if e.remotes[r.spec.Session] == r {
		delete(e.remotes, r.spec.Session)
	}
	r.leaving = true
	for _, p := range r.tracks {
		if may {
			r.retire(p, &effects)
		} else {
			r.remove(p, &effects)
		}
	}
	r.closed = r.closed || len(r.tracks) == 0
	e.mu.Unlock()
	effects.run(e.now())
}

// drop lets go of what is pulled of a track that ends. The Engine's mu is held.
func (x *effects) drop(p *published) {
	if p.remote != nil && p.remote.pulled {
		p.remote.pulled = false
		x.pulls = append(x.pulls, p)
	}
}

// say tells Wanted what it was not told yet of a track.
func (p *published) say() {
	r := p.remote.of
	r.saying.Lock()
	defer r.saying.Unlock()
	p.engine.mu.Lock()
	now := r.tracks[p.id] // of that id
	on := now != nil && now.remote.pulled
	news := on != r.told[p.id]
	if on {
		r.told[p.id] = true
	} else {
		delete(r.told, p.id)
	}
	p.engine.mu.Unlock()
	if news {
		r.spec.Wanted(p.id, on)
	}
}

// closeRemotes closes all that are left.
func (e *Engine) closeRemotes() {
	e.mu.Lock()
	left := make(map[*Remote]bool)
	for _, r := range e.remotes {
		left[r] = true
	}
	for p := range e.heirs {
		for _, old := range p.forebears {
			if old.remote != nil {
				left[old.remote.of] = true
			}
		}
	}
	e.mu.Unlock()
	for r := range left {
		r.shut(false)
	}
}
