//go:build linux

package mixing

import (
	"context"
	"slices"
	"strings"

	"github.com/pion/sdp/v3"

	"portico/shared/client"
)

// allFactory makes peers that go on to offer all codecs for further m-lines, as browsers do. pion offers only what it thinks was accepted
// before; here that is everything that it offered first.
type allFactory struct{ client.PeerFactory }

// NewPeer implements client.PeerFactory.
func (f allFactory) NewPeer(config client.PeerConfig, events client.PeerEvents) (client.Peer, error) {
	p, err := f.PeerFactory.NewPeer(config, events)
	return &allPeer{Peer: p}, err
}

type allPeer struct {
	client.Peer
	offered  string // first
	answered bool
}

// Offer implements client.Peer.
func (p *allPeer) Offer(ctx context.Context, iceRestart bool) (string, error) {
	offer, err := p.Peer.Offer(ctx, iceRestart)
	if !p.answered {
		p.offered = offer
	}
	return offer, err
}

// Answer implements client.Peer.
func (p *allPeer) Answer(ctx context.Context, answer string) error {
	if !p.answered {
		p.answered = true
		var err error
		if answer, err = widened(answer, p.offered); err != nil {
			return err
		}
	}
	return p.Peer.Answer(ctx, answer)
}

// widened is the answer as if all video formats of the offer were accepted, behind those that are.
func widened(answer, offer string) (string, error) {
	var a, o sdp.SessionDescription
	if err := a.UnmarshalString(answer); err != nil {
		return "", err
	}
	if err := o.UnmarshalString(offer); err != nil {
		return "", err
	}
	for i, m := range a.MediaDescriptions {
		if i >= len(o.MediaDescriptions) || m.MediaName.Media != "video" {
			continue
		}
		accepted := slices.Clone(m.MediaName.Formats)
		for _, f := range o.MediaDescriptions[i].MediaName.Formats {
			if !slices.Contains(accepted, f) {
				m.MediaName.Formats = append(m.MediaName.Formats, f)
			}
		}
		for _, x := range o.MediaDescriptions[i].Attributes {
			f, _, _ := strings.Cut(x.Value, " ")
			if slices.Contains([]string{"rtpmap", "fmtp", "rtcp-fb"}, x.Key) && !slices.Contains(accepted, f) {
				m.Attributes = append(m.Attributes, x)
			}
		}
	}
	text, err := a.Marshal()
	return string(text), err
}
