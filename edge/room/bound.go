package room

import "portico/shared/conference"

// picture is what a relay has to make for a subscription: those with the same share one.
type picture struct {
	track            string
	resolution       conference.Resolution
	framerate        float64
	bitrate          string
	keyFrameInterval float64
	format           conference.Format // the only one that will do; zero: the client's offer decides
}

// pictureOf is the picture that has to be made for a track of a subscription, because it is of a mix or was asked for otherwise than
// it is; ok is false for all that is only forwarded.
func (t *subscribed) pictureOf() (p picture, ok bool) {
	k := &t.source.Making
	if t.source.Kind != conference.Video || t.source.Adapt {
		return p, false
	}
	p = picture{t.source.Track, k.Resolution, k.Framerate, k.Bitrate, k.KeyFrameInterval, conference.Format{}}
	if len(k.Formats) == 1 {
		p.format = k.Formats[0]
	}
	return p, t.view != "" || p != picture{track: p.track}
}

// tooMany tells whether a participant would have more different pictures made than it may, with tracks in place of those of the
// subscription session: each is an encoder's work, which a few requests must not multiply.
func (m *machine) tooMany(owner, session string, tracks []subscribed) bool {
	made := map[picture]bool{}
	count := func(tracks []subscribed) {
		for i := range tracks {
			if p, ok := tracks[i].pictureOf(); ok {
				made[p] = true
			}
		}
	}
	count(tracks)
	if len(made) == 0 {
		return false
	}
	for id, s := range m.subs {
		if s.owner == owner && id != session {
			count(s.tracks)
		}
	}
	return len(made) > m.limits.Pictures
}
