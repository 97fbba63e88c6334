package rtc

import (
	"strings"
	"testing"

	"portico/edge/sfu"
)

// TestLayersWanted: a layer that has been of no use for a while is no longer wanted, but for the smallest; it is again at once.
func TestLayersWanted(t *testing.T) {
	in := arrives(t, recorded(t)["chromium-simulcast"])
	in.engine.steerer.close() // this test does its work
	l := in.engine.sessions["P"].lines[0]
	if len(l.tracks) != 3 {
		t.Fatalf("%d layers", len(l.tracks))
	}
	var w wanted
	review := func(now int64, want string) {
		t.Helper()
		rids, changed := l.review(&w, now)
		if got := strings.Join(rids, ","); got != strings.TrimPrefix(want, "=") || changed != (want[0] != '=') {
			t.Errorf("%q, changed %v, want %q", got, changed, want)
		}
	}
	const begin = 1000
	review(begin, "=q,h,f")
	w.want(l.tracks[1].encoding, begin)
	review(begin+int64(unwantedTime)-1, "=q,h,f") // it has only begun
	w.want(l.tracks[1].encoding, begin+int64(unwantedTime))
	review(begin+int64(unwantedTime), "q,h")
	from := supply{feed: l.tracks[0]}
	if off, _ := from.offs(nil, nil, []*sfu.Encoding{l.tracks[1].encoding, l.tracks[2].encoding}, begin); off[0] || !off[1] {
		t.Errorf("off: %v", off)
	}
	w.want(l.tracks[2].encoding, begin+int64(unwantedTime)+1)
	review(begin+int64(unwantedTime)+1, "q,h,f")
	review(begin+int64(unwantedTime)+1, "=q,h,f")
	review(begin+3*int64(unwantedTime), "q")
	w.tell(in.engine, begin+4*int64(unwantedTime))
	if len(w.at) != 0 {
		t.Errorf("%d encodings remembered", len(w.at))
	}
}
