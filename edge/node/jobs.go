package node

import (
	"portico/edge/jobs"
	"portico/edge/room"
	"portico/edge/rtc"
	"portico/shared/conference"
	"portico/shared/metrics"
)

// openJobs begins to look for the relays, where there can be any. The media engine is made after it.
func (n *Node) openJobs() error {
	if len(n.cfg.Relay.Nodes) == 0 && n.members == nil {
		return nil
	}
	id, err := who(&n.cfg)
	if err != nil {
		return err
	}
	n.jobs = jobs.New(jobs.Options{
		Relays: n.cfg.Relay.Nodes, Region: n.cfg.Cluster.Region, Identity: id, Epoch: n.epoch, Media: tapped{n}, Log: n.log,
	})
	return nil
}

// epoch is that of a room's home; 0 without a cluster.
func (n *Node) epoch(room string) uint64 {
	if n.mesh == nil {
		return 0
	}
	return n.mesh.Epoch(room).Number
}

// converter and mixers are what the engine and the rooms get: nothing when there are no relays, and in a cluster what other edges make too.
func (n *Node) converter() rtc.Converter {
	switch {
	case n.cascade != nil:
		return n.cascade
	case n.jobs == nil:
		return nil
	}
	return n.jobs
}

func (n *Node) mixers() room.Mixers {
	switch {
	case n.cascade != nil:
		return n.cascade
	case n.jobs == nil:
		return nil
	}
	return n.jobs
}

// selectors choose the loudest voices of a room, in a cluster at its home.
func (n *Node) selectors() room.Selectors {
	if s, ok := any(n.cascade).(room.Selectors); ok && n.cascade != nil {
		return s
	}
	return media{n.engine}
}

// tapped is the media engine as the jobs see it. They ask it for nothing before it, and they by it, are asked for something.
type tapped struct{ n *Node }

func (t tapped) OpenFeed(track string, kind conference.Kind) (jobs.Feed, error) {
	f, err := t.n.engine.OpenFeed(track, kind)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (t tapped) OpenTap(spec rtc.TapSpec) (jobs.Tap, error) {
	tap, err := t.n.engine.OpenTap(spec)
	if err != nil {
		return nil, err
	}
	return tap, nil
}

func (t tapped) TrackSize(track string) (conference.Resolution, bool) {
	return t.n.engine.TrackSize(track)
}

func (t tapped) Now() int64 { return t.n.engine.Now() }

func (n *Node) observeJobs() {
	if n.jobs == nil {
		return
	}
	n.metrics.Source([]metrics.Series{
		{Name: "portico_relays", Help: "Relays that the settings name, and those of them that are connected.", Labels: []string{"state"}},
		{Name: "portico_jobs", Help: "Jobs on relays.", Labels: []string{"kind"}},
		{Name: "portico_job_inputs", Help: "Tracks that go to relays."},
		{Name: "portico_job_outputs", Help: "Different streams that come from them; subscribers who want the same share one."},
		{Name: "portico_job_cpu_cores", Help: "Processor cores that the jobs use, as the relays say."},
		{Name: "portico_job_restarts_total", Help: "Jobs that were begun again, elsewhere or where they were."},
		{Name: "portico_job_refusals_total", Help: "Jobs that a relay refused or gave up."},
	}, func(emit func(int, float64, ...string)) {
		s := n.jobs.Stats()
		emit(0, float64(s.Relays), "named")
		emit(0, float64(s.Connected), "connected")
		emit(1, float64(s.Mixes), "mix")
		emit(1, float64(s.Transcodes), "transcode")
		emit(2, float64(s.Inputs))
		emit(3, float64(s.Outputs))
		emit(4, s.CPU)
		emit(5, float64(s.Restarts))
		emit(6, float64(s.Refusals))
	})
}
