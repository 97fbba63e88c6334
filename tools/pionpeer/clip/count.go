package clip

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
	"github.com/pion/webrtc/v4/pkg/media/samplebuilder"
)

// Counts is what has arrived on a remote track.
type Counts struct {
	Codec     string    `json:"codec"` // lower case: "vp8", "opus"
	Packets   int       `json:"packets"`
	Bytes     int       `json:"bytes"` // of payload
	Frames    int       `json:"frames"`
	KeyFrames int       `json:"keyFrames"`       // video; for audio 0
	Dropped   int       `json:"dropped"`         // packets that no complete frame came of
	Width     int       `json:"width,omitempty"` // of the latest VP8 key frame, in pixels
	Height    int       `json:"height,omitempty"`
	First     time.Time `json:"-"` // arrival of the first packet
}

// Counter reads a remote track until it ends.
type Counter struct {
	mu      sync.Mutex // guards counts and changed
	counts  Counts
	changed chan struct{} // closed and replaced at every change
	done    chan struct{}
}

// Count starts reading the track. The reading ends with the track: when its PeerConnection or transceiver is closed.
func Count(track *webrtc.TrackRemote) *Counter {
	c := &Counter{changed: make(chan struct{}), done: make(chan struct{})}
	go c.read(track)
	return c
}

// Counts is a snapshot.
func (c *Counter) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}

// Done is closed when the track has ended.
func (c *Counter) Done() <-chan struct{} { return c.done }

// ErrEnded says that the track ended before what was waited for came.
var ErrEnded = errors.New("clip: remote track ended")

// Wait returns as soon as the counts satisfy enough: nil then; ErrEnded or the context's error otherwise.
func (c *Counter) Wait(ctx context.Context, enough func(Counts) bool) error {
	for {
		c.mu.Lock()
		counts, changed := c.counts, c.changed
		c.mu.Unlock()
		if enough(counts) {
			return nil
		}
		select {
		case <-changed:
		case <-c.done:
			if enough(c.Counts()) {
				return nil
			}
			return ErrEnded
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *Counter) update(fn func(*Counts)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn(&c.counts)
	close(c.changed)
	c.changed = make(chan struct{})
}

// maxLate is how many packets a frame may wait for a missing one.
const maxLate = 256

func (c *Counter) read(track *webrtc.TrackRemote) {
	defer close(c.done)
	var builder *samplebuilder.SampleBuilder
	codec := ""
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		if builder == nil { // the codec is known from the first packet on
			codec = codecOf(track)
			builder = samplebuilder.New(maxLate, depacketizer(codec), track.Codec().ClockRate)
		}
		if len(packet.Payload) == 0 {
			continue // padding, sent to probe the path
		}
		builder.Push(packet)
		c.update(func(n *Counts) { c.take(n, codec, packet, builder) })
	}
}

func (c *Counter) take(n *Counts, codec string, packet *rtp.Packet, builder *samplebuilder.SampleBuilder) {
	if n.Packets == 0 {
		n.First, n.Codec = time.Now(), codec
	}
	n.Packets++
	n.Bytes += len(packet.Payload)
	for s := builder.Pop(); s != nil; s = builder.Pop() {
		n.addFrame(codec, s)
	}
}

func (n *Counts) addFrame(codec string, s *media.Sample) {
	n.Frames++
	n.Dropped += int(s.PrevDroppedPackets)
	if !isKeyFrame(codec, s.Data) {
		return
	}
	n.KeyFrames++
	if codec == "vp8" && len(s.Data) >= 10 { // RFC 6386 section 9.1: 14 bits each after the start code
		n.Width = int(s.Data[6]) | int(s.Data[7]&0x3f)<<8
		n.Height = int(s.Data[8]) | int(s.Data[9]&0x3f)<<8
	}
}

func codecOf(track *webrtc.TrackRemote) string {
	_, name, _ := strings.Cut(strings.ToLower(track.Codec().MimeType), "/")
	return name
}

// wholePayload takes each packet for a frame: audio, and video that is only counted.
type wholePayload struct{}

func (wholePayload) Unmarshal(packet []byte) ([]byte, error)    { return packet, nil }
func (wholePayload) IsPartitionHead([]byte) bool                { return true }
func (wholePayload) IsPartitionTail(marker bool, _ []byte) bool { return true }

func depacketizer(codec string) rtp.Depacketizer {
	switch codec {
	case "vp8":
		return &codecs.VP8Packet{}
	case "vp9":
		return &codecs.VP9Packet{}
	case "h264":
		return &codecs.H264Packet{}
	}
	return wholePayload{}
}

// isKeyFrame looks at a depacketised frame.
func isKeyFrame(codec string, frame []byte) bool {
	switch codec {
	case "vp8":
		return len(frame) > 0 && frame[0]&1 == 0
	case "vp9": // profile 0 to 2: marker 2 bits, profile 2, show_existing_frame, frame_type
		return len(frame) > 0 && frame[0]&0x0c == 0
	case "h264":
		return hasIDR(frame)
	}
	return false
}

// hasIDR looks for a NAL unit of type 5 in an Annex B stream.
func hasIDR(frame []byte) bool {
	for i := 0; i+3 < len(frame); i++ {
		if frame[i] == 0 && frame[i+1] == 0 && frame[i+2] == 1 && frame[i+3]&0x1f == 5 {
			return true
		}
	}
	return false
}
