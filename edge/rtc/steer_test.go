package rtc

import (
	"testing"

	"portico/edge/sfu"
	"portico/edge/sfu/bitrate"
)

// TestTarget: a layer is asked for with all temporal layers unless there are some above it; a client without dependency descriptors
// gets one spatial layer only.
func TestTarget(t *testing.T) {
	svc := []bitrate.Layer{{Temporal: 0}, {Temporal: 1}, {Spatial: 1, Temporal: 0}, {Spatial: 1, Temporal: 1}, {Spatial: 2, Temporal: 0}}
	simulcast := []bitrate.Layer{{Temporal: 0}, {Temporal: 1}, {Encoding: 1, Temporal: 0}, {Encoding: 2, Spatial: -1, Temporal: -1}}
	for name, c := range map[string]struct {
		layers []bitrate.Layer
		flat   bool
		layer  int
		want   sfu.Target
	}{
		"lower temporal layer":                    {svc, false, 2, sfu.Target{Spatial: 1, Temporal: 0}},
		"highest temporal layer":                  {svc, false, 3, sfu.Target{Spatial: 1, Temporal: -1}},
		"upper ones do not come":                  {svc, false, 4, sfu.Target{Spatial: 2, Temporal: -1}},
		"of an encoding, lower":                   {simulcast, false, 0, sfu.Target{Temporal: 0}},
		"of an encoding, without upper":           {simulcast, false, 2, sfu.Target{Encoding: 1, Temporal: -1}},
		"of an encoding that is off":              {simulcast, false, 3, sfu.Target{Encoding: 2, Spatial: -1, Temporal: -1}},
		"of one that is off, described to nobody": {simulcast, true, 3, sfu.Target{Encoding: 2, Temporal: -1}},
	} {
		x := steeredLine{layers: c.layers, flat: c.flat}
		if got := x.target(&c.layers[c.layer]); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
