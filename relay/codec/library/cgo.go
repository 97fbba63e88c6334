//go:build cgo

package library

import (
	"portico/relay/codec/av1"
	"portico/relay/codec/h264"
	"portico/relay/codec/opus"
	"portico/relay/codec/vpx"
	"portico/shared/conference"
)

var video = []videoCodec{
	{"vp8", []string{""}, []string{""}, vpx.NewVP8Decoder, vpx.NewVP8Encoder},
	{"vp9", []string{""}, []string{""}, vpx.NewVP9Decoder, vpx.NewVP9Encoder},
	{"h264", []string{"CB", "B", "M", "H"}, []string{"CB", "B"}, h264.NewDecoder, h264.NewEncoder},
	{"av1", []string{""}, []string{""}, av1.NewDecoder, av1.NewEncoder},
}

var audio = append([]audioCodec{
	{conference.Format{Codec: "opus", SampleRate: 48_000, ChannelNum: 2}, opus.NewDecoder, opus.NewEncoder},
}, plainAudio...)
