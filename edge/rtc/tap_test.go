package rtc

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"portico/edge/sfu"
	"portico/edge/sfu/feedback"
	"portico/shared/conference"
	"portico/shared/layout"
)

// bucket is a sink that keeps what it gets.
type bucket struct {
	mu      sync.Mutex
	packets []rtp.Packet
}

func (b *bucket) WriteRTP(packet []byte, _ int) error {
	var p rtp.Packet
	if err := p.Unmarshal(slices.Clone(packet)); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.packets = append(b.packets, p)
	return nil
}

func (b *bucket) WriteRTCP([]byte) error { return nil }

func (b *bucket) all() []rtp.Packet {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.packets)
}

// tapOf taps tracks into a bucket; ended is closed when they end.
func tapOf(t *testing.T, e *Engine, display conference.Resolution, tracks ...string) (*Tap, *bucket, chan struct{}) {
	t.Helper()
	b, ended := new(bucket), make(chan struct{})
	tap, err := e.OpenTap(TapSpec{
		Tracks: tracks, Sink: b, SSRC: 77, PayloadType: func(f conference.Format) uint8 { return map[string]uint8{"vp8": 96, "opus": 111}[f.Codec] },
		Extensions: sfu.Extensions{AudioLevel: 1}, Display: display, Ended: func() { close(ended) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return tap, b, ended
}

// TestTap: a tap gets all packets of a track, from a key frame on, and again what it lost, until the track ends.
func TestTap(t *testing.T) {
	e := newEngine(t, nil)
	alice := newSource(t, e, "alice")
	alice.start()
	tap, got, ended := tapOf(t, e, conference.Resolution{}, "alice-pub-1")
	if tap.Format() != formatVP8 {
		t.Errorf("%+v", tap.Format())
	}
	waitFor(t, "packets", func() bool { return len(got.all()) > 30 })
	packets := got.all()
	if p := packets[0]; !slices.Equal(p.Payload, keyFrame) || p.SSRC != 77 || p.PayloadType != 96 {
		t.Errorf("the first is %+v", p.Header)
	}
	for i := 1; i < len(packets); i++ {
		if packets[i].SequenceNumber != packets[i-1].SequenceNumber+1 {
			t.Fatalf("after packet %d comes %d", packets[i-1].SequenceNumber, packets[i].SequenceNumber)
		}
	}
	lost := packets[len(packets)-1]
	tap.Receive(feedback.AppendNACK(nil, 1, 77, []uint16{lost.SequenceNumber}))
	waitFor(t, "the packet again", func() bool {
		n := 0
		for _, p := range got.all() {
			if p.SequenceNumber == lost.SequenceNumber && slices.Equal(p.Payload, lost.Payload) {
				n++
			}
		}
		return n == 2
	})
	tap.SetActive(false)
	if reason, _ := tap.out.Reason(e.now()); reason != sfu.ReasonPaused {
		t.Errorf("%v", reason)
	}
	tap.SetActive(true)
	before := len(got.all())
	waitFor(t, "packets again", func() bool { return len(got.all()) > before+20 })
	sound, heard, _ := tapOf(t, e, conference.Resolution{}, "alice-pub-0")
	waitFor(t, "sound", func() bool { return len(heard.all()) > 5 })
	if p := heard.all()[0]; p.PayloadType != 111 || sound.Format() != formatOpus {
		t.Errorf("%+v", p.Header)
	}
	sound.Close()
	sound.Close()
	e.Stop("alice-pub")
	<-ended
	tap.Close()
	if _, err := e.OpenTap(TapSpec{Tracks: []string{"alice-pub-1"}, Sink: got}); !errors.Is(err, ErrNoSuchTrack) {
		t.Error(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.taps) != 0 {
		t.Error("taps are left")
	}
}

// TestTapOfSimulcast takes the layer that fits, whoever else takes what.
func TestTapOfSimulcast(t *testing.T) {
	e := newEngine(t, nil)
	send := simulcast(t, newClient(t, e, "alice"))
	q, _ := e.Quality("sim", "")
	tracks := []string{q.Tracks[0].ID, q.Tracks[1].ID}
	stop := make(chan struct{})
	var done sync.WaitGroup
	t.Cleanup(func() { close(stop); done.Wait() })
	done.Go(func() {
		for ticker := time.NewTicker(10 * time.Millisecond); ; {
			select {
			case <-stop:
				ticker.Stop()
				return
			case <-ticker.C:
				send()
			}
		}
	})
	waitFor(t, "both layers", func() bool {
		q, _ := e.Quality("sim", "")
		return q.Tracks[0].Width == 640 && q.Tracks[1].Width == 1280
	})
	tap, _, _ := tapOf(t, e, conference.Resolution{Width: 320, Height: 240}, tracks...)
	defer tap.Close()
	takes := func(width int) {
		t.Helper()
		waitFor(t, "the layer that fits", func() bool {
			now := tap.out.Quality(e.now()).Current.Encoding
			return now >= 0 && tap.sizeAt(now) == width
		})
	}
	takes(640)
	tap.SetDisplay(conference.Resolution{Width: 960, Height: 540})
	takes(1280)
	tap.SetDisplay(conference.Resolution{Width: 640, Height: 360})
	takes(640)
	tap.SetDisplay(conference.Resolution{})
	takes(1280)
}

// sizeAt is the width of one of the tap's sources.
func (t *Tap) sizeAt(i int) int {
	t.engine.mu.Lock()
	defer t.engine.mu.Unlock()
	width, _ := t.order(nil)[i].Size()
	return width
}

func TestTapChoosesTheSmallestThatDoes(t *testing.T) {
	size := func(w, h int) conference.Resolution { return conference.Resolution{Width: w, Height: h} }
	var x tapState
	for i, s := range []layout.Size{{W: 320, H: 180}, {W: 640, H: 360}, {}, {W: 1280, H: 720}} {
		x.add(sfu.All(i), s.W, s.H, i != 3)
	}
	for name, c := range map[string]struct {
		display conference.Resolution
		crop    bool
		coming  bool
		want    int
	}{
		"the same":         {size(640, 360), false, false, 1},
		"a little larger":  {size(650, 370), false, false, 3},
		"a stripe":         {size(320, 720), false, false, 0},
		"a stripe, filled": {size(320, 720), true, false, 3},
		"larger than all":  {size(4000, 3000), false, false, 3},
		"as there is":      {size(0, 0), false, false, 3},
		"it does not come": {size(1280, 720), false, true, 1},
	} {
		if got := x.choose(c.display, c.crop, c.coming); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if got := new(tapState).choose(size(1, 1), false, false); got != -1 {
		t.Error(got)
	}
}
