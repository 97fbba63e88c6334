package rtc

import (
	"slices"
	"strings"
	"sync"

	"portico/edge/sfu"
	"portico/shared/conference"
	"portico/shared/flight"
)

// Making says that a subscribed track is to be made out of the one that it names. The zero Making asks for nothing in particular.
type Making struct {
	// Formats are what it may be sent in: the first that the client offers is taken (portal protocol 8.6). A published track's own
	// comes first if it is among them. Empty: the source's own alone.
	Formats []conference.Format
	// Of video, as the subscriber asked; zero values stand for what the source has.
	Resolution       conference.Resolution
	Framerate        float64 // pictures a second
	Bitrate          string  // a factor ("x0.8") or kbit/s
	KeyFrameInterval float64 // seconds
	// Listener is the participant whose own sound is left out of a mix; empty hears all.
	Listener string
}

// Converter makes media in other forms: published tracks, and the tracks of feeds in any. All methods are safe for concurrent use.
type Converter interface {
	// Open makes one subscription's output. It returns at once, before anything of c is called; media come later, from the first call
	// of c.Feed on. Equal wishes may share what is behind them.
	Open(c Conversion) Output
}

// Output is what a subscription gets of a Converter.
type Output interface {
	// SetCeiling says how much the subscriber's network carries, in kbit/s.
	SetCeiling(kbps int)
	// Target is how much it would be without a ceiling, in kbit/s, 0 while unknown.
	Target() int
	// Close lets go of it: the subscription has ended, or is fed otherwise. It does not wait for calls of Feed that are under way.
	Close()
}

// Conversion is what a subscription wants to get.
type Conversion struct {
	Track  string // the source: a published track, or a feed's
	Kind   conference.Kind
	Format conference.Format // all that it has is given
	// Of video: as in Making.
	Resolution       conference.Resolution
	Framerate        float64
	Bitrate          string
	KeyFrameInterval float64
	Listener         string
	// Feed is told the encoding by which the media come, and again when they come by another one. Calls come one at a time, not from
	// within Open; they must not be made with a lock held that SetCeiling or Close wait for.
	Feed func(e *sfu.Encoding)
	// Trouble is told why nothing comes at the moment, in words for people; as Feed.
	Trouble func(why string)
}

// choice is how a subscribed m-line can be fed.
type choice struct {
	format *format           // of those offered; nil: not at all
	sent   conference.Format // what goes out in it
	made   bool              // by the Converter; else it is the source as it is
}

// choose finds out how to feed the m-line in one of the formats offered. The Engine's mu is held.
func (l *mline) choose(s *section, converter Converter) choice {
	source := l.feed.format
	own := !l.feed.virtual && (len(l.making.Formats) == 0 || slices.ContainsFunc(l.making.Formats, func(want conference.Format) bool {
		return strings.EqualFold(want.Codec, source.Codec) && (source.Codec != "h264" || h264Fits(source.Profile, want.Profile) > 0)
	}))
	if own {
		if f := chooseSubscribed(s, source); f != nil {
			c := choice{format: f, sent: source, made: l.differs()}
			if c.made && converter == nil {
				return choice{}
			}
			return c
		}
	}
	if converter == nil {
		return choice{}
	}
	for i := range s.formats {
		f := &s.formats[i]
		if !f.forwardable(s.kind) {
			continue
		}
		if want, ok := bestOf(l.making.Formats, f); ok {
			return choice{format: f, sent: want, made: true}
		}
	}
	return choice{}
}

// differs tells whether the picture asked for is another one than the source has. To one that adapts the size is no reason: it is where
// the picture is shown.
func (l *mline) differs() bool {
	m := &l.making
	if l.kind != conference.Video {
		return false
	}
	if !l.adapts && m.Resolution.Width > 0 && m.Resolution.Height > 0 {
		if width, height := l.feed.size(); (conference.Resolution{Width: width, Height: height}) != m.Resolution {
			return true
		}
	}
	return m.Framerate > 0 || m.KeyFrameInterval > 0 || m.Bitrate != "" && m.Bitrate != "x1" && m.Bitrate != "x1.0"
}

// bestOf is the one of the formats wanted that an offered one carries best, complete with what goes without saying.
func bestOf(wanted []conference.Format, f *format) (best conference.Format, ok bool) {
	rank := 0
	for _, want := range wanted {
		if !strings.EqualFold(want.Codec, f.name) {
			continue
		}
		full := complete(want)
		fits := 3
		if f.name == "h264" {
			fits = h264Fits(full.Profile, h264Profile(f.parameter("profile-level-id")))
		} else if own := complete(f.reported()); full.SampleRate != own.SampleRate || full.ChannelNum != own.ChannelNum {
			fits = 0
		}
		if fits > rank {
			best, rank = full, fits
		}
	}
	return best, rank > 0
}

// complete fills in what a format does not say: codecs that are forwarded have one rate each, and every decoder of H.264 reads
// constrained baseline.
func complete(f conference.Format) conference.Format {
	f.Codec = strings.ToLower(f.Codec)
	rate, channels := 0, 0
	switch f.Codec {
	case "opus":
		rate, channels = 48000, 2
	case "g722":
		rate, channels, f.SampleRate = 16000, 1, 0 // its clock says 8000 for historical reasons
	case "pcmu", "pcma":
		rate, channels = 8000, 1
	case "h264":
		if f.Profile == "" {
			f.Profile = "CB"
		}
	}
	if f.SampleRate == 0 {
		f.SampleRate = rate
	}
	if f.ChannelNum == 0 {
		f.ChannelNum = channels
	}
	return f
}

// conversion is what the Converter makes for one m-line.
type conversion struct {
	engine   *Engine
	line     *mline
	wish     Conversion
	encoding *sfu.Encoding // by which it comes, nil while nothing does; the Engine's mu guards it

	mu     sync.Mutex // guards the fields below
	output Output     // nil before open, and where there is nothing more
	closed bool

	told   int   // the ceiling; the steerer's alone, as
	toldAt int64 // when that was
}

// convert makes an m-line's conversion, which is to be opened and closed without the lock. The Engine's mu is held.
func (l *mline) convert(sent conference.Format) *conversion {
	c := &conversion{engine: l.session.transport.engine, line: l}
	c.wish = Conversion{
		Track: l.from, Kind: l.kind, Format: complete(sent), Resolution: l.making.Resolution, Framerate: l.making.Framerate,
		Bitrate: l.making.Bitrate, KeyFrameInterval: l.making.KeyFrameInterval, Listener: l.making.Listener,
		Feed: c.fed, Trouble: c.troubled,
	}
	return c
}

// open asks the Converter for it, unless it is not wanted any more.
func (c *conversion) open() {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return
	}
	output := c.engine.config.Converter.Open(c.wish)
	c.mu.Lock()
	closed = c.closed
	if !closed {
		c.output = output
	}
	c.mu.Unlock()
	if closed {
		output.Close()
	}
}

// close is safe before open, and twice.
func (c *conversion) close() {
	c.mu.Lock()
	c.closed = true
	output := c.output
	c.output = nil
	c.mu.Unlock()
	if output != nil {
		output.Close()
	}
}

// use calls f with the output if there is one.
func (c *conversion) use(f func(Output)) {
	c.mu.Lock()
	output := c.output
	c.mu.Unlock()
	if output != nil {
		f(output)
	}
}

// fed takes the encoding by which the media come from now on.
func (c *conversion) fed(encoding *sfu.Encoding) {
	e, l := c.engine, c.line
	var old *conversion
	e.mu.Lock()
	c.encoding = encoding
	if l.made == c && encoding != nil && l.before != nil { // what was before is not needed any more
		old, l.before = l.before.made, nil
	}
	e.mu.Unlock()
	if old != nil {
		old.close()
	}
	l.refeed()
}

// troubled takes note of why nothing comes.
func (c *conversion) troubled(why string) {
	c.line.session.flight.Record(c.engine.now(), flight.Note{Kind: EventConversion, Reason: why, Detail: string(c.line.kind)})
}

// refeed gives the outgoing stream the source that it has at the moment. Several goroutines may want it at once: the last one to look
// is the last one to act.
func (l *mline) refeed() {
	l.feeding.Lock()
	defer l.feeding.Unlock()
	e := l.session.transport.engine
	e.mu.Lock()
	if l.out == nil || !l.session.ready || l.session.ended {
		e.mu.Unlock()
		return
	}
	out, sources, flat := l.out, l.order(nil), l.flat
	l.fedTimes++
	e.mu.Unlock()
	now := e.now()
	switch {
	case len(sources) == 0:
		out.SetSource(nil, now)
	case len(sources) == 1:
		out.SetSource(sources[0], now)
		if flat {
			out.SetTarget(sfu.Target{Temporal: -1}, sfu.ReasonSourceEnds, now)
		}
	default: // the smallest first; the next round of the steerer chooses
		out.SetSources(sources, now)
		out.SetTarget(sfu.All(0), sfu.ReasonNone, now)
	}
}
