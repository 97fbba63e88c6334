package rtc

import "portico/edge/sfu"

// Stats is a snapshot of an Engine. Counts include what has ended.
type Stats struct {
	Participants, Transports, Publications, Subscriptions, Tracks int // at present
	Remotes, Pulled                                               int // publications on other edges, and tracks of them that come here

	PacketsIn, BytesIn   uint64 // RTP that was kept
	PacketsOut, BytesOut uint64 // RTP, retransmissions included
	Resent               uint64
	PacketsRequested     uint64 // of publishers, by NACK
	KeyFramesRequested   uint64 // of publishers
	Unrouted             uint64 // packets that belong to no track
	SocketDrops          uint64 // datagrams that came faster than a transport took them
	Drops                sfu.Drops
}

func (s *Stats) addEncoding(e sfu.EncodingStats) {
	s.PacketsIn += e.Packets
	s.BytesIn += e.Bytes
	s.PacketsRequested += e.PacketsRequested
	s.KeyFramesRequested += e.KeyFramesRequested
	s.Drops.Add(e.Drops)
}

func (s *Stats) addSubscription(u sfu.SubscriptionStats) {
	s.PacketsOut += u.Packets
	s.BytesOut += u.Bytes
	s.Resent += u.Resent
	s.Drops.Add(u.Drops)
}

// Stats takes a snapshot.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.totals
	s.Participants, s.Transports, s.Tracks = len(e.participants), len(e.transports), len(e.tracks)
	for _, session := range e.sessions {
		if session.publishes {
			s.Publications++
		} else {
			s.Subscriptions++
		}
		for _, l := range session.lines {
			if l.out != nil {
				s.addSubscription(l.out.Stats())
			}
			for _, p := range l.tracks {
				s.addEncoding(p.encoding.Stats())
			}
		}
	}
	s.Remotes = len(e.remotes)
	for _, r := range e.remotes {
		for _, p := range r.tracks {
			if p.remote.pulled {
				s.Pulled++
			}
			s.addEncoding(p.encoding.Stats())
		}
	}
	s.SocketDrops = e.port.Dropped()
	for _, t := range e.transports {
		s.Unrouted += t.streams.unrouted.Load()
	}
	return s
}
