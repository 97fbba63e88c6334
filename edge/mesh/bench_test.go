package mesh

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"portico/edge/mesh/directory"
	"portico/shared/placement"
)

// sink is a network that takes everything.
type sink struct{}

func (sink) Self() string      { return "a" }
func (sink) Cut(string, error) {}
func (sink) Open(context.Context, string, string, []byte) (call, error) {
	return sinkCall{}, nil
}

type sinkCall struct{}

func (sinkCall) Send([]byte) error { return nil }
func (sinkCall) Close()            {}
func (sinkCall) Receive(ctx context.Context) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// BenchmarkIdleRoom is a beat of a room where nothing happens, at its home, the messages to both anchors included: it comes once in
// Timing.Beat.
func BenchmarkIdleRoom(b *testing.B) {
	m := New(Options{Self: placement.Name{ID: "a", Boot: 1}, network: sink{}})
	defer m.Close()
	var view []placement.Edge
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		view = append(view, placement.Edge{ID: id, Boot: 1, Weight: 1})
	}
	m.View(view)
	for _, e := range view[1:] {
		m.Changed(e.ID, false) // so that it leads without an answer, after a while
	}
	const rooms = 1000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var list []*room
	for i := range rooms {
		r := m.room(fmt.Sprint("room-", i), true)
		r.event(directory.Enter{On: true})
		r.event(directory.Put{Key: person("x"), Generation: 1})
		list = append(list, r)
	}
	for _, r := range list {
		for _, leads, changed := r.home(); !leads; _, leads, changed = r.home() {
			<-changed
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	now := m.now()
	b.ResetTimer()
	for i := range b.N {
		if i%rooms == 0 {
			now += time.Second
		}
		r := list[i%rooms]
		done := make(chan struct{})
		r.post(func() {
			r.carry(r.core.Handle(placement.Tick{}, now))
			close(done)
		})
		<-done
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/rooms, "B/room")
}

// BenchmarkStandby is a room that begins on its home with three participants, until a standby on another edge has all of it. What it
// costs from then on is in the beats and bytes of a second.
func BenchmarkStandby(b *testing.B) {
	f := newFabric(b, time.Millisecond)
	names := []string{"a", "bb", "ccc"}
	for _, name := range names {
		f.start(name, 1, Options{})
	}
	f.views()
	home := f.nodes["a"].mesh
	var list []*room
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b.ResetTimer()
	for i := 0; len(list) < b.N; i++ {
		name := fmt.Sprint("room-", i)
		if placement.Home(name, "", home.view) != "a" {
			continue
		}
		r := home.room(name, true)
		r.event(directory.Enter{On: true})
		for p := range 3 {
			r.event(directory.Put{Key: person(fmt.Sprint("participant-", p)), Generation: 1, Value: make([]byte, 300)})
		}
		list = append(list, r)
	}
	look := time.NewTicker(time.Millisecond) // nobody tells of it
	defer look.Stop()
	for _, r := range list {
		for covered := false; !covered; {
			if r.do(b.Context(), func() { covered = r.core.State(home.now()).Standby != "" }) != nil {
				b.Fatal("closed")
			}
			if !covered {
				<-look.C
			}
		}
	}
	b.StopTimer()
	runtime.GC()
	runtime.ReadMemStats(&after)
	rooms, posts := float64(b.N), uint64(0)
	for _, n := range f.nodes {
		posts += n.mesh.Stats().Posts
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/rooms, "B/room")
	b.ReportMetric(float64(posts)/rooms, "posts/room")
	const seconds = 3
	sent, beats := f.bytes.Load(), uint64(0)
	for _, n := range f.nodes {
		beats -= n.mesh.Stats().SeatsSent
	}
	var spent, now unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &spent)
	<-time.After(seconds * time.Second) // what is measured is this time
	_ = unix.Getrusage(unix.RUSAGE_SELF, &now)
	for _, n := range f.nodes {
		beats += n.mesh.Stats().SeatsSent
		posts -= n.mesh.Stats().Posts
	}
	b.ReportMetric(float64(f.bytes.Load()-sent)/seconds/rooms, "idle-B/s/room")
	b.ReportMetric(float64(beats)/seconds/rooms, "idle-beats/s/room")
	b.ReportMetric(-float64(int64(posts))/seconds/rooms, "idle-posts/s/room")
	b.ReportMetric(float64(now.Utime.Nano()+now.Stime.Nano()-spent.Utime.Nano()-spent.Stime.Nano())/seconds/1e7, "idle-CPU-%")
}
