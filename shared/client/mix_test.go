package client

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

func TestMix(t *testing.T) {
	inWorld(t, func(w *world) {
		ctx := w.t.Context()
		w.portal.set(func() {
			w.portal.answers = func(name string, data jsonvalue.Value) []jsonvalue.Value {
				switch data.Get("operation").Text() {
				case "get-region":
					return portalproto.AckOK(jsonvalue.OfObject(jsonvalue.M("region", jsonvalue.Of("2"))))
				case "set-region":
					return portalproto.AckError(&portalproto.Error{Text: "Invalid region_id."})
				}
				return portalproto.AckOK(jsonvalue.Of("ok"))
			}
		})
		if err := errors.Join(w.c.Mix(ctx, "s", "common"), w.c.Unmix(ctx, "s", "common")); err != nil {
			t.Error(err)
		}
		if region, err := w.c.Region(ctx, "s", "common"); err != nil || region != "2" {
			t.Errorf("%q %v", region, err)
		}
		var refusal *ServerError
		if err := w.c.SetRegion(ctx, "s", "common", "9"); !errors.As(err, &refusal) || refusal.Text != "Invalid region_id." {
			t.Error(err)
		}
		w.messages(`> stream-control {"id":"s","operation":"mix","data":"common"}`, `> stream-control {"id":"s","operation":"unmix","data":"common"}`,
			`> stream-control {"id":"s","operation":"get-region","data":"common"}`,
			`> stream-control {"id":"s","operation":"set-region","data":{"view":"common","region":"9"}}`)
		if err := w.c.Mix(ctx, "", "common"); !errors.Is(err, ErrArgument) {
			t.Error(err)
		}
		w.portal.set(func() {
			w.portal.answers = func(string, jsonvalue.Value) []jsonvalue.Value { return portalproto.AckOK(jsonvalue.Of("ok")) }
		})
		if _, err := w.c.Region(ctx, "s", "common"); !errors.Is(err, ErrProtocol) {
			t.Errorf("an answer without a region: %v", err)
		}
	})
}

// TestMixIsRestored: a publication comes back into the views that it was in, not into those that it has left or that refused it.
func TestMixIsRestored(t *testing.T) {
	tokens := 0
	resumable(t, func(w *world) {
		ctx := w.t.Context()
		pub := w.published()
		mix := func(view string) string {
			return `> stream-control {"id":"` + pub.ID() + `","operation":"mix","data":"` + view + `"}`
		}
		if err := errors.Join(w.c.Mix(ctx, pub.ID(), "a"), w.c.Mix(ctx, pub.ID(), "b"), w.c.Mix(ctx, pub.ID(), "b"), w.c.Mix(ctx, pub.ID(), "c"),
			w.c.Unmix(ctx, pub.ID(), "c")); err != nil {
			t.Fatal(err)
		}
		w.refuse(portalproto.EventStreamControl, portalproto.ErrInvalidView.Text)
		var refusal *ServerError
		if err := w.c.Mix(ctx, pub.ID(), "d"); !errors.As(err, &refusal) {
			t.Error(err)
		}
		w.refuse("", "")
		w.portal.journal.take()
		w.evict()
		synctest.Wait()
		var got []string
		for _, m := range w.heard() {
			if strings.Contains(m, `"operation":"mix"`) {
				got = append(got, m)
			}
		}
		slices.Sort(got)
		if want := []string{mix("a"), mix("b")}; pub.ID() != "n1" || !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}, withToken(&tokens))
}

// Who looks at a stream after a change of its layout sees the new one.
func TestLayoutIsKept(t *testing.T) {
	r := newRoomOf(t)
	layout := parse(t, `[{"stream":"s","region":{"id":"1"}}]`)
	if r.updateStream(portalproto.StreamUpdated{ID: "m", Field: portalproto.FieldLayout, Value: layout}) == nil {
		t.Fatal("the change was not told")
	}
	if s, _ := r.streams.get("m"); !jsonvalue.Equal(s.Layout, layout) {
		t.Errorf("%s", s.Layout)
	}
	if r.updateStream(portalproto.StreamUpdated{ID: "m", Field: portalproto.FieldLayout, Value: jsonvalue.Of("x")}) != nil {
		t.Error("a layout that is none was told")
	}
}

func newRoomOf(t *testing.T) *room {
	t.Helper()
	r := &room{streams: newRoster[conference.Stream](10)}
	r.streams.put("m", conference.Stream{ID: "m", Type: conference.Mixed})
	return r
}
