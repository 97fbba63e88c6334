package node

import (
	"context"
	"fmt"
	"net"

	"portico/relay/codec/library"
	"portico/relay/worker"
	"portico/shared/conference"
	shared "portico/shared/config"
	"portico/shared/identity"
	"portico/shared/metrics"
)

// who reads the relay's identity; nil when it is in no cluster, and does no mixing.
func (n *Node) who() (*identity.Identity, error) {
	if n.cfg.Identity != nil || n.cfg.Cluster.None() {
		return n.cfg.Identity, nil
	}
	id, err := identity.Load(n.cfg.Cluster.Files)
	switch {
	case err != nil:
		return nil, fmt.Errorf("cluster: %w", err)
	case id.Role != identity.Relay:
		return nil, fmt.Errorf("cluster.cert_file: %s is the certificate of an %s: make one with `portico cluster issue` for a relay",
			n.cfg.Cluster.Cert, id.Role)
	}
	return id, nil
}

// startMixing opens the door for the edges and returns its address; "" when there is none.
func (n *Node) startMixing() (string, error) {
	if n.identity == nil {
		n.log.Info("mixing is off: make this relay's files with portico cluster issue, and set cluster.folder")
		return "", nil
	}
	conn, err := net.ListenPacket("udp", n.cfg.Link.Listen)
	if err != nil {
		return "", shared.ListenFault("link.listen", n.cfg.Link.Listen, err)
	}
	m := n.cfg.Mixing
	w, err := worker.New(worker.Options{
		Conn: conn, Identity: n.identity, Cores: m.Cores, Jobs: m.Jobs, Memory: int64(m.Memory) << 20,
		Command: n.command, Log: n.log,
	})
	if err != nil {
		return "", err
	}
	n.worker.Store(w)
	if len(library.Encodes(conference.Video)) == 0 {
		n.log.Info("neither video nor opus is mixed: this program was built without the libraries of the codecs")
	}
	return w.Addr().String(), nil
}

// stopMixing ends all jobs and waits for their processes, or until ctx ends. It takes some seconds at the most.
func (n *Node) stopMixing(ctx context.Context) error {
	w := n.worker.Load()
	if w == nil {
		return nil
	}
	done := make(chan struct{})
	go func() { w.Close(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Mixing is the worker's snapshot; zero when there is no mixing.
func (n *Node) Mixing() worker.Stats {
	if w := n.worker.Load(); w != nil {
		return w.Stats()
	}
	return worker.Stats{}
}

// describeMixing adds the worker's snapshot to the page.
func (n *Node) describeMixing(reg *metrics.Registry) {
	reg.Source([]metrics.Series{
		{Name: "portico_mixing_links", Help: "Edges connected at present."},
		{Name: "portico_mixing_jobs", Help: "Jobs at present.", Labels: []string{"kind"}},
		{Name: "portico_mixing_cores", Help: "Cores that jobs may use."},
		{Name: "portico_mixing_load_cores", Help: "Cores that the present jobs count for when another is ordered."},
		{Name: "portico_mixing_used_cores", Help: "Cores that the present jobs use."},
		{Name: "portico_mixing_started_total", Help: "Jobs started."},
		{Name: "portico_mixing_crashed_total", Help: "Jobs whose process died or was ended for what it did."},
		{Name: "portico_mixing_refused_total", Help: "Jobs refused or given up, by reason.", Labels: []string{"reason"}},
		{Name: "portico_mixing_packets_total", Help: "Packets passed to and from jobs.", Labels: []string{"direction"}},
		{Name: "portico_mixing_dropped_packets_total", Help: "Packets to and from jobs that were lost in the relay.",
			Labels: []string{"direction"}},
	}, func(emit func(int, float64, ...string)) {
		s := n.Mixing()
		emit(0, float64(s.Links))
		for kind, count := range s.Jobs {
			emit(1, float64(count), string(kind))
		}
		emit(2, s.Cores)
		emit(3, s.Load)
		emit(4, s.CPU)
		emit(5, float64(s.Started))
		emit(6, float64(s.Crashed))
		for reason, count := range s.Refused {
			emit(7, float64(count), string(reason))
		}
		emit(8, float64(s.ToJobs), "to_jobs")
		emit(8, float64(s.FromJobs), "from_jobs")
		emit(9, float64(s.DroppedTo), "to_jobs")
		emit(9, float64(s.DroppedFrom), "from_jobs")
	})
}
