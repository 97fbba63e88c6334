package audiomix

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"portico/shared/rtp/jitter"
)

// sender is one whose clock and network are not perfect, with packets of 20 ms of plain 16-bit samples.
type sender struct {
	tone
	rate, channels int
	clock          int // of the RTP timestamps
	packets        []packet
	a              *jitter.Audio
	in             *Input
	pcm            []int16
	given          [4]int // by jitter.Kind
}

type packet struct {
	at int64
	p  jitter.Packet
}

// send makes all packets: drift in millionths, jitter up to most, some lost.
func (s *sender) send(r *rand.Rand, length time.Duration, drift float64, most time.Duration, lost float64) {
	n := s.rate / 50
	for i := range int(length / (20 * time.Millisecond)) {
		at := int64(float64(i)*20e6/(1+drift/1e6)) + r.Int64N(int64(most)+1)
		var b []byte
		for _, v := range s.next(n, s.rate, s.channels) {
			b = binary.LittleEndian.AppendUint16(b, uint16(v))
		}
		if r.Float64() >= lost {
			ticks := s.clock / 50
			p := jitter.Packet{Seq: uint16(i), Timestamp: uint32(i * ticks), Ticks: ticks, Payload: b}
			s.packets = append(s.packets, packet{at, p})
		}
	}
	slices.SortStableFunc(s.packets, func(a, b packet) int { return int(a.at - b.at) })
}

// tick brings the input what the next frame needs, as a pipeline does.
func (s *sender) tick(t *testing.T, now int64) {
	for len(s.packets) > 0 && s.packets[0].at <= now {
		s.a.Push(s.packets[0].p, s.packets[0].at)
		s.packets = s.packets[1:]
	}
	s.in.SetStretch(s.a.Stretch() * Rate / float64(s.clock))
	for s.in.Buffered() < s.in.Need() {
		it := s.a.Pop(now)
		s.given[it.Kind]++
		n := it.Ticks * s.rate / s.clock * s.channels
		s.pcm = s.pcm[:0]
		if it.Kind == jitter.Sound {
			for i := range n {
				s.pcm = append(s.pcm, int16(binary.LittleEndian.Uint16(it.Payload[2*i:])))
			}
		} else {
			s.pcm = append(s.pcm, make([]int16, n)...) // a decoder would conceal it
		}
		if err := s.in.Write(s.pcm, s.rate, s.channels); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPlayOutWithDrift plays three senders, a fast, a slow and a lossy one with timestamps that do not count its samples (as
// G.722 does), for three minutes: nobody runs dry or falls behind.
func TestPlayOutWithDrift(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 11))
	m := New(Config{})
	listen(t, m, "")
	senders := []*sender{
		{tone: tone{hz: 440, amplitude: 8000}, rate: 16_000, channels: 2, clock: 16_000},
		{tone: tone{hz: 660, amplitude: 8000}, rate: 24_000, channels: 1, clock: 48_000},
		{tone: tone{hz: 880, amplitude: 8000}, rate: 16_000, channels: 1, clock: 8000},
	}
	drifts, losses := []float64{200, -200, 120}, []float64{0, 0, 0.05}
	const length = 3 * time.Minute
	for i, s := range senders {
		s.a = jitter.NewAudio(jitter.Config{ClockRate: s.clock})
		s.in = input(t, m, "")
		s.send(r, length, drifts[i], 25*time.Millisecond, losses[i])
	}
	for now := int64(0); now < int64(length); now += int64(Frame) {
		for _, s := range senders {
			s.tick(t, now)
		}
		m.Mix()
		for i, s := range senders {
			if s.in.Buffered() > Rate/25 || now > int64(time.Second) && s.in.frame == nil {
				t.Fatalf("after %v sender %d has %d samples waiting", time.Duration(now), i, s.in.Buffered())
			}
		}
	}
	for i, s := range senders {
		stats := s.a.Stats()
		t.Logf("sender %d: given %v, drift %+.1f ppm, delay %v", i, s.given, stats.Drift, stats.Delay)
		if d := stats.Drift - drifts[i]; d > 15 || d < -15 || stats.Delay > 80*time.Millisecond || stats.Skipped+s.in.Dropped() > 0 {
			t.Errorf("sender %d: %+v, %d dropped", i, stats, s.in.Dropped())
		}
		if want := int(float64(length/(20*time.Millisecond)) * (1 - losses[i])); s.given[jitter.Sound] < want*98/100 {
			t.Errorf("sender %d: %d of %d packets are heard", i, s.given[jitter.Sound], want)
		}
	}
}
