package jobs

import (
	"errors"
	"sync"

	"portico/edge/room"
	"portico/shared/conference"
)

// mixer implements room.Mixer.
type mixer struct {
	jobs   *Jobs
	job    *job
	tracks []string
	feeds  []Feed
	err    error // why there is no such stream at all
	once   sync.Once
}

// errClosed is of mixes that are opened when the edge stops.
var errClosed = errors.New("the edge stops")

// OpenMixer implements room.Mixers.
func (j *Jobs) OpenMixer(spec room.MixerSpec) room.Mixer {
	m := &mixer{jobs: j}
	kinds := []conference.Kind{conference.Audio}
	if spec.View.Video != nil {
		kinds = append(kinds, conference.Video)
	}
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		m.err = errClosed
		return m
	}
	m.job = newJob(j, &job{spec: &spec})
	for _, kind := range kinds {
		track := room.MixedTrack(spec.Stream, kind)
		m.tracks = append(m.tracks, track)
		j.mixes[track] = m.job // before anybody can subscribe
	}
	j.mu.Unlock()
	for i, kind := range kinds {
		f, err := j.media.OpenFeed(m.tracks[i], kind)
		if err != nil {
			m.err = err
			j.log.Error("mixed stream not opened", "room", spec.Room, "stream", spec.Stream, "err", err)
			continue
		}
		m.feeds = append(m.feeds, f)
	}
	return m
}

// Update implements room.Mixer.
func (m *mixer) Update(mix room.Mix) {
	if x := m.job; x != nil {
		_ = x.loop.Post(func() { // refused when it has ended
			if mix.Resets != x.mix.Resets {
				x.active = ""
			}
			x.mix = mix
			for h := range x.handles {
				x.direct(h)
			}
			x.review()
		})
	}
}

// Follow implements room.Mixer: what is made elsewhere needs no inputs here.
func (m *mixer) Follow(string) { m.Update(room.Mix{}) }

// Ready implements room.Mixer.
func (m *mixer) Ready() error {
	if m.err != nil {
		return m.err
	}
	if _, connected, _ := m.jobs.pool.count(); connected == 0 {
		return errNoRelay
	}
	if why := m.job.trouble.Load(); why != nil {
		return errors.New(*why)
	}
	return nil
}

// Close implements room.Mixer.
func (m *mixer) Close() {
	m.once.Do(func() {
		for _, f := range m.feeds {
			f.Close()
		}
		if m.job == nil {
			return
		}
		m.jobs.mu.Lock()
		for _, track := range m.tracks {
			if m.jobs.mixes[track] == m.job { // and not of another one that was opened before this one's end
				delete(m.jobs.mixes, track)
			}
		}
		m.jobs.mu.Unlock()
		m.job.close()
	})
}
