// Package conference holds the nouns of a conference as plain data: rooms and their configuration, roles and permissions,
// participants, streams and tracks. It says which values are valid and computes what follows from them; it does no I/O.
//
// Everything else speaks in these types: portalproto and restapi write them on the wire, room owns their state, rtc fills in
// what negotiation found out.
package conference

// Kind is the kind of a track: audio or video.
type Kind string

// The two kinds of media.
const (
	Audio Kind = "audio"
	Video Kind = "video"
)

// AudioFormat names an audio codec as OWT does: lower-case codec, sample rate in Hz, number of channels; 0 means unspecified.
type AudioFormat struct {
	Codec      string `json:"codec"`
	SampleRate int    `json:"sampleRate,omitempty"`
	ChannelNum int    `json:"channelNum,omitempty"`
}

// VideoFormat names a video codec in lower case; Profile is CB, B, M, E or H for H.264 and empty when unknown.
type VideoFormat struct {
	Codec   string `json:"codec"`
	Profile string `json:"profile,omitempty"`
}

// Format is the format of a track of either kind: the fields of AudioFormat or of VideoFormat.
type Format struct {
	Codec      string
	SampleRate int
	ChannelNum int
	Profile    string
}

// Resolution is a picture size in pixels; the zero value means unknown.
type Resolution struct {
	Width  int `json:"width"`
	Height int `json:"height"`
}

// VideoParameters are properties of a video track or wishes for one; zero fields are unknown or not asked for.
type VideoParameters struct {
	Resolution       Resolution
	Framerate        float64 // pictures a second
	Bitrate          int     // kbit/s
	KeyFrameInterval int     // seconds
}

// Track is one encoding of audio or video in a Stream: a simulcast publication has one per rid, all with the same mid.
type Track struct {
	ID         string // <transport>-<mid> or <transport>-<mid>:<rid>; empty in mixed streams
	Kind       Kind
	Source     string // as the publisher declared it: mic, camera, screen-cast, raw-file, encoded-file; empty when unknown
	Mid, Rid   string
	Format     Format
	Parameters VideoParameters // video only
	Inactive   bool            // paused by its owner or an operator (status "inactive")
	Optional   Optional        // what the room could convert it to
}

// Optional is what a subscriber may ask a track to be converted to (rooms-and-media 4.3). A nil format list means that formats
// are not converted at all; the zero value is a server without transcoding.
type Optional struct {
	AudioFormats      []AudioFormat
	VideoFormats      []VideoFormat
	Resolutions       []Resolution
	Framerates        []float64 // pictures a second
	Bitrates          []string  // factors, "x0.8"
	KeyFrameIntervals []float64 // seconds
}
