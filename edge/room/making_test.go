package room

import (
	"fmt"
	"strings"
	"testing"

	"portico/shared/conference"
	"portico/shared/portalproto"
)

// ask subscribes a participant to one video or sound; the answer is the refusal, or what the media layer was told of the track.
func (h *mixingHouse) ask(who string, t portalproto.SubscribeTrack) string {
	h.t.Helper()
	if t.Mid == "" {
		t.Mid = "0"
	}
	ack, err := h.d.Subscribe(h.t.Context(), roomID, who, portalproto.SubscribeRequest{Tracks: []portalproto.SubscribeTrack{t}})
	if err != nil {
		text, cut := strings.CutPrefix(err.Error(), "Target video stream does NOT satisfy:")
		if cut {
			return "…" + text
		}
		return text
	}
	calls := h.media.seen()
	_, told, _ := strings.Cut(calls[len(calls)-1], ack.ID+" "+ack.ID+" ")
	return told
}

func (h *mixingHouse) askVideo(from string, w portalproto.Wanted, f *conference.Format) string {
	h.t.Helper()
	return h.ask("watcher", portalproto.SubscribeTrack{Kind: conference.Video, From: from, Wanted: w, Format: f})
}

// watch subscribes the watcher to the mixed video.
func (h *mixingHouse) watch(w portalproto.Wanted) error {
	_, err := h.d.Subscribe(h.t.Context(), roomID, "watcher", portalproto.SubscribeRequest{Tracks: []portalproto.SubscribeTrack{
		{Kind: conference.Video, Mid: "0", From: common, Wanted: w}}})
	return err
}

func wantOne(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func size(w, h int) portalproto.Wanted {
	return portalproto.Wanted{Resolution: conference.Resolution{Width: w, Height: h}}
}

const mixedVideo = "[{video 0 " + common + "-video in vp8 h264CB h264B vp9"

func TestU_01_02_03_MixedVideo(t *testing.T) {
	h := newMixingHouse(t, nil)
	for _, c := range []struct {
		name string
		w    portalproto.Wanted
		want string
	}{
		{"U1", portalproto.Wanted{Framerate: 48}, "…Framerate is not acceptable"},
		{"U2", portalproto.Wanted{Bitrate: "x1"}, mixedVideo + "}]"},
		{"U2", portalproto.Wanted{Bitrate: "x1.0"}, mixedVideo + "}]"},
		{"U3", portalproto.Wanted{Bitrate: "500"}, "…Bitrate is not acceptable"},
		{"as the view is", portalproto.Wanted{Resolution: conference.Resolution{Width: 640, Height: 480}, Framerate: 24, KeyFrameInterval: 100}, mixedVideo + "}]"},
		{"all", portalproto.Wanted{Resolution: conference.Resolution{Width: 320, Height: 240}, Framerate: 12, Bitrate: "x0.8", KeyFrameInterval: 2},
			mixedVideo + " 320x240 @12 x0.8 kfi 2}]"},
		{"larger", size(1280, 720), "…Resolution is not acceptable"},
		{"interval", portalproto.Wanted{KeyFrameInterval: 7}, "…KeyFrameInterval is not acceptable"},
		{"in order", portalproto.Wanted{Resolution: conference.Resolution{Width: 1, Height: 1}, Framerate: 7, Bitrate: "x7", KeyFrameInterval: 7}, "…Resolution is not acceptable"},
	} {
		wantOne(t, c.name, h.askVideo(common, c.w, nil), c.want)
	}
	wantOne(t, "h264", h.askVideo(common, portalproto.Wanted{}, &conference.Format{Codec: "h264"}), "[{video 0 "+common+"-video in h264CB h264B}]")
	wantOne(t, "h265", h.askVideo(common, portalproto.Wanted{}, &conference.Format{Codec: "h265"}), "…Format is not acceptable")
}

func TestU_04_VideoOfAnAudioOnlyView(t *testing.T) {
	h := newMixingHouse(t, func(r *conference.Room) { r.Views[0].Video = nil })
	wantOne(t, "U4", h.askVideo(common, portalproto.Wanted{}, nil), "…Requested video stream")
	h.publish(1)
	h.mix(1)
	wantAll(t, "no layout", h.events())
	if in := h.last(common); len(in.Inputs) != 1 || in.Inputs[0].Videos != nil || len(in.Scene) != 0 {
		t.Errorf("the mixer was told %+v", in)
	}
	wantText(t, "region", h.do(1, portalproto.SetRegion, "1"), "Invalid mix view")
}

// TestU_05_SizeAndRate: what package conference makes a bit rate of reaches whoever makes the video; the view's own stays with the view.
func TestU_05_SizeAndRate(t *testing.T) {
	h := newMixingHouse(t, func(r *conference.Room) { r.Views[0].Video.Parameters.Bitrate = 1000 })
	w := size(320, 240)
	w.Framerate = 12
	wantOne(t, "U5", h.askVideo(common, w, nil), mixedVideo+" 320x240 @12}]")
	if got := h.mixers.specs[0].View.Video.Parameters.Bitrate; got != 1000 {
		t.Errorf("the view's bit rate is %v", got)
	}
	if got := h.stream(common).Tracks[1].Parameters.Bitrate; got != 1000 {
		t.Errorf("the stream's bit rate is %v", got)
	}
}

func TestU_06_FormatsAreNotConverted(t *testing.T) {
	h := newMixingHouse(t, func(r *conference.Room) { r.Transcoding.Video.Format = false })
	h.publish(1)
	wantOne(t, "U6", h.askVideo(h.s(1), portalproto.Wanted{}, &conference.Format{Codec: "h264"}), "…Format is not acceptable")
	if o := h.stream(h.s(1)).Tracks[1].Optional; o.VideoFormats != nil || len(o.Framerates) == 0 {
		t.Errorf("optional %+v", o)
	}
	wantOne(t, "its own", h.askVideo(h.s(1), portalproto.Wanted{}, &conference.Format{Codec: "vp8"}), "[{video 0 "+h.s(1)+"-1}]")
}

func TestU_07_Profiles(t *testing.T) {
	for _, listed := range []bool{true, false} {
		h := newMixingHouse(t, func(r *conference.Room) {
			if !listed {
				r.MediaOut.Video.Format = []conference.VideoFormat{{Codec: "vp8"}, {Codec: "h264", Profile: "B"}}
			}
		})
		h.join("p1", "presenter")
		ack, err := h.d.Publish(t.Context(), roomID, "p1", portalproto.PublishRequest{Tracks: avTracks[1:]})
		if err != nil {
			t.Fatal(err)
		}
		h.ready(ack.ID, []conference.Track{{ID: ack.ID + "-1", Kind: conference.Video, Mid: "1", Format: conference.Format{Codec: "h264", Profile: "B"}}})
		ask := func(profile string) string {
			return h.askVideo(ack.ID, portalproto.Wanted{}, &conference.Format{Codec: "h264", Profile: profile})
		}
		track := "[{video 0 " + ack.ID + "-1"
		if listed {
			wantOne(t, "U7 CB", ask("CB"), track+" in h264CB}]")
			wantOne(t, "U7 M", ask("M"), track+" in h264B h264CB}]") // its own first: it is forwarded
			continue
		}
		wantOne(t, "U7 CB, not listed", ask("CB"), "…Format is not acceptable")
		wantOne(t, "U7 M, alone", ask("M"), track+"}]")
	}
}

func TestU_08_09_10_11_Refusals(t *testing.T) {
	h := newHouse(t, func(r *conference.Room) { r.ParticipantLimit, r.InputLimit = 2, 1 })
	join := func(role string) error {
		_, err := h.d.Join(t.Context(), Join{Room: roomID, Participant: "late", Role: role, Member: &fakeMember{}})
		return err
	}
	wantText(t, "U10", join("nope"), "Invalid role")
	h.join("a", "presenter")
	h.join("b", "viewer")
	wantText(t, "U8", join("presenter"), "Room is full")
	_, err := h.d.Publish(t.Context(), roomID, "b", portalproto.PublishRequest{Tracks: avTracks})
	wantText(t, "U11", err, "unauthorized")
	h.publishAV("a")
	_, err = h.d.Publish(t.Context(), roomID, "a", portalproto.PublishRequest{Tracks: avTracks})
	wantText(t, "U9", err, "Too many inputs")
}

func TestU_12_UnknownSize(t *testing.T) {
	h := newMixingHouse(t, nil)
	h.join("p1", "presenter")
	ack, err := h.d.Publish(t.Context(), roomID, "p1", portalproto.PublishRequest{Tracks: avTracks[1:]})
	if err != nil {
		t.Fatal(err)
	}
	track := conference.Track{ID: ack.ID + "-1", Kind: conference.Video, Mid: "1", Format: conference.Format{Codec: "vp8"}}
	h.ready(ack.ID, []conference.Track{track})
	forward := "[{video 0 " + ack.ID + "-1 in vp8 h264CB h264B vp9"
	wantOne(t, "U12", h.askVideo(ack.ID, size(1920, 1080), nil), forward+" 1920x1080}]")
	track.Parameters.Resolution = conference.Resolution{Width: 1280, Height: 720}
	h.media.events[ack.ID].TracksChanged(ack.ID, []conference.Track{track})
	h.settle()
	wantOne(t, "known", h.askVideo(ack.ID, size(1920, 1080), nil), "…Resolution is not acceptable")
	wantOne(t, "its own", h.askVideo(ack.ID, size(1280, 720), nil), forward+"}]")
	wantOne(t, "by its track", h.askVideo(ack.ID+"-1", size(960, 540), nil), forward+" 960x540}]")
	if got := h.stream(ack.ID).Tracks[0].Optional.Resolutions; fmt.Sprint(got) !=
		"[{960 540} {852 480} {640 360} {426 240} {320 180} {800 600} {640 480} {320 240} {352 288}]" {
		t.Errorf("O1: offered %v", got)
	}
}

func TestSimulcastBySize(t *testing.T) {
	h := newMixingHouse(t, nil)
	h.join("p1", "presenter")
	ack, err := h.d.Publish(t.Context(), roomID, "p1", portalproto.PublishRequest{Tracks: avTracks[1:]})
	if err != nil {
		t.Fatal(err)
	}
	var tracks []conference.Track
	for i, rid := range []string{"q", "h", "f"} {
		tracks = append(tracks, conference.Track{ID: ack.ID + "-1:" + rid, Kind: conference.Video, Mid: "1", Rid: rid, Format: conference.Format{Codec: "vp8"},
			Parameters: conference.VideoParameters{Resolution: conference.Resolution{Width: 320 << i, Height: 180 << i}}})
	}
	h.ready(ack.ID, tracks)
	told := func(rid, more string) string {
		return "[{video 0 " + ack.ID + "-1:" + rid + " in vp8 h264CB h264B vp9" + more + "}]"
	}
	wantOne(t, "the first", h.askVideo(ack.ID, portalproto.Wanted{}, nil), told("q", ""))
	wantOne(t, "an encoding's size", h.askVideo(ack.ID, size(640, 360), nil), told("h", ""))
	wantOne(t, "another size, of the first", h.askVideo(ack.ID, size(160, 90), nil), told("q", " 160x90"))
	wantOne(t, "by the track", h.askVideo(ack.ID+"-1:f", size(640, 360), nil), told("f", " 640x360"))
	wantOne(t, "by the rid", h.ask("watcher", portalproto.SubscribeTrack{Kind: conference.Video, From: ack.ID, Rid: "h"}), told("h", ""))
}

// TestSound: whoever may speak does not hear itself in a mix; formats that nobody can make are offered in vain.
func TestSound(t *testing.T) {
	h := newMixingHouse(t, nil)
	h.publish(1)
	const formats = " in opus g722 pcma pcmu"
	sound := func(who, from string, f *conference.Format) string {
		return h.ask(who, portalproto.SubscribeTrack{Kind: conference.Audio, From: from, Format: f})
	}
	wantOne(t, "viewer", sound("watcher", common, nil), "[{audio 0 "+common+"-audio"+formats+"}]")
	wantOne(t, "presenter", sound("p1", common, nil), "[{audio 0 "+common+"-audio"+formats+" for p1}]")
	wantOne(t, "published", sound("p1", h.s(1), nil), "[{audio 0 "+h.s(1)+"-0"+formats+"}]")
	wantOne(t, "pcmu", sound("watcher", common, &conference.Format{Codec: "PCMU"}), "[{audio 0 "+common+"-audio in pcmu}]")
	wantOne(t, "opus of another rate", sound("watcher", common, &conference.Format{Codec: "opus"}), "Target audio stream does NOT satisfy:Format is not acceptable")
	wantOne(t, "ac3 cannot be made", sound("watcher", common, &conference.Format{Codec: "ac3"}), "Target audio stream does NOT satisfy:Format is not acceptable")
	if len(h.stream(common).Tracks[0].Optional.AudioFormats) != 9 {
		t.Errorf("offered %v", h.stream(common).Tracks[0].Optional.AudioFormats)
	}
	no := false
	if _, err := h.d.ChangePermission(t.Context(), roomID, "p1", PermissionChange{PublishAudio: &no}); err != nil {
		t.Fatal(err)
	}
	wantOne(t, "who may not speak any more", sound("p1", common, nil), "[{audio 0 "+common+"-audio"+formats+"}]")
}

// TestAudioIsRefusedFirst: in whatever order the tracks are asked for.
func TestAudioIsRefusedFirst(t *testing.T) {
	h := newMixingHouse(t, nil)
	_, err := h.d.Subscribe(t.Context(), roomID, "watcher", portalproto.SubscribeRequest{Tracks: []portalproto.SubscribeTrack{
		{Kind: conference.Video, Mid: "0", From: "nope"}, {Kind: conference.Audio, Mid: "1", From: "nope"},
	}})
	wantText(t, "subscribe", err, "Target audio stream does NOT satisfy:Requested audio stream")
}

// TestMakingDoesNotAdapt: where the room adapts, what is made of a stream is made as asked; its size is what it is shown at, if that can
// be had.
func TestMakingDoesNotAdapt(t *testing.T) {
	h := newMixingHouse(t, func(r *conference.Room) { r.EnableBandwidthAdaptation = true })
	h.publish(1)
	formats := " in vp8 h264CB h264B vp9"
	told := "[{video 0 " + h.s(1) + "-1"
	wantOne(t, "any size", h.askVideo(h.s(1), size(123, 45), nil), told+" adapts to 123x45"+formats+"}]")
	wantOne(t, "h264", h.askVideo(h.s(1), size(320, 240), &conference.Format{Codec: "h264"}), told+" in h264CB h264B 320x240}]")
	wantOne(t, "rate", h.askVideo(h.s(1), portalproto.Wanted{Resolution: size(123, 45).Resolution, Framerate: 15}, nil), told+formats+" @15}]")
	wantOne(t, "bad rate", h.askVideo(h.s(1), portalproto.Wanted{Resolution: size(123, 45).Resolution, Framerate: 16}, nil), "…Framerate is not acceptable")
	wantOne(t, "mixed", h.askVideo(common, size(123, 45), nil), "…Resolution is not acceptable")
}
