package room

import (
	"portico/shared/conference"
	"portico/shared/layout"
)

// Mixers makes the mixed streams of rooms, on relays (rooms-and-media 5 to 7); package jobs satisfies it. Calls are safe for concurrent
// use and return without waiting for the network.
type Mixers interface {
	// OpenMixer makes the mixed stream of one view known: from then on subscriptions can name its tracks, MixedTrack of the stream.
	OpenMixer(spec MixerSpec) Mixer
}

// Mixer is one view's mix. Whether a relay runs it, and which, is its own affair: it starts one when somebody subscribes or when the
// loudest has to be known, and another when that one dies.
type Mixer interface {
	// Update says what is in the mix from now on, all of it; only the last word counts.
	Update(mix Mix)
	// Follow says that the mix is made at that edge from now on, the room's home, and comes from there; until the next Update.
	Follow(edge string)
	// Ready is why the mix cannot be subscribed to at the moment: nil, or an error that says so in words for the log.
	Ready() error
	// Close ends the mix and the subscriptions of its tracks. It may be called twice.
	Close()
}

// MixerSpec is what does not change of a mix.
type MixerSpec struct {
	Room   string
	Stream string // id of the mixed stream
	View   conference.View
	// Active is told the forward stream that is the loudest from now on; only if the view has video and View.Audio.VAD. It must not
	// block.
	Active func(stream string)
}

// Mix is what is in a mix.
type Mix struct {
	Inputs []MixInput   // in the order of mixing
	Scene  layout.Scene // who is shown where; of a view with video
	// Resets counts how often regions or the layout were set: each time it is forgotten who was the loudest, so that whoever is gets
	// told anew (rooms-and-media 5.5).
	Resets int
}

// MixInput is one forward stream in a mix.
type MixInput struct {
	Stream      string
	Participant string   // its owner, who does not hear it; empty for streams that belong to nobody
	Audio       string   // id of its track; empty without
	Videos      []string // ids of its tracks: several of simulcast, smallest first as far as that is known; empty without
	AudioMuted  bool
	VideoMuted  bool
}

// MixedTrack is the id under which the media layer knows the track of a mixed stream.
func MixedTrack(stream string, kind conference.Kind) string { return stream + "-" + string(kind) }

// Making says that a track is to be made for a subscription, out of the one that MediaSource.Track names: always with a mixed stream's,
// and with a published one when the subscriber asked for something else than it is. The zero Making asks for nothing in particular.
type Making struct {
	// Formats are what it may be sent in: the first that the client offers is taken (portal protocol 8.6). Of a published track the
	// source's own comes first if it will do. Empty: the source's own alone.
	Formats []conference.Format
	// Of video, as the subscriber asked; zero values stand for what the source has. Resolution is no reason to make a track that
	// adapts, and its size when it has to be made.
	Resolution       conference.Resolution
	Framerate        float64 // pictures a second
	Bitrate          string  // a factor ("x0.8") or kbit/s; see conference.MixedBitrate and TranscodedBitrate
	KeyFrameInterval float64 // seconds
	// Listener is the participant whose own sound is left out of a mix; empty hears all.
	Listener string
}
