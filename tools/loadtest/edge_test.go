package loadtest

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"portico/tools/edgetest"
	"portico/tools/portico/manage"
)

// startEdge runs a real edge in this process.
func startEdge(t *testing.T) manage.Settings {
	t.Helper()
	return edgetest.Start(t, slog.LevelError, nil).Service(t)
}

// until looks again and again: what it waits for is told by nobody.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("never: %s", what)
		}
	}
}

// Every packet that is sent comes to every subscriber once, and all of them can be read.
func TestOneToThreeToThePacket(t *testing.T) {
	edges := []manage.Settings{startEdge(t)}
	o := &Options{Edges: edges, Sample: 1, Feedback: true}
	if err := o.fill(); err != nil {
		t.Fatal(err)
	}
	c, err := newCrowd(Scenario{Name: "test", Rooms: 1, Publishers: 1, Subscribers: 3, Media: normal}, o, edges, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.leave(context.Background())
	if err := c.open(t.Context(), edges); err != nil {
		t.Fatal(err)
	}
	if err := c.join(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	if err := c.flow(t.Context(), o.JoinTimeout); err != nil {
		t.Fatal(err)
	}
	if at := c.state(); at != (state{joined: 4, streams: 6}) {
		t.Fatalf("%+v %v", at, c.failures())
	}
	publisher := c.everyone()[0]
	tracks := publisher.peers[0].tracks
	until(t, "two seconds of media", func() bool {
		return tracks[0].encodings[0].sent.Load() > 100 && tracks[1].encodings[0].sent.Load() > 240
	})
	publisher.stop()
	publisher.tasks.Wait() // now nothing more is sent
	sent := map[uint32]uint64{}
	for _, track := range tracks {
		sent[track.encodings[0].ssrc] = track.encodings[0].sent.Load()
	}
	until(t, "the last packet everywhere", func() bool {
		complete := 0
		c.peers(func(_ *participant, p *peer) {
			for _, s := range p.streams {
				if s.started && uint64(s.highest+s.offset)+1 == sent[s.source] {
					complete++
				}
			}
		})
		return complete == 6
	})
	var delivered, latencies uint64
	c.peers(func(owner *participant, p *peer) {
		if owner == publisher {
			return
		}
		for _, s := range p.streams {
			if s.repair {
				continue
			}
			if want := sent[s.source] - uint64(s.first+s.offset); s.received != want || s.missing() != 0 || s.duplicates+s.late+s.stale+s.leftOut != 0 {
				t.Errorf("%s: %d of %d packets, %d missing, %+v", s.kind, s.received, want, s.missing(), s.total())
			}
		}
		total := p.total()
		if total.Sampled != total.Delivered || total.Unreadable+total.Unknown != 0 || p.first <= owner.opened {
			t.Errorf("%+v, first media %d after %d", total, p.first, owner.opened)
		}
		delivered += total.Delivered
	})
	c.host.locked(func(_ *poller, m *meter) {
		latencies += m.latency.count
		if m.latency.quantile(.01) <= 0 || m.latency.max > 30*time.Second {
			t.Errorf("latency %+v", m.latency.percentiles())
		}
	})
	if latencies != delivered || delivered < 3*300 {
		t.Errorf("%d latencies of %d packets", latencies, delivered)
	}
	if failures := c.failures(); len(failures) > 0 {
		t.Error(failures)
	}
}

// A whole run: figures come together in the report, the room is gone afterwards.
func TestRun(t *testing.T) {
	edge := startEdge(t)
	var progress strings.Builder
	report, err := Run(t.Context(), Options{
		Edges: []manage.Settings{edge}, PID: os.Getpid(), Sample: 5, Feedback: true, Timeline: true, Progress: &progress, JoinRate: 100,
		Scenarios: []Scenario{{Name: "mutual", Rooms: 2, Publishers: 2, Mutual: true, Media: Media{Video: 300, Audio: true}, Aim: 14}},
		Duration:  1200 * time.Millisecond, WarmUp: 100 * time.Millisecond, Rates: []float64{1, 3},
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	if len(report.Results) != 1 {
		t.Fatalf("%+v", report)
	}
	r := report.Results[0]
	if r.Joined != 4 || r.Flowing != 8 || r.Failures != 0 || r.Interrupted || r.Join.Count != 4 || r.Join.P50 <= 0 {
		t.Errorf("%+v", r)
	}
	if r.Counts.Lost+r.Counts.LeftOut != 0 || r.Counts.Delivered < 4*60 || r.Latency.Count == 0 || r.Latency.P50 <= 0 || r.Sent < 4*60 {
		t.Errorf("%+v %+v sent %d", r.Counts, r.Latency, r.Sent)
	}
	if runtime.GOOS == "linux" && (r.Server == nil || r.Server.MicrosPerPacket <= 0 || r.Server.RSS == 0 || r.Server.GoroutinesPerTransport <= 0) {
		t.Errorf("%+v", r.Server)
	}
	if len(r.Timeline) == 0 || !strings.Contains(progress.String(), "mutual: 4 participants, 8 streams") {
		t.Errorf("%v\n%s", r.Timeline, progress.String())
	}
	api, err := manage.New(edge)
	if err != nil {
		t.Fatal(err)
	}
	if rooms, err := api.Rooms(t.Context()); err != nil || len(rooms) != 0 {
		t.Errorf("rooms left: %v %v", rooms, err)
	}
}

// Interrupted, a run reports what it has, with the reason.
func TestRunInterrupted(t *testing.T) {
	edge := startEdge(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	report, err := Run(ctx, Options{
		Edges: []manage.Settings{edge}, Duration: time.Hour, WarmUp: time.Millisecond, JoinRate: 100, Timeline: true, Progress: &stopAfter{text: "1x", stop: cancel},
		Scenarios: []Scenario{{Name: "endless", Rooms: 1, Publishers: 1, Subscribers: 1, Media: normal}},
	})
	if err != context.Canceled || report == nil || len(report.Results) != 1 {
		t.Fatalf("%+v %v", report, err)
	}
	if r := report.Results[0]; !r.Interrupted || r.Counts.Delivered == 0 || len(r.Timeline) == 0 {
		t.Errorf("%+v", r)
	}
}

// stopAfter calls stop when text was written.
type stopAfter struct {
	text string
	stop func()
}

func (s *stopAfter) Write(b []byte) (int, error) {
	if strings.Contains(string(b), s.text) {
		s.stop()
	}
	return len(b), nil
}

func TestRefusedEverywhere(t *testing.T) {
	edge := startEdge(t)
	edge.Key = "wrong"
	_, err := Run(t.Context(), Options{Edges: []manage.Settings{edge}, Scenarios: Scenarios[:1]})
	if err == nil || !strings.Contains(err.Error(), "does not accept") {
		t.Errorf("%v", err)
	}
}
