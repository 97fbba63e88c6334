package conference

import (
	"math"

	"portico/shared/jsonvalue"
)

// ReadRoom is the typed reading of a room document: what the document lacks has its default, what it holds in another shape
// than expected (roles and format lists are stored as they were given) reads as nothing. A role without "publish" or
// "subscribe" may do nothing of it (rooms-and-media 2).
func ReadRoom(doc jsonvalue.Value) Room {
	doc = FillRoomDocument(doc)
	out, in := doc.Get("mediaOut"), doc.Get("mediaIn")
	parameters := out.Path("video", "parameters")
	return Room{
		ID:                        doc.Get("_id").Text(),
		Name:                      doc.Get("name").Text(),
		InputLimit:                whole(doc.Get("inputLimit")),
		ParticipantLimit:          whole(doc.Get("participantLimit")),
		SelectActiveAudio:         doc.Get("selectActiveAudio").Bool(),
		EnableBandwidthAdaptation: doc.Get("enableBandwidthAdaptation").Bool(),
		Roles:                     listOf(doc.Get("roles"), readRole),
		Views:                     listOf(doc.Get("views"), readView),
		MediaIn:                   MediaIn{Audio: listOf(in.Get("audio"), readAudio), Video: listOf(in.Get("video"), readVideo)},
		MediaOut: MediaOut{Audio: listOf(out.Get("audio"), readAudio), Video: VideoOut{
			Format: listOf(out.Path("video", "format"), readVideo),
			Parameters: VideoOutParameters{
				Resolution:       listOf(parameters.Get("resolution"), readText),
				Framerate:        listOf(parameters.Get("framerate"), readNumber),
				Bitrate:          listOf(parameters.Get("bitrate"), readText),
				KeyFrameInterval: listOf(parameters.Get("keyFrameInterval"), readNumber),
			},
		}},
		Transcoding: readTranscoding(doc.Get("transcoding")),
		Notifying: Notifying{
			ParticipantActivities: doc.Path("notifying", "participantActivities").Bool(),
			StreamChange:          doc.Path("notifying", "streamChange").Bool(),
		},
		SIP:     readSIP(doc.Get("sip")),
		Version: whole(doc.Get("__v")),
	}
}

func readTranscoding(v jsonvalue.Value) Transcoding {
	p := v.Path("video", "parameters")
	return Transcoding{Audio: v.Get("audio").Bool(), Video: VideoTranscoding{
		Format: v.Path("video", "format").Bool(),
		Parameters: TranscodingParameters{
			Resolution:       p.Get("resolution").Bool(),
			Framerate:        p.Get("framerate").Bool(),
			Bitrate:          p.Get("bitrate").Bool(),
			KeyFrameInterval: p.Get("keyFrameInterval").Bool(),
		},
	}}
}

func readSIP(v jsonvalue.Value) *SIP {
	if !v.Exists() {
		return nil
	}
	return &SIP{SIPServer: v.Get("sipServer").Text(), Username: v.Get("username").Text(), Password: v.Get("password").Text()}
}

func readRole(v jsonvalue.Value) (Role, bool) {
	set := func(v jsonvalue.Value) MediaSet {
		return MediaSet{Audio: v.Get("audio").Bool(), Video: v.Get("video").Bool()}
	}
	name := v.Get("role")
	return Role{Role: name.Text(), Publish: set(v.Get("publish")), Subscribe: set(v.Get("subscribe"))}, name.Text() != ""
}

func readView(v jsonvalue.Value) (View, bool) {
	audio, _ := readAudio(v.Path("audio", "format"))
	view := View{Label: v.Get("label").Text(), Audio: ViewAudio{Format: audio, VAD: v.Path("audio", "vad").Bool()}}
	if video := v.Get("video"); video.Kind() == jsonvalue.Object {
		view.Video = readViewVideo(video)
	}
	return view, true
}

func readViewVideo(v jsonvalue.Value) *ViewVideo {
	format, _ := readVideo(v.Get("format"))
	parameters, color, layout := v.Get("parameters"), v.Get("bgColor"), v.Get("layout")
	return &ViewVideo{
		Format: format,
		Parameters: ViewParameters{
			Resolution: Resolution{
				Width:  whole(parameters.Path("resolution", "width")),
				Height: whole(parameters.Path("resolution", "height")),
			},
			Framerate:        float(parameters.Get("framerate")),
			Bitrate:          float(parameters.Get("bitrate")),
			KeyFrameInterval: float(parameters.Get("keyFrameInterval")),
		},
		MaxInput:               whole(v.Get("maxInput")),
		MotionFactor:           float(v.Get("motionFactor")),
		BgColor:                Color{whole(color.Get("r")), whole(color.Get("g")), whole(color.Get("b"))},
		KeepActiveInputPrimary: v.Get("keepActiveInputPrimary").Bool(),
		Layout: Layout{FitPolicy: layout.Get("fitPolicy").Text(), Templates: Templates{
			Base:   layout.Path("templates", "base").Text(),
			Custom: listOf(layout.Path("templates", "custom"), readTemplate),
		}},
	}
}

func readTemplate(v jsonvalue.Value) (Template, bool) {
	return Template{Primary: v.Get("primary").Text(), Region: listOf(v.Get("region"), readRegion)}, true
}

func readRegion(v jsonvalue.Value) (Region, bool) {
	area := v.Get("area")
	return Region{ID: v.Get("id").Text(), Shape: v.Get("shape").Text(), Area: Area{
		Left: area.Get("left").Text(), Top: area.Get("top").Text(), Width: area.Get("width").Text(), Height: area.Get("height").Text(),
	}}, true
}

func readAudio(v jsonvalue.Value) (AudioFormat, bool) {
	codec := v.Get("codec").Text()
	return AudioFormat{Codec: codec, SampleRate: whole(v.Get("sampleRate")), ChannelNum: whole(v.Get("channelNum"))}, codec != ""
}

func readVideo(v jsonvalue.Value) (VideoFormat, bool) {
	codec := v.Get("codec").Text()
	return VideoFormat{Codec: codec, Profile: v.Get("profile").Text()}, codec != ""
}

func readText(v jsonvalue.Value) (string, bool) { return v.Text(), v.Kind() == jsonvalue.String }

func readNumber(v jsonvalue.Value) (float64, bool) {
	f, ok := v.Float()
	return f, ok && !math.IsInf(f, 0)
}

// listOf reads the elements that read accepts; nil when there are none.
func listOf[T any](v jsonvalue.Value, read func(jsonvalue.Value) (T, bool)) []T {
	var list []T
	for i := range v.Len() {
		if e, ok := read(v.Index(i)); ok {
			list = append(list, e)
		}
	}
	return list
}

func float(v jsonvalue.Value) float64 {
	f, _ := readNumber(v)
	return f
}

// whole is a number without its fraction, within 32 bits.
func whole(v jsonvalue.Value) int {
	return int(math.Max(math.MinInt32, math.Min(math.MaxInt32, float(v))))
}
