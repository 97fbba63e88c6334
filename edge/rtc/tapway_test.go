package rtc

import (
	"encoding/binary"
	"sync"
	"testing"

	"portico/shared/conference"
)

// TestTapBesideNewWay: whoever taps a track while the way by which it comes changes gets what comes by the last one.
func TestTapBesideNewWay(t *testing.T) {
	e := newEngine(t, nil)
	r, err := e.OpenRemote(RemoteSpec{
		Session: "S", Tracks: []RemoteTrack{{ID: "T", Kind: conference.Audio, Format: formatOpus}}, Wanted: func(string, bool) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	begin := func() *Intake {
		in, err := r.Begin("T", IntakeSpec{SSRC: 7, PayloadType: 111, Extensions: linkExtensions, Send: func([]byte) {}})
		if err != nil {
			t.Error(err)
		}
		return in
	}
	packet := []byte{0x80, 111, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0x78, 1}
	for range 300 {
		in := begin()
		var ways, taps sync.WaitGroup
		list, got := make([]*Tap, 4), make([]*bucket, 4)
		for i := range list {
			taps.Go(func() {
				got[i] = new(bucket)
				tap, err := e.OpenTap(TapSpec{
					Tracks: []string{"T"}, Whole: true, Sink: got[i], SSRC: 7, PayloadType: func(conference.Format) uint8 { return 111 },
				})
				if err != nil {
					t.Error(err)
				}
				list[i] = tap
			})
		}
		ways.Go(func() {
			for range 3 {
				in.Close()
				in = begin()
			}
		})
		taps.Wait()
		ways.Wait()
		for n := range uint16(3) {
			binary.BigEndian.PutUint16(packet[2:], n)
			binary.BigEndian.PutUint32(packet[4:], uint32(n)*960)
			in.Ingest(packet)
		}
		for _, b := range got {
			waitFor(t, "what comes by the last way", func() bool { return len(b.all()) > 0 })
		}
		for _, tap := range list {
			tap.Close()
		}
		in.Close()
	}
}

// TestWantedBesideNewWay: a track that somebody uses is not let go because it comes by another way between the steerer's look at who uses
// what and its decision.
func TestWantedBesideNewWay(t *testing.T) {
	e := newEngine(t, nil)
	e.steerer.close() // the test stands in for it
	r, err := e.OpenRemote(RemoteSpec{
		Session: "S", Tracks: []RemoteTrack{{ID: "T", Kind: conference.Audio, Format: formatOpus}}, Wanted: func(string, bool) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	packet := []byte{0x80, 111, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0x78, 1}
	come := func() {
		in, err := r.Begin("T", IntakeSpec{SSRC: 7, PayloadType: 111, Extensions: linkExtensions, Send: func([]byte) {}})
		if err != nil {
			t.Fatal(err)
		}
		in.Ingest(packet)
	}
	var w wanted
	track := r.tracks["T"]
	decide := func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		w.decide(e, e.now())
		return track.remote.pulled
	}
	come()
	w.want(track.encoding, e.now())
	if !decide() {
		t.Fatal("what is used is not pulled")
	}
	before := track.encoding
	come()
	if track.encoding == before {
		t.Fatal("it comes as before")
	}
	if !decide() {
		t.Error("it was let go")
	}
}
