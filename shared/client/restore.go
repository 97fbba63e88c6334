package client

import (
	"context"
	"errors"
	"slices"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// rejoin makes one attempt to join anew as another participant.
func (c *Conference) rejoin(ctx context.Context) error {
	token, err := c.options.Token(ctx)
	if err != nil {
		return err
	}
	url, err := portalURL(token)
	if err != nil {
		return err
	}
	return c.enter(ctx, url, token, func(w *wire, at string, result portalproto.LoginResult, r *room) {
		c.rejoined(w, at, dataURLAt(at, url, token), result, r)
	})
}

// rejoined takes over the new participation, on the loop.
func (c *Conference) rejoined(w *wire, url, dataURL string, result portalproto.LoginResult, r *room) {
	before := c.state.room
	c.state.room, c.state.url, c.state.wire, c.state.received = r, url, w, 0
	clear(c.state.opening)
	c.state.strays, c.state.orphans = nil, false
	c.endFormer()
	c.admitted(result.Ticket, result.ICEServers, result.Edges)
	c.granted(dataURL, &result)
	c.tellState()
	for _, event := range changes(before, r) {
		c.emit(event)
	}
	if c.state.over {
		return
	}
	c.startOver(false, false)
	c.open(w)
}

// startOver has everything that was there before opened again, in its order, on another PeerConnection: by the same participant (moved),
// whose streams keep their ids, or by another. What was subscribed to and is gone has ended. Data, whose connection was the earlier
// participation's, ends with that, or waits for the connection to the other edge; had says that there was one.
func (c *Conference) startOver(moved, had bool) {
	c.dropStale()
	if moved {
		c.moveData(had)
	} else {
		c.endData(errReplaced, ReasonGone)
	}
	sessions := slices.DeleteFunc(c.sessionList(), func(s *session) bool { return s.data })
	slices.SortFunc(sessions, func(a, b *session) int { return a.number - b.number })
	c.state.jobs = slices.DeleteFunc(c.state.jobs, func(j job) bool { return j.session != nil })
	for _, s := range sessions {
		resume := s.id
		c.reset(s)
		if moved && s.publication && s.known() {
			s.resume = resume
		}
		switch {
		case s.working:
			s.redo = true
		case s.known() && !s.publication && !c.state.room.has(s.sources()):
			c.endSession(s, ErrStopped, portalproto.ReasonSourceLoss)
		default:
			c.addJob(job{session: s})
		}
	}
	c.giveUp(c.state.transport, ReasonGone, false)
}

// reset makes a session as if it had never been opened.
func (c *Conference) reset(s *session) {
	if s.id != "" && c.state.byID[s.id] == s {
		delete(c.state.byID, s.id)
	}
	c.stop(s.timer)
	s.id, s.resume, s.transport, s.lines, s.remote, s.missing = "", "", nil, nil, nil, nil
	s.answered, s.ready, s.live, s.lost = false, false, false, false
	if s.publication && s.known() {
		s.withheld = s.muted
	}
}

// restored hands the session out under the id that it has now.
func (c *Conference) restored(s *session) {
	defer c.settleFormer()
	before, id := *s.name.Load(), s.id
	s.name.Store(&id)
	c.emit(func(e Events) { e.SessionRestored(before, id) })
	for _, view := range s.views {
		mix := portalproto.StreamControl{ID: id, Operation: portalproto.Mix, View: view}.Encode()
		_ = c.group.Go(func(ctx context.Context) {
			_, _ = c.request(ctx, portalproto.EventStreamControl, mix) // refused: the room has no such view any more
		})
	}
	if !s.muted.Audio && !s.muted.Video {
		return
	}
	kind := kindOf(s.muted)
	pause := s.controlRequest(portalproto.Pause, kind)
	_ = c.group.Go(func(ctx context.Context) {
		if _, err := c.request(ctx, s.controlName(), pause); err == nil {
			c.supply(s, kind)
		}
	})
}

// supply has a publication send the tracks of the kind that were withheld.
func (c *Conference) supply(s *session, kind conference.Kind) {
	type change struct {
		transceiver Transceiver
		local       any
	}
	var list []change
	_ = c.do(context.Background(), func() error {
		for i := range s.tracks {
			t := &s.tracks[i]
			if !has(s.withheld, t.kind) || kind != "" && kind != t.kind {
				continue
			}
			t.changes++ // for the negotiator, should it be at it
			if i < len(s.lines) {
				list = append(list, change{s.lines[i].transceiver, t.local})
			}
		}
		s.withheld = with(s.withheld, kind, false)
		return nil
	})
	for _, ch := range list {
		_ = ch.transceiver.ReplaceTrack(ch.local) // refused only when the connection is closed
	}
}

// trackList is the session's tracks as they are to be sent now.
func (s *session) trackList() []sessionTrack {
	tracks := slices.Clone(s.tracks)
	for i := range tracks {
		if has(s.withheld, tracks[i].kind) {
			tracks[i].local = nil
		}
	}
	return tracks
}

// replacedSince lists the tracks that are others than they were.
func (s *session) replacedSince(before []sessionTrack) (list []int) {
	for i := range s.tracks {
		if s.tracks[i].changes != before[i].changes {
			list = append(list, i)
		}
	}
	return list
}

// has and with look into a MediaSet by kind; the empty kind is both.
func has(m conference.MediaSet, kind conference.Kind) bool {
	return kind == conference.Audio && m.Audio || kind == conference.Video && m.Video
}

func with(m conference.MediaSet, kind conference.Kind, value bool) conference.MediaSet {
	if kind != conference.Video {
		m.Audio = value
	}
	if kind != conference.Audio {
		m.Video = value
	}
	return m
}

// kindOf is the kind that stands for a set that is not empty.
func kindOf(m conference.MediaSet) conference.Kind {
	switch {
	case m.Audio && m.Video:
		return ""
	case m.Audio:
		return conference.Audio
	}
	return conference.Video
}

// has tells whether all those streams or tracks are in the room.
func (r *room) has(ids []string) bool {
	known := map[string]bool{}
	for _, s := range r.streams.list() {
		known[s.ID] = true
		for _, t := range s.Tracks {
			known[t.ID] = true
		}
	}
	return !slices.ContainsFunc(ids, func(id string) bool { return !known[id] })
}

// changes are the events that make one room the other. The client's own joining is not told, as it is not on Join.
func changes(before, after *room) (events []func(Events)) {
	roster := func() {
		if count, thin := after.size(), after.thin; (before.thin || thin) && (count != before.size() || thin != before.thin) {
			events = append(events, func(e Events) { e.RosterChanged(count, thin) })
		}
	}
	if after.thin {
		roster()
	}
	for _, s := range before.streams.list() {
		if _, there := after.streams.get(s.ID); !there {
			events = append(events, func(e Events) { e.StreamRemoved(s.ID) })
		}
	}
	for _, p := range before.participants.list() {
		if _, there := after.participants.get(p.ID); !there {
			events = append(events, func(e Events) { e.ParticipantLeft(p.ID) })
		}
	}
	for _, p := range after.participants.list() {
		if _, there := before.participants.get(p.ID); !there && p.ID != after.self.ID {
			events = append(events, func(e Events) { e.ParticipantJoined(p) })
		}
	}
	if !after.thin {
		roster()
	}
	for _, s := range after.streams.list() {
		old, there := before.streams.get(s.ID)
		switch {
		case !there:
			events = append(events, func(e Events) { e.StreamAdded(s) })
		case !sameStream(old, s):
			events = append(events, func(e Events) { e.StreamUpdated(s, portalproto.FieldAll, jsonvalue.Value{}) })
		}
	}
	return events
}

func sameStream(a, b conference.Stream) bool {
	to := portalproto.Receiver{Version: portalproto.V12}
	return jsonvalue.Equal(portalproto.EncodeStream(&a, to), portalproto.EncodeStream(&b, to))
}

// isReplaced tells whether a request failed because the client had to join anew.
func isReplaced(err error) bool { return errors.Is(err, errReplaced) }
