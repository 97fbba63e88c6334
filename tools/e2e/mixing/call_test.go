//go:build linux

package mixing

import (
	"slices"
	"testing"
	"time"
)

// TestA_Voices: whoever is in the mix hears all but his own streams, and those who are not hear the same.
func TestA_Voices(t *testing.T) {
	s := start(t, options{})
	ann, bob := s.join("Ann"), s.join("Bob")
	ann.show(red)
	bob.show(green)
	ann.show(blue) // what she shows beside
	tones := []int{red.tone, green.tone, blue.tone}
	viewers := map[string]*viewer{"Ann": ann.watch(), "Bob": bob.watch(), "Cid": s.join("Cid").watch(), "Dan": s.join("Dan").watch()}
	for _, v := range viewers {
		v.playing()
	}
	viewers["Cid"].sees(red, green, blue)
	from := time.Now()
	to := from.Add(2 * time.Second)
	lets(t, 2*time.Second)
	hears := func(t *testing.T, name string, want ...bool) {
		levels := viewers[name].volumes(from, to, tones...)
		t.Logf("%s hears tones of %d Hz at %.0f dB", name, tones, levels)
		for i, level := range levels {
			if want[i] && level < -40 || !want[i] && level > -60 {
				t.Errorf("%s hears %d Hz at %.0f dB", name, tones[i], level)
			}
		}
	}
	t.Run("A-01", func(t *testing.T) { hears(t, "Bob", true, false, true) })
	t.Run("A-02", func(t *testing.T) { hears(t, "Ann", false, true, false) })
	t.Run("A-03", func(t *testing.T) {
		hears(t, "Cid", true, true, true)
		hears(t, "Dan", true, true, true)
		same := 0
		cid, dan := viewers["Cid"].payloads(from, to), viewers["Dan"].payloads(from, to)
		for _, p := range cid {
			if slices.Contains(dan, p) {
				same++
			}
		}
		if same < len(cid)-5 { // at the ends of the span
			t.Errorf("two who are not in the mix hear %d of %d packets alike", same, len(cid))
		}
	})
	for _, v := range viewers {
		v.continuous()
	}
}

// payloads are the packets of sound within a span.
func (v *viewer) payloads(from, to time.Time) (list []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.sounds {
		if s.at.After(from) && s.at.Before(to) {
			list = append(list, string(s.packet.Payload))
		}
	}
	return list
}

// lets so much time pass, for something to be measured.
func lets(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
