package clip

import (
	"context"
	"errors"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

// Tracks makes a video and an audio track that Play can feed; stream is their media stream id.
func Tracks(stream string) (video, audio *webrtc.TrackLocalStaticSample, err error) {
	video, err = webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, "video", stream)
	if err != nil {
		return nil, nil, err
	}
	audio, err = webrtc.NewTrackLocalStaticSample(
		webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: opusRate, Channels: 2}, "audio", stream)
	return video, audio, err
}

// Play feeds the tracks in real time, round and round, until ctx ends; it returns nil then. A nil track is not fed. A track that
// nobody negotiated takes its frames and drops them, so playing may start before publishing does.
func (c *Clip) Play(ctx context.Context, video, audio *webrtc.TrackLocalStaticSample) error {
	return c.PlayNoting(ctx, video, audio, nil)
}

// PlayNoting is Play that tells which picture, counted from 0 in Video, it is about to send, if sending is not nil.
func (c *Clip) PlayNoting(ctx context.Context, video, audio *webrtc.TrackLocalStaticSample, sending func(picture int)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, 2)
	n := 0
	if video != nil {
		n++
		go func() { errs <- play(ctx, video, c.Video, sending) }()
	}
	if audio != nil {
		n++
		go func() { errs <- play(ctx, audio, c.Audio, nil) }()
	}
	var all error
	for range n {
		err := <-errs
		if err != nil {
			cancel()
		}
		all = errors.Join(all, err)
	}
	return all
}

func play(ctx context.Context, track *webrtc.TrackLocalStaticSample, frames []Frame, sending func(int)) error {
	due := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 0; ; i = (i + 1) % len(frames) {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		f := frames[i]
		if sending != nil {
			sending(i)
		}
		if err := track.WriteSample(media.Sample{Data: f.Data, Duration: f.Duration}); err != nil {
			return err
		}
		due = due.Add(f.Duration)
		timer.Reset(time.Until(due)) // by the clock, so that lateness does not add up
	}
}
