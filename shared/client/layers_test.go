package client

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"portico/shared/conference"
	"portico/shared/portalproto"
)

// TestLayers: what the server has no use for is turned off, and on again; what is sent in one layer only is left alone.
func TestLayers(t *testing.T) {
	inWorld(t, func(w *world) {
		p := start(func() (*Publication, error) {
			return w.c.Publish(w.t.Context(), PublishOptions{Tracks: []LocalTrack{
				{Kind: conference.Audio, Local: "mic"},
				{Kind: conference.Video, Local: "cam", Send: SendOptions{Encodings: []Encoding{{RID: "q"}, {RID: "h"}, {RID: "f"}}}},
				{Kind: conference.Video, Local: "screen", Send: SendOptions{Encodings: []Encoding{{ScalabilityMode: "L1T2"}}}},
			}})
		})
		<-p.done
		if p.err != nil {
			t.Fatal(p.err)
		}
		synctest.Wait()
		w.portal.journal.take()
		for _, rids := range []string{"q,h", "q,h", "q", "q,h,f"} {
			w.portal.notify(portalproto.Progress{Transport: "s1", Session: "s1", Status: portalproto.ProgressLayers, Reason: rids})
			synctest.Wait()
		}
		w.portal.notify(portalproto.Progress{Transport: "s1", Session: "none", Status: portalproto.ProgressLayers, Reason: "q"})
		synctest.Wait()
		want := []string{"peer1 layers 1 q,h", "peer1 layers 1 q,h", "peer1 layers 1 q", "peer1 layers 1 q,h,f"}
		if got := w.heard(); !slices.Equal(got, want) {
			t.Errorf("got  %s\nwant %s", strings.Join(got, "; "), strings.Join(want, "; "))
		}
	})
}
