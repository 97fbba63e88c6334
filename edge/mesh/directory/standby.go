package directory

import (
	"hash/fnv"
	"slices"
	"time"

	"portico/shared/meshproto"
	"portico/shared/placement"
	"portico/shared/roster"
)

// Bounds of what a home does about its standby.
const (
	maxRecalled = 64               // edges that a new home asks what they know: anchors, then those who own something, then any
	avoidTime   = 15 * time.Second // that an edge which did not answer is not chosen
)

// second is the standby, as the home sees it.
type second struct {
	id      string
	boot    uint64 // as the view has it
	life    uint64 // as it says; 0: it has not answered
	told    bool   // it was said Hold
	recall  bool   // it knows something of before, which it is asked for first
	follows bool   // it gets what happens by its own call
	full    bool   // it gets everything

	sent, held         uint64        // sequences
	usesSent, usesHeld uint64        // numbers of uses
	since              time.Duration // when it last said something new, or had nothing to say
	repeated           time.Duration // when what it had not answered was last sent again
}

// home is what a home knows of those who know what it does.
type home struct {
	second second
	choose bool                     // it may have to be another one
	avoid  map[string]time.Duration // edges that did not answer, and until when they are not chosen
	recall map[string]bool          // edges that have been asked what they know, and have not answered
	former map[string]bool          // edges that know something and need not, once the standby does
}

// post sends a message about the room to another node.
func (r *Room) post(to string, e placement.Epoch, m meshproto.Standby) {
	m.Room, m.Epoch = r.cfg.Room, e
	r.effect(Post{To: to, Message: m})
}

// takeOffice has a new home ask everybody what they know, unless it was the standby of the home before.
func (r *Room) takeOffice(e placement.Epoch) {
	direct := r.keeping.epoch == r.before && e.Number == r.before.Number+1
	r.keeping = keeping{}
	r.home = home{choose: true, avoid: map[string]time.Duration{}, recall: map[string]bool{}, former: map[string]bool{}}
	if !r.cfg.Standby || e.Number == 1 || direct {
		return
	}
	list := append(slices.Clone(r.seat.Anchors()), r.expected()...)
	for i := range r.view {
		list = append(list, r.view[i].ID)
	}
	for _, id := range list {
		if len(r.home.recall) >= maxRecalled || r.home.recall[id] || !r.usable(id) {
			continue
		}
		r.home.recall[id] = true
		r.settle = r.now + 2*r.cfg.Timing.Wait
		r.post(id, e, meshproto.Standby{Recall: &meshproto.Recall{}})
	}
}

// usable tells whether another node can be spoken to.
func (r *Room) usable(id string) bool { return id != r.cfg.Self.ID && !r.gone[id] && r.edge(id) != nil }

// rank is how well an edge of the view does as the standby of this one, self: 0 is not at all. Another region comes first, because that is
// what fails at once; then who has a Copy anyway; then an anchor, whom those ask who look for the home.
func (r *Room) rank(e, self *placement.Edge) (rank int) {
	if e.ID == r.cfg.Self.ID || r.gone[e.ID] || r.now < r.home.avoid[e.ID] {
		return 0
	}
	if rank = 1; e.Draining {
		return rank
	}
	rank = 2
	if self != nil && self.Region != e.Region {
		rank += 8
	}
	if r.follows(e.ID) {
		rank += 4
	}
	if slices.Contains(r.seat.Anchors(), e.ID) {
		rank += 2
	}
	return rank
}

// follows tells whether a node has a Copy by its own call.
func (r *Room) follows(id string) bool {
	f := r.followers[id]
	return f != nil && f.session != 0 && f.ready
}

// appoint chooses the standby. It stays as long as no other does better.
func (r *Room) appoint() {
	s := &r.home.second
	var best *placement.Edge
	var rank, present int
	var spread uint32
	self := r.edge(r.cfg.Self.ID)
	for i := range r.view {
		e := &r.view[i]
		n := r.rank(e, self)
		if e.ID == s.id && e.Boot == s.boot {
			present = n
		}
		if n < max(rank, 1) {
			continue
		}
		if h := scatter(r.cfg.Room, e.ID); n > rank || h > spread {
			best, rank, spread = e, n, h
		}
	}
	r.home.choose = false
	if s.id != "" && present > 0 && present >= rank {
		return
	}
	if present > 0 {
		r.home.former[s.id] = true
	}
	*s = second{}
	if best != nil {
		delete(r.home.former, best.ID)
		*s = second{id: best.ID, boot: best.Boot, full: true, since: r.now}
	}
}

// scatter has the rooms of a home have different standbys.
func scatter(room, id string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(room))
	_, _ = h.Write([]byte(id))
	return h.Sum32()
}

// attend tells the standby what is new, and looks whether it is there.
func (r *Room) attend() {
	if !r.cfg.Standby || r.settle > 0 {
		return
	}
	s := &r.home.second
	if s.id == "" && r.index.Len() == 0 && r.uses.Len() == 0 {
		return
	}
	if s.id != "" && !r.covered() && r.now-s.since > r.cfg.Timing.Lease {
		r.home.avoid[s.id] = r.now + avoidTime
		r.home.choose = true
	}
	if r.home.choose || s.id == "" {
		if r.appoint(); s.id == "" {
			return
		}
	}
	if follows := r.follows(s.id); follows != s.follows {
		s.follows, s.full = follows, true
	}
	if r.covered() {
		s.since = r.now
		r.release()
		return
	}
	if s.told && r.now-max(s.since, s.repeated) > 2*r.cfg.Timing.Wait {
		s.repeat(r.now)
	}
	r.brief(s)
}

// covered tells whether the standby has all.
func (r *Room) covered() bool {
	s := &r.home.second
	return s.id != "" && s.life != 0 && s.usesHeld >= r.uses.Last() && (s.follows || !s.full && s.held == r.index.Seq())
}

// repeat has the standby be told again what it has not answered.
func (s *second) repeat(now time.Duration) {
	s.repeated, s.told, s.recall, s.sent, s.usesSent = now, false, false, s.held, s.usesHeld
	s.full = s.full || s.held == 0
}

// brief says what was not said yet.
func (r *Room) brief(s *second) {
	tell := func(m meshproto.Standby) { r.post(s.id, r.epoch, m) }
	if !s.told {
		s.told = true
		tell(meshproto.Standby{Hold: &meshproto.Hold{Region: r.cfg.Region}})
	}
	if seq := r.index.Seq(); !s.follows && s.life != 0 && !s.recall && (s.full || s.sent < seq) {
		d := r.index.Since(s.sent)
		if s.full {
			d = r.index.Full()
		}
		s.sent, s.full = seq, false
		tell(meshproto.Standby{Delta: &d})
	}
	list := r.uses.Since(s.usesSent)
	for s.usesSent < r.uses.Last() {
		u := &meshproto.Uses{From: s.usesSent, To: r.uses.Last(), Oldest: r.oldest}
		if n := len(list); n > meshproto.MaxUses {
			u.To -= uint64(n - meshproto.MaxUses)
		}
		n := min(len(list), meshproto.MaxUses)
		u.List, list = slices.Clone(list[:n]), list[n:]
		s.usesSent = u.To
		tell(meshproto.Standby{Uses: u})
	}
}

// release lets those go who know what the standby does.
func (r *Room) release() {
	for _, id := range sortedKeys(r.home.former) {
		if r.usable(id) && id != r.home.second.id {
			r.post(id, r.epoch, meshproto.Standby{Release: &meshproto.Release{}})
		}
	}
	clear(r.home.former)
}

// over lets everybody go: the room has ended.
func (r *Room) over() {
	if id := r.home.second.id; id != "" {
		r.home.former[id] = true
	}
	r.home.second = second{}
	if r.home.former != nil {
		r.release()
	}
}

// fromKeeper is what others say to a home.
func (r *Room) fromKeeper(from string, m *meshproto.Standby) {
	if !r.leads || m.Epoch != r.epoch {
		r.redirect(from, m)
		return
	}
	switch {
	case m.Held != nil:
		r.held(from, m.Held)
	case m.Hearsay != nil:
		r.index.Hearsay(*m.Hearsay, r.now)
		r.absent()
	case m.Uses != nil:
		r.learn(m.Uses)
	case m.Recalled != nil:
		delete(r.home.recall, from)
		if s := &r.home.second; from == s.id {
			s.recall = false
		} else if m.Recalled.Known {
			r.home.former[from] = true
		}
	}
}

// redirect tells a standby of before where the home is, or that there is nothing to keep.
func (r *Room) redirect(from string, m *meshproto.Standby) {
	if m.Held == nil || r.index != nil || m.Epoch.Home != r.cfg.Self {
		return // what a former life of this node was the home of is known to the standby alone
	}
	standing, alive := r.seat.Standing(r.now)
	if alive && standing.Compare(m.Epoch) > 0 {
		r.effect(Seat{To: from, Message: placement.Moved{Epoch: standing}})
	} else if !r.following {
		r.post(from, m.Epoch, meshproto.Standby{Release: &meshproto.Release{}})
	}
}

// held is a standby saying how far it is.
func (r *Room) held(from string, h *meshproto.Held) {
	s := &r.home.second
	here := h.Position.Epoch == r.epoch
	switch {
	case from == s.id:
	case !r.index.Knows(h.Position):
		r.post(from, r.epoch, meshproto.Standby{Recall: &meshproto.Recall{}})
		return
	default: // of before, or it was chosen no more while it could not be told
		if r.home.former[from] = true; r.covered() {
			r.release()
		}
		return
	}
	if s.life != 0 && s.life != h.Life {
		*s = second{id: s.id, boot: s.boot, full: true} // another life
	}
	s.life = h.Life
	if s.recall = s.recall || !r.index.Knows(h.Position); s.recall {
		r.post(from, r.epoch, meshproto.Standby{Recall: &meshproto.Recall{}})
	}
	if here && h.Position.Seq > s.held {
		s.held, s.since = h.Position.Seq, r.now
	}
	if h.Uses > s.usesHeld {
		s.usesHeld, s.since = min(h.Uses, r.uses.Last()), r.now
	}
	if h.Missing && r.now-s.repeated > r.cfg.Timing.Wait/2 { // later ones are of what was said before that
		if !here {
			s.held, s.full = 0, true
		}
		s.usesHeld = min(s.usesHeld, h.Uses)
		s.repeat(r.now)
	}
}

// learn takes uses of tokens that others know.
func (r *Room) learn(u *meshproto.Uses) {
	r.oldest = max(r.oldest, u.Oldest)
	var list []roster.Use
	for _, use := range u.List {
		if r.uses.Add(use, r.oldest) {
			list = append(list, use)
		}
	}
	if len(list) > 0 {
		r.effect(Used{Uses: list})
	}
}

// Settled tells whether this node is the home and knows what it can know: before, Admit fails with roster.ErrNotYet.
func (r *Room) Settled() bool { return r.leads && r.settle == 0 }

// Use notes at the home that a token was used, for the next home. Tokens that were created before oldest, in Unix seconds, cannot be used
// any more.
func (r *Room) Use(u roster.Use, oldest int64, now time.Duration) []Effect {
	r.begin(now)
	r.oldest = max(r.oldest, oldest)
	r.uses.Add(u, r.oldest)
	r.finish()
	return r.out
}

// Stranger is how a node answers that has nothing to do with a room.
func Stranger(self placement.Name, m meshproto.Standby) (answer meshproto.Standby, ok bool) {
	answer = meshproto.Standby{Room: m.Room, Epoch: m.Epoch}
	switch {
	case m.Recall != nil:
		answer.Recalled = &meshproto.Recalled{Life: self.Boot}
	case m.Held != nil && m.Epoch.Home == self:
		answer.Release = &meshproto.Release{}
	default:
		return meshproto.Standby{}, false
	}
	return answer, true
}
