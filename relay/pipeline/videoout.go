package pipeline

import (
	"math/rand/v2"
	"strconv"
	"sync/atomic"

	"portico/relay/codec"
	"portico/relay/codec/yuv"
	"portico/shared/conference"
	"portico/shared/layout"
	"portico/shared/relayproto"
)

const (
	keyPause   = 500 * millisecond // between two key frames that are asked for
	retryPause = second            // before an encoder is made again that has failed

	maxKbps     = 1_000_000 // that an encoder is asked for
	maxInterval = 1 << 30   // pictures between two key frames
)

// videoOut is one output: an encoder and its flow. The clock's goroutine uses it, or one that it waits for; what is asked of it comes
// from others.
type videoOut struct {
	job    *Job
	spec   relayproto.Output
	rate   float64
	notice *notice
	sender *sender

	bitrate  atomic.Int64 // bit/s to aim at; 0: by the size of the pictures
	keyAsked atomic.Bool
	frames   atomic.Uint64
	left     atomic.Uint64 // pictures left out, for want of time

	// Of the clock.
	encoder       codec.VideoEncoder
	packets       packetiser
	width, height int
	rated         int64 // bit rate of the encoder
	scaled        *codec.Picture
	changed       bool  // the picture is not the one that was scaled
	due           int64 // number of the picture due next, since the first
	first         int64 // when that was; 0: there was none
	keyAt         int64 // when the last key frame was
	retryAt       int64
}

func newVideoOut(j *Job, spec relayproto.Output, view *relayproto.View, n *notice) *videoOut {
	o := &videoOut{job: j, spec: spec, notice: n, rate: spec.Framerate, changed: true}
	if o.rate == 0 && view != nil {
		o.rate = view.Framerate
	}
	if o.rate == 0 {
		o.rate = defaultRate
	}
	o.rate = min(max(o.rate, 1), maxRate)
	o.setBitrate(&spec)
	return o
}

// setBitrate takes over what is said about the bit rate: the networks' limit holds down to a tenth of what is wanted.
func (o *videoOut) setBitrate(spec *relayproto.Output) {
	kbps := spec.Bitrate
	if spec.Ceiling > 0 && kbps > 0 {
		kbps = min(kbps, max(spec.Ceiling, kbps/10))
	}
	o.bitrate.Store(int64(min(kbps, maxKbps)) * 1000)
}

// target is the bit rate for pictures of a size; where none was given it is that of rooms-and-media 8.3 without a codec's factor.
func (o *videoOut) target(width, height int) int64 {
	if b := o.bitrate.Load(); b > 0 {
		return b
	}
	if width*height > 3840*2160 {
		return 8_000_000
	}
	wanted := conference.Wanted{Resolution: conference.Resolution{Width: width, Height: height}, Framerate: o.rate}
	return int64(conference.TranscodedBitrate(conference.Resolution{}, conference.Format{}, wanted) * 1000)
}

// isDue tells whether the output takes the picture of the time at: its pictures are spread evenly among the clock's. Those that were
// due before and had no picture are counted.
func (o *videoOut) isDue(at int64) bool {
	if o.first == 0 {
		o.first = at
	}
	const early = 100_000 // ns: two clocks of one rate do not meet exactly
	n := int64(float64(at+early-o.first) * o.rate / float64(second))
	if n < o.due {
		return false
	}
	o.left.Add(uint64(n - o.due))
	o.due = n + 1
	return true
}

// encode encodes a picture and sends it.
func (o *videoOut) encode(p *codec.Picture, at int64) {
	now := o.job.now()
	width, height := o.spec.Width&^1, o.spec.Height&^1
	if width == 0 || height == 0 {
		width, height = p.Width&^1, p.Height&^1
	}
	if width == 0 || height == 0 || !o.ready(width, height, now) {
		return
	}
	if p.Width != width || p.Height != height {
		p = o.scale(p)
	}
	o.changed = false
	if want := o.target(width, height); want != o.rated {
		o.rated = want
		if err := o.encoder.SetRate(int(want)); err != nil {
			o.fail(err, now)
			return
		}
	}
	key := o.keyAsked.Load() && now-o.keyAt >= keyPause
	frame, isKey, err := o.encoder.Encode(p, (at-o.job.epoch)*9/100_000, key)
	if err != nil {
		o.fail(err, now)
		return
	}
	if isKey {
		o.keyAt = now
		o.keyAsked.Store(false)
	}
	if frame != nil {
		o.send(frame, at, now)
	}
}

func (o *videoOut) send(frame []byte, at, now int64) {
	payloads, err := o.packets.Split(frame)
	if err != nil {
		o.notice.set(err.Error())
		return
	}
	o.frames.Add(1)
	for i, b := range payloads {
		o.sender.send(b, i == len(payloads)-1, at, noLevel, now)
	}
}

// ready sees to it that there is an encoder for pictures of the size.
func (o *videoOut) ready(width, height int, now int64) bool {
	if o.encoder != nil && o.width == width && o.height == height {
		return true
	}
	if now < o.retryAt {
		return false
	}
	if err := o.open(width, height); err != nil {
		o.fail(err, now)
		return false
	}
	o.notice.set("")
	return true
}

// open makes the encoder.
func (o *videoOut) open(width, height int) error {
	o.free()
	if o.packets == nil {
		packets, err := o.job.codecs.Packetiser(o.spec.Format.Codec, uint16(rand.Uint32())&0x7fff)
		if err != nil {
			return err
		}
		o.packets = packets
	}
	rate := o.target(width, height)
	encoder, err := o.job.codecs.VideoEncoder(codec.VideoConfig{
		Format: o.spec.Format, Width: width, Height: height, Framerate: o.rate, Bitrate: int(rate),
		KeyFrameInterval: int(min(o.spec.KeyFrameInterval*o.rate+0.5, maxInterval)),
	})
	if err != nil {
		return err
	}
	o.encoder, o.width, o.height, o.rated = encoder, width, height, rate
	o.scaled, o.changed = codec.NewPicture(width, height), true
	return nil
}

func (o *videoOut) scale(p *codec.Picture) *codec.Picture {
	if o.changed {
		from := layout.Rect{W: p.Width, H: p.Height}
		yuv.Scale(o.scaled, yuv.Whole(o.scaled), p, from)
	}
	return o.scaled
}

func (o *videoOut) fail(err error, now int64) {
	o.notice.set(o.spec.Format.Codec + " " + sizeText(o.width, o.height) + ": " + err.Error())
	o.free()
	o.retryAt = now + retryPause
}

func (o *videoOut) free() {
	if o.encoder != nil {
		o.encoder.Close()
		o.encoder = nil
	}
}

func (o *videoOut) close() {
	o.free()
	o.sender.close()
}

// rtp does nothing: nobody sends media to an output.
func (o *videoOut) rtp([]byte, int64) {}

func (o *videoOut) rtcp(packet []byte, _ int64) {
	if o.sender.feedback(packet) {
		o.keyAsked.Store(true)
	}
}

func (o *audioOut) rtp([]byte, int64) {}

func (o *audioOut) rtcp(packet []byte, _ int64) { o.sender.feedback(packet) }

func sizeText(width, height int) string { return strconv.Itoa(width) + "x" + strconv.Itoa(height) }
