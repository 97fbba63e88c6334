package pipeline

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"portico/relay/codec"
	"portico/shared/conference"
	"portico/shared/relayproto"
	"portico/shared/rtp/inspect"
)

// TestScenesWhilePicturesCome has regions change all the time, from beside the decoders, who write over the pictures that are on loan.
func TestScenesWhilePicturesCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{})
		defer w.close()
		three(w)
		e := w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
		w.give()
		w.run(time.Second)
		var orders sync.WaitGroup
		orders.Go(func() {
			for i := range 200 {
				w.scene([]string{"fluid", "lecture"}[i%2], []string{"S1", "S2", "S3"}[:i%3+1]...)
				if err := w.try(); err != nil {
					t.Error(err)
				}
				time.Sleep(5 * time.Millisecond)
			}
			w.scene("fluid", "S1", "S2", "S3")
			if err := w.try(); err != nil {
				t.Error(err)
			}
		})
		w.run(2 * time.Second)
		orders.Wait()
		seesThree(t, e, 0)
	})
}

// TestLastPictureMoves has the region of one who sends no more change, and change again when nobody has seen it for a while: its
// picture, which was the decoder's, is there, as fine as it came.
func TestLastPictureMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{})
		defer w.close()
		w.viewOf(128, 96, 30)
		c := w.film("S1", "vp8", 128, 96, 30)
		c.draw = func(p *codec.Picture, _ int64) {
			for i := range p.Y {
				p.Y[i] = byte(100 + 100*(i&1))
			}
		}
		w.film("S2", "vp8", 64, 48, 30).colour(green)
		e := w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
		for _, scene := range [][]string{{"S2", "S1"}, {"S1"}, {"S2"}, {"S1"}} {
			w.scene("fluid", scene...)
			w.give()
			w.run(time.Second)
			w.silence(c)
			for x := range 128 {
				if y := e.at(x, 50)[0]; scene[0] == "S1" && y != byte(100+100*(x&1)) {
					t.Fatalf("stripes are %d at %d", y, x)
				}
			}
		}
	})
}

// TestWoken is when the decoder's goroutine is woken: not for what is in the middle of a frame.
func TestWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{})
		defer w.close()
		v := newVideoIn(w.job, &relayproto.Input{ID: "S", Video: &relayproto.InputTrack{Flow: 1, Format: conference.Format{Codec: "vp8"}}},
			&notice{changed: func() {}})
		take := func(seq uint16, timestamp uint32, marker bool) bool {
			h := inspect.Header{SSRC: 1, PayloadType: v.pt, Sequence: seq, Timestamp: timestamp, Marker: marker, Size: 12}
			return v.take(&h, make([]byte, 20), w.job.now())
		}
		if take(1, 0, true) {
			t.Error("woken for what nobody sees")
		}
		v.want(true)
		for i, c := range []struct {
			seq       uint16
			timestamp uint32
			marker    bool
			want      bool
		}{
			{2, 0, false, true}, {3, 0, false, false}, {4, 0, true, true}, // a frame, the first of all
			{5, 3000, false, false}, {6, 3000, false, false}, {7, 3000, true, true}, {7, 3000, true, false}, // the next; a duplicate
			{8, 6000, false, false}, {9, 9000, false, true}, {10, 9000, true, true}, // one without a marker ends with the next one
			{12, 12_000, false, true}, {13, 12_000, false, true}, {11, 12_000, false, true}, {14, 12_000, true, true}, // a gap
			{15, 15_000, false, false}, {16, 15_000, true, true},
		} {
			if got := take(c.seq, c.timestamp, c.marker); got != c.want {
				t.Errorf("packet %d: %v, want %v", i, got, c.want)
			}
		}
		woken := 0
		for seq := range uint16(1000) { // more than the jitter buffer holds
			if take(17+seq, 18_000, false) {
				woken++
			}
		}
		if woken != 1000/maxUnread {
			t.Errorf("woken %d times in a frame of a thousand packets", woken)
		}
	})
}
