//go:build js && wasm

// Package browser gives the conference client a PeerConnection: the browser's own RTCPeerConnection, bound over syscall/js.
//
// It stands where pionpeer stands in native programs: client calls it to negotiate, and hears from it of candidates, remote
// tracks and the connection's state. Three rules of the platform shape it. A JavaScript callback runs on the page's only
// thread and must not wait, so callbacks only read their event and post it to a queue; one goroutine of each Peer empties the
// queue, hence events come in the browser's order, one at a time. A Promise is awaited by a goroutine on a channel; promises
// that will never settle (WebRTC 1.0 leaves those of a closed connection pending) end with the Peer. A js.Func pins its
// closure until released, so each Peer has one for all its events and all promises share one.
package browser

import (
	"errors"
	"syscall/js"

	"portico/shared/client"
)

// ErrClosed is what waiting calls on a Peer get once it is closed.
var ErrClosed = errors.New("the connection is closed")

// ErrNotATrack is given for a local track that is not a MediaStreamTrack.
var ErrNotATrack = errors.New("the local track is not a MediaStreamTrack")

// ErrUnsupported is what making a Peer gives where the page has no RTCPeerConnection: an old browser, a Worker, or WebRTC
// switched off.
var ErrUnsupported = errors.New("this browser has no WebRTC")

// Config is how a page wants its connections.
type Config struct {
	// RTC is the page's RTCConfiguration, or undefined. Its iceServers, when not empty, replace those the server names; its
	// iceTransportPolicy holds unless the client asks for relay only.
	RTC js.Value
	// Created is told of each new RTCPeerConnection, so that the page can look at it; nil for nobody. It must not block.
	Created func(pc js.Value)
}

// Factory makes Peers on the page's RTCPeerConnection.
type Factory struct{ config Config }

// NewFactory returns the factory of one conference.
func NewFactory(config Config) *Factory { return &Factory{config} }

var _ client.PeerFactory = (*Factory)(nil)

// NewPeer makes an RTCPeerConnection. Events start with the first offer.
func (f *Factory) NewPeer(config client.PeerConfig, events client.PeerEvents) (client.Peer, error) {
	constructor := js.Global().Get("RTCPeerConnection")
	if constructor.Type() != js.TypeFunction {
		return nil, ErrUnsupported
	}
	pc, err := try(func() js.Value { return constructor.New(f.configuration(config)) })
	if err != nil {
		return nil, err
	}
	p := newPeer(pc, events, f.pageServers())
	if f.config.Created != nil {
		f.config.Created(pc)
	}
	return p, nil
}

// configuration is the RTCConfiguration of a new connection: the page's, completed.
func (f *Factory) configuration(config client.PeerConfig) js.Value {
	rtc := js.Global().Get("Object").New()
	if f.config.RTC.Type() == js.TypeObject {
		rtc = js.Global().Get("Object").Call("assign", rtc, f.config.RTC)
	}
	if rtc.Get("bundlePolicy").IsUndefined() {
		rtc.Set("bundlePolicy", "max-bundle") // the server answers all m-lines on one transport (portal protocol 8.1)
	}
	if !f.pageServers() {
		rtc.Set("iceServers", iceServers(config.ICEServers))
	}
	if config.RelayOnly {
		rtc.Set("iceTransportPolicy", "relay")
	}
	return rtc
}

// pageServers tells whether the page named ICE servers of its own.
func (f *Factory) pageServers() bool {
	if f.config.RTC.Type() != js.TypeObject {
		return false
	}
	servers := f.config.RTC.Get("iceServers")
	return servers.Type() == js.TypeObject && servers.Length() > 0
}

// iceServers writes RTCIceServer dictionaries; credentials only where there are some, as browsers refuse empty ones.
func iceServers(servers []client.ICEServer) js.Value {
	list := js.Global().Get("Array").New()
	for _, s := range servers {
		urls := js.Global().Get("Array").New()
		for _, u := range s.URLs {
			urls.Call("push", u)
		}
		entry := js.Global().Get("Object").New()
		entry.Set("urls", urls)
		if s.Username != "" || s.Credential != "" {
			entry.Set("username", s.Username)
			entry.Set("credential", s.Credential)
		}
		list.Call("push", entry)
	}
	return list
}
