package conference

// DefaultRoom is the configuration a room has when its creator says nothing but a name (management API 5.1); Name and ID are
// empty. Each call gives slices of its own.
func DefaultRoom() Room {
	both, none, audio, video := MediaSet{Audio: true, Video: true}, MediaSet{}, MediaSet{Audio: true}, MediaSet{Video: true}
	audioOut := defaultAudio()
	audioOut[6] = AudioFormat{Codec: "aac", SampleRate: 48000, ChannelNum: 2}
	return Room{
		InputLimit:       -1,
		ParticipantLimit: -1,
		Roles: []Role{
			{Role: "presenter", Publish: both, Subscribe: both},
			{Role: "viewer", Publish: none, Subscribe: both},
			{Role: "audio_only_presenter", Publish: audio, Subscribe: audio},
			{Role: "video_only_viewer", Publish: none, Subscribe: video},
			{Role: "sip", Publish: both, Subscribe: both},
		},
		Views:   []View{DefaultView()},
		MediaIn: MediaIn{Audio: defaultAudio(), Video: []VideoFormat{{Codec: "h264"}, {Codec: "vp8"}, {Codec: "vp9"}}},
		MediaOut: MediaOut{Audio: audioOut, Video: VideoOut{
			Format: []VideoFormat{{Codec: "vp8"}, {Codec: "h264", Profile: "CB"}, {Codec: "h264", Profile: "B"}, {Codec: "vp9"}},
			Parameters: VideoOutParameters{
				Resolution:       []string{"x3/4", "x2/3", "x1/2", "x1/3", "x1/4", "hd1080p", "hd720p", "svga", "vga", "qvga", "cif"},
				Framerate:        []float64{6, 12, 15, 24, 30, 48, 60},
				Bitrate:          []string{"x0.8", "x0.6", "x0.4", "x0.2"},
				KeyFrameInterval: []float64{100, 30, 5, 2, 1},
			},
		}},
		Transcoding: Transcoding{Audio: true, Video: VideoTranscoding{Format: true, Parameters: TranscodingParameters{
			Resolution: true, Framerate: true, Bitrate: true, KeyFrameInterval: true,
		}}},
		Notifying: Notifying{ParticipantActivities: true, StreamChange: true},
	}
}

// DefaultView is the view a room has by default, and what the elements of "views" are filled from (rooms-and-media 1.2).
func DefaultView() View {
	return View{
		Label: "common",
		Audio: ViewAudio{Format: AudioFormat{Codec: "opus", SampleRate: 48000, ChannelNum: 2}, VAD: true},
		Video: &ViewVideo{
			Format:       VideoFormat{Codec: "vp8"},
			Parameters:   ViewParameters{Resolution: Resolution{640, 480}, Framerate: 24, KeyFrameInterval: 100},
			MaxInput:     16,
			MotionFactor: 0.8,
			Layout:       Layout{FitPolicy: "letterbox", Templates: Templates{Base: "fluid"}},
		},
	}
}

func defaultAudio() []AudioFormat {
	return []AudioFormat{
		{Codec: "opus", SampleRate: 48000, ChannelNum: 2},
		{Codec: "isac", SampleRate: 16000},
		{Codec: "isac", SampleRate: 32000},
		{Codec: "g722", SampleRate: 16000, ChannelNum: 1},
		{Codec: "pcma"}, {Codec: "pcmu"}, {Codec: "aac"}, {Codec: "ac3"}, {Codec: "nellymoser"}, {Codec: "ilbc"},
	}
}
