//go:build linux

package mixing

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"

	"portico/shared/client"
	"portico/shared/conference"
	"portico/tools/pionpeer/clip"
)

var (
	yellow = person{"yellow", [3]int{254, 254, 0}, 1760}
	pink   = person{"fuchsia", [3]int{254, 0, 254}, 1760}
	cyan   = person{"aqua", [3]int{0, 254, 254}, 1760}
	white  = person{"white", [3]int{255, 255, 255}, 1760}
	nobody = person{"background", [3]int{0, 0, 0}, 0}
)

// How long it may take until a publisher's new pictures are seen in the mix, and how long the mix may stand still meanwhile.
const (
	sizeChange  = 500 * time.Millisecond // from when the first of them is sent, a key frame
	codecChange = time.Second            // from when the new stream is mixed; a key frame comes every quarter of a second
	lossChange  = time.Second            // from the first after many that did not come, which are waited for
	still       = 500 * time.Millisecond
)

// third is the region of whoever changes.
const third = 2

// turns checks that all pictures since from show red and green in their regions, and in the third one these, one after the other; it
// gives the times when each came to be seen.
func (v *viewer) turns(from time.Time, order ...person) (seen []time.Time) {
	t := v.seat.t
	t.Helper()
	at, other := 0, 0
	for _, s := range v.film(from) {
		for i, p := range []person{red, green} {
			if !s.shows(places[i][0], places[i][1], p.rgb) {
				t.Fatalf("%v is where %s was", s.at(places[i][0], places[i][1]), p.colour)
			}
		}
		x, y := places[third][0], places[third][1]
		next := slices.IndexFunc(order[at:], func(p person) bool { return s.shows(x, y, p.rgb) })
		if next < 0 {
			other++
			continue
		}
		for at += next; len(seen) <= at; {
			seen = append(seen, s.came)
		}
	}
	if other > 0 {
		t.Errorf("%d pictures show something else than %v", other, order)
	}
	if len(seen) < len(order) {
		t.Fatalf("only %d of %v are seen", len(seen), order)
	}
	return seen
}

// tries is how often something may be done until it is in time: the machine may have had other things to do.
const tries = 3

// timely does something until it is in time.
func timely(t *testing.T, do func(again bool) error) {
	t.Helper()
	var err error
	for n := range tries {
		if err = do(n > 0); err == nil {
			return
		}
		t.Log(err)
	}
	t.Errorf("it is not in time in any of %d tries", tries)
}

// inTime tells whether something took no longer than it may, and the mix has not stood still since from.
func (v *viewer) inTime(from time.Time, took, limit time.Duration) error {
	video, audio := v.gaps(from, time.Now())
	switch {
	case took > limit:
		return fmt.Errorf("it takes %v, longer than %v", took, limit)
	case video > still || audio > still:
		return fmt.Errorf("the mix stands still for %v, its sound for %v\n%s", video, audio, v.seat.relays[0].Tail())
	}
	return nil
}

// TestSizes: a publisher's pictures change their size in the middle of a stream, and are shown as the new ones have to be.
func TestSizes(t *testing.T) {
	s := start(t, options{})
	v := call(s)
	who, old := blue, clipOf(t, blue)
	x := s.join("Dora").camera("vp8", old)
	v.sees(red, green, who)
	for _, c := range []struct {
		width, height int
		who           person
		beside        [2]float64 // of the picture there is the background
	}{
		{640, 480, yellow, [2]float64{}}, {240, 320, pink, [2]float64{.03, .75}}, {1280, 320, cyan, [2]float64{.25, .55}},
		{160, 120, white, [2]float64{}}, {320, 240, blue, [2]float64{}},
	} {
		next := footage(t, c.who, "vp8", c.width, c.height)
		timely(t, func(again bool) error {
			if again {
				x.play(old)
				v.sees(red, green, who)
			}
			from := x.play(next)
			picture := v.sees(red, green, c.who)
			took := v.turns(from, who, c.who)[1].Sub(from)
			t.Logf("%dx%d: seen after %v", c.width, c.height, took.Round(time.Millisecond))
			corner := nobody
			if c.beside == [2]float64{} {
				c.beside, corner = [2]float64{.03, .55}, c.who
			}
			if !picture.shows(c.beside[0], c.beside[1], corner.rgb) {
				t.Errorf("%dx%d: %v where %s should be", c.width, c.height, picture.at(c.beside[0], c.beside[1]), corner.colour)
			}
			return v.inTime(from, took, sizeChange)
		})
		who, old = c.who, next
	}
	v.continuous()
}

// TestCodecs: a publisher takes its stream back and publishes in another codec.
func TestCodecs(t *testing.T) {
	s := start(t, options{room: allCodecs})
	v := call(s)
	f, err := factory()
	s.must(err)
	dora, err := s.enter("Dora", client.Options{Peers: allFactory{f}})
	s.must(err)
	t.Cleanup(dora.leave)
	who, codec, old := blue, "vp8", clipOf(t, blue)
	x := dora.camera(codec, old)
	v.sees(red, green, who)
	for _, c := range []struct {
		codec string
		who   person
	}{{"h264", yellow}, {"vp9", pink}, {"av1", cyan}, {"vp8", white}} {
		next := footage(t, c.who, c.codec, 320, 240)
		timely(t, func(again bool) error {
			if again {
				x.end()
				x = dora.camera(codec, old)
				v.sees(red, green, who)
			}
			from := time.Now()
			x.end()
			x = dora.camera(c.codec, next)
			mixed := time.Now()
			v.sees(red, green, c.who)
			seen := v.turns(from, who, nobody, c.who)
			took := seen[2].Sub(mixed)
			t.Logf("%s: seen %v after it is mixed; nothing was seen of the publisher for %v", c.codec, took.Round(time.Millisecond),
				seen[2].Sub(seen[1]).Round(time.Millisecond))
			return v.inTime(from, took, codecChange)
		})
		who, codec, old = c.who, c.codec, next
	}
	v.continuous()
}

// split is a video track that can also send packets of a payload type that was not negotiated.
type split struct {
	*faker
	*webrtc.TrackLocalStaticRTP
	bound webrtc.TrackLocalContext
}

// Bind implements webrtc.TrackLocal.
func (x *split) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	x.bound = c
	return x.TrackLocalStaticRTP.Bind(c)
}

// foreign is a payload type that pion's offers have for H.264.
const foreign = 102

// sendForeign sends a picture in H.264, with the numbers and times of the stream.
func (x *split) sendForeign(picture []byte) {
	x.timestamp += 90_000 / rate
	payloads := (&codecs.H264Payloader{}).Payload(1100, picture)
	for i, payload := range payloads {
		header := rtp.Header{
			Version: 2, PayloadType: foreign, SSRC: uint32(x.bound.SSRC()), SequenceNumber: x.seq, Timestamp: x.timestamp,
			Marker: i == len(payloads)-1,
		}
		_, _ = x.bound.WriteStream().WriteRTP(&header, payload)
		x.seq++
	}
}

// paced sends pictures at their rate, round and round, until enough says so or the participant leaves.
func (x *split) paced(c *clip.Clip, send func([]byte), enough func(sent int) bool) {
	ticker := time.NewTicker(time.Second / rate)
	defer ticker.Stop()
	for n := 0; !enough(n); n++ {
		send(c.Video[n%len(c.Video)].Data)
		select {
		case <-ticker.C:
		case <-x.ctx.Done():
			return
		}
	}
}

// during has the stream go on while something else is waited for.
func (x *split) during(c *clip.Clip, wait func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		x.paced(c, x.frame, func(int) bool {
			select {
			case <-done:
				return true
			default:
				return false
			}
		})
	}()
	defer func() {
		close(done)
		<-stopped
	}()
	wait()
}

// TestForeignCodec: an answer takes one codec of those that a client offers (portal protocol 8.6), and what comes in another is not of
// the stream. It costs nobody anything: the region keeps its picture until there are others.
func TestForeignCodec(t *testing.T) {
	s := start(t, options{})
	v := call(s)
	dora := s.join("Dora")
	track, err := webrtc.NewTrackLocalStaticRTP(mimes["vp8"], "video", dora.name)
	s.must(err)
	x := &split{faker: &faker{seat: dora, video: track}, TrackLocalStaticRTP: track}
	published, err := dora.c.Publish(dora.ctx, client.PublishOptions{Tracks: []client.LocalTrack{
		{Kind: conference.Video, Local: x, Send: client.SendOptions{Codecs: []string{"vp8", "h264"}}},
	}})
	s.must(err)
	s.must(dora.c.Mix(dora.ctx, published.ID(), view))
	for _, c := range x.bound.CodecParameters() {
		if c.MimeType == webrtc.MimeTypeH264 {
			t.Fatalf("more than one codec is negotiated: %v", x.bound.CodecParameters())
		}
	}
	other, after := footage(t, yellow, "h264", 320, 240), footage(t, pink, "vp8", 320, 240)
	const strange = 30
	timely(t, func(bool) error {
		x.during(clipOf(t, blue), func() { v.sees(red, green, blue) })
		from := time.Now()
		x.paced(other, x.sendForeign, func(sent int) bool { return sent == strange })
		again := time.Now()
		x.during(after, func() { v.sees(red, green, pink) })
		took := v.turns(from, blue, pink)[1].Sub(again)
		t.Logf("%v after pictures come in the right codec again they are seen", took.Round(time.Millisecond))
		return v.inTime(from, took, lossChange)
	})
	v.continuous()
	q, err := s.api.StreamQuality(t.Context(), s.room, published.ID(), "")
	s.must(err)
	const why = "foreign payload type"
	for drops, i := q.Get("tracks").Index(0).Get("drops"), 0; ; i++ {
		if i == drops.Len() {
			t.Fatalf("the publisher's quality says nothing of it: %s", q)
		}
		if n, _ := drops.Index(i).Get("packets").Float(); drops.Index(i).Get("reason").Text() == why && n >= strange {
			break
		}
	}
}
