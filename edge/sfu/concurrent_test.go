package sfu

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"portico/edge/sfu/feedback"
)

// TestConcurrent lets everything happen at once: two encodings, two Writers, subscribers that change their minds, ask for packets
// and leave. In the end each that is left gets packets.
func TestConcurrent(t *testing.T) {
	var clock atomic.Int64
	clock.Store(start)
	b := newBench(t, true)
	list := []*layered{b.layered("vp8", 1, 0), b.layered("vp8", 5000, 0)}
	writers := []*Writer{NewWriter(clock.Load, nil), NewWriter(clock.Load, func() {})}
	var subs []*Subscription
	var sinks []*null
	for i := range 8 {
		to := &null{}
		s := NewSubscription(SubscriptionConfig{
			Video: true, ClockRate: 90_000, SSRC: 0xaaaa, RTXPayloadType: 97, Sink: to, Writer: writers[i%2], Extensions: Extensions{TransportSeq: 3},
		})
		s.SetSources([]*Encoding{list[0].enc, list[1].enc}, clock.Load())
		subs, sinks = append(subs, s), append(sinks, to)
	}
	var sending, changing sync.WaitGroup
	stop := make(chan struct{})
	feed := func(l *layered, key bool) {
		p := raw(96, l.seq, l.ts, vp8(key, l.num, l.tl0, 0, false))
		l.seq, l.num, l.tl0, l.ts = l.seq+1, l.num+1, l.tl0+1, l.ts+900
		if err := l.enc.Ingest(p, clock.Load(), nil); err != nil {
			t.Error(err)
		}
	}
	for _, l := range list {
		sending.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				clock.Add(ms / 10)
				feed(l, n%50 == 0)
				if n%20 == 0 {
					l.enc.SenderReport(feedback.SenderReport{NTP: feedback.ToNTP(clock.Load()), Timestamp: l.ts}, clock.Load())
				}
			}
		})
	}
	for i, s := range subs {
		changing.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 7))
			for range 300 {
				now := clock.Load()
				switch rng.IntN(7) {
				case 0, 1:
					s.SetTarget(Target{Encoding: rng.IntN(2), Spatial: -1, Temporal: int8(rng.IntN(2) - 1)}, ReasonDisplayed, now)
				case 2:
					s.SetActive(rng.IntN(2) == 0, now)
				case 3:
					s.SetSource(list[rng.IntN(2)].enc, now)
				case 4:
					s.Receive(feedback.AppendNACK(feedback.AppendPLI(nil, 1, 0xaaaa), 1, 0xaaaa, []uint16{uint16(rng.Uint32())}), now)
					s.Pad(300)
				case 5:
					s.Quality(now)
					list[0].enc.Layers(now)
				case 6:
					s.SetSources([]*Encoding{list[1].enc, list[0].enc}, now)
				}
			}
		})
	}
	changing.Wait()
	for i, s := range subs {
		if i < 2 {
			s.Close()
			continue
		}
		s.SetSource(list[i%2].enc, clock.Load())
		s.SetActive(true, clock.Load())
	}
	close(stop)
	sending.Wait()
	checkAfter(t, &clock, list, subs, sinks, feed, writers)
	for _, w := range writers {
		w.Close()
	}
}

// beacon is a sink that lets one wait for a Writer.
type beacon chan struct{}

func (b beacon) WriteRTP([]byte, int) error { b <- struct{}{}; return nil }
func (b beacon) WriteRTCP([]byte) error     { return nil }

// settle returns when the Writer has done all that was queued before.
func settle(w *Writer) {
	seen := make(beacon)
	s := NewSubscription(SubscriptionConfig{RTXPayloadType: 97, Sink: seen, Writer: w})
	for range 2 { // the first may be done before the pictures that were taken with it
		s.Pad(1)
		<-seen
	}
}

// checkAfter sends a few pictures more, and looks who gets them.
func checkAfter(t *testing.T, clock *atomic.Int64, list []*layered, subs []*Subscription, sinks []*null, feed func(*layered, bool),
	writers []*Writer,
) {
	t.Helper()
	for n := range 30 {
		clock.Add(400 * ms) // beyond any time that one is spared for
		if n == 25 {
			for _, to := range sinks {
				to.n.Store(0)
			}
		}
		for _, l := range list {
			feed(l, true)
		}
		for _, w := range writers {
			settle(w)
		}
	}
	for i, to := range sinks {
		if got := to.n.Load(); (got >= 5) != (i >= 2) {
			reason, _ := subs[i].Reason(clock.Load())
			t.Errorf("subscriber %d got %d of the last packets: %v", i, got, reason)
		}
	}
}
