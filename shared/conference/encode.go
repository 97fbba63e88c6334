package conference

import "portico/shared/jsonvalue"

// Value is the room as a complete room document; ReadRoom reads it back. "_id" is left out while ID is empty, and unknown
// bit rates, sample rates, channel numbers and profiles are left out.
func (r Room) Value() jsonvalue.Value {
	return jsonvalue.OfObject(
		jsonvalue.M("name", jsonvalue.Of(r.Name)),
		jsonvalue.M("inputLimit", jsonvalue.OfInt(int64(r.InputLimit))),
		jsonvalue.M("participantLimit", jsonvalue.OfInt(int64(r.ParticipantLimit))),
		jsonvalue.M("selectActiveAudio", jsonvalue.OfBool(r.SelectActiveAudio)),
		jsonvalue.M("enableBandwidthAdaptation", jsonvalue.OfBool(r.EnableBandwidthAdaptation)),
		jsonvalue.M("roles", arrayOf(r.Roles, roleValue)),
		jsonvalue.M("views", arrayOf(r.Views, View.Value)),
		jsonvalue.M("mediaIn", jsonvalue.OfObject(
			jsonvalue.M("audio", arrayOf(r.MediaIn.Audio, audioValue)),
			jsonvalue.M("video", arrayOf(r.MediaIn.Video, videoValue)),
		)),
		jsonvalue.M("mediaOut", mediaOutValue(r.MediaOut)),
		jsonvalue.M("transcoding", transcodingValue(r.Transcoding)),
		jsonvalue.M("notifying", jsonvalue.OfObject(
			jsonvalue.M("participantActivities", jsonvalue.OfBool(r.Notifying.ParticipantActivities)),
			jsonvalue.M("streamChange", jsonvalue.OfBool(r.Notifying.StreamChange)),
		)),
		jsonvalue.M("sip", sipValue(r.SIP)),
		jsonvalue.M("_id", textOrAbsent(r.ID)),
		jsonvalue.M("__v", jsonvalue.OfInt(int64(r.Version))),
	)
}

// Value is the view as an element of "views".
func (v View) Value() jsonvalue.Value {
	video := jsonvalue.OfBool(false)
	if v.Video != nil {
		video = viewVideoValue(*v.Video)
	}
	return jsonvalue.OfObject(
		jsonvalue.M("label", jsonvalue.Of(v.Label)),
		jsonvalue.M("audio", jsonvalue.OfObject(
			jsonvalue.M("format", audioValue(v.Audio.Format)),
			jsonvalue.M("vad", jsonvalue.OfBool(v.Audio.VAD)),
		)),
		jsonvalue.M("video", video),
	)
}

func viewVideoValue(v ViewVideo) jsonvalue.Value {
	return jsonvalue.OfObject(
		jsonvalue.M("parameters", jsonvalue.OfObject(
			jsonvalue.M("resolution", resolutionValue(v.Parameters.Resolution)),
			jsonvalue.M("framerate", jsonvalue.OfFloat(v.Parameters.Framerate)),
			jsonvalue.M("bitrate", numberOrAbsent(v.Parameters.Bitrate)),
			jsonvalue.M("keyFrameInterval", jsonvalue.OfFloat(v.Parameters.KeyFrameInterval)),
		)),
		jsonvalue.M("bgColor", jsonvalue.OfObject(
			jsonvalue.M("r", jsonvalue.OfInt(int64(v.BgColor.R))),
			jsonvalue.M("g", jsonvalue.OfInt(int64(v.BgColor.G))),
			jsonvalue.M("b", jsonvalue.OfInt(int64(v.BgColor.B))),
		)),
		jsonvalue.M("layout", jsonvalue.OfObject(
			jsonvalue.M("templates", jsonvalue.OfObject(
				jsonvalue.M("base", jsonvalue.Of(v.Layout.Templates.Base)),
				jsonvalue.M("custom", arrayOf(v.Layout.Templates.Custom, templateValue)),
			)),
			jsonvalue.M("fitPolicy", jsonvalue.Of(v.Layout.FitPolicy)),
		)),
		jsonvalue.M("format", videoValue(v.Format)),
		jsonvalue.M("maxInput", jsonvalue.OfInt(int64(v.MaxInput))),
		jsonvalue.M("motionFactor", jsonvalue.OfFloat(v.MotionFactor)),
		jsonvalue.M("keepActiveInputPrimary", jsonvalue.OfBool(v.KeepActiveInputPrimary)),
	)
}

func templateValue(t Template) jsonvalue.Value {
	return jsonvalue.OfObject(
		jsonvalue.M("primary", textOrAbsent(t.Primary)),
		jsonvalue.M("region", arrayOf(t.Region, func(r Region) jsonvalue.Value {
			return jsonvalue.OfObject(
				jsonvalue.M("id", jsonvalue.Of(r.ID)),
				jsonvalue.M("shape", jsonvalue.Of(r.Shape)),
				jsonvalue.M("area", jsonvalue.OfObject(
					jsonvalue.M("left", jsonvalue.Of(r.Area.Left)),
					jsonvalue.M("top", jsonvalue.Of(r.Area.Top)),
					jsonvalue.M("width", jsonvalue.Of(r.Area.Width)),
					jsonvalue.M("height", jsonvalue.Of(r.Area.Height)),
				)),
			)
		})),
	)
}

func mediaOutValue(m MediaOut) jsonvalue.Value {
	p := m.Video.Parameters
	return jsonvalue.OfObject(
		jsonvalue.M("audio", arrayOf(m.Audio, audioValue)),
		jsonvalue.M("video", jsonvalue.OfObject(
			jsonvalue.M("format", arrayOf(m.Video.Format, videoValue)),
			jsonvalue.M("parameters", jsonvalue.OfObject(
				jsonvalue.M("resolution", jsonvalue.OfStrings(p.Resolution)),
				jsonvalue.M("framerate", arrayOf(p.Framerate, jsonvalue.OfFloat)),
				jsonvalue.M("bitrate", jsonvalue.OfStrings(p.Bitrate)),
				jsonvalue.M("keyFrameInterval", arrayOf(p.KeyFrameInterval, jsonvalue.OfFloat)),
			)),
		)),
	)
}

func transcodingValue(t Transcoding) jsonvalue.Value {
	return jsonvalue.OfObject(
		jsonvalue.M("video", jsonvalue.OfObject(
			jsonvalue.M("parameters", jsonvalue.OfObject(
				jsonvalue.M("resolution", jsonvalue.OfBool(t.Video.Parameters.Resolution)),
				jsonvalue.M("framerate", jsonvalue.OfBool(t.Video.Parameters.Framerate)),
				jsonvalue.M("bitrate", jsonvalue.OfBool(t.Video.Parameters.Bitrate)),
				jsonvalue.M("keyFrameInterval", jsonvalue.OfBool(t.Video.Parameters.KeyFrameInterval)),
			)),
			jsonvalue.M("format", jsonvalue.OfBool(t.Video.Format)),
		)),
		jsonvalue.M("audio", jsonvalue.OfBool(t.Audio)),
	)
}

func roleValue(r Role) jsonvalue.Value {
	return jsonvalue.OfObject(
		jsonvalue.M("role", jsonvalue.Of(r.Role)),
		jsonvalue.M("publish", mediaSetValue(r.Publish)),
		jsonvalue.M("subscribe", mediaSetValue(r.Subscribe)),
	)
}

func mediaSetValue(m MediaSet) jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("audio", jsonvalue.OfBool(m.Audio)), jsonvalue.M("video", jsonvalue.OfBool(m.Video)))
}

// Value is the participant as an operator sees it (management API 7).
func (p Participant) Value() jsonvalue.Value {
	return jsonvalue.OfObject(
		jsonvalue.M("id", jsonvalue.Of(p.ID)),
		jsonvalue.M("user", jsonvalue.Of(p.User)),
		jsonvalue.M("role", jsonvalue.Of(p.Role)),
		jsonvalue.M("permission", jsonvalue.OfObject(
			jsonvalue.M("publish", mediaSetValue(p.Permission.Publish)),
			jsonvalue.M("subscribe", mediaSetValue(p.Permission.Subscribe)),
		)),
	)
}

func sipValue(s *SIP) jsonvalue.Value {
	if s == nil {
		return jsonvalue.Value{}
	}
	return jsonvalue.OfObject(
		jsonvalue.M("sipServer", textOrAbsent(s.SIPServer)),
		jsonvalue.M("username", textOrAbsent(s.Username)),
		jsonvalue.M("password", textOrAbsent(s.Password)),
	)
}

func audioValue(f AudioFormat) jsonvalue.Value {
	return jsonvalue.OfObject(
		jsonvalue.M("codec", jsonvalue.Of(f.Codec)),
		jsonvalue.M("sampleRate", numberOrAbsent(float64(f.SampleRate))),
		jsonvalue.M("channelNum", numberOrAbsent(float64(f.ChannelNum))),
	)
}

func videoValue(f VideoFormat) jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("codec", jsonvalue.Of(f.Codec)), jsonvalue.M("profile", textOrAbsent(f.Profile)))
}

func resolutionValue(r Resolution) jsonvalue.Value {
	return jsonvalue.OfObject(
		jsonvalue.M("width", jsonvalue.OfInt(int64(r.Width))), jsonvalue.M("height", jsonvalue.OfInt(int64(r.Height))),
	)
}

func arrayOf[T any](list []T, value func(T) jsonvalue.Value) jsonvalue.Value {
	values := make([]jsonvalue.Value, len(list))
	for i, e := range list {
		values[i] = value(e)
	}
	return jsonvalue.OfArray(values...)
}

func textOrAbsent(s string) jsonvalue.Value {
	if s == "" {
		return jsonvalue.Value{}
	}
	return jsonvalue.Of(s)
}

func numberOrAbsent(f float64) jsonvalue.Value {
	if f == 0 {
		return jsonvalue.Value{}
	}
	return jsonvalue.OfFloat(f)
}
