package room

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"portico/shared/conference"
	"portico/shared/layout"
	"portico/shared/portalproto"
)

// The cases of rooms-and-media 19 as participants see them; package layout has the arithmetic.

func TestL_01_02_03_MixingIsTold(t *testing.T) {
	h := newMixingHouse(t, nil)
	s := h.stream(common)
	if s.Layout.String() != "[]" || s.ActiveInput != "unknown" {
		t.Errorf("L1: layout %s, active input %s", s.Layout, s.ActiveInput)
	}
	h.publish(2)
	wantAll(t, "publishing mixes nothing", h.events())
	if h.mixers.told != 0 {
		t.Error("the mixer was told of streams that are not mixed")
	}
	h.mix(1)
	wantAll(t, "L2", h.events(), "layout 1:S1@0/1,0/1,1/1")
	h.mix(2)
	wantAll(t, "L3", h.events(), "layout 1:S1@0/2,0/2,1/2 2:S2@1/2,0/2,1/2 3:-@0/2,1/2,1/2 4:-@1/2,1/2,1/2")
	_, j := h.join("late", "viewer")
	if !slices.Equal(j.Streams[1].InViews, []string{"common"}) || h.notation(j.Streams[0].Layout) != "1:S1@0/2,0/2,1/2 2:S2@1/2,0/2,1/2 3:-@0/2,1/2,1/2 4:-@1/2,1/2,1/2" {
		t.Errorf("a later joiner sees %+v", j.Streams)
	}
	mix := h.last(common)
	if fmt.Sprint(mix.Inputs) != fmt.Sprintf("[{%[1]s p1 %[1]s-0 [%[1]s-1] false false} {%[2]s p2 %[2]s-0 [%[2]s-1] false false}]", h.s(1), h.s(2)) {
		t.Errorf("the mixer was told %v", mix.Inputs)
	}
	if h.notation(mix.Scene.Value()) != h.notation(h.stream(common).Layout) {
		t.Errorf("the mixer was told another layout: %v", mix.Scene)
	}
}

func TestL_04_05_10_ComeAndGo(t *testing.T) {
	h := newMixingHouse(t, nil)
	h.publish(5)
	h.mix(1, 2, 3, 4, 5)
	if got := h.shown(); got != "S1 S2 S3 S4 S5 - - - -" {
		t.Errorf("L4: %s", got)
	}
	h.events()
	wantText(t, "unmix", h.do(2, portalproto.Unmix, ""), "<nil>")
	wantAll(t, "L5", h.events(), "layout 1:S1@0/2,0/2,1/2 2:S3@1/2,0/2,1/2 3:S4@0/2,1/2,1/2 4:S5@1/2,1/2,1/2")
	if s := h.stream(h.s(2)); s.InViews == nil || len(s.InViews) != 0 {
		t.Errorf("in views %#v", s.InViews)
	}
	for _, step := range []struct {
		n    int
		want string
	}{{1, "S3 S4 S5 -"}, {3, "S4 S5 - -"}, {4, "S5"}, {5, "-"}} {
		wantText(t, "unmix", h.do(step.n, portalproto.Unmix, ""), "<nil>")
		if got := h.shown(); got != step.want {
			t.Errorf("without S%d: %s, want %s", step.n, got, step.want)
		}
	}
	if got := h.events(); got[len(got)-1] != "layout 1:-@0/1,0/1,1/1" {
		t.Errorf("L10: %v", got)
	}
}

func TestL_06_07_FullView(t *testing.T) {
	h := newMixingHouse(t, func(r *conference.Room) { r.Views[0].Video.MaxInput = 4 })
	h.publish(5)
	h.mix(1, 2, 3, 4)
	h.events()
	h.mix(5)
	wantAll(t, "L6: nothing is shown otherwise", h.events())
	if s := h.stream(h.s(5)); !slices.Equal(s.InViews, []string{"common"}) || len(h.last(common).Inputs) != 5 {
		t.Errorf("L6: in views %v, inputs %v", s.InViews, h.last(common).Inputs)
	}
	_, err := h.d.StreamControl(t.Context(), roomID, "p5", portalproto.StreamControl{ID: h.s(5), Operation: portalproto.GetRegion, View: "common"})
	wantText(t, "region of one that waits", err, "Invalid input stream_id.")
	wantText(t, "unmix", h.do(2, portalproto.Unmix, ""), "<nil>")
	wantAll(t, "L7: one event", h.events(), "layout 1:S1@0/2,0/2,1/2 2:S5@1/2,0/2,1/2 3:S3@0/2,1/2,1/2 4:S4@1/2,1/2,1/2")
}

func TestL_08_09_Regions(t *testing.T) {
	h := newMixingHouse(t, nil)
	h.publish(2)
	h.mix(1, 2)
	h.events()
	wantText(t, "L8", h.do(2, portalproto.SetRegion, "1"), "<nil>")
	wantAll(t, "L8", h.events(), "layout 1:S2@0/2,0/2,1/2 2:S1@1/2,0/2,1/2 3:-@0/2,1/2,1/2 4:-@1/2,1/2,1/2")
	wantText(t, "L9", h.do(1, portalproto.SetRegion, "3"), "Invalid region_id.")
	wantText(t, "no such region", h.do(1, portalproto.SetRegion, "17"), "Invalid region_id.")
	wantText(t, "where it is", h.do(1, portalproto.SetRegion, "2"), "<nil>")
	wantAll(t, "nothing has moved", h.events())
	region, err := h.d.StreamControl(t.Context(), roomID, "p1", portalproto.StreamControl{ID: h.s(1), Operation: portalproto.GetRegion, View: "common"})
	if region != "2" || err != nil {
		t.Errorf("region %q, %v", region, err)
	}
}

func TestL_11_to_15_Templates(t *testing.T) {
	area := func(left, top string) conference.Area {
		return conference.Area{Left: left, Top: top, Width: "0.25", Height: "0.25"}
	}
	regions := func(n int) (list []conference.Region) {
		for i := range n {
			list = append(list, conference.Region{ID: fmt.Sprint(i + 1), Shape: "rectangle", Area: area(fmt.Sprintf("%d/%d", i, n+1), "0")})
		}
		return list
	}
	for _, c := range []struct {
		name, base string
		custom     int
		maxInput   int
		inputs     int
		regions    int
	}{
		{"L11", "lecture", 0, 6, 2, 6}, {"L12", "lecture", 0, 16, 11, 12}, {"L13", "lecture", 0, 16, 13, 13}, {"L13", "lecture", 0, 16, 14, 14},
		{"L13", "lecture", 0, 16, 15, 17}, {"L14", "void", 3, 16, 5, 3}, {"L15", "fluid", 2, 16, 2, 2}, {"L15", "fluid", 2, 16, 3, 4},
	} {
		h := newMixingHouse(t, func(r *conference.Room) {
			v := r.Views[0].Video
			v.MaxInput, v.Layout.Templates.Base = c.maxInput, c.base
			if c.custom > 0 {
				v.Layout.Templates.Custom = []conference.Template{{Region: regions(c.custom)}}
			}
		})
		h.publish(c.inputs)
		for n := range c.inputs {
			h.mix(n + 1)
		}
		shown := strings.Fields(h.shown())
		if len(shown) != c.regions || shown[0] != "S1" || shown[min(c.inputs, c.regions)-1] != fmt.Sprintf("S%d", min(c.inputs, c.regions)) {
			t.Errorf("%s with %d inputs: %v", c.name, c.inputs, shown)
		}
	}
}

// scene is a layout of regions next to each other; "-" is an empty one.
func (h *mixingHouse) scene(ids string, who ...int) SetLayout {
	var s layout.Scene
	for i, id := range strings.Fields(ids) {
		p := layout.Placed{Region: layout.Region{ID: id, Area: layout.Area{
			Left: layout.Rational{Num: int64(i), Den: 4}, Top: layout.Rational{Num: 0, Den: 1},
			Width: layout.Rational{Num: 1, Den: 4}, Height: layout.Rational{Num: 1, Den: 1}}}}
		if i < len(who) {
			p.Stream = h.s(who[i])
		}
		s = append(s, p)
	}
	return SetLayout{s}
}

func TestL_16_LayoutsOfOperators(t *testing.T) {
	h := newMixingHouse(t, nil)
	h.publish(3)
	change := func(c ...StreamChange) error {
		_, err := h.d.ChangeStream(t.Context(), roomID, common, c)
		return err
	}
	h.mix(1)
	h.events()
	wantText(t, "L16c", change(h.scene("a b", 2)), "Invalid input stream_id.")
	wantAll(t, "L16c: unchanged", h.events())
	wantText(t, "L16", change(h.scene("a b", 1)), "<nil>")
	wantAll(t, "L16", h.events(), "layout a:S1@0/4,0/1,1/4 b:-@1/4,0/1,1/4")
	if n := h.last(common).Resets; n != 1 {
		t.Errorf("L16: the mixer was told of %d resets", n)
	}
	h.mix(2)
	wantAll(t, "L16", h.events(), "layout a:S1@0/4,0/1,1/4 b:S2@1/4,0/1,1/4")
	h.mix(3)
	wantAll(t, "L16: S3 is not drawn", h.events())
	wantText(t, "L16b", change(h.scene("a b", 3)), "<nil>")
	wantAll(t, "L16b", h.events(), "layout a:S3@0/4,0/1,1/4 b:S1@1/4,0/1,1/4")
	wantText(t, "L16b", h.do(3, portalproto.Unmix, ""), "<nil>")
	wantAll(t, "L16b", h.events(), "layout a:S1@0/4,0/1,1/4 b:S2@1/4,0/1,1/4")
	wantText(t, "cleared", change(h.scene("")), "<nil>")
	wantAll(t, "cleared", h.events(), "layout ")
}

func TestL_16d_SimulcastTakesOneRegion(t *testing.T) {
	h := newMixingHouse(t, nil)
	h.join("p1", "presenter")
	ack, err := h.d.Publish(t.Context(), roomID, "p1", portalproto.PublishRequest{Tracks: avTracks[1:]})
	if err != nil {
		t.Fatal(err)
	}
	h.streams = append(h.streams, ack.ID)
	encoding := func(rid string, width, height int) conference.Track {
		return conference.Track{ID: ack.ID + "-1:" + rid, Kind: conference.Video, Mid: "1", Rid: rid, Format: conference.Format{Codec: "vp8"},
			Parameters: conference.VideoParameters{Resolution: conference.Resolution{Width: width, Height: height}}}
	}
	h.ready(ack.ID, []conference.Track{encoding("f", 0, 0), encoding("h", 640, 360), encoding("q", 0, 0)})
	h.mix(1)
	if got := h.shown(); got != "S1" {
		t.Errorf("regions %s", got)
	}
	videos := func() string {
		return strings.ReplaceAll(fmt.Sprint(h.last(common).Inputs[0].Videos), ack.ID+"-1:", "")
	}
	if got := videos(); got != "[h f q]" {
		t.Errorf("encodings %s", got)
	}
	h.events()
	h.media.events[ack.ID].TracksChanged(ack.ID, []conference.Track{encoding("f", 1280, 720), encoding("h", 640, 360), encoding("q", 320, 180)})
	if got := h.events(); len(got) != 1 || !strings.Contains(got[0], `"field":"."`) {
		t.Errorf("told %v", got)
	}
	if got := videos(); got != "[q h f]" {
		t.Errorf("encodings by size %s", got)
	}
}

func TestL_17_AudioOnlyTakesNoRegion(t *testing.T) {
	h := newMixingHouse(t, nil)
	h.publish(1)
	h.mix(1)
	h.join("p2", "presenter")
	ack, err := h.d.Publish(t.Context(), roomID, "p2", portalproto.PublishRequest{Tracks: avTracks[:1]})
	if err != nil {
		t.Fatal(err)
	}
	h.ready(ack.ID, []conference.Track{{ID: ack.ID + "-0", Kind: conference.Audio, Mid: "0", Format: conference.Format{Codec: "opus"}}})
	h.streams = append(h.streams, ack.ID)
	h.events()
	h.mix(2)
	wantAll(t, "layout", h.events())
	if in := h.last(common).Inputs; len(in) != 2 || in[1].Audio != ack.ID+"-0" || in[1].Videos != nil {
		t.Errorf("inputs %v", in)
	}
	wantText(t, "region", h.do(2, portalproto.SetRegion, "1"), "Invalid input stream_id.")
	_, err = h.d.ChangeStream(t.Context(), roomID, common, []StreamChange{h.scene("a", 2)})
	wantText(t, "layout", err, "Invalid input stream_id.")
}

func TestL_18_Mute(t *testing.T) {
	h := newMixingHouse(t, nil)
	h.publish(2)
	h.mix(1, 2)
	h.events()
	mute := func(op portalproto.Operation, audio, video bool) {
		t.Helper()
		wantText(t, string(op), h.control("p1", portalproto.StreamControl{ID: h.s(1), Operation: op,
			Media: conference.MediaSet{Audio: audio, Video: video}}), "<nil>")
	}
	mute(portalproto.Pause, false, true)
	wantAll(t, "video", h.events(), `stream {"id":"`+h.s(1)+`","status":"update","data":{"field":"video.status","value":"inactive"}}`)
	if in := h.last(common).Inputs[0]; !in.VideoMuted || in.AudioMuted {
		t.Errorf("the mixer was told %+v", in)
	}
	mute(portalproto.Pause, true, false)
	mute(portalproto.Play, false, true)
	if in := h.last(common).Inputs; in[0].VideoMuted || !in[0].AudioMuted || in[1].AudioMuted {
		t.Errorf("the mixer was told %+v", in)
	}
}

// speaks lets the mixer say that a stream is the loudest.
func (h *mixingHouse) speaks(n int) []string {
	h.t.Helper()
	h.mixers.specs[0].Active(h.s(n))
	return h.events()
}

func TestL_19_LoudestBecomesPrimary(t *testing.T) {
	h := newMixingHouse(t, func(r *conference.Room) { r.Views[0].Video.KeepActiveInputPrimary = true })
	h.publish(6)
	h.mix(1, 2, 3, 4, 5)
	h.events()
	got := h.speaks(3)
	if len(got) != 2 || got[0] != "active S3" || !strings.HasPrefix(got[1], "layout 1:S3@0/3,0/3,1/3 2:S2@") || h.shown() != "S3 S2 S1 S4 S5 - - - -" {
		t.Errorf("%v, shown %s", got, h.shown())
	}
	if s := h.stream(common); s.ActiveInput != h.s(3) {
		t.Errorf("active input %s", s.ActiveInput)
	}
	wantAll(t, "the same again", h.speaks(3))
	wantAll(t, "one that is not mixed", h.speaks(6))
	if n := h.last(common).Resets; n != 0 {
		t.Errorf("%d resets when nobody has moved anything", n)
	}
	wantText(t, "move", h.do(2, portalproto.SetRegion, "1"), "<nil>")
	h.events()
	if n := h.last(common).Resets; n != 1 {
		t.Errorf("the mixer was told of %d resets", n)
	}
	if got := h.speaks(3); len(got) != 2 || got[0] != "active S3" || h.shown() != "S3 S2 S1 S4 S5 - - - -" {
		t.Errorf("after a move whoever speaks counts anew: %v, shown %s", got, h.shown())
	}
	wantText(t, "unmix", h.do(3, portalproto.Unmix, ""), "<nil>")
	if s := h.stream(common); s.ActiveInput != "unknown" {
		t.Errorf("active input %s is not mixed any more", s.ActiveInput)
	}
}

func TestLoudestMovesNobodyByDefault(t *testing.T) {
	h := newMixingHouse(t, nil)
	h.publish(2)
	h.mix(1, 2)
	h.events()
	wantAll(t, "told", h.speaks(2), "active S2")
	if got := h.shown(); got != "S1 S2 - -" {
		t.Errorf("shown %s", got)
	}
	silent := newMixingHouse(t, func(r *conference.Room) { r.Views[0].Audio.VAD = false })
	silent.publish(1)
	silent.mix(1)
	silent.events()
	wantAll(t, "a view that does not ask", silent.speaks(1))
}

// TestEndOfAnInput: a stream that ends leaves the mix, however it ends, and the layout is told before the stream is gone.
func TestEndOfAnInput(t *testing.T) {
	for name, end := range map[string]func(h *mixingHouse) error{
		"unpublish": func(h *mixingHouse) error { return h.d.Unpublish(h.t.Context(), roomID, "p1", h.s(1), func() {}) },
		"leave":     func(h *mixingHouse) error { h.d.Leave(h.t.Context(), roomID, "p1"); return nil },
		"failure": func(h *mixingHouse) error {
			h.media.events[h.s(1)].SessionFailed(h.s(1), h.s(1), portalproto.ReasonICEFailed)
			return nil
		},
		"delete": func(h *mixingHouse) error { return h.d.DeleteStream(h.t.Context(), roomID, h.s(1)) },
	} {
		h := newMixingHouse(t, nil)
		h.publish(2)
		h.mix(1, 2)
		h.events()
		wantText(t, name, end(h), "<nil>")
		want := []string{"layout 1:S2@0/1,0/1,1/1", `stream {"id":"` + h.s(1) + `","status":"remove"}`}
		if name == "leave" {
			want = append([]string{`participant {"action":"leave","data":"p1"}`}, want...)
		}
		wantAll(t, name, h.events(), want...)
		if in := h.last(common).Inputs; len(in) != 1 || in[0].Stream != h.s(2) {
			t.Errorf("%s: inputs %v", name, in)
		}
	}
}

// TestC_61_DestroyEmptiesTheViews: who joins after the end finds nothing of what was mixed before.
func TestC_61_DestroyEmptiesTheViews(t *testing.T) {
	h := newMixingHouse(t, nil)
	h.publish(1)
	h.mix(1)
	h.d.Destroy(roomID)
	if in := h.last(common); in.Inputs != nil || in.Scene != nil {
		t.Errorf("the mixer was told %v", in)
	}
	_, j := h.join("late", "viewer")
	if len(j.Streams) != 1 || j.Streams[0].Layout.String() != "[]" {
		t.Errorf("streams %+v", j.Streams)
	}
}
