//go:build linux

package mixing

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"

	"portico/shared/client"
	"portico/shared/conference"
	"portico/tools/pionpeer"
	"portico/tools/pionpeer/clip"
	"portico/tools/portico/manage"
)

// person is what somebody looks and sounds like.
type person struct {
	colour string // as ffmpeg calls it
	rgb    [3]int
	tone   int // Hz
}

var (
	red   = person{"red", [3]int{254, 0, 0}, 440}
	green = person{"lime", [3]int{0, 254, 0}, 880}
	blue  = person{"blue", [3]int{0, 0, 254}, 1320}
)

var clips sync.Map // person to func() (*clip.Clip, error)

// clipOf is the person's clip, made once: 320x240, twenty pictures and one key frame a second.
func clipOf(t *testing.T, p person) *clip.Clip {
	t.Helper()
	once, _ := clips.LoadOrStore(p, sync.OnceValues(func() (*clip.Clip, error) {
		dir := filepath.Join(scratch, "clip-"+p.colour)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		return clip.Make(context.Background(), dir, clip.Spec{Picture: "color=c=" + p.colour, ToneHz: p.tone, Length: 2 * time.Second})
	}))
	c, err := once.(func() (*clip.Clip, error))()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// seat is a participant.
type seat struct {
	client.NoEvents
	*system
	name string
	c    *client.Conference

	ctx   context.Context // ends when it leaves
	stop  context.CancelFunc
	tasks sync.WaitGroup // what plays and watches

	mu      sync.Mutex // guards what follows
	ended   []string   // sessions that were over by themselves, and why
	closed  bool
	remotes []*webrtc.TrackRemote // that are read
}

// factory makes PeerConnections of this process.
var factory = sync.OnceValues(func() (*pionpeer.Factory, error) {
	return pionpeer.New(pionpeer.Options{
		Settings: func(s *webrtc.SettingEngine) {
			s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
		},
		Log: &logging.DefaultLoggerFactory{Writer: io.Discard},
	})
})

// join has a participant come into the room; it leaves when the test ends, if not before.
func (s *system) join(name string) *seat {
	s.t.Helper()
	f, err := factory()
	s.must(err)
	p, err := s.enter(name, client.Options{Peers: f})
	s.must(err)
	s.t.Cleanup(p.leave)
	return p
}

// enter is join for any goroutine, without the test's end.
func (s *system) enter(name string, o client.Options) (*seat, error) {
	token, err := s.api.CreateToken(s.t.Context(), s.room, name, "presenter", manage.Place{})
	if err != nil {
		return nil, err
	}
	p := &seat{system: s, name: name}
	p.ctx, p.stop = context.WithCancel(context.Background())
	o.Events = p
	if p.c, err = client.Join(s.t.Context(), token, o); err != nil {
		p.stop()
		return nil, fmt.Errorf("%s cannot join: %w", name, err)
	}
	return p, nil
}

func (p *seat) leave() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.stop()
	_ = p.c.Leave(context.Background())
	p.mu.Lock()
	for _, r := range p.remotes { // the library may leave the reader of a track that was stopped behind
		_ = r.SetReadDeadline(time.Unix(1, 0))
	}
	p.mu.Unlock()
	p.tasks.Wait()
}

// SessionEnded implements client.Events.
func (p *seat) SessionEnded(_, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed && reason != client.ReasonStopped {
		p.ended = append(p.ended, reason)
	}
}

// interrupted are the sessions that were over by themselves.
func (p *seat) interrupted() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// publish publishes a clip and plays it until the participant leaves.
func (p *seat) publish(c *clip.Clip) (*client.Publication, error) {
	video, audio, err := clip.Tracks(p.name)
	if err != nil {
		return nil, err
	}
	published, err := p.c.Publish(p.ctx, client.PublishOptions{Tracks: []client.LocalTrack{
		{Kind: conference.Audio, Local: audio}, {Kind: conference.Video, Local: video},
	}})
	if err == nil {
		p.tasks.Go(func() { _ = c.Play(p.ctx, video, audio) }) // what cannot be sent is lost
	}
	return published, err
}

// view is the only one of the default room.
const view = "common"

// show publishes the person's clip and takes it into the mix.
func (p *seat) show(who person) *client.Publication {
	p.t.Helper()
	published, err := p.publish(clipOf(p.t, who))
	if err != nil {
		p.t.Fatalf("%s cannot publish: %v\n%s", p.name, err, p.edge.Tail())
	}
	if err := p.c.Mix(p.ctx, published.ID(), view); err != nil {
		p.t.Fatalf("%s is not mixed: %v", p.name, err)
	}
	return published
}

// mixed is the room's mixed stream.
func (p *seat) mixed() string {
	for _, s := range p.c.Info().Streams {
		if s.Type == conference.Mixed {
			return s.ID
		}
	}
	p.t.Errorf("the room has no mixed stream")
	return ""
}

// watch subscribes to the mixed stream.
func (p *seat) watch() *viewer {
	p.t.Helper()
	v, err := p.subscribe(p.mixed(), "vp8")
	if err != nil {
		p.t.Fatalf("%s cannot subscribe: %v", p.name, err)
	}
	return v
}

func (p *seat) subscribe(stream, codec string) (*viewer, error) {
	sub, err := p.c.Subscribe(p.ctx, client.SubscribeOptions{
		Audio: &client.SubscribeTrack{From: stream}, Video: &client.SubscribeTrack{From: stream, Codecs: []string{codec}},
	})
	if err != nil {
		return nil, err
	}
	v := &viewer{seat: p, Subscription: sub, changed: make(chan struct{})}
	for _, t := range sub.Tracks() {
		remote := t.Track.(*pionpeer.Remote)
		p.mu.Lock()
		p.remotes = append(p.remotes, remote.Track)
		p.mu.Unlock()
		if t.Kind == conference.Video {
			v.remote = remote
			p.tasks.Go(func() { v.seePackets(remote.Track) })
		} else {
			p.tasks.Go(func() { v.hearPackets(remote.Track) })
		}
	}
	return v, nil
}
