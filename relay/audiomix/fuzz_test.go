package audiomix

import (
	"testing"
	"time"
)

// FuzzMixer does things in any order; every listener has a frame each time, and nothing panics or piles up.
func FuzzMixer(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
	f.Add([]byte{0, 8, 16, 1, 9, 17, 3, 11, 3, 4, 12, 5, 13, 3, 7, 15, 2, 10, 3, 3, 3, 6, 14, 3})
	f.Fuzz(func(t *testing.T, script []byte) {
		m := New(Config{Talkers: 2, ShareAfter: 30 * time.Millisecond})
		var inputs []*Input
		var listeners []*Listener
		rates := []int{8000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000, 11_025}
		for i, b := range script {
			which, name := int(b>>3), []string{"", "A", "B", "C"}[b>>3&3]
			switch {
			case b&7 == 0 && len(inputs) < 20:
				inputs = append(inputs, input(t, m, name))
			case b&7 == 1 && len(listeners) < 20:
				l, err := m.AddListener(name)
				if err == nil {
					listeners = append(listeners, l)
				}
			case b&7 == 2 && len(inputs) > 0:
				n := which % len(inputs)
				m.RemoveInput(inputs[n])
				inputs = append(inputs[:n], inputs[n+1:]...)
			case b&7 == 3 && len(listeners) > 0 && which > 28:
				n := which % len(listeners)
				m.RemoveListener(listeners[n])
				listeners = append(listeners[:n], listeners[n+1:]...)
			case b&7 == 4 && len(inputs) > 0:
				inputs[which%len(inputs)].SetMuted(i%2 == 0)
			case b&7 == 5 && len(inputs) > 0:
				inputs[which%len(inputs)].SetStretch(float64(which-16) * 100)
			case len(inputs) > 0:
				s := tone{hz: float64(100 * (which + 1)), amplitude: 32_767}
				rate := rates[i%len(rates)]
				err := inputs[which%len(inputs)].Write(s.next(rate*(which%13)/100, rate, i%2+1), rate, i%2+1)
				if (err != nil) != (rate == 11_025) {
					t.Fatal(err)
				}
			}
			r := m.Mix()
			for _, l := range listeners {
				found := false
				for _, o := range r.Outputs {
					found = found || o == l.Output()
				}
				if !found {
					t.Fatal("a listener without an output")
				}
			}
			for _, in := range inputs {
				if in.Buffered() > maxBuffered || in.Buffered() < 0 {
					t.Fatalf("%d wait", in.Buffered())
				}
			}
		}
	})
}
