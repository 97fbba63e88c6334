package placement

import "slices"

// orphan says that the home is gone, and looks for another.
func (s *Seat) orphan() {
	s.out = append(s.out, Orphan{Last: s.top})
	s.seek()
}

func (s *Seat) seek() {
	s.mode = seeking
	s.ask()
}

// ask asks the anchors, this node among them if it is one.
func (s *Seat) ask() {
	s.pausing, s.hidden, s.busy, s.summoned = false, false, false, ""
	s.due = s.now + s.cfg.Timing.Wait
	s.toAsk()
	for _, id := range slices.Clone(s.pending) {
		s.send(id, Ask{Standing: s.top})
	}
	s.settle()
}

// toAsk notes which anchors are asked: those that can be.
func (s *Seat) toAsk() {
	s.pending = s.pending[:0]
	others := 0
	for _, id := range s.anchors {
		if s.usable(id) {
			s.pending = append(s.pending, id)
		}
		if id != s.cfg.Self.ID {
			others++
		}
	}
	s.answered, s.cut = false, others > 0 && !s.anchored()
}

// anchored tells whether another anchor can be asked.
func (s *Seat) anchored() bool {
	return slices.ContainsFunc(s.anchors, func(id string) bool { return id != s.cfg.Self.ID && s.usable(id) })
}

// mended tells that no other anchor could be asked, and that one can be now.
func (s *Seat) mended() bool { return s.cut && !s.answered && s.anchored() }

func (s *Seat) pause() {
	s.pausing, s.summoned = true, ""
	s.pending = s.pending[:0]
	s.due = s.now + s.cfg.Timing.Wait
}

// inVain notes that there is a home of which this node has no sign; impatient that it has been so for too long.
func (s *Seat) inVain() {
	if !s.vain {
		s.vain, s.vainSince = true, s.now
	}
}

func (s *Seat) impatient() bool { return s.vain && s.now-s.vainSince > s.cfg.Timing.Patience }

func (s *Seat) told(from Name, m Told) {
	s.note(m.Standing)
	if m.Standing.Home == from && !m.Alive {
		s.deny(m.Standing)
	}
	at := slices.Index(s.pending, from.ID)
	if s.mode != seeking || at < 0 && s.summoned != from.ID {
		return
	}
	if at >= 0 {
		s.pending = slices.Delete(s.pending, at, at+1)
		s.answered = s.answered || from.ID != s.cfg.Self.ID
	}
	s.busy = s.busy || m.Busy
	if m.Alive && !m.Standing.Zero() && m.Standing != s.denied {
		reach := s.reachable(m.Standing.Home) && !s.impatient()
		switch c := m.Standing.Compare(s.top); {
		case reach && (c > 0 || c == 0 && !s.gone):
			s.follow(m.Standing)
			return
		case reach && c < 0:
			s.preferred = m.Standing.Home.ID // it will claim above what this node knows
		case m.Standing.Home != s.cfg.Self:
			s.hidden = true
			s.inVain()
		}
	}
	s.settle()
}

// decide names the home once the anchors have said what they know.
func (s *Seat) decide() {
	if !s.hidden && !s.busy {
		s.vain = false
	}
	insist := s.hidden && s.impatient()
	if s.busy || s.hidden && !insist {
		s.pause()
		return
	}
	to := s.preferred
	s.preferred = ""
	if to == "" || !s.usable(to) || s.avoid[to] {
		if insist {
			// The home and this node do not reach each other, so that neither would give way to the other: a third one may reach both.
			to = s.candidate(s.top.Home.ID, s.cfg.Self.ID)
		} else {
			to = s.candidate()
		}
		if to == "" {
			to = s.cfg.Self.ID // draining or not, there is nobody else
		}
	}
	if to == s.cfg.Self.ID {
		s.startClaim(Epoch{}, insist)
		return
	}
	s.summoned = to
	s.due = s.now + 2*s.cfg.Timing.Wait // the other has to ask the anchors first
	s.send(to, Summon{Standing: s.top, Insist: insist})
}

// declined names another instead of a node that drains.
func (s *Seat) declined(from Name) {
	switch {
	case s.mode == seeking && s.summoned == from.ID:
		s.avoid[from.ID] = true
		s.ask()
	case s.mode == leading && s.draining:
		s.avoid[from.ID] = true
		s.handOver()
	}
}

// summon is another node wanting this one to be the home.
func (s *Seat) summon(from Name, m Summon) {
	s.note(m.Standing)
	if m.Standing.Home == from {
		s.deny(m.Standing)
	}
	switch {
	case s.mode == leading:
		s.keep(from.ID)
		if m.Standing.Compare(s.top) > 0 {
			s.lead(Epoch{Number: s.highest + 1, Home: s.cfg.Self})
		} else {
			s.send(from.ID, Heartbeat{Epoch: s.top})
		}
	case s.mode == claiming:
		s.keep(from.ID)
	case s.draining && s.candidate() != "":
		s.send(from.ID, Declined{Standing: s.top})
	case s.mode == following && s.alive() && !m.Insist:
		s.send(from.ID, Told{Standing: s.top, Alive: true})
	default:
		s.evidenceOf(m.Standing)
		s.keep(from.ID)
		s.startClaim(Epoch{}, m.Insist)
	}
}

// deny takes a former home at its word, against others who have heard it not long ago.
func (s *Seat) deny(e Epoch) {
	if e.Compare(s.top) >= 0 && s.mode != leading {
		s.denied = e
		s.gone = s.gone || e == s.top
	}
}

// evidenceOf remembers an epoch without following it: the sender could not.
func (s *Seat) evidenceOf(e Epoch) {
	if e.Compare(s.top) > 0 {
		s.raise(e)
		s.unheard()
	}
}

// unheard notes that the home of the highest epoch has given this node no sign of itself. It may live: others hear of it.
func (s *Seat) unheard() { s.heard, s.gone = s.now-s.cfg.Timing.Lease-1, false }

// startClaim claims the room: highest seen + 1.
func (s *Seat) startClaim(over Epoch, insist bool) {
	s.highest++
	if s.denied.Compare(over) > 0 {
		over = s.denied
	}
	s.claim, s.over = Epoch{Number: s.highest, Home: s.cfg.Self}, over
	s.mode = claiming
	s.summoned = ""
	s.due = s.now + s.cfg.Timing.Wait
	s.toAsk()
	for _, id := range slices.Clone(s.pending) {
		s.send(id, Claim{Epoch: s.claim, Over: over, Insist: insist})
	}
	s.settle()
}

// judge is the anchor's answer to a claim.
func (s *Seat) judge(from Name, m Claim) {
	s.note(m.Epoch)
	switch {
	case m.Epoch.Home != from:
	case m.Epoch.Compare(s.top) <= 0:
		s.send(from.ID, Refused{Epoch: m.Epoch, Standing: s.top})
	case s.now < s.until && m.Epoch.Compare(s.promised) < 0:
		s.send(from.ID, Refused{Epoch: m.Epoch, Promised: s.promised})
	case !m.Insist && m.Over.Compare(s.top) < 0 && s.holds(m.Epoch.Home):
		s.send(from.ID, Refused{Epoch: m.Epoch, Standing: s.top})
	default:
		s.promised, s.until = m.Epoch, s.now+3*s.cfg.Timing.Wait
		s.send(from.ID, Claimed{Epoch: m.Epoch})
	}
}

// holds tells that the standing home keeps the room against a claimer: it lives, stays, and is another node.
func (s *Seat) holds(claimer Name) bool {
	home := s.top.Home
	if s.mode == leading {
		return home != claimer
	}
	if !s.alive() || home.ID == claimer.ID || !s.reachable(home) {
		return false
	}
	return !s.edge(home.ID).Draining
}

// refused is the answer to something this node said under an epoch.
func (s *Seat) refused(from Name, m Refused) {
	s.note(m.Standing)
	s.note(m.Promised)
	switch {
	case s.mode == claiming && m.Epoch == s.claim:
		switch c := m.Standing.Compare(s.top); {
		case m.Standing.Zero():
			s.yield(false)
		case c >= 0 && m.Standing != s.denied && s.reachable(m.Standing.Home) && !s.impatient():
			s.follow(m.Standing)
		default:
			s.evidenceOf(m.Standing)
			s.inVain()
			s.yield(true)
		}
	case s.mode == leading && m.Epoch == s.top:
		s.evidence(m.Standing)
	case s.mode == following && m.Epoch == s.top:
		if m.Standing.Compare(s.top) > 0 {
			s.evidence(m.Standing)
			return
		}
		if s.gone = true; m.Epoch.Home == from {
			s.deny(m.Epoch) // whatever others have heard of it
		}
		s.orphan()
	}
}

// yield gives a claim up, and looks again after a while if the room is still wanted.
func (s *Seat) yield(hidden bool) {
	if !s.want {
		// Those who summoned this node ask again themselves.
		clear(s.followers)
		s.mode = idle
		return
	}
	s.mode = seeking
	s.pause()
	s.hidden = hidden
}
