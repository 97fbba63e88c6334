package worker

import (
	"fmt"
	"math"
	"testing"
	"time"

	"portico/shared/conference"
	"portico/shared/relayproto"
)

func gallery(inputs int, codec string) *relayproto.Order {
	o := &relayproto.Order{Kind: relayproto.Mix, View: &relayproto.View{Width: 1280, Height: 720, Framerate: 30}}
	for i := range inputs {
		o.Inputs = append(o.Inputs, relayproto.Input{ID: fmt.Sprint(i), Video: &relayproto.InputTrack{Format: conference.Format{Codec: "vp8"}}})
	}
	o.Outputs = []relayproto.Output{{ID: "v", Kind: conference.Video, Format: conference.Format{Codec: codec}, Width: 1280, Height: 720}}
	return o
}

// The estimates against what the libraries took in whole runs (9 inputs of 640x360 into 1280x720), in cores.
func TestEstimates(t *testing.T) {
	muted := gallery(9, "vp8")
	for i := range muted.Inputs {
		muted.Inputs[i].Video.Muted = true
	}
	slow := gallery(0, "vp8")
	slow.View.Framerate = 6
	opus := conference.Format{Codec: "opus"}
	crowd := &relayproto.Order{Kind: relayproto.Mix, View: &relayproto.View{}}
	for i := range 100 {
		crowd.Inputs = append(crowd.Inputs, relayproto.Input{ID: fmt.Sprint(i), Audio: &relayproto.InputTrack{Format: opus}, Video: &relayproto.InputTrack{}})
		crowd.Outputs = append(crowd.Outputs, relayproto.Output{ID: fmt.Sprint(i), Kind: conference.Audio, Format: opus, Participant: fmt.Sprint(i)})
	}
	one := &relayproto.Order{Kind: relayproto.Transcode, Inputs: gallery(1, "").Inputs,
		Outputs: []relayproto.Output{{Kind: conference.Video, Format: conference.Format{Codec: "h264"}}}}
	for name, c := range map[string]struct {
		order      *relayproto.Order
		from, upTo float64
	}{
		"9 in VP8":           {gallery(9, "vp8"), 0.43, 0.60}, // 14.4 ms of 33.3
		"9 in H.264":         {gallery(9, "h264"), 0.37, 0.55},
		"dear codec":         {gallery(0, "av1"), 0.43, 0.60},
		"unknown codec":      {gallery(0, "x"), 0.43, 0.60},
		"nobody seen":        {muted, 0.21, 0.30},
		"6 pictures":         {slow, 0.04, 0.07},
		"100 voices":         {crowd, 0.30, 0.80},
		"720p VP8 to H.264":  {one, 0.23, 0.36}, // 1.5 and 4.9 ms alone, 2.5 among others
		"nothing to be made": {&relayproto.Order{Kind: relayproto.Mix, Inputs: gallery(9, "").Inputs}, 0.005, 0.02},
	} {
		if got := estimate(c.order); got < c.from || got > c.upTo {
			t.Errorf("%s: %.3f cores, want %.2f to %.2f", name, got, c.from, c.upTo)
		}
	}
}

func TestLoadIsWhatIsMeasuredAfterAWhile(t *testing.T) {
	var l load
	now := time.Unix(1000, 0)
	want := func(cores float64) {
		t.Helper()
		if got := l.weight(now); math.Abs(got-cores) > 0.01 {
			t.Fatalf("weighs %.3f, want %.3f", got, cores)
		}
	}
	used := time.Duration(0)
	run := func(cores float64, seconds int) {
		for range seconds {
			now = now.Add(time.Second)
			used += time.Duration(cores * float64(time.Second))
			l.sample(used, now)
		}
	}
	l.expect(1, now)
	want(1)
	run(0.2, 5)
	want(1) // it has just begun
	run(1.5, 20)
	want(1.5) // more than was thought counts at once, nearly
	run(0.8, 40)
	want(0.8)
	run(0.1, 40)
	want(0.5) // it may come back
	l.expect(1.05, now)
	want(0.525)
	l.expect(2, now)
	want(2)
	l.sample(0, now) // a clock that stands still, a counter that falls
	if math.IsNaN(l.cpu) || math.IsInf(l.cpu, 0) || l.cpu < 0 {
		t.Error(l.cpu)
	}
}

func TestCapacity(t *testing.T) {
	if c := Capacity(); c <= 0 {
		t.Error(c)
	}
}
