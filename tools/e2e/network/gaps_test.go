//go:build linux

package network

import (
	"slices"
	"testing"
	"time"
)

// How a browser asks for packets.
const (
	nackEvery = 20 * time.Millisecond
	nackAgain = 100 * time.Millisecond // what it takes for the round trip before it knows
	nackTimes = 10
	mostGap   = 500 // packets; after a longer one only a key frame helps
)

// gaps are the packets of an RTP stream that have not come.
type gaps struct {
	begun   bool
	highest uint16
	missing map[uint16]*gap
}

type gap struct {
	asked time.Duration
	times int
}

// take notes a packet that came, on its own or as RTX.
func (g *gaps) take(seq uint16) {
	ahead := int16(seq - g.highest)
	switch {
	case !g.begun || int(ahead) > mostGap:
		g.begun, g.highest, g.missing = true, seq, map[uint16]*gap{}
	case ahead > 0:
		for n := g.highest + 1; n != seq; n++ {
			g.missing[n] = &gap{}
		}
		g.highest = seq
	default:
		delete(g.missing, seq)
	}
}

// ask gives the packets to ask for now, in order.
func (g *gaps) ask(now time.Duration) (list []uint16) {
	for seq, m := range g.missing {
		switch {
		case m.times == nackTimes:
			delete(g.missing, seq)
		case m.times == 0 || now-m.asked >= nackAgain:
			m.asked, m.times = now, m.times+1
			list = append(list, seq)
		}
	}
	slices.SortFunc(list, func(a, b uint16) int { return int(int16(a - b)) })
	return list
}

func TestGaps(t *testing.T) {
	var g gaps
	for _, seq := range []uint16{65533, 65534, 2, 1, 65534} {
		g.take(seq)
	}
	if list := g.ask(0); !slices.Equal(list, []uint16{65535, 0}) {
		t.Errorf("missing %v", list)
	}
	g.take(0) // as RTX
	if list := g.ask(nackAgain - 1); list != nil {
		t.Errorf("asked again too soon for %v", list)
	}
	for i := 1; i < nackTimes; i++ {
		if list := g.ask(time.Duration(i) * nackAgain); !slices.Equal(list, []uint16{65535}) {
			t.Errorf("then missing %v", list)
		}
	}
	if list := g.ask(time.Hour); list != nil || len(g.missing) != 0 {
		t.Errorf("%v asked for once too often", list)
	}
	g.take(1002)
	if list := g.ask(time.Hour); list != nil {
		t.Errorf("%d packets asked for after a long gap", len(list))
	}
}
