package pionpeer

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"portico/shared/client"
	"portico/shared/conference"
)

// ErrLocalTrack says that a local track was neither a webrtc.TrackLocal nor a slice of them.
var ErrLocalTrack = errors.New("pionpeer: local track must be a webrtc.TrackLocal or a non-empty []webrtc.TrackLocal")

// peer is one PeerConnection. pion calls back from goroutines of its own; the events go through one queue and one goroutine, which keeps
// them in order and lets Close promise that none comes later.
type peer struct {
	pc     *webrtc.PeerConnection
	rtcp   func(mid string, packets []rtcp.Packet)
	events *queue
	tasks  sync.WaitGroup // the event goroutine and the RTCP readers
	close  sync.Once
	err    error // of the first Close
}

func newPeer(pc *webrtc.PeerConnection, onRTCP func(string, []rtcp.Packet), events client.PeerEvents) *peer {
	p := &peer{pc: pc, rtcp: onRTCP, events: newQueue()}
	p.tasks.Go(p.events.run)
	pc.OnICECandidate(func(c *webrtc.ICECandidate) {
		if c == nil {
			return
		}
		init := c.ToJSON()
		p.events.post(func() { events.Candidate(init.Candidate, *init.SDPMid, int(*init.SDPMLineIndex)) })
	})
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		p.events.post(func() { events.State(s.String()) })
	})
	pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		p.tasks.Go(func() { readReceiverRTCP(receiver) })
		remote := &Remote{Track: track, Receiver: receiver, pc: pc}
		of := receiver.RTPTransceiver()
		if of == nil { // the connection was closed meanwhile
			return
		}
		mid := of.Mid()
		p.events.post(func() { events.Track(mid, kindOf(track.Kind()), []string{track.StreamID()}, remote) })
	})
	return p
}

func (p *peer) AddTransceiver(kind conference.Kind, dir client.Direction, local any, options client.SendOptions) (client.Transceiver, error) {
	init := webrtc.RTPTransceiverInit{Direction: webrtc.NewRTPTransceiverDirection(string(dir))}
	tracks, err := localTracks(local)
	if err != nil {
		return nil, err
	}
	var t *webrtc.RTPTransceiver
	if len(tracks) == 0 {
		t, err = p.pc.AddTransceiverFromKind(codecType(kind), init)
	} else {
		t, err = p.pc.AddTransceiverFromTrack(tracks[0], init)
	}
	if err != nil {
		return nil, err
	}
	for i := 1; i < len(tracks); i++ {
		if err := t.Sender().AddEncoding(tracks[i]); err != nil {
			return nil, err
		}
	}
	if err := preferCodecs(t, options.Codecs); err != nil {
		return nil, err
	}
	if t.Sender() != nil && dir == client.SendOnly {
		p.tasks.Go(func() { p.readSenderRTCP(t) })
	}
	return &transceiver{t}, nil
}

func (p *peer) Offer(_ context.Context, iceRestart bool) (string, error) {
	offer, err := p.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: iceRestart})
	if err != nil {
		return "", err
	}
	if err := p.pc.SetLocalDescription(offer); err != nil {
		return "", err
	}
	return offer.SDP, nil
}

func (p *peer) Answer(_ context.Context, sdp string) error {
	return p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp})
}

// SetICEServers changes the configuration; pion's gatherer keeps the servers it was made with, so this shows only in a new peer.
func (p *peer) SetICEServers(servers []client.ICEServer) error {
	configuration := p.pc.GetConfiguration()
	configuration.ICEServers = iceServers(servers)
	return p.pc.SetConfiguration(configuration)
}

// Close waits for every goroutine of the peer, the RTCP readers and the event that runs included.
func (p *peer) Close() error {
	p.close.Do(func() {
		p.events.close()
		p.err = p.pc.GracefulClose()
		p.tasks.Wait()
	})
	return p.err
}

func (p *peer) readSenderRTCP(t *webrtc.RTPTransceiver) {
	for {
		packets, _, err := t.Sender().ReadRTCP()
		if err != nil {
			return
		}
		if p.rtcp != nil {
			p.rtcp(t.Mid(), packets)
		}
	}
}

// readReceiverRTCP has the interceptors see the sender reports.
func readReceiverRTCP(receiver *webrtc.RTPReceiver) {
	for {
		if _, _, err := receiver.ReadRTCP(); err != nil {
			return
		}
	}
}

type transceiver struct{ t *webrtc.RTPTransceiver }

func (t *transceiver) Mid() string { return t.t.Mid() }

func (t *transceiver) ReplaceTrack(local any) error {
	tracks, err := localTracks(local)
	if err != nil {
		return err
	}
	if len(tracks) == 0 {
		return t.t.Sender().ReplaceTrack(nil)
	}
	return t.t.Sender().ReplaceTrack(tracks[0])
}

func (t *transceiver) Stop() error { return t.t.Stop() }

func localTracks(local any) ([]webrtc.TrackLocal, error) {
	switch l := local.(type) {
	case nil:
		return nil, nil
	case webrtc.TrackLocal:
		return []webrtc.TrackLocal{l}, nil
	case []webrtc.TrackLocal:
		if len(l) > 0 {
			return l, nil
		}
	}
	return nil, ErrLocalTrack
}

// preferCodecs puts the named codecs first, each with its RTX, and leaves the others behind them in their order.
func preferCodecs(t *webrtc.RTPTransceiver, names []string) error {
	if len(names) == 0 {
		return nil
	}
	var all []webrtc.RTPCodecParameters
	if receiver := t.Receiver(); receiver != nil {
		all = receiver.GetParameters().Codecs
	} else if sender := t.Sender(); sender != nil {
		all = sender.GetParameters().Codecs
	}
	var first, rest []webrtc.RTPCodecParameters
	for _, name := range names {
		for _, c := range all {
			if codecName(c.MimeType) == name {
				first = append(first, c)
			}
		}
	}
	for _, c := range all {
		if !contains(first, c.PayloadType) {
			rest = append(rest, c)
		}
	}
	return t.SetCodecPreferences(append(first, rest...))
}

func codecName(mime string) string {
	_, name, _ := strings.Cut(strings.ToLower(mime), "/")
	return name
}

func contains(codecs []webrtc.RTPCodecParameters, payloadType webrtc.PayloadType) bool {
	for _, c := range codecs {
		if c.PayloadType == payloadType {
			return true
		}
	}
	return false
}

func kindOf(t webrtc.RTPCodecType) conference.Kind { return conference.Kind(t.String()) }

func codecType(kind conference.Kind) webrtc.RTPCodecType { return webrtc.NewRTPCodecType(string(kind)) }

// Remote is the remote track that PeerEvents.Track carries. Its media waits in pion until somebody reads Track; nothing else does.
type Remote struct {
	Track    *webrtc.TrackRemote
	Receiver *webrtc.RTPReceiver
	pc       *webrtc.PeerConnection
}

// RequestKeyFrame sends a PLI (RFC 4585 section 6.3.1) for the track.
func (r *Remote) RequestKeyFrame() error {
	return r.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(r.Track.SSRC())}})
}
