package portalproto

import (
	"portico/shared/conference"
	"portico/shared/jsonvalue"
)

// Receiver is what has to be known of a client to speak to it.
type Receiver struct {
	Version Version
	SDK     SDK
}

// EncodeStream is StreamInfo (portal protocol 9.4) as that receiver understands it. It keeps the invariants I1 to I9.
func EncodeStream(s *conference.Stream, to Receiver) jsonvalue.Value {
	return jsonvalue.OfObject(
		jsonvalue.M("id", jsonvalue.Of(s.ID)),
		jsonvalue.M("type", jsonvalue.Of(string(s.Type))),
		jsonvalue.M("media", encodeMedia(s, to)),
		jsonvalue.M("data", encodeData(s)),
		jsonvalue.M("info", encodeInfo(s)))
}

func encodeMedia(s *conference.Stream, to Receiver) jsonvalue.Value {
	if to.Version != 0 && to.Version < V12 {
		return encodeFlatMedia(s, to)
	}
	tracks := make([]jsonvalue.Value, len(s.Tracks))
	for i := range s.Tracks {
		tracks[i] = encodeTrack(&s.Tracks[i], to)
	}
	return jsonvalue.OfObject(jsonvalue.M("tracks", jsonvalue.OfArray(tracks...)))
}

func encodeData(s *conference.Stream) jsonvalue.Value {
	if s.Type == conference.Mixed || s.Via == viaSelecting {
		return jsonvalue.NullValue()
	}
	return optionalTrue(s.Data)
}

// viaSelecting is the type of a forward stream that carries whoever is loudest.
const viaSelecting = "selecting"

func encodeInfo(s *conference.Stream) jsonvalue.Value {
	if s.Type == conference.Mixed {
		layout := s.Layout
		if !layout.Exists() {
			layout = jsonvalue.OfArray()
		}
		return jsonvalue.OfObject(
			jsonvalue.M("label", jsonvalue.Of(s.Label)),
			jsonvalue.M("activeInput", jsonvalue.Of(s.ActiveInput)),
			jsonvalue.M("layout", layout),
			jsonvalue.M("origin", jsonvalue.OfObject(
				jsonvalue.M("isp", jsonvalue.Of(s.Origin.ISP)), jsonvalue.M("region", jsonvalue.Of(s.Origin.Region)))))
	}
	return jsonvalue.OfObject(
		jsonvalue.M("owner", jsonvalue.Of(s.Owner)),
		jsonvalue.M("type", jsonvalue.Of(s.Via)),
		jsonvalue.M("inViews", jsonvalue.OfStrings(s.InViews)),
		jsonvalue.M("activeInput", optionalText(s.ActiveInput)),
		jsonvalue.M("attributes", s.Attributes))
}

// sdkJavaScript is the SDK type whose releases throw on an audio source they do not know (invariant I3).
const sdkJavaScript = "JavaScript"

func encodeTrack(t *conference.Track, to Receiver) jsonvalue.Value {
	var parameters jsonvalue.Value
	if t.Kind == conference.Video {
		parameters = encodeParameters(t.Parameters)
	}
	return jsonvalue.OfObject(
		jsonvalue.M("id", optionalText(t.ID)),
		jsonvalue.M("type", jsonvalue.Of(string(t.Kind))),
		jsonvalue.M("source", encodeSource(t, to)),
		jsonvalue.M("format", encodeFormat(t.Format)),
		jsonvalue.M("parameters", parameters),
		jsonvalue.M("optional", encodeOptional(t)),
		jsonvalue.M("status", encodeStatus(t)),
		jsonvalue.M("mid", optionalText(t.Mid)),
		jsonvalue.M("rid", optionalText(t.Rid)))
}

func encodeSource(t *conference.Track, to Receiver) jsonvalue.Value {
	if t.Kind == conference.Audio && to.SDK.Type == sdkJavaScript && (t.Source == "raw-file" || t.Source == "encoded-file") {
		return jsonvalue.Of("file")
	}
	return optionalText(t.Source)
}

func encodeStatus(t *conference.Track) jsonvalue.Value {
	if t.Inactive {
		return jsonvalue.Of("inactive")
	}
	return jsonvalue.Of("active")
}

func encodeParameters(p conference.VideoParameters) jsonvalue.Value {
	v := jsonvalue.OfObject(
		jsonvalue.M("resolution", encodeResolution(p.Resolution)),
		jsonvalue.M("framerate", optionalFloat(p.Framerate)),
		jsonvalue.M("bitrate", optionalInt(p.Bitrate)),
		jsonvalue.M("keyFrameInterval", optionalInt(p.KeyFrameInterval)))
	if v.Len() == 0 {
		return jsonvalue.Value{}
	}
	return v
}

func encodeOptional(t *conference.Track) jsonvalue.Value {
	o := t.Optional
	var formats jsonvalue.Value
	if t.Kind == conference.Audio {
		if o.AudioFormats != nil {
			formats = listOf(o.AudioFormats, func(f conference.AudioFormat) jsonvalue.Value {
				return encodeFormat(conference.Format{Codec: f.Codec, SampleRate: f.SampleRate, ChannelNum: f.ChannelNum})
			})
		}
		return jsonvalue.OfObject(jsonvalue.M("format", formats))
	}
	if o.VideoFormats != nil {
		formats = listOf(o.VideoFormats, func(f conference.VideoFormat) jsonvalue.Value {
			return encodeFormat(conference.Format{Codec: f.Codec, Profile: f.Profile})
		})
	}
	return jsonvalue.OfObject(
		jsonvalue.M("format", formats),
		jsonvalue.M("parameters", jsonvalue.OfObject(
			jsonvalue.M("resolution", listOf(o.Resolutions, encodeResolution)),
			jsonvalue.M("framerate", listOf(o.Framerates, jsonvalue.OfFloat)),
			jsonvalue.M("bitrate", jsonvalue.OfStrings(o.Bitrates)),
			jsonvalue.M("keyFrameInterval", listOf(o.KeyFrameIntervals, jsonvalue.OfFloat)))))
}

func listOf[T any](items []T, encode func(T) jsonvalue.Value) jsonvalue.Value {
	values := make([]jsonvalue.Value, len(items))
	for i, it := range items {
		values[i] = encode(it)
	}
	return jsonvalue.OfArray(values...)
}

func encodeFormat(f conference.Format) jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("codec", jsonvalue.Of(f.Codec)), jsonvalue.M("sampleRate", optionalInt(f.SampleRate)),
		jsonvalue.M("channelNum", optionalInt(f.ChannelNum)), jsonvalue.M("profile", optionalText(f.Profile)))
}

func decodeFormat(v jsonvalue.Value) conference.Format {
	return conference.Format{Codec: v.Get("codec").Text(), SampleRate: intOf(v.Get("sampleRate")),
		ChannelNum: intOf(v.Get("channelNum")), Profile: v.Get("profile").Text()}
}

func encodeResolution(r conference.Resolution) jsonvalue.Value {
	if r == (conference.Resolution{}) {
		return jsonvalue.Value{}
	}
	return jsonvalue.OfObject(jsonvalue.M("width", jsonvalue.OfInt(int64(r.Width))), jsonvalue.M("height", jsonvalue.OfInt(int64(r.Height))))
}

func decodeResolution(v jsonvalue.Value) conference.Resolution {
	return conference.Resolution{Width: intOf(v.Get("width")), Height: intOf(v.Get("height"))}
}

func intOf(v jsonvalue.Value) int {
	n, ok := v.Int()
	if !ok || n < -1<<31 || n >= 1<<31 {
		return 0
	}
	return int(n)
}

// DecodeStream reads StreamInfo in its current form; ok is false when it has no id.
func DecodeStream(v jsonvalue.Value) (s conference.Stream, ok bool) {
	info := v.Get("info")
	s = conference.Stream{
		ID: v.Get("id").Text(), Type: conference.StreamType(v.Get("type").Text()), Data: v.Get("data").Bool(),
		Owner: info.Get("owner").Text(), Via: info.Get("type").Text(), InViews: texts(info.Get("inViews")), Attributes: info.Get("attributes"),
		Label: info.Get("label").Text(), ActiveInput: info.Get("activeInput").Text(), Layout: info.Get("layout"),
		Origin: conference.Origin{ISP: info.Path("origin", "isp").Text(), Region: info.Path("origin", "region").Text()},
	}
	tracks := v.Path("media", "tracks")
	for i := range tracks.Len() {
		s.Tracks = append(s.Tracks, decodeTrack(tracks.Index(i)))
	}
	return s, s.ID != ""
}

func decodeTrack(v jsonvalue.Value) conference.Track {
	p := v.Get("parameters")
	rate, _ := p.Get("framerate").Float()
	return conference.Track{
		ID: v.Get("id").Text(), Kind: conference.Kind(v.Get("type").Text()), Source: v.Get("source").Text(),
		Mid: v.Get("mid").Text(), Rid: v.Get("rid").Text(), Format: decodeFormat(v.Get("format")),
		Parameters: conference.VideoParameters{Resolution: decodeResolution(p.Get("resolution")), Framerate: rate,
			Bitrate: intOf(p.Get("bitrate")), KeyFrameInterval: intOf(p.Get("keyFrameInterval"))},
		Inactive: v.Get("status").Text() == "inactive",
		Optional: decodeOptional(v.Get("optional"), conference.Kind(v.Get("type").Text())),
	}
}

func decodeOptional(v jsonvalue.Value, kind conference.Kind) (o conference.Optional) {
	formats := v.Get("format")
	for i := range formats.Len() {
		f := decodeFormat(formats.Index(i))
		if kind == conference.Audio {
			o.AudioFormats = append(o.AudioFormats, conference.AudioFormat{Codec: f.Codec, SampleRate: f.SampleRate, ChannelNum: f.ChannelNum})
		} else {
			o.VideoFormats = append(o.VideoFormats, conference.VideoFormat{Codec: f.Codec, Profile: f.Profile})
		}
	}
	p := v.Get("parameters")
	for i := range p.Get("resolution").Len() {
		o.Resolutions = append(o.Resolutions, decodeResolution(p.Get("resolution").Index(i)))
	}
	o.Framerates = floats(p.Get("framerate"))
	o.Bitrates = texts(p.Get("bitrate"))
	o.KeyFrameIntervals = floats(p.Get("keyFrameInterval"))
	return o
}

func floats(v jsonvalue.Value) []float64 {
	var list []float64
	for i := range v.Len() {
		if f, ok := v.Index(i).Float(); ok {
			list = append(list, f)
		}
	}
	return list
}
