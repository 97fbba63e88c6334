// Package library makes the decoders and encoders that are built into this relay, by the names of the portal protocol.
//
// All of the video codecs and Opus need cgo; G.711 and G.722 are always there. What is not built in gives codec.ErrUnsupported.
package library

import (
	"slices"

	"portico/relay/codec"
	"portico/shared/conference"
)

// videoCodec is a codec, what of it is taken and made (in the words of rooms), and how.
type videoCodec struct {
	name             string
	decodes, encodes []string // profiles
	decoder          func() (codec.VideoDecoder, error)
	encoder          func(codec.VideoConfig) (codec.VideoEncoder, error)
}

type audioCodec struct {
	format  conference.Format
	decoder func(conference.Format) (codec.AudioDecoder, error)
	encoder func(codec.AudioConfig) (codec.AudioEncoder, error)
}

// VideoDecoder makes a decoder of vp8, vp9, h264 or av1.
func VideoDecoder(name string) (codec.VideoDecoder, error) {
	for _, c := range video {
		if c.name == name {
			return c.decoder()
		}
	}
	return nil, codec.ErrUnsupported
}

// VideoEncoder makes an encoder. A profile of H.264 that is not given is CB.
func VideoEncoder(config codec.VideoConfig) (codec.VideoEncoder, error) {
	for _, c := range video {
		if c.name == config.Format.Codec && (config.Format.Profile == "" || slices.Contains(c.encodes, config.Format.Profile)) {
			return c.encoder(config)
		}
	}
	return nil, codec.ErrUnsupported
}

// AudioDecoder makes a decoder of a format; what it leaves open is the codec's usual.
func AudioDecoder(f conference.Format) (codec.AudioDecoder, error) {
	for _, c := range audio {
		if c.format.Codec == f.Codec {
			return c.decoder(f)
		}
	}
	return nil, codec.ErrUnsupported
}

// AudioEncoder makes an encoder of a format; what it leaves open is the codec's usual.
func AudioEncoder(config codec.AudioConfig) (codec.AudioEncoder, error) {
	for _, c := range audio {
		if c.format.Codec == config.Format.Codec {
			return c.encoder(config)
		}
	}
	return nil, codec.ErrUnsupported
}

// Decodes lists what decoders are built in, in the order in which rooms list their own formats.
func Decodes(kind conference.Kind) []conference.Format {
	return formats(kind, func(c videoCodec) []string { return c.decodes })
}

// Encodes lists what encoders are built in.
func Encodes(kind conference.Kind) []conference.Format {
	return formats(kind, func(c videoCodec) []string { return c.encodes })
}

func formats(kind conference.Kind, profiles func(videoCodec) []string) (list []conference.Format) {
	switch kind {
	case conference.Audio:
		for _, c := range audio {
			list = append(list, c.format)
		}
	case conference.Video:
		for _, c := range video {
			for _, p := range profiles(c) {
				list = append(list, conference.Format{Codec: c.name, Profile: p})
			}
		}
	}
	return list
}
