package placement

import "slices"

// lead puts an epoch of this node's own in effect.
func (s *Seat) lead(e Epoch) {
	before := s.top.Home
	s.note(e)
	s.top, s.gone = e, false
	s.promised, s.until = Epoch{}, 0
	s.mode = leading
	s.rival = Epoch{}
	s.wanted = s.now
	s.preferred = ""
	s.out = append(s.out, Lead{Epoch: e})
	if before.ID != "" && before.ID != s.cfg.Self.ID && !slices.Contains(s.anchors, before.ID) {
		s.send(before.ID, Heartbeat{Epoch: e}) // it may only have been cut off
	}
	s.beat()
}

// beat is what a home does once in Timing.Beat.
func (s *Seat) beat() {
	s.heard, s.vain = s.now, false
	s.due = s.now + s.cfg.Timing.Beat
	for id, at := range s.followers {
		if s.now-at > s.cfg.Timing.Lease {
			delete(s.followers, id)
		}
	}
	if s.want || len(s.followers) > 0 {
		s.wanted = s.now
	}
	ended := s.now-s.wanted > s.cfg.Timing.Linger
	for _, id := range s.audience() {
		s.send(id, Heartbeat{Epoch: s.top, Ended: ended})
	}
	if s.meetRival() {
		return
	}
	if ended {
		s.gone = true
		s.mode = idle
		s.out = append(s.out, Resign{From: s.top})
		return
	}
	if s.draining {
		s.handOver()
	}
}

// meetRival decides about a higher epoch that others told of: its home is followed once it can be reached, and one that stays away is
// claimed over.
func (s *Seat) meetRival() bool {
	switch {
	case s.rival.Compare(s.top) <= 0:
		return false
	case s.reachable(s.rival.Home):
		s.follow(s.rival)
	case s.rival.Home.ID == s.cfg.Self.ID, s.now-s.since > s.cfg.Timing.Beat:
		s.lead(Epoch{Number: s.highest + 1, Home: s.cfg.Self})
	default:
		return false
	}
	return true
}

// audience is the anchors and the followers, in a fixed order.
func (s *Seat) audience() []string {
	list := make([]string, 0, len(s.followers)+2)
	for id := range s.followers {
		list = append(list, id)
	}
	for _, id := range s.anchors {
		if id != s.cfg.Self.ID && !slices.Contains(list, id) {
			list = append(list, id)
		}
	}
	slices.Sort(list)
	return list
}

func (s *Seat) handOver() {
	if to := s.candidate(s.cfg.Self.ID); to != "" {
		s.send(to, HandOver{Epoch: s.top})
	}
}

// candidate is the edge the hash names among those that can be home as far as this node knows.
func (s *Seat) candidate(not ...string) string {
	list := make([]Edge, 0, len(s.edges))
	for _, e := range s.edges {
		if !s.lost[e.ID] && !s.avoid[e.ID] && !slices.Contains(not, e.ID) && !(e.ID == s.cfg.Self.ID && s.draining) {
			list = append(list, e)
		}
	}
	return Home(s.cfg.Room, s.cfg.Region, list)
}

// takeOver is the successor's part of a drain.
func (s *Seat) takeOver(from Name, m HandOver) {
	s.note(m.Epoch)
	switch {
	case m.Epoch.Home != from:
	case m.Epoch.Compare(s.top) < 0:
		s.send(from.ID, Refused{Epoch: m.Epoch, Standing: s.top})
	case s.draining:
		s.send(from.ID, Declined{Standing: s.top})
	case s.mode == claiming && s.over == m.Epoch:
	default:
		s.raise(m.Epoch)
		s.heard = s.now
		s.keep(from.ID)
		s.startClaim(m.Epoch, false)
	}
}

// keep remembers somebody who wants to hear of this node's claim.
func (s *Seat) keep(id string) {
	if _, ok := s.followers[id]; (ok || len(s.followers) < maxFollowers) && id != s.cfg.Self.ID {
		s.followers[id] = s.now
	}
}

func (s *Seat) enrol(from Name, m Enrol) {
	s.note(m.Epoch)
	_, known := s.followers[from.ID]
	switch {
	case m.Off:
		delete(s.followers, from.ID)
	case s.mode == leading:
		s.keep(from.ID)
		if m.Epoch.Compare(s.top) > 0 {
			// It obeyed a higher epoch, whose home has sent it here or which this node led in another life.
			s.evidence(m.Epoch)
		} else if !known || m.Epoch != s.top {
			s.send(from.ID, Heartbeat{Epoch: s.top})
		}
	case s.mode == claiming:
		s.keep(from.ID)
	default:
		s.send(from.ID, Refused{Epoch: m.Epoch, Standing: s.top})
	}
}

// heartbeat is a home speaking for itself.
func (s *Seat) heartbeat(from Name, m Heartbeat) {
	s.note(m.Epoch)
	if m.Epoch.Home != from || from.ID == s.cfg.Self.ID {
		return
	}
	if m.Epoch.Compare(s.top) < 0 {
		s.send(from.ID, Refused{Epoch: m.Epoch, Standing: s.top})
		return
	}
	if m.Ended {
		if s.mode == leading && m.Epoch != s.top {
			return // an end is no reason to resign
		}
		s.raise(m.Epoch)
		s.gone = true
		if s.mode == following {
			s.orphan()
		}
		return
	}
	if s.mode == claiming && s.over == m.Epoch {
		s.heard = s.now // the home in office until this claim is in effect
		return
	}
	higher := m.Epoch.Compare(s.top) > 0
	s.raise(m.Epoch)
	s.heard, s.gone, s.vain = s.now, false, false
	if s.promised.Compare(m.Epoch) <= 0 {
		s.promised, s.until = Epoch{}, 0
	}
	switch {
	case s.mode == idle, s.mode == following && !higher:
	default:
		s.obey(m.Epoch)
	}
}

// raise remembers an epoch in effect, and resigns from a lower one.
func (s *Seat) raise(e Epoch) {
	if e.Compare(s.top) <= 0 {
		return
	}
	before := s.top
	s.top = e
	s.note(e)
	if s.mode != leading {
		return
	}
	for _, id := range s.audience() {
		if id != e.Home.ID {
			s.send(id, Moved{Epoch: e})
		}
	}
	clear(s.followers)
	s.out = append(s.out, Resign{From: before, To: e})
	s.mode = idle
	if s.want {
		s.mode = seeking
	}
}

// obey follows the home of the highest epoch, when there is a reason to.
func (s *Seat) obey(e Epoch) {
	if s.mode == claiming || s.mode == seeking {
		for _, id := range s.audience() {
			if _, ok := s.followers[id]; ok && id != e.Home.ID {
				s.send(id, Moved{Epoch: e})
			}
		}
		clear(s.followers)
	}
	s.preferred = ""
	if !s.want {
		s.mode = idle
		return
	}
	s.mode = following
	s.due = s.now + s.cfg.Timing.Beat
	s.out = append(s.out, Obey{Epoch: e})
	s.send(e.Home.ID, Enrol{Epoch: e})
}

// follow obeys a home on the word of another.
func (s *Seat) follow(e Epoch) {
	s.raise(e)
	s.heard, s.gone = s.now, false
	s.inVain()
	if s.mode != idle {
		s.obey(e)
	}
}

// evidence is word of an epoch in effect from somebody who is not its home.
func (s *Seat) evidence(e Epoch) {
	if e.Compare(s.top) <= 0 {
		return
	}
	if !s.reachable(e.Home) {
		if s.mode == leading {
			if e.Compare(s.rival) > 0 {
				s.rival, s.since = e, s.now
			}
			return
		}
		s.raise(e)
		s.unheard()
		if s.mode == following {
			s.orphan()
		}
		return
	}
	s.follow(e)
}
