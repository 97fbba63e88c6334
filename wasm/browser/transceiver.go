//go:build js && wasm

package browser

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall/js"

	"portico/shared/client"
	"portico/shared/conference"
)

// transceiver is an RTCRtpTransceiver.
type transceiver struct {
	peer  *peer
	v     js.Value
	sends bool
}

var (
	_ client.Transceiver   = (*transceiver)(nil)
	_ client.LayeredSender = (*transceiver)(nil)
)

// Mid is the m-line's identifier; empty before the first offer.
func (t *transceiver) Mid() string { return textOf(t.v.Get("mid")) }

// ReplaceTrack changes what is sent; local is a js.Value holding a MediaStreamTrack, or nil.
func (t *transceiver) ReplaceTrack(local any) error {
	track, err := trackOf(local)
	if err != nil {
		return err
	}
	_, err = await(context.Background(), t.peer.done, func() js.Value { return t.v.Get("sender").Call("replaceTrack", track) })
	return err
}

// SetLayers has the layers of simulcast with these rids sent and no others.
func (t *transceiver) SetLayers(rids []string) error {
	_, err := await(context.Background(), t.peer.done, func() js.Value {
		sender := t.v.Get("sender")
		parameters := sender.Call("getParameters")
		encodings := parameters.Get("encodings")
		for i := range encodings.Length() {
			e := encodings.Index(i)
			e.Set("active", slices.Contains(rids, textOf(e.Get("rid"))))
		}
		return sender.Call("setParameters", parameters)
	})
	return err
}

// describe asks for dependency descriptors, which Chromium does not do by itself: without them it cannot put together AV1 in
// spatial layers. Browsers that cannot be asked are left alone.
func (t *transceiver) describe() {
	const descriptor = "#dependency-descriptor-rtp-header-extension"
	_, _ = try(func() js.Value {
		if t.v.Get("setHeaderExtensionsToNegotiate").Type() != js.TypeFunction {
			return js.Undefined()
		}
		all := t.v.Call("getHeaderExtensionsToNegotiate")
		for i := range all.Length() {
			if x := all.Index(i); strings.HasSuffix(textOf(x.Get("uri")), descriptor) {
				x.Set("direction", "sendrecv")
			}
		}
		t.v.Call("setHeaderExtensionsToNegotiate", all)
		return js.Undefined()
	})
}

// Stop sets the direction to inactive. It frees the media at once, the m-line only with the next offer.
func (t *transceiver) Stop() error {
	_, err := try(func() js.Value {
		if t.sends {
			ignore(t.v.Get("sender").Call("replaceTrack", js.Null())) // the browser keeps the order; nobody waits for it
		} else {
			t.v.Get("receiver").Get("track").Call("stop")
		}
		t.v.Set("direction", string(client.Inactive))
		return js.Undefined()
	})
	return err
}

// prefer orders the codecs of the m-line: the wanted ones in their order, then the helpers that are not codecs of their own
// (retransmission, redundancy, FEC, comfort noise, tones). Codecs that were not asked for are left out. It gives an error
// when the browser has none of the wanted ones.
func (t *transceiver) prefer(kind conference.Kind, wanted []string) error {
	end := "RTCRtpReceiver"
	if t.sends {
		end = "RTCRtpSender"
	}
	list := js.Global().Get("Array").New()
	all, err := try(func() js.Value {
		return js.Global().Get(end).Call("getCapabilities", string(kind)).Get("codecs")
	})
	if err != nil {
		return err
	}
	for _, name := range wanted {
		appendCodecs(list, all, func(codec string) bool { return codec == name })
	}
	if list.Length() == 0 {
		return errors.New("this browser has none of the codecs asked for: " + strings.Join(wanted, ", "))
	}
	appendCodecs(list, all, isHelper)
	_, err = try(func() js.Value { return t.v.Call("setCodecPreferences", list) })
	return err
}

func appendCodecs(list, all js.Value, wanted func(codec string) bool) {
	for i := range all.Length() {
		codec := all.Index(i)
		_, name, _ := strings.Cut(strings.ToLower(textOf(codec.Get("mimeType"))), "/")
		if wanted(name) {
			list.Call("push", codec)
		}
	}
}

func isHelper(codec string) bool {
	switch codec {
	case "rtx", "red", "ulpfec", "flexfec-03", "cn", "telephone-event":
		return true
	}
	return false
}
