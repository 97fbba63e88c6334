package meshproto

import (
	"strings"

	"portico/shared/conference"
	"portico/shared/relayproto"
)

// # Pulling
//
// An edge opens one call of the service pull to each edge that it gets media from, and asks by it for one track after another, each
// layer of a picture being a track of its own:
//
//	puller -> edge    pull      begin to send a track, or one that is made
//	edge -> puller    pulled    it comes; or ended at once
//	puller -> edge    ceiling   what the networks of those who get it carry, of video that is made
//	edge -> puller    target    what it would be without; trouble: why it does not come
//	edge -> puller    members   whose sound is in a mix: only they need one of their own
//	puller -> edge    leave     no more of it
//	edge -> puller    ended     there is no more of it
//
// The media go in datagrams of the link, in flows as of package relayproto: RTP from the edge that was asked, RTCP both ways. The puller
// chooses the flow's number, never the same twice for a node: an even one if its name is less than the other's, else an odd one.
// Payload types and header extensions are relayproto's, and PayloadRedundant.

// Bounds of pulls.
const (
	MaxMembers  = 256                // of one mix
	MaxCeiling  = 1_000_000          // kbit/s
	MaxPullFlow = relayproto.MaxFlow // number of a flow
)

// PayloadRedundant is the RTP payload type of packets with redundant audio (RFC 2198) between edges.
const PayloadRedundant = 63

// Pull asks for one track.
type Pull struct {
	Flow   uint64 `json:"flow"`
	SSRC   uint32 `json:"ssrc"` // that its packets are to have; not 0
	Room   string `json:"room"`
	Stream string `json:"stream"`
	Track  string `json:"track"`
	// Via asks an edge that has the stream from another one. Without it only what is published or made there is sent, and an edge that
	// sends to others so gets it without Via itself: nobody waits for each other.
	Via    bool        `json:"via,omitempty"`
	Making *PullMaking `json:"making,omitempty"` // of a mixed stream's track: how it is to be made
	Slot   bool        `json:"slot,omitempty"`   // it is a track of the loudest sound
}

// PullMaking says how a track is to be made. Zero values of video stand for what the view has.
type PullMaking struct {
	Kind             conference.Kind   `json:"kind"`
	Format           conference.Format `json:"format"`
	Width            int               `json:"width,omitempty"`
	Height           int               `json:"height,omitempty"`
	Framerate        float64           `json:"framerate,omitempty"`        // pictures a second
	Bitrate          string            `json:"bitrate,omitempty"`          // a factor ("x0.8") or kbit/s
	KeyFrameInterval float64           `json:"keyFrameInterval,omitempty"` // seconds
	Listener         string            `json:"listener,omitempty"`         // whose own sound is left out
	Ceiling          int               `json:"ceiling,omitempty"`          // kbit/s, 0 while unknown
}

// Pulled says that a track comes.
type Pulled struct {
	Flow   uint64            `json:"flow"`
	Format conference.Format `json:"format"`
}

// PullEnd is a refusal, or the end of a track that came.
type PullEnd struct {
	Flow   uint64     `json:"flow"`
	Reason PullReason `json:"reason"`
	Detail string     `json:"detail,omitempty"` // for the log
}

// PullReason is why a track does not come.
type PullReason string

// The reasons.
const (
	PullUnknown   PullReason = "unknown"   // there is no such track
	PullElsewhere PullReason = "elsewhere" // it is published, or made, on another edge
	PullFull      PullReason = "full"      // too many tracks
	PullBad       PullReason = "bad"       // it makes no sense: a flow of the wrong kind or that is in use, for instance
	PullOver      PullReason = "over"      // the source has ended
	PullUnable    PullReason = "unable"    // it cannot be made
)

// PullRate is a rate of a track that is made, in kbit/s.
type PullRate struct {
	Flow uint64 `json:"flow"`
	Kbps int    `json:"kbps"`
}

// PullTrouble is why a track that is made does not come at the moment, in words for people; empty when it does.
type PullTrouble struct {
	Flow uint64 `json:"flow"`
	Why  string `json:"why"`
}

// PullMembers is whose sound is in a mix.
type PullMembers struct {
	Stream       string   `json:"stream"`
	Participants []string `json:"participants"`
}

// PullMessage is one message of the service in either direction; exactly one member is set.
type PullMessage struct {
	Pull    *Pull        `json:"pull,omitempty"`
	Leave   *uint64      `json:"leave,omitempty"` // the flow
	Ceiling *PullRate    `json:"ceiling,omitempty"`
	Pulled  *Pulled      `json:"pulled,omitempty"`
	Ended   *PullEnd     `json:"ended,omitempty"`
	Target  *PullRate    `json:"target,omitempty"`
	Trouble *PullTrouble `json:"trouble,omitempty"`
	Members *PullMembers `json:"members,omitempty"`
}

// EncodePull writes a message. Words that are too long are cut.
func EncodePull(m PullMessage) ([]byte, error) {
	if m.Ended != nil {
		m.Ended.Detail = cut(m.Ended.Detail)
	}
	if m.Trouble != nil {
		m.Trouble.Why = cut(m.Trouble.Why)
	}
	return write(m)
}

func cut(text string) string { return strings.ToValidUTF8(text[:min(len(text), MaxText)], "") }

// DecodePull reads a message and checks all of it that can be checked without knowing what is there. It fails with ErrMessage.
func DecodePull(b []byte) (PullMessage, error) {
	var m PullMessage
	if err := read(b, &m); err != nil {
		return PullMessage{}, err
	}
	n := 0
	for _, one := range []struct {
		set bool
		fit func() bool
	}{
		{m.Pull != nil, func() bool { return m.Pull.fits() }},
		{m.Leave != nil, func() bool { return flowFits(*m.Leave) }},
		{m.Ceiling != nil, func() bool { return m.Ceiling.fits() }},
		{m.Pulled != nil, func() bool { return flowFits(m.Pulled.Flow) && formatFits(m.Pulled.Format) }},
		{m.Ended != nil, func() bool {
			return flowFits(m.Ended.Flow) && nameFits(string(m.Ended.Reason)) && len(m.Ended.Detail) <= MaxText
		}},
		{m.Target != nil, func() bool { return m.Target.fits() }},
		{m.Trouble != nil, func() bool { return flowFits(m.Trouble.Flow) && len(m.Trouble.Why) <= MaxText }},
		{m.Members != nil, func() bool { return m.Members.fits() }},
	} {
		if !one.set {
			continue
		}
		if n++; !one.fit() {
			return PullMessage{}, bad("pulling: what it says cannot be")
		}
	}
	if n != 1 {
		return PullMessage{}, bad("pulling: %d things in one", n)
	}
	return m, nil
}

func flowFits(flow uint64) bool { return flow > 0 && flow <= MaxPullFlow }

func formatFits(f conference.Format) bool {
	return nameFits(f.Codec) && len(f.Profile) <= MaxName && f.SampleRate >= 0 && f.ChannelNum >= 0
}

func (r *PullRate) fits() bool { return flowFits(r.Flow) && r.Kbps >= 0 && r.Kbps <= MaxCeiling }

func (p *Pull) fits() bool {
	return flowFits(p.Flow) && p.SSRC != 0 && nameFits(p.Room) && nameFits(p.Stream) && nameFits(p.Track) &&
		(p.Making == nil || !p.Via && !p.Slot && p.Making.fits()) && !(p.Slot && p.Via)
}

func (k *PullMaking) fits() bool {
	side := func(n int) bool { return n >= 0 && n <= relayproto.MaxSide }
	return (k.Kind == conference.Audio || k.Kind == conference.Video) && formatFits(k.Format) && side(k.Width) && side(k.Height) &&
		k.Framerate >= 0 && k.Framerate <= 1000 && k.KeyFrameInterval >= 0 && k.KeyFrameInterval <= 3600 &&
		len(k.Bitrate) <= MaxName && len(k.Listener) <= MaxName && k.Ceiling >= 0 && k.Ceiling <= MaxCeiling
}

func (m *PullMembers) fits() bool {
	if !nameFits(m.Stream) || len(m.Participants) > MaxMembers {
		return false
	}
	for _, p := range m.Participants {
		if !nameFits(p) {
			return false
		}
	}
	return true
}
