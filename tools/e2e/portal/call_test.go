package portal

import (
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"portico/shared/client"
	"portico/shared/conference"
	"portico/tools/pionpeer"
)

// call is a publisher and a subscriber in a room: numbered audio packets, twenty milliseconds apart, and their reception.
type call struct {
	t        *testing.T
	stop     chan struct{}
	stopped  sync.WaitGroup
	received sync.Map // RTP timestamp of the publisher, which forwarding keeps in step, to true

	mu   sync.Mutex // guards sent
	sent int

	first chan struct{} // closed with the first packet
	once  sync.Once
}

// seat joins a participant to the edge's room.
func (e *edge) seat(user string, events client.Events) *client.Conference {
	e.t.Helper()
	factory, err := pionpeer.New(pionpeer.Options{Settings: func(s *webrtc.SettingEngine) { s.SetIncludeLoopbackCandidate(true) }})
	if err != nil {
		e.t.Fatal(err)
	}
	c, err := client.Join(e.t.Context(), e.token(user, "presenter"), client.Options{Peers: factory, Events: events})
	if err != nil {
		e.t.Fatal(err)
	}
	return c
}

// startCall begins a call and waits until media flows.
func (e *edge) startCall() *call {
	e.t.Helper()
	k := &call{t: e.t, stop: make(chan struct{}), first: make(chan struct{})}
	publisher, subscriber := e.seat("publisher", client.NoEvents{}), e.seat("subscriber", client.NoEvents{})
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, "audio", "call")
	if err != nil {
		e.t.Fatal(err)
	}
	p, err := publisher.Publish(e.t.Context(), client.PublishOptions{Tracks: []client.LocalTrack{{Kind: conference.Audio, Source: "mic", Local: track}}})
	if err != nil {
		e.t.Fatal(err)
	}
	s, err := subscriber.Subscribe(e.t.Context(), client.SubscribeOptions{Audio: &client.SubscribeTrack{From: p.ID()}})
	if err != nil {
		e.t.Fatal(err)
	}
	remote := s.Tracks()[0].Track.(*pionpeer.Remote).Track
	k.stopped.Add(2)
	go k.send(track)
	go k.receive(remote)
	select {
	case <-k.first:
	case <-e.t.Context().Done():
		e.t.Fatal("no media")
	}
	e.t.Cleanup(func() {
		k.halt()
		_ = publisher.Leave(e.t.Context())
		_ = subscriber.Leave(e.t.Context())
		k.stopped.Wait()
	})
	return k
}

const packetTime = 20 * time.Millisecond

func (k *call) send(track *webrtc.TrackLocalStaticRTP) {
	defer k.stopped.Done()
	ticker := time.NewTicker(packetTime)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ticker.C:
		case <-k.stop:
			return
		}
		payload := []byte{0xfc, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
		err := track.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(n), Timestamp: uint32(n) * 960}, Payload: payload})
		if err != nil {
			k.t.Errorf("send: %v", err)
			return
		}
		k.mu.Lock()
		k.sent = n + 1
		k.mu.Unlock()
	}
}

func (k *call) receive(track *webrtc.TrackRemote) {
	defer k.stopped.Done()
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		if b := packet.Payload; len(b) == 5 {
			k.received.Store(int(b[1])<<24|int(b[2])<<16|int(b[3])<<8|int(b[4]), true)
			k.once.Do(func() { close(k.first) })
		}
	}
}

// mark is the number of the next packet.
func (k *call) mark() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sent
}

// lost waits until the newest packet sent so far has arrived, and half a second's worth at least, and counts those from mark on
// that have not.
func (k *call) lost(mark int) (lost, of int) {
	k.t.Helper()
	end := max(k.mark(), mark+int(500*time.Millisecond/packetTime))
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	look := time.NewTicker(packetTime)
	defer look.Stop()
	for {
		lost = 0
		for n := mark; n < end; n++ {
			if _, ok := k.received.Load(n); !ok {
				lost++
			}
		}
		if lost == 0 {
			return 0, end - mark
		}
		select {
		case <-look.C:
		case <-deadline.C:
			return lost, end - mark
		}
	}
}

func (k *call) halt() {
	select {
	case <-k.stop:
	default:
		close(k.stop)
	}
}
