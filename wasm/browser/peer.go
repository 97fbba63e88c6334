//go:build js && wasm

package browser

import (
	"context"
	"sync"
	"syscall/js"

	"portico/shared/client"
	"portico/shared/conference"
)

// eventTypes are the events a peer listens to on its RTCPeerConnection.
var eventTypes = [...]string{"icecandidate", "track", "connectionstatechange"}

// peer is an RTCPeerConnection.
type peer struct {
	pc          js.Value
	events      client.PeerEvents
	queue       *queue
	listener    js.Func
	pageServers bool          // the page named the ICE servers; those of the server are not used
	done        chan struct{} // closed by Close, ends all waiting
	closing     sync.Once
}

var _ client.Peer = (*peer)(nil)

func newPeer(pc js.Value, events client.PeerEvents, pageServers bool) *peer {
	p := &peer{pc: pc, events: events, queue: newQueue(), pageServers: pageServers, done: make(chan struct{})}
	p.listener = js.FuncOf(func(_ js.Value, args []js.Value) any {
		if len(args) > 0 {
			guard(func() { p.onEvent(args[0]) })
		}
		return nil
	})
	for _, t := range eventTypes {
		pc.Call("addEventListener", t, p.listener)
	}
	return p
}

// onEvent runs in a JavaScript callback: it reads the event while it is fresh and posts it.
func (p *peer) onEvent(event js.Value) {
	switch event.Get("type").String() {
	case "icecandidate":
		p.onCandidate(event.Get("candidate"))
	case "track":
		p.onTrack(event)
	case "connectionstatechange":
		state := p.pc.Get("connectionState").String()
		p.queue.post(func() { p.events.State(state) })
	}
}

// onCandidate posts one local candidate. null and an empty one mean the end of gathering, which is never signalled (portal
// protocol 8.3).
func (p *peer) onCandidate(candidate js.Value) {
	if candidate.Type() != js.TypeObject {
		return
	}
	text, mid := textOf(candidate.Get("candidate")), textOf(candidate.Get("sdpMid"))
	if text == "" {
		return
	}
	mline := 0
	if index := candidate.Get("sdpMLineIndex"); index.Type() == js.TypeNumber {
		mline = index.Int()
	}
	p.queue.post(func() { p.events.Candidate(text, mid, mline) })
}

// onTrack posts remote media.
func (p *peer) onTrack(event js.Value) {
	track := event.Get("track")
	mid := textOf(event.Get("transceiver").Get("mid"))
	kind := conference.Kind(track.Get("kind").String())
	list := event.Get("streams")
	streams := make([]string, 0, 1)
	for i := range list.Length() {
		streams = append(streams, list.Index(i).Get("id").String())
	}
	p.queue.post(func() { p.events.Track(mid, kind, streams, track) })
}

func textOf(v js.Value) string {
	if v.Type() != js.TypeString {
		return ""
	}
	return v.String()
}

// AddTransceiver adds a transceiver; local is a js.Value holding a MediaStreamTrack, nil for RecvOnly.
func (p *peer) AddTransceiver(kind conference.Kind, dir client.Direction, local any, options client.SendOptions) (client.Transceiver, error) {
	track, err := trackOf(local)
	if err != nil {
		return nil, err
	}
	init := js.Global().Get("Object").New()
	init.Set("direction", string(dir))
	if len(options.Encodings) > 0 {
		init.Set("sendEncodings", encodings(options.Encodings))
	}
	what := js.ValueOf(string(kind))
	if !track.IsNull() {
		what = track
	}
	v, err := try(func() js.Value { return p.pc.Call("addTransceiver", what, init) })
	if err != nil {
		return nil, err
	}
	t := &transceiver{peer: p, v: v, sends: dir == client.SendOnly}
	if kind == conference.Video {
		t.describe()
	}
	if len(options.Codecs) > 0 {
		if err := t.prefer(kind, options.Codecs); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// trackOf is the MediaStreamTrack in local, or null for none.
func trackOf(local any) (js.Value, error) {
	if local == nil {
		return js.Null(), nil
	}
	v, ok := local.(js.Value)
	if !ok || v.Type() != js.TypeObject && !v.IsNull() {
		return js.Null(), ErrNotATrack
	}
	return v, nil
}

func encodings(list []client.Encoding) js.Value {
	array := js.Global().Get("Array").New()
	for _, e := range list {
		entry := js.Global().Get("Object").New()
		if e.RID != "" {
			entry.Set("rid", e.RID)
		}
		if e.MaxBitrate > 0 {
			entry.Set("maxBitrate", e.MaxBitrate)
		}
		if e.ScaleResolutionDownBy > 0 {
			entry.Set("scaleResolutionDownBy", e.ScaleResolutionDownBy)
		}
		if e.ScalabilityMode != "" {
			entry.Set("scalabilityMode", e.ScalabilityMode)
		}
		array.Call("push", entry)
	}
	return array
}

// Offer creates an offer and makes it the local description. The SDP is the one created, without candidates: those are
// trickled.
func (p *peer) Offer(ctx context.Context, iceRestart bool) (string, error) {
	options := js.Global().Get("Object").New()
	if iceRestart {
		options.Set("iceRestart", true)
	}
	offer, err := await(ctx, p.done, func() js.Value { return p.pc.Call("createOffer", options) })
	if err != nil {
		return "", err
	}
	if _, err := await(ctx, p.done, func() js.Value { return p.pc.Call("setLocalDescription", offer) }); err != nil {
		return "", err
	}
	return textOf(offer.Get("sdp")), nil
}

// Answer applies the server's answer.
func (p *peer) Answer(ctx context.Context, sdp string) error {
	description := js.Global().Get("Object").New()
	description.Set("type", "answer")
	description.Set("sdp", sdp)
	_, err := await(ctx, p.done, func() js.Value { return p.pc.Call("setRemoteDescription", description) })
	return err
}

// SetICEServers replaces the servers used from the next gathering on; it changes nothing when the page named its own.
func (p *peer) SetICEServers(servers []client.ICEServer) error {
	if p.pageServers {
		return nil
	}
	_, err := try(func() js.Value {
		config := p.pc.Call("getConfiguration")
		config.Set("iceServers", iceServers(servers))
		return p.pc.Call("setConfiguration", config)
	})
	return err
}

// Close ends the connection. Waiting calls give ErrClosed; no event comes after it has returned. Safe twice.
func (p *peer) Close() error {
	p.closing.Do(func() {
		close(p.done)
		for _, t := range eventTypes {
			p.pc.Call("removeEventListener", t, p.listener)
		}
		_, _ = try(func() js.Value { return p.pc.Call("close") })
		p.listener.Release()
	})
	p.queue.close()
	return nil
}
