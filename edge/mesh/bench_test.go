package mesh

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

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
		m.Changed(e.ID, false) // so that it leads without an answer
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
		if r.do(b.Context(), func() {}) != nil || !r.leads {
			b.Fatal("it does not lead")
		}
		list = append(list, r)
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
