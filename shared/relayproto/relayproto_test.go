package relayproto

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"portico/shared/conference"
)

func sample() Order {
	return Order{
		Job: "5f3d", Room: "R", Kind: Mix, Epoch: 3, Revision: 7, View: &View{Width: 640, Height: 480, Framerate: 24, VAD: true},
		Scene: []byte(`[]`),
		Inputs: []Input{{ID: "S1", Participant: "P1", Audio: &InputTrack{Flow: 1, Format: conference.Format{Codec: "opus", SampleRate: 48000, ChannelNum: 2}},
			Video: &InputTrack{Flow: 2, Format: conference.Format{Codec: "vp8"}, Muted: true}}},
		Outputs: []Output{
			{ID: "v", Flow: 3, Kind: conference.Video, Format: conference.Format{Codec: "h264", Profile: "CB"}, Width: 320, Height: 240, Framerate: 12, Bitrate: 125},
			{ID: "a", Flow: 4, Kind: conference.Audio, Format: conference.Format{Codec: "pcmu", SampleRate: 8000, ChannelNum: 1}, Participant: "P1"},
		},
	}
}

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	order := sample()
	for _, m := range []Message{
		{Order: &order}, {Refusal: &Refusal{Reason: Full, Detail: "4 of 4 cores"}},
		{Refusal: &Refusal{Reason: Crashed, Suspects: []Suspect{{"S1", conference.Video}, {"S1", conference.Audio}}}},
		{Report: &Report{Revision: 7, Active: "S1", Inputs: []InputReport{{ID: "S1", Trouble: "no key frame"}}, Outputs: []OutputReport{{ID: "v", Bitrate: 120, Frames: 9}}}},
	} {
		b, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(b)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: %v, %+v", b, err, got)
		}
	}
}

func TestOrdersThatCannotBe(t *testing.T) {
	for name, spoil := range map[string]func(*Order){
		"job": func(o *Order) { o.Job = "" }, "kind": func(o *Order) { o.Kind = "x" }, "view": func(o *Order) { o.View = nil },
		"inputs":        func(o *Order) { o.Kind, o.Inputs = Transcode, append(o.Inputs, Input{ID: "S2"}) },
		"canvas":        func(o *Order) { o.View.Width = MaxSide + 1 },
		"rate":          func(o *Order) { o.View.Framerate = 61 },
		"same input":    func(o *Order) { o.Inputs = append(o.Inputs, Input{ID: "S1"}) },
		"same flow":     func(o *Order) { o.Outputs[1].Flow = 1 },
		"no flow":       func(o *Order) { o.Outputs[1].Flow = 0 },
		"same output":   func(o *Order) { o.Outputs[1].ID = "v" },
		"output's kind": func(o *Order) { o.Outputs[1].Kind = "data" },
		"output's size": func(o *Order) { o.Outputs[0].Height = -2 },
		"long room":     func(o *Order) { o.Room = strings.Repeat("r", MaxName+1) },
		"long input":    func(o *Order) { o.Inputs[0].Participant = strings.Repeat("p", MaxName+1) },
		"long output":   func(o *Order) { o.Outputs[1].ID = strings.Repeat("o", MaxName+1) },
		"many outputs":  func(o *Order) { o.Outputs = make([]Output, MaxOutputs+1) },
	} {
		o := sample()
		spoil(&o)
		b, err := Encode(Message{Order: &o})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(b); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{``, `{}`, `[]`, `{"order":null}`, `{"report":{},"refusal":{}}`, `{"report":` + strings.Repeat(" ", MaxMessage) + `{}}`} {
		if _, err := Decode([]byte(text)); !errors.Is(err, ErrMessage) {
			t.Errorf("%.40s: %v", text, err)
		}
	}
}

func TestSuspectsThatCannotBe(t *testing.T) {
	many := make([]Suspect, MaxSuspects+1)
	for i := range many {
		many[i] = Suspect{Input: strings.Repeat("s", i+1), Kind: conference.Audio}
	}
	read := func(list []Suspect) error {
		b, err := Encode(Message{Refusal: &Refusal{Reason: Crashed, Suspects: list}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = Decode(b)
		return err
	}
	if err := read(many[:MaxSuspects]); err != nil {
		t.Error(err)
	}
	for name, list := range map[string][]Suspect{
		"many": many, "no id": {{"", conference.Video}}, "long id": {{strings.Repeat("s", MaxName+1), conference.Video}},
		"no kind": {{Input: "S1"}}, "kind": {{"S1", "data"}}, "twice": {{"S1", conference.Video}, {"S2", conference.Video}, {"S1", conference.Video}},
	} {
		if err := read(list); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFlowIDs(t *testing.T) {
	for _, n := range []uint64{1, 5, MaxFlow} {
		if f, rtcp := Flow(RTP(n)); f != n || rtcp {
			t.Errorf("RTP of %d: %d %v", n, f, rtcp)
		}
		if f, rtcp := Flow(RTCP(n)); f != n || !rtcp {
			t.Errorf("RTCP of %d: %d %v", n, f, rtcp)
		}
	}
}

func FuzzDecode(f *testing.F) {
	order := sample()
	if b, err := Encode(Message{Order: &order}); err == nil {
		f.Add(b)
	}
	f.Add([]byte(`{"report":{"revision":1}}`))
	f.Add([]byte(`{"refusal":{"reason":"full"}}`))
	f.Add([]byte(`{"refusal":{"reason":"crashed","suspects":[{"input":"S1","kind":"video"},{"input":"S1","kind":"audio"}]}}`))
	f.Add([]byte(`{"refusal":{"reason":"crashed","suspects":[{"input":"","kind":"data"},null]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Encode(m)
		if err != nil {
			return // grown beyond the limit by its escapes
		}
		if _, err := Decode(again); err != nil {
			t.Errorf("%s: %v", again, err)
		}
	})
}
