package rtc

import (
	"slices"
	"strconv"
	"strings"

	"portico/shared/conference"
)

// codec is one that can be forwarded.
type codec struct {
	kind     conference.Kind
	name     string // lower case
	clock    int    // as in rtpmap
	channels int
}

// codecs are all that can be forwarded. Of VP9 and AV1 only profile 0 and of H.264 only packetisation mode 1 or above.
var codecs = []codec{
	{conference.Audio, "opus", 48000, 2},
	{conference.Audio, "g722", 8000, 1},
	{conference.Audio, "pcmu", 8000, 1},
	{conference.Audio, "pcma", 8000, 1},
	{conference.Video, "vp8", 90000, 0},
	{conference.Video, "vp9", 90000, 0},
	{conference.Video, "h264", 90000, 0},
	{conference.Video, "av1", 90000, 0},
}

// staticFormats are the payload types that need no rtpmap (RFC 3551 section 6).
var staticFormats = map[uint8]codec{
	0: {conference.Audio, "pcmu", 8000, 1},
	8: {conference.Audio, "pcma", 8000, 1},
	9: {conference.Audio, "g722", 8000, 1},
}

// format is one payload type of an offer.
type format struct {
	payloadType uint8
	name        string // as offered, lower case
	clock       int
	channels    int
	rtpmap      string // as offered; empty for a static one without
	fmtp        string // as offered; empty without
	feedback    []string
}

// number is the payload type, 0 for no format.
func (f *format) number() uint8 {
	if f == nil {
		return 0
	}
	return f.payloadType
}

// parameter is a parameter of the fmtp line, "" without.
func (f *format) parameter(name string) string {
	for p := range strings.SplitSeq(f.fmtp, ";") {
		if key, value, ok := strings.Cut(strings.TrimSpace(p), "="); ok && strings.EqualFold(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// forwardable tells whether the format can be forwarded as kind.
func (f *format) forwardable(kind conference.Kind) bool {
	for _, c := range codecs {
		if c.kind != kind || c.name != f.name || c.clock != f.clock || kind == conference.Audio && c.channels != f.channels {
			continue
		}
		switch c.name {
		case "vp9":
			profile := f.parameter("profile-id")
			return profile == "" || profile == "0"
		case "av1":
			profile := f.parameter("profile")
			return profile == "" || profile == "0"
		case "h264":
			mode := f.parameter("packetization-mode")
			return mode != "" && mode != "0"
		}
		return true
	}
	return false
}

// rtxOf is the format on which packets of f are sent again (RFC 4588 section 8.6), nil when there is none, or when losses are
// not reported.
func (s *section) rtxOf(f *format) *format {
	if s.kind != conference.Video || !slices.Contains(f.feedback, "nack") {
		return nil
	}
	for i := range s.formats {
		x := &s.formats[i]
		if x.name == "rtx" && x.clock == f.clock && x.parameter("apt") == strconv.Itoa(int(f.payloadType)) {
			return x
		}
	}
	return nil
}

// redundantOf is the format of packets that carry audio of f from before them too (RFC 2198), nil when there is none.
func (s *section) redundantOf(f *format) *format {
	if f.name != "opus" {
		return nil
	}
	own := strconv.Itoa(int(f.payloadType))
	for i := range s.formats {
		x := &s.formats[i]
		if x.name != "red" || x.clock != f.clock || x.channels != f.channels || x.fmtp == "" || x.payloadType == 0 {
			continue
		}
		if !slices.ContainsFunc(strings.Split(x.fmtp, "/"), func(block string) bool { return strings.TrimSpace(block) != own }) {
			return x
		}
	}
	return nil
}

// reported is the format in the words of the portal protocol (section 8.6).
func (f *format) reported() conference.Format {
	r := conference.Format{Codec: f.name}
	switch f.name {
	case "opus":
		r.SampleRate, r.ChannelNum = f.clock, f.channels
	case "g722": // its clock says 8000 for historical reasons
		r.SampleRate, r.ChannelNum = 16000, 1
	case "h264":
		r.Profile = h264Profile(f.parameter("profile-level-id"))
	}
	return r
}

// h264Profile names the profile in a profile-level-id; "" when it is none of ours.
func h264Profile(id string) string {
	if len(id) != 6 {
		return ""
	}
	switch id[:2] {
	case "42":
		constraints, err := strconv.ParseUint(id[2:4], 16, 8)
		if err == nil && constraints&0x40 != 0 {
			return "CB"
		}
		return "B"
	case "4D":
		return "M"
	case "58":
		return "E"
	case "64":
		return "H"
	}
	return ""
}

// accepted tells whether a room lets the format be published.
func accepted(f *format, kind conference.Kind, in conference.MediaIn) bool {
	if kind == conference.Video {
		for _, a := range in.Video {
			if strings.EqualFold(a.Codec, f.name) {
				return true
			}
		}
		return false
	}
	r := f.reported()
	for _, a := range in.Audio {
		if strings.EqualFold(a.Codec, f.name) && (a.SampleRate == 0 || r.SampleRate == 0 || f.name == "g722" || a.SampleRate == r.SampleRate) &&
			(a.ChannelNum == 0 || r.ChannelNum == 0 || a.ChannelNum == r.ChannelNum) {
			return true
		}
	}
	return false
}

// choosePublished is the earliest offered format that the room accepts (portal protocol 8.6), nil when there is none.
func choosePublished(s *section, in conference.MediaIn) *format {
	for i := range s.formats {
		if f := &s.formats[i]; f.forwardable(s.kind) && accepted(f, s.kind, in) {
			return f
		}
	}
	return nil
}

// chooseSubscribed is the offered format that carries the source's codec, nil when there is none. Of H.264 the same profile is
// best; then one unspecified, then one whose decoders can do the source's.
func chooseSubscribed(s *section, source conference.Format) *format {
	var best *format
	bestRank := 0
	for i := range s.formats {
		f := &s.formats[i]
		if f.name != source.Codec || !f.forwardable(s.kind) {
			continue
		}
		rank := 3
		if f.name == "h264" {
			rank = h264Fits(source.Profile, h264Profile(f.parameter("profile-level-id")))
		}
		if rank > bestRank {
			best, bestRank = f, rank
		}
	}
	return best
}

// h264Fits ranks an offered profile for a source: 3 the same, 2 unspecified, 1 above it, 0 it does not fit.
func h264Fits(source, offered string) int {
	order := map[string]int{"CB": 1, "B": 2, "M": 3, "H": 4}
	switch {
	case source == offered:
		return 3
	case source == "" || offered == "":
		return 2
	case order[source] != 0 && order[source] < order[offered]:
		return 1
	}
	return 0
}
