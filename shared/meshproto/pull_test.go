package meshproto

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"portico/shared/conference"
)

var opus = conference.Format{Codec: "opus", SampleRate: 48000, ChannelNum: 2}

func pullMessages() []PullMessage {
	leave := uint64(4)
	return []PullMessage{
		{Pull: &Pull{Flow: 2, SSRC: 7, Room: "R", Stream: "S", Track: "S-0", Via: true}},
		{Pull: &Pull{Flow: 2, SSRC: 7, Room: "R", Stream: "active-audio-0", Track: "R-active-audio-0", Slot: true}},
		{Pull: &Pull{Flow: MaxPullFlow, SSRC: 7, Room: "R", Stream: "M", Track: "M-video", Making: &PullMaking{
			Kind: conference.Video, Format: conference.Format{Codec: "h264", Profile: "CB"}, Width: 640, Height: 360, Framerate: 15,
			Bitrate: "x0.8", KeyFrameInterval: 2, Listener: "bob", Ceiling: 500,
		}}},
		{Leave: &leave},
		{Ceiling: &PullRate{Flow: 2, Kbps: 300}},
		{Pulled: &Pulled{Flow: 2, Format: opus}},
		{Ended: &PullEnd{Flow: 2, Reason: PullOver, Detail: "gone"}},
		{Target: &PullRate{Flow: 2, Kbps: 300}},
		{Trouble: &PullTrouble{Flow: 2, Why: "no relay"}},
		{Members: &PullMembers{Stream: "M", Participants: []string{"alice", "bob"}}},
	}
}

func TestPullMessages(t *testing.T) {
	for _, m := range pullMessages() {
		b, err := EncodePull(m)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodePull(b); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: %+v, %v", b, got, err)
		}
	}
	long, err := EncodePull(PullMessage{Trouble: &PullTrouble{Flow: 2, Why: strings.Repeat("x", MaxText+1)}})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := DecodePull(long); err != nil || len(m.Trouble.Why) != MaxText {
		t.Errorf("%v", err)
	}
}

func TestBadPullMessages(t *testing.T) {
	name := strings.Repeat("x", MaxName+1)
	making := func(change func(k *PullMaking)) PullMessage {
		k := &PullMaking{Kind: conference.Audio, Format: opus}
		change(k)
		return PullMessage{Pull: &Pull{Flow: 2, SSRC: 7, Room: "R", Stream: "S", Track: "T", Making: k}}
	}
	if b, _ := EncodePull(making(func(*PullMaking) {})); len(b) == 0 {
		t.Fatal("nothing written")
	} else if _, err := DecodePull(b); err != nil {
		t.Fatal(err)
	}
	for i, m := range []PullMessage{
		{},
		{Ended: &PullEnd{Flow: 2, Reason: PullOver}, Leave: new(uint64)},
		{Leave: new(uint64)},
		{Pull: &Pull{SSRC: 7, Room: "R", Stream: "S", Track: "T"}},
		{Pull: &Pull{Flow: MaxPullFlow + 1, SSRC: 7, Room: "R", Stream: "S", Track: "T"}},
		{Pull: &Pull{Flow: 2, Room: "R", Stream: "S", Track: "T"}},
		{Pull: &Pull{Flow: 2, SSRC: 7, Stream: "S", Track: "T"}},
		{Pull: &Pull{Flow: 2, SSRC: 7, Room: "R", Track: "T"}},
		{Pull: &Pull{Flow: 2, SSRC: 7, Room: "R", Stream: "S", Track: name}},
		{Pull: &Pull{Flow: 2, SSRC: 7, Room: "R", Stream: "S", Track: "T", Slot: true, Via: true}},
		{Pull: &Pull{Flow: 2, SSRC: 7, Room: "R", Stream: "S", Track: "T", Via: true, Making: &PullMaking{Kind: conference.Audio, Format: opus}}},
		making(func(k *PullMaking) { k.Kind = "smell" }),
		making(func(k *PullMaking) { k.Format.Codec = "" }),
		making(func(k *PullMaking) { k.Width = -1 }),
		making(func(k *PullMaking) { k.Height = 1 << 20 }),
		making(func(k *PullMaking) { k.Framerate = 1e9 }),
		making(func(k *PullMaking) { k.KeyFrameInterval = -1 }),
		making(func(k *PullMaking) { k.Ceiling = math.MaxInt }),
		making(func(k *PullMaking) { k.Listener = name }),
		{Ceiling: &PullRate{Flow: 2, Kbps: -1}},
		{Pulled: &Pulled{Flow: 2}},
		{Ended: &PullEnd{Flow: 2}},
		{Members: &PullMembers{}},
		{Members: &PullMembers{Stream: "M", Participants: make([]string, MaxMembers+1)}},
		{Members: &PullMembers{Stream: "M", Participants: []string{""}}},
	} {
		b, err := EncodePull(m)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodePull(b); !errors.Is(err, ErrMessage) {
			t.Errorf("%d: %s was taken for %+v, %v", i, b, got, err)
		}
	}
}

func FuzzPull(f *testing.F) {
	for _, m := range pullMessages() {
		b, err := EncodePull(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"pull":{}}`))
	f.Add([]byte(`{"leave":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodePull(b)
		if err != nil {
			return
		}
		again, err := EncodePull(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodePull(again); err != nil {
			t.Fatalf("%s, from %s: %v", again, b, err)
		}
	})
}
