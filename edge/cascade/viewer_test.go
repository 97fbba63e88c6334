package cascade

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"portico/edge/rtc"
	"portico/shared/conference"
)

// viewer is a client that gets sound and picture.
type viewer struct {
	*client
	sound, picture *stretch
}

// stretch reads one track, and remembers what has come.
type stretch struct {
	mu      sync.Mutex
	first   []byte
	mark    byte // of the last packet
	count   int
	gaps    int // numbers that were passed over
	last    uint16
	at      time.Time
	longest time.Duration // without a packet
}

func (r *stretch) read(track *webrtc.TrackRemote) {
	for {
		p, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		if len(p.Payload) == 0 {
			continue
		}
		r.mu.Lock()
		now := time.Now()
		if r.count == 0 {
			r.first = bytes.Clone(p.Payload)
		} else {
			if ahead := int16(p.SequenceNumber - r.last); ahead > 1 {
				r.gaps += int(ahead) - 1
			} else if ahead < 0 {
				r.gaps--
			}
			r.longest = max(r.longest, now.Sub(r.at))
		}
		if r.count == 0 || int16(p.SequenceNumber-r.last) > 0 {
			r.last = p.SequenceNumber
		}
		r.count++
		r.mark, r.at = p.Payload[len(p.Payload)-1], now
		r.mu.Unlock()
	}
}

func (r *stretch) seen() (count int, mark byte, gaps int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count, r.mark, r.gaps
}

// gets waits for so many more packets with a mark.
func (r *stretch) gets(t testing.TB, what string, mark byte) {
	t.Helper()
	before, _, _ := r.seen()
	waitFor(t, what, func() bool { n, m, _ := r.seen(); return n > before+20 && m == mark })
}

// view subscribes to tracks.
func view(e *edge, name, session string, audio, video rtc.SubTrack) *viewer {
	e.t.Helper()
	v := &viewer{client: newClient(e, name), sound: new(stretch), picture: new(stretch)}
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		if _, err := v.pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			e.t.Fatal(err)
		}
	}
	audio.Kind, audio.Mid, video.Kind, video.Mid = conference.Audio, "0", conference.Video, "1"
	transport, isNew := v.open(session)
	if err := e.engine.Subscribe(rtc.SubscribeSpec{
		Participant: name, Transport: transport, Session: session, New: isNew, Tracks: []rtc.SubTrack{audio, video}, Events: v,
	}); err != nil {
		e.t.Fatal(err)
	}
	v.negotiate()
	for range 2 {
		select {
		case track := <-v.received:
			if track.Kind() == webrtc.RTPCodecTypeAudio {
				go v.sound.read(track)
			} else {
				go v.picture.read(track)
			}
		case reason := <-v.failed:
			e.t.Fatal(reason)
		case <-time.After(patience):
			e.t.Fatal("no track arrives")
		}
	}
	return v
}

// watch subscribes to a publication.
func watch(e *edge, name, session string, s *source) *viewer {
	e.t.Helper()
	return view(e, name, session, rtc.SubTrack{From: s.tracks[0].ID}, rtc.SubTrack{From: s.tracks[1].ID})
}

func (v *viewer) stays() {
	v.t.Helper()
	select {
	case reason := <-v.failed:
		v.t.Errorf("%s has lost its source: %s", v.name, reason)
	default:
	}
}
