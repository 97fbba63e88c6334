package client

import (
	"context"
	"slices"
	"strings"
)

// LayeredSender is a Transceiver whose layers of simulcast can be turned off and on without negotiation.
type LayeredSender interface {
	// SetLayers has the layers with these rids sent and no others. It may block.
	SetLayers(rids []string) error
}

// layered tells whether a track is sent in several layers.
func (t *LocalTrack) layered() bool { return len(t.Send.Encodings) > 1 }

// setLayers turns off the layers that the server has no use for, and the others on, on the loop. What the platform refuses is sent as
// before: the server sees what comes.
func (c *Conference) setLayers(s *session, list string) {
	s.layers = strings.Split(list, ",")
	if s.layering {
		return
	}
	s.layering = true
	err := c.group.Go(func(ctx context.Context) {
		var done []string
		for {
			var rids []string
			var senders []LayeredSender
			err := c.do(ctx, func() error {
				rids = s.layers
				s.layering = !s.ended && !slices.Equal(rids, done)
				if !s.layering {
					return nil
				}
				for i := range s.lines {
					if sender, ok := s.lines[i].transceiver.(LayeredSender); ok && i < len(s.tracks) && len(s.tracks[i].send.Encodings) > 1 {
						senders = append(senders, sender)
					}
				}
				return nil
			})
			if err != nil || len(senders) == 0 {
				return
			}
			for _, sender := range senders {
				_ = sender.SetLayers(rids)
			}
			done = rids
		}
	})
	if err != nil { // the end
		s.layering = false
	}
}
