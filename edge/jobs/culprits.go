package jobs

import (
	"slices"
	"time"

	"portico/shared/conference"
	"portico/shared/relayproto"
)

// How long a track is left out whose media may have brought a job down: twice as long each time. When it has been back for the longest,
// all is forgotten.
const (
	leastOut = time.Minute
	mostOut  = 10 * time.Minute
)

// apart is how long after each other those come back that have been left out for one crash. All but one are innocent as a rule, and were
// only decoded in the same moment; those who come back at once are decoded at once.
const apart = 5 * time.Second

// crashes is what is said of a track that is left out.
const crashes = "its media crashed the decoder"

// culprits are tracks whose media may have brought the job's process down. The same media would bring down the next: the mix goes on
// without them. It is not safe for concurrent use.
type culprits map[inputKey]*culprit

type culprit struct {
	tracks []string // that it was of, sorted
	format conference.Format
	times  int
	since  time.Time // it is left out,
	until  time.Time // and until when
}

// blame leaves out a track: for the turn-th part of a crash, counted from 0. least is leastOut, but for tests.
func (c culprits) blame(k inputKey, tracks []string, turn int, least time.Duration, now time.Time) *culprit {
	tracks = slices.Sorted(slices.Values(tracks))
	one := c[k]
	if one == nil || !slices.Equal(one.tracks, tracks) {
		one = &culprit{tracks: tracks}
		c[k] = one
	}
	out := least
	for range one.times {
		out = min(2*out, mostOut)
	}
	one.times++
	one.since, one.until = now, now.Add(out+time.Duration(turn)*apart)
	return one
}

// out tells whether a track is left out.
func (c culprits) out(k inputKey, tracks []string, now time.Time) bool {
	one := c[k]
	return one != nil && now.Before(one.until) && slices.Equal(one.tracks, slices.Sorted(slices.Values(tracks)))
}

// forget drops what is not held against anybody any more. of are the tracks that an input has now.
func (c culprits) forget(of func(inputKey) []string, now time.Time) {
	for k, one := range c {
		if now.Sub(one.until) > mostOut || !slices.Equal(one.tracks, slices.Sorted(slices.Values(of(k)))) {
			delete(c, k)
		}
	}
}

// blame leaves out the tracks that a relay suspects, and tells whether there was any: else the job would be restarted as it was. Only
// what the relay was sent is taken for one. The job's Loop calls it, before the run's end.
func (r *run) blame(suspects []relayproto.Suspect) bool {
	x := r.job
	now := time.Now()
	turn := 0
	for _, s := range suspects {
		k := inputKey{s.Input, s.Kind}
		in := r.inputs[k]
		if in == nil || x.culprits.out(k, in.tracks, now) {
			continue
		}
		one := x.culprits.blame(k, in.tracks, turn, x.jobs.leastOut, now)
		one.format = in.format
		turn++
		x.jobs.log.Warn("input is not in the mix", "room", x.room(), "stream", s.Input, "kind", string(s.Kind), "why", crashes,
			"times", one.times, "for", one.until.Sub(now).Round(time.Second))
		if x.spec == nil { // there is nothing else in it
			for h := range x.handles {
				h.wish.Trouble(crashes)
			}
		}
	}
	return turn > 0
}

// spare takes out of what the job needs what is left out. A mix shows the avatar in the place of its pictures.
func (r *run) spare(needs map[inputKey]need) {
	x := r.job
	left := make(map[inputKey]*relayproto.InputTrack)
	if len(x.culprits) > 0 {
		now := time.Now()
		x.culprits.forget(x.tracksOf, now)
		for k, one := range x.culprits {
			n, ok := needs[k]
			if !ok || !x.culprits.out(k, n.tracks, now) {
				continue
			}
			delete(needs, k)
			if x.spec == nil || k.kind != conference.Video {
				continue
			}
			if left[k] = r.left[k]; left[k] == nil { // nothing goes by its flow
				left[k] = &relayproto.InputTrack{Flow: r.port.number(), Format: one.format, Muted: true}
			}
		}
	}
	r.left = left
}

// tracksOf are the tracks that an input has, needed or not.
func (x *job) tracksOf(k inputKey) []string {
	if x.spec == nil {
		return []string{x.source}
	}
	for i := range x.mix.Inputs {
		in := &x.mix.Inputs[i]
		switch {
		case in.Stream != k.stream:
		case k.kind == conference.Video:
			return in.Videos
		case in.Audio != "":
			return []string{in.Audio}
		}
	}
	return nil
}
