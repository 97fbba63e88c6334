package rtc

import (
	"portico/shared/conference"
)

// plan is what an offer leads to, found out under the Engine's lock and done without it.
type plan struct {
	decisions   []decision
	established []*session // their m-lines were in this offer for the first time, and can be used
	routes      []routing
	effects     effects
}

// routing is where the packets of a published m-line go.
type routing struct {
	mid     string
	routes  []*route
	ssrcs   []uint32 // of the routes, as far as they are known
	repairs []repair
}

// verdict is what the offer says about one declared m-line.
type verdict struct {
	line    *mline
	section *section
	format  *format
	choice  choice // of a subscribed one
	wrong   bool   // kind or direction contradict the declaration
}

// plan decides about an offer. The Engine's mu is held.
func (t *transport) plan(o *offer) *plan {
	p := &plan{decisions: make([]decision, len(o.sections))}
	verdicts := make(map[*mline]*verdict)
	var touched []*session // in the order of the offer
	for i := range o.sections {
		s := &o.sections[i]
		p.decisions[i].closed = !s.bundled
		line := t.lines[s.mid]
		if line == nil {
			continue
		}
		verdicts[line] = judge(line, s)
		if len(touched) == 0 || touched[len(touched)-1] != line.session {
			touched = append(touched, line.session)
		}
	}
	for _, s := range touched {
		if s.ended || s.established {
			continue
		}
		if reason := s.outcome(verdicts); reason != "" {
			s.end(&p.effects)
			p.effects.tell(s, reason)
			continue
		}
		s.establish(verdicts, &p.effects)
		p.established = append(p.established, s)
	}
	for i := range o.sections {
		s := &o.sections[i]
		if line := t.lines[s.mid]; line != nil && line.accepted {
			p.renew(line, verdicts[line], &p.decisions[i])
		}
	}
	return p
}

// judge compares one section with what its mid was declared to be.
func judge(l *mline, s *section) *verdict {
	v := &verdict{line: l, section: s}
	want := sendOnly
	if !l.session.publishes {
		want = recvOnly
	}
	switch {
	case !s.bundled || s.kind != l.kind:
		v.wrong = true
	case s.direction != want && s.direction != sendRecv:
		v.wrong = true
	case l.accepted:
		v.format = sameFormat(s, l)
	case l.session.publishes:
		v.format = choosePublished(s, l.session.accept)
	default:
		v.choice = l.choose(s, l.session.transport.engine.config.Converter)
		v.format = v.choice.format
	}
	return v
}

// sameFormat finds again what an m-line was accepted with.
func sameFormat(s *section, l *mline) *format {
	if !l.session.publishes {
		return chooseSubscribed(s, l.sent)
	}
	for i := range s.formats {
		if f := &s.formats[i]; f.name == l.codec && f.forwardable(s.kind) {
			return f
		}
	}
	return nil
}

// outcome is why the session fails with this offer, "" when it does not. A publication lives on with the tracks that can be
// used; a subscription gets all it asked for or nothing.
func (s *session) outcome(verdicts map[*mline]*verdict) string {
	usable := 0
	for _, l := range s.lines {
		v := verdicts[l]
		switch {
		case v == nil: // not offered: dropped from the session
		case v.wrong && s.publishes:
			return ReasonNoTracks
		case v.wrong:
			return ReasonNoFormat
		case v.format != nil:
			usable++
		case s.publishes: // this kind cannot be published
		case l.kind == conference.Audio:
			return ReasonNoAudio
		default:
			return ReasonNoVideo
		}
	}
	if usable == 0 {
		return ReasonNoTracks
	}
	return ""
}

// establish makes the media of a session whose offer is good.
func (s *session) establish(verdicts map[*mline]*verdict, effects *effects) {
	s.established = true
	s.timer.Stop()
	defer s.takeOver(effects)
	for _, l := range s.lines {
		v := verdicts[l]
		if v == nil || v.format == nil {
			// Its mid is free again.
			delete(s.transport.lines, l.mid)
			if l.feed != nil {
				s.forget(l)
			}
			continue
		}
		l.accepted, l.codec = true, v.format.name
		if s.publishes {
			l.publish(v.section, v.format)
		} else {
			l.negotiated, l.sent = *v.format, v.choice.sent
			l.subscribe(v.section, v.format)
			if v.choice.made {
				l.made = l.convert(l.sent)
				effects.opening = append(effects.opening, l.made)
			}
		}
	}
}

// forget lets go of the source of a dropped m-line, unless another of the session has the same.
func (s *session) forget(dropped *mline) {
	feed := dropped.feed
	dropped.feed = nil
	for _, l := range s.lines {
		if l.feed == feed {
			return
		}
	}
	delete(feed.subscribers, s)
}

// renew answers the section of an accepted m-line and brings its media up to date with it. An m-line that can no longer be
// used, because the client turned it off for instance, is answered inactive and rests until an offer brings it back.
func (p *plan) renew(l *mline, v *verdict, d *decision) {
	open := v != nil && !v.wrong && v.format != nil
	if l.out != nil && l.open != open {
		defer p.effects.addActive(l)
	}
	l.open = open
	if !open {
		return
	}
	s, f := v.section, v.format
	d.format, d.rtx, d.redundant = f, s.rtxOf(f), s.redundantOf(f)
	rtx, redundant := d.rtx.number(), d.redundant.number()
	if l.out != nil {
		d.direction = sendOnly
		d.ssrc, d.rtxSSRC, d.stream, d.track = l.ssrc, l.rtxSSRC, l.session.id, l.session.id+"-"+l.mid
		l.out.Renegotiated(f.payloadType, rtx, extensionsOut(s, f))
		l.out.SetRedundant(redundant)
		return
	}
	d.direction = recvOnly
	r := routing{mid: l.mid, ssrcs: s.ssrcs, repairs: s.repairs}
	for _, track := range l.tracks {
		track.encoding.Renegotiated(f.payloadType, extensions(s, f))
		track.encoding.SetRedundant(redundant)
		switch {
		case l.grouped:
			r.ssrcs = s.layers
		case track.rid != "":
			d.rids = append(d.rids, track.rid)
			r.ssrcs = nil // the packets say which layer they are
		}
		r.routes = append(r.routes, &route{
			mid: l.mid, rid: track.rid, payloadType: f.payloadType, rtx: rtx, redundant: redundant, encoding: track.encoding, up: track.up,
		})
	}
	p.routes = append(p.routes, r)
}
