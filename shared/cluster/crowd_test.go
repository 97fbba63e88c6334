package cluster

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"portico/shared/cluster/clustertest"
)

// A crowd of nodes: how fast word goes round, and what gossip costs. 200 nodes with PORTICO_CROWD=200.
func TestCrowd(t *testing.T) {
	for _, count := range []int{3, 50, 200} {
		if count == 50 && testing.Short() || count == 200 && os.Getenv("PORTICO_CROWD") == "" {
			continue
		}
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			bubble(t, func(t *testing.T) { crowd(t, count) })
		})
	}
}

func crowd(t *testing.T, count int) {
	var net clustertest.Network
	list := begin(t, &net, count)
	joined := until(t, 40*time.Second, "all see all", full(list, count))
	time.Sleep(20 * time.Second)
	sent := func() (bytes, packets uint64) {
		for _, m := range list {
			b, p := m.wire.Sent()
			bytes, packets = bytes+b, packets+p
		}
		return
	}
	b0, p0 := sent()
	const quiet = 60
	time.Sleep(quiet * time.Second)
	b1, p1 := sent()
	for i, m := range list {
		m.SetLoad(0.2 + float64(i%5)/10)
	}
	time.Sleep(quiet * time.Second)
	b2, p2 := sent()
	list[1].SetDraining(true)
	drained := until(t, 20*time.Second, "all see the draining node", func() bool {
		return !slices.ContainsFunc(list, func(m *member) bool {
			return m != list[1] && !slices.ContainsFunc(m.Nodes(), func(n Node) bool { return n.State == Draining })
		})
	})
	_ = list[2].wire.Shutdown()
	rest := slices.Delete(slices.Clone(list), 2, 3)
	died := until(t, time.Minute, "all see the dead node", full(rest, count-1))
	per := func(b uint64) float64 { return float64(b) / quiet / float64(count) }
	t.Logf("%d nodes: joined in %v; drain seen in %v; death in %v", count, joined, drained, died)
	t.Logf("each sends in a second %.0f bytes in %.1f packets, and %.0f in %.1f in a minute in which all loads change",
		per(b1-b0), per(p1-p0), per(b2-b1), per(p2-p1))
	if got := per(b1 - b0); got > 4000 {
		t.Errorf("%.0f bytes per second and node when nothing happens", got)
	}
}
