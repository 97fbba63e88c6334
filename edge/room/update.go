package room

import (
	"context"
	"reflect"
	"slices"

	"portico/shared/conference"
	"portico/shared/portalproto"
)

// update gives a subscription other sources or parameters (portal protocol 6.7, rooms-and-media 8.5): the state machine checks and takes
// them, the media layer changes over outside the Loop, and when it cannot, all is as it was.
func (c *controller) update(ctx context.Context, participant string, r portalproto.SubscriptionControl) error {
	c.updating.Lock()
	defer c.updating.Unlock()
	var s *subscription
	var before, after []subscribed
	if err := c.run(ctx, func() (err error) {
		s, before, after, err = c.machine.update(participant, r)
		return err
	}); err != nil {
		return err
	}
	changed := changes(before, after)
	if len(changed) > 0 {
		c.flush()
	}
	err := c.mixing(pick(after, changed))
	done := 0
	for ; err == nil && done < len(changed); done++ {
		i := changed[done]
		if err = c.feed(s.id, before[i].source, after[i].source); err != nil {
			c.log.Debug("subscription could not be updated", "session", s.id, "error", err)
			break
		}
	}
	if err == nil {
		return c.run(context.Background(), func() error { c.machine.updated(s, changed); return nil })
	}
	for _, i := range slices.Backward(changed[:done]) {
		_ = c.feed(s.id, after[i].source, before[i].source) // it has just been so; if its source has ended, the subscription has as well
	}
	_ = c.run(context.Background(), func() error { c.machine.restore(s, before); return nil })
	return portalproto.ErrUpdateFailed
}

// feed changes one track of a subscription over. Where only the size at which it is shown is another, that is all there is to tell.
func (c *controller) feed(session string, from, to MediaSource) error {
	shown := from
	shown.Display = to.Display
	if to.Adapt && reflect.DeepEqual(shown, to) {
		c.media.SetDisplay(session, to.Display)
		return nil
	}
	return c.media.Change(session, to)
}

// changes are the places of the tracks that are fed otherwise than before.
func changes(before, after []subscribed) []int {
	var list []int
	for i := range after {
		if !reflect.DeepEqual(before[i].source, after[i].source) {
			list = append(list, i)
		}
	}
	return list
}

func pick(tracks []subscribed, at []int) []subscribed {
	list := make([]subscribed, len(at))
	for i, k := range at {
		list[i] = tracks[k]
	}
	return list
}

// update checks an update of a subscription and takes it; before and after are its tracks, in their order.
func (m *machine) update(participant string, c portalproto.SubscriptionControl) (s *subscription, before, after []subscribed, err error) {
	if s, err = m.ownSubscription(participant, c.ID); err != nil {
		return nil, nil, nil, err
	}
	audio, video := s.track(conference.Audio), s.track(conference.Video)
	switch {
	case c.Media.Audio && audio < 0:
		return nil, nil, nil, portalproto.ErrNoAudioToUpdate
	case c.Media.Video && video < 0:
		return nil, nil, nil, portalproto.ErrNoVideoToUpdate
	}
	before, after = s.tracks, slices.Clone(s.tracks)
	detail := ""
	if c.Media.Audio {
		if after[audio], detail = m.updatedTrack(s.owner, before[audio], c.AudioFrom, portalproto.Wanted{}); detail != "" {
			return nil, nil, nil, portalproto.AudioUpdateUnsatisfied(detail)
		}
	}
	if c.Media.Video {
		if after[video], detail = m.updatedTrack(s.owner, before[video], c.VideoFrom, c.Wanted); detail != "" {
			return nil, nil, nil, portalproto.VideoUnsatisfied(detail)
		}
	}
	if m.tooMany(s.owner, s.id, after) {
		return nil, nil, nil, portalproto.ErrUpdateFailed
	}
	s.tracks = after
	return s, before, slices.Clone(after), nil // the Loop's own may be paused meanwhile
}

// updatedTrack is a track with another source, which forgets what was asked of the one before, or with more asked of it.
func (m *machine) updatedTrack(owner string, t subscribed, from string, w portalproto.Wanted) (updated subscribed, detail string) {
	r := t.request
	if from != "" && from != r.From {
		r = portalproto.SubscribeTrack{Kind: r.Kind, Mid: r.Mid, From: from}
	}
	if w.Resolution != (conference.Resolution{}) {
		r.Wanted.Resolution = w.Resolution
	}
	if w.Framerate != 0 {
		r.Wanted.Framerate = w.Framerate
	}
	if w.Bitrate != "" {
		r.Wanted.Bitrate = w.Bitrate
	}
	if w.KeyFrameInterval != 0 {
		r.Wanted.KeyFrameInterval = w.KeyFrameInterval
	}
	if reflect.DeepEqual(r, t.request) {
		return t, "" // nothing is asked: it stays as it is, even if it could not be had anew
	}
	updated, detail = m.source(owner, r)
	updated.active = t.active
	return updated, detail
}

// updated follows an update that the media layer has carried out: what was paused is still to be.
func (m *machine) updated(s *subscription, changed []int) {
	if m.subs[s.id] != s {
		return
	}
	for _, i := range changed {
		if t := s.tracks[i]; !t.active {
			m.do(func(media Media) { media.SetSubscriptionActive(s.id, t.source.Kind, false) })
		}
	}
}

// restore undoes an update that the media layer could not carry out. A source that has ended since takes the subscription with it.
func (m *machine) restore(s *subscription, before []subscribed) {
	if m.subs[s.id] != s {
		return
	}
	before = slices.Clone(before)
	for i := range before {
		before[i].active = s.tracks[i].active
	}
	s.tracks = before
	for _, t := range before {
		if m.publication(t.stream) == nil && m.viewOf(t.stream) == nil && m.selectedIndex(t.stream) < 0 {
			m.endSubscription(s, portalproto.ReasonSourceLoss)
			m.do(func(media Media) { media.Stop(s.id) })
			return
		}
	}
}
