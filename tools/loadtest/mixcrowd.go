package loadtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/pion/logging"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"portico/shared/client"
	"portico/shared/conference"
	"portico/tools/pionpeer"
	"portico/tools/pionpeer/clip"
	"portico/tools/portico/manage"
)

// mixRoom is a room whose participants are mixed. Unlike a crowd's they send real video and sound, which takes more of the generator.
type mixRoom struct {
	api   *manage.Client
	id    string
	clip  *clip.Clip
	video bool
	peers *pionpeer.Factory
	ctx   context.Context // ends with leave
	stop  context.CancelFunc
	tasks sync.WaitGroup

	mu      sync.Mutex // guards what follows
	members []*client.Conference
	tracks  []*pionpeer.Remote // that are read
	sent    [stampPictures][]time.Time
	sounds  int // packets that came
	hearing int // subscriptions in which some came
}

func newMixRoom(ctx context.Context, api *manage.Client, id string, c *clip.Clip, video bool) (*mixRoom, error) {
	peers, err := pionpeer.New(pionpeer.Options{Log: &logging.DefaultLoggerFactory{Writer: io.Discard}})
	if err != nil {
		return nil, err
	}
	r := &mixRoom{api: api, id: id, clip: c, video: video, peers: peers}
	r.ctx, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	return r, nil
}

// mixView is the only view of the room.
const mixView = "common"

// join has a participant come in.
func (r *mixRoom) join(ctx context.Context, name string) (*client.Conference, error) {
	token, err := r.api.CreateToken(ctx, r.id, name, "presenter", manage.Place{})
	if err != nil {
		return nil, err
	}
	c, err := client.Join(ctx, token, client.Options{Peers: r.peers, SDKType: "Portico-Load", SDKVersion: "1.0"})
	if err == nil {
		r.mu.Lock()
		r.members = append(r.members, c)
		r.mu.Unlock()
	}
	return c, err
}

// publish has a participant publish the clip into the mix, and returns the stream's id. noted has the pictures' times kept.
func (r *mixRoom) publish(ctx context.Context, c *client.Conference, noted bool) (string, error) {
	video, audio, err := clip.Tracks(c.Info().Self.ID)
	if err != nil {
		return "", err
	}
	tracks := []client.LocalTrack{{Kind: conference.Audio, Local: audio}}
	if r.video {
		tracks = append(tracks, client.LocalTrack{Kind: conference.Video, Local: video})
	} else {
		video = nil
	}
	p, err := c.Publish(ctx, client.PublishOptions{Tracks: tracks})
	if err != nil {
		return "", err
	}
	var note func(int)
	if noted {
		note = func(picture int) {
			r.mu.Lock()
			r.sent[picture] = append(r.sent[picture], time.Now())
			r.mu.Unlock()
		}
	}
	r.tasks.Go(func() { _ = r.clip.PlayNoting(r.ctx, video, audio, note) }) // what cannot be sent is lost
	return p.ID(), c.Mix(ctx, p.ID(), mixView)
}

// mixed is the mixed stream.
func (r *mixRoom) mixed(c *client.Conference) (string, error) {
	for _, s := range c.Info().Streams {
		if s.Type == conference.Mixed {
			return s.ID, nil
		}
	}
	return "", errors.New("the room has no mixed stream")
}

// receive has a participant subscribe to a stream: to its sound, and to its video when there is a screen to take it.
func (r *mixRoom) receive(ctx context.Context, c *client.Conference, stream string, to *screen) error {
	o := client.SubscribeOptions{Audio: &client.SubscribeTrack{From: stream}}
	if to != nil {
		o.Video = &client.SubscribeTrack{From: stream, Codecs: []string{"vp8"}}
	}
	sub, err := c.Subscribe(ctx, o)
	if err != nil {
		return err
	}
	for _, t := range sub.Tracks() {
		remote := t.Track.(*pionpeer.Remote)
		r.mu.Lock()
		r.tracks = append(r.tracks, remote)
		r.mu.Unlock()
		first := true
		take := func(*rtp.Packet) {
			r.mu.Lock()
			r.sounds++
			if first {
				r.hearing++
			}
			r.mu.Unlock()
			first = false
		}
		if t.Kind == conference.Video {
			take = to.take
		}
		r.tasks.Go(func() {
			for {
				packet, _, err := remote.Track.ReadRTP()
				if err != nil {
					return
				}
				take(packet)
			}
		})
	}
	return nil
}

// heard is how many packets of sound have come, and in how many subscriptions.
func (r *mixRoom) heard() (packets, hearing int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sounds, r.hearing
}

// sentBefore is when a picture of the clip was last sent before a time; zero when that is longer ago than it may take.
func (r *mixRoom) sentBefore(picture int, at time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.sent[picture]
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Before(at) {
			if at.Sub(list[i]) > 2*time.Second {
				break
			}
			return list[i]
		}
	}
	return time.Time{}
}

func (r *mixRoom) leave(ctx context.Context) {
	r.stop()
	var leaving sync.WaitGroup
	for _, c := range r.members {
		leaving.Go(func() { _ = c.Leave(ctx) })
	}
	leaving.Wait()
	for _, t := range r.tracks { // the library may leave the reader of a track behind
		_ = t.Track.SetReadDeadline(time.Unix(1, 0))
	}
	r.tasks.Wait()
}

// screen puts the pictures of a stream of VP8 together.
type screen struct {
	mu       sync.Mutex // guards what follows
	pictures []shown
	broken   int // pictures that lack a packet
	part     []byte
	last     uint16
	any, bad bool
}

func (s *screen) take(p *rtp.Packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.any && p.SequenceNumber != s.last+1 {
		s.bad = true
	}
	s.any, s.last = true, p.SequenceNumber
	var vp8 codecs.VP8Packet
	if len(p.Payload) == 0 {
		return // padding, which probes the path
	}
	data, err := vp8.Unmarshal(p.Payload)
	if err != nil {
		s.bad = true
	}
	if vp8.S == 1 && vp8.PID == 0 {
		s.part = nil
	}
	s.part = append(s.part, data...)
	if !p.Marker {
		return
	}
	if s.bad {
		s.broken++
	} else {
		s.pictures = append(s.pictures, shown{time.Now(), s.part})
	}
	s.part, s.bad = nil, false
}

func (s *screen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pictures)
}

// delays reads when the pictures of a span were sent, by the clip's picture that they show, and gives for each of those, at the time at
// which it was sent, how long it was on its way. One that comes twice counts when it comes first.
func (r *mixRoom) delays(ctx context.Context, s *screen, from, to time.Time, parts int) (map[time.Time]time.Duration, error) {
	s.mu.Lock()
	pictures := append([]shown(nil), s.pictures...)
	s.mu.Unlock()
	width, height := 0, 0
	for len(pictures) > 0 {
		if width, height = vp8Size(pictures[0].data); width > 0 {
			break
		}
		pictures = pictures[1:]
	}
	if len(pictures) == 0 {
		return nil, errNoPictures
	}
	numbers, err := stamps(ctx, pictures, width, height, parts)
	if err != nil {
		return nil, fmt.Errorf("cannot read the pictures' numbers: %w", err)
	}
	delays := map[time.Time]time.Duration{}
	for i, n := range numbers {
		at := pictures[i].at
		if n < 0 || at.Before(from) || at.After(to) {
			continue
		}
		sent := r.sentBefore(n, at)
		if _, twice := delays[sent]; !twice && !sent.IsZero() {
			delays[sent] = at.Sub(sent)
		}
	}
	return delays, nil
}
