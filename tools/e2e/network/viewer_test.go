//go:build linux

package network

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"portico/shared/client"
	"portico/shared/conference"
	"portico/tools/pionpeer"
)

// viewer is a subscription: what it hears and shows, with the times.
type viewer struct {
	seat  *seat
	video *pionpeer.Remote

	mu       sync.Mutex // guards what follows
	changed  chan struct{}
	heard    []arrival
	shown    []arrival
	repaired int // packets that came as RTX
	asked    int // key frames
	decoder  decoder
	gaps     gaps
}

// arrival is an audio packet heard or a picture shown.
type arrival struct {
	stamp
	at        time.Duration // by clock
	timestamp uint32
	picture   uint16 // id, 15 bits
}

// watch subscribes to a stream, until the participant leaves.
func (s *seat) watch(stream string) *viewer {
	s.t.Helper()
	v := &viewer{seat: s, changed: make(chan struct{})}
	sub, err := s.c.Subscribe(s.t.Context(), client.SubscribeOptions{
		Audio: &client.SubscribeTrack{From: stream}, Video: &client.SubscribeTrack{From: stream},
	})
	if err != nil {
		s.t.Fatalf("%s cannot subscribe: %v", s.name, err)
	}
	for _, track := range sub.Tracks() {
		remote := track.Track.(*pionpeer.Remote)
		take := v.hear
		if track.Kind == conference.Video {
			v.video, take = remote, v.see
		}
		s.tasks.Go(func() { v.read(remote.Track, take) })
	}
	s.tasks.Go(func() { every(nackEvery, s.leaving, func(uint32) { v.ask() }) })
	return v
}

// read takes the packets of a track until that ends.
func (v *viewer) read(track *webrtc.TrackRemote, take func(*rtp.Packet, stamp)) {
	for {
		packet, attributes, err := track.ReadRTP()
		if err != nil {
			return
		}
		s, ok := readStamp(packet.Payload)
		if !ok {
			continue // padding, which probes the path
		}
		v.mu.Lock()
		if attributes.Get(webrtc.AttributeRtxSsrc) != nil {
			v.repaired++
		}
		take(packet, s)
		close(v.changed)
		v.changed = make(chan struct{})
		v.mu.Unlock()
	}
}

// hear takes an audio packet. mu is held.
func (v *viewer) hear(p *rtp.Packet, s stamp) {
	v.heard = append(v.heard, arrival{stamp: s, at: clock(), timestamp: p.Timestamp})
}

// see takes a video packet. mu is held.
func (v *viewer) see(p *rtp.Packet, s stamp) {
	id := uint16(0)
	if b := p.Payload; b[0]&0x80 != 0 && b[1]&0x80 != 0 && b[2]&0x80 != 0 { // X, I, 15 bits
		id = binary.BigEndian.Uint16(b[2:]) & 0x7fff
	}
	v.gaps.take(p.SequenceNumber)
	v.shown = append(v.shown, v.decoder.take(arrival{stamp: s, at: clock(), timestamp: p.Timestamp, picture: id})...)
}

// ask asks for what is missing: packets, and a key frame when no picture was shown for too long.
func (v *viewer) ask() {
	v.mu.Lock()
	now := clock()
	missing := v.gaps.ask(now)
	stuck := v.decoder.stuck(now)
	if stuck {
		v.asked++
	}
	v.mu.Unlock()
	// Both are as lost as on a network.
	if len(missing) > 0 {
		_, _ = v.video.Receiver.Transport().WriteRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{
			MediaSSRC: uint32(v.video.Track.SSRC()), Nacks: rtcp.NackPairsFromSequenceNumbers(missing),
		}})
	}
	if stuck {
		_ = v.video.RequestKeyFrame()
	}
}

// until waits for something to be true of what was heard and shown.
func (v *viewer) until(limit time.Duration, what func(v *viewer) bool) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		v.mu.Lock()
		ok, changed := what(v), v.changed
		v.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-timer.C:
			return false
		}
	}
}

// playing waits until both media flow.
func (v *viewer) playing() {
	v.seat.t.Helper()
	const limit = 10 * time.Second
	if !v.until(limit, func(v *viewer) bool { return len(v.heard) > 0 && len(v.shown) > 0 }) {
		v.seat.t.Fatalf("%s has no media after %v: %v", v.seat.name, limit, v.figures(0, clock()))
	}
}

// decoder puts pictures together and shows them in order, as the buffer before a browser's decoder does: each picture needs the one
// before it, a key frame needs none.
type decoder struct {
	pictures map[pictureID]*assembly
	last     arrival // shown
	asked    time.Duration
}

type pictureID struct {
	layer  uint8
	number uint32
}

type assembly struct {
	arrival
	have map[uint16]bool
}

func (a *assembly) complete() bool { return a != nil && len(a.have) == int(a.count) }

// patience is how long the decoder waits for a picture until a key frame is asked for.
func (decoder) patience() time.Duration { return 500 * time.Millisecond }

// stuck tells whether a key frame is to be asked for now.
func (d *decoder) stuck(now time.Duration) bool {
	if now-max(d.last.at, d.asked) < d.patience() {
		return false
	}
	d.asked = now
	return true
}

// take takes the packet of a picture and returns the pictures that can be shown now.
func (d *decoder) take(p arrival) (shown []arrival) {
	if d.last.at != 0 && p.sent <= d.last.sent {
		return nil // too late
	}
	if d.pictures == nil {
		d.pictures = map[pictureID]*assembly{}
	}
	id := pictureID{p.layer, p.number}
	a := d.pictures[id]
	if a == nil {
		a = &assembly{arrival: p, have: map[uint16]bool{}}
		d.pictures[id] = a
	}
	a.have[p.index] = true
	if !a.complete() {
		return nil
	}
	for next := d.next(); next != nil; next = d.next() {
		next.at = p.at
		d.last = next.arrival
		shown = append(shown, d.last)
		for id, a := range d.pictures {
			if a.sent <= d.last.sent {
				delete(d.pictures, id)
			}
		}
	}
	return shown
}

// next is the picture to show, nil when none can be.
func (d *decoder) next() *assembly {
	if d.last.at != 0 {
		if a := d.pictures[pictureID{d.last.layer, d.last.number + 1}]; a.complete() {
			return a
		}
	}
	var first *assembly
	for _, a := range d.pictures {
		if a.key != 0 && a.complete() && (first == nil || a.sent < first.sent) {
			first = a
		}
	}
	return first
}
