package jobs

import (
	"cmp"
	"context"
	"slices"
	"time"

	"portico/shared/conference"
)

// Trouble is why something of a stream is not in a mix at the moment, though it should be.
type Trouble struct {
	View  string          // the mix's
	Kind  conference.Kind // empty: the relay does not say of what
	Why   string          // in words
	Since time.Time
	Until time.Time // it is tried again then; zero: all the time
}

// Troubles are those of a stream in a room's mixes, in the order of the views. It waits for the jobs of these; when ctx ends before,
// theirs are missing.
func (j *Jobs) Troubles(ctx context.Context, room, stream string) []Trouble {
	var mixes []*job
	j.mu.Lock()
	for x := range j.all {
		if x.spec != nil && x.spec.Room == room {
			mixes = append(mixes, x)
		}
	}
	j.mu.Unlock()
	slices.SortFunc(mixes, func(a, b *job) int { return cmp.Compare(a.spec.View.Label, b.spec.View.Label) })
	var list []Trouble
	for _, x := range mixes {
		_ = x.loop.Do(ctx, func() { list = append(list, x.troubles(stream, time.Now())...) }) // refused: the mix is no more
	}
	return list
}

// troubles are those of a stream. What is not needed, and would be left out, is no trouble.
func (x *job) troubles(stream string, now time.Time) (list []Trouble) {
	needs := x.needs()
	for _, kind := range []conference.Kind{conference.Audio, conference.Video} {
		k := inputKey{stream, kind}
		if n, ok := needs[k]; ok && x.culprits.out(k, n.tracks, now) {
			one := x.culprits[k]
			list = append(list, Trouble{View: x.spec.View.Label, Kind: kind, Why: crashes, Since: one.since, Until: one.until})
		}
	}
	if x.run != nil {
		if c := x.run.complaints[stream]; c.why != "" {
			list = append(list, Trouble{View: x.spec.View.Label, Why: c.why, Since: c.since})
		}
	}
	return list
}
