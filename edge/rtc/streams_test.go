package rtc

import (
	"encoding/binary"
	"testing"

	"github.com/pion/rtp"
	"portico/edge/sfu"
	"portico/edge/sfu/feedback"
)

// incoming is a transport that has answered an offer, without a connection beneath it.
type incoming struct {
	*transport
	t testing.TB
}

// layer is what one published track of it got.
func (i *incoming) layer(rid string) sfu.EncodingStats {
	for _, track := range i.engine.tracks {
		if track.rid == rid {
			return track.encoding.Stats()
		}
	}
	i.t.Fatalf("no layer %q", rid)
	return sfu.EncodingStats{}
}

// take lets a packet come in.
func (i *incoming) take(ssrc uint32, payloadType uint8, seq uint16, payload []byte, extensions map[uint8]string) {
	i.t.Helper()
	p := &rtp.Packet{Header: rtp.Header{Version: 2, SSRC: ssrc, PayloadType: payloadType, SequenceNumber: seq}, Payload: payload}
	for id, value := range extensions {
		if err := p.SetExtension(id, []byte(value)); err != nil {
			i.t.Fatal(err)
		}
	}
	raw, err := p.Marshal()
	if err != nil {
		i.t.Fatal(err)
	}
	i.receive(raw, -1)
}

// arrives makes an incoming from an offer whose m-lines are all published.
func arrives(t *testing.T, text string) *incoming {
	t.Helper()
	o := mustParse(t, text)
	e := newEngine(t, nil)
	var tracks []TrackDecl
	for _, section := range o.sections {
		tracks = append(tracks, TrackDecl{Kind: section.kind, Mid: section.mid})
	}
	if err := e.Publish(PublishSpec{
		Participant: "alice", Transport: "T", Session: "P", New: true, Tracks: tracks, Accept: allFormats, Events: newOwner(t),
	}); err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	tr := e.transports["T"]
	p := tr.plan(o)
	tr.streams.negotiated(o, p.routes)
	return &incoming{tr, t}
}

// resent is the payload of a packet that is sent again.
func resent(seq uint16, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, seq), payload...)
}

// TestSimulcastByRid: layers are known by the rid in their first packets, and what is sent again by the one it repairs.
func TestSimulcastByRid(t *testing.T) {
	const mid, rid, repaired = 9, 10, 11 // ids in the offer
	in := arrives(t, recorded(t)["chromium-simulcast"])
	for i, name := range []string{"q", "h", "f"} {
		media, rtx := uint32(100+i), uint32(200+i)
		in.take(media, 96, 1, keyFrame, map[uint8]string{mid: "0", rid: name})
		in.take(media, 96, 3, interFrame, nil)
		in.take(rtx, 97, 1000, resent(2, interFrame), map[uint8]string{mid: "0", repaired: name})
		in.take(rtx, 97, 1001, resent(3, interFrame), nil) // a probe: it came
		in.take(rtx, 97, 1002, nil, nil)                   // another one
		if got := in.layer(name); got.Packets != 3 || got.Drops[sfu.DropDuplicate] != 1 {
			t.Errorf("layer %s: %+v", name, got)
		}
	}
	in.take(300, 97, 1, resent(4, interFrame), map[uint8]string{mid: "0", repaired: "x"})
	in.take(301, 98, 1, keyFrame, map[uint8]string{mid: "0", rid: "q"}) // a format that was not chosen
	if got := in.streams.unrouted.Load(); got != 2 {
		t.Errorf("%d packets went nowhere", got)
	}
}

// TestRidsAreRemembered: the next offer does not say which layer an SSRC is, and neither do packets by then.
func TestRidsAreRemembered(t *testing.T) {
	const mid, rid, repaired = 9, 10, 11 // ids in the offer
	text := recorded(t)["chromium-simulcast"]
	in := arrives(t, text)
	layers := []string{"q", "h", "f"}
	for i, name := range layers {
		in.take(100+uint32(i), 96, 1, keyFrame, map[uint8]string{mid: "0", rid: name})
		in.take(200+uint32(i), 97, 1, resent(2, interFrame), map[uint8]string{mid: "0", repaired: name})
	}
	again := func() {
		o := mustParse(t, text)
		in.engine.mu.Lock()
		p := in.plan(o)
		in.engine.mu.Unlock()
		in.streams.negotiated(o, p.routes)
	}
	again()
	again()
	for i, name := range layers {
		in.take(100+uint32(i), 96, 3, interFrame, nil)
		in.take(200+uint32(i), 97, 2, resent(4, interFrame), nil)
		if got := in.layer(name); got.Packets != 4 {
			t.Errorf("layer %s: %+v", name, got)
		}
	}
	in.streams.unroute("0")
	in.take(100, 96, 5, interFrame, nil)
	if got := in.streams.unrouted.Load(); got != 1 {
		t.Errorf("after the end of the m-line %d packets went nowhere", got)
	}
}

// TestSimulcastBySSRC: layers are known by their places in the group.
func TestSimulcastBySSRC(t *testing.T) {
	in := arrives(t, recorded(t)["safari-simulcast"])
	for i, rid := range []string{"0", "1", "2"} {
		in.take(1734646555+uint32(i), 96, 1, keyFrame, map[uint8]string{9: "0"})
		if got := in.layer(rid); got.Packets != 1 {
			t.Errorf("layer %s: %+v", rid, got)
		}
	}
	in.take(28694245, 97, 7, resent(2, interFrame), nil) // of the second
	if got := in.layer("1"); got.Packets != 2 {
		t.Errorf("after a repair: %+v", got)
	}
	// The report of a stream of repairs says nothing of the media.
	sr := feedback.AppendSenderReport(nil, feedback.SenderReport{SSRC: 28694245, NTP: 1 << 40, Timestamp: 5})
	in.receiveControl(sr, -1)
	for _, track := range in.engine.tracks {
		if r, ok := track.encoding.Report(1, in.engine.now()); !ok || r.LastSR != 0 {
			t.Errorf("layer %s: %+v", track.rid, r)
		}
	}
}
