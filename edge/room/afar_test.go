package room

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// TestAdminOfSubscriptionsFromAfar: an admin pauses, updates and ends the subscriptions of others on other edges; who is none does not.
func TestAdminOfSubscriptionsFromAfar(t *testing.T) {
	w := newTown(t, nil, "a", "b", "c")
	w.join("a", "anna", "presenter")
	vera, _ := w.join("b", "vera", "viewer")
	w.join("c", "boss", "admin")
	w.join("c", "bob", "presenter")
	one, two := w.publish("a", "anna"), w.publish("c", "bob")
	ack, err := w.houses["b"].d.Subscribe(t.Context(), roomID, "vera", av(one))
	if err != nil {
		t.Fatal(err)
	}
	b, at := w.houses["b"].media, w.houses["c"].d
	control := func(who string, r portalproto.SubscriptionControl) error {
		r.ID = ack.ID
		defer w.settle()
		return at.SubscriptionControl(t.Context(), roomID, who, r)
	}
	pause := portalproto.SubscriptionControl{Operation: portalproto.Pause, Media: conference.MediaSet{Video: true}}
	const none = "Subscription does NOT exist"
	wantText(t, "bob", control("bob", pause), none)
	wantText(t, "boss", control("boss", pause), "<nil>")
	if calls := b.seen(); !slices.Contains(calls, "sub-active "+ack.ID+" video false") {
		t.Errorf("media of b: %q", calls)
	}
	update := portalproto.SubscriptionControl{Operation: portalproto.Update, Media: conference.MediaSet{Audio: true}, AudioFrom: two}
	wantText(t, "update", control("boss", update), "<nil>")
	if calls := b.seen(); !strings.HasPrefix(calls[len(calls)-1], "change "+ack.ID+" {audio 0 "+two+"-0") {
		t.Errorf("media of b: %q", calls)
	}
	update.AudioFrom = "nosuch"
	refused := control("boss", update)
	if refused == nil || refused.Error() == none || !errors.As(refused, new(*portalproto.Error)) {
		t.Errorf("update to what there is not: %v", refused)
	}
	wantText(t, "end by bob", at.Unsubscribe(t.Context(), roomID, "bob", ack.ID), none)
	wantText(t, "end", at.Unsubscribe(t.Context(), roomID, "boss", ack.ID), "<nil>")
	w.settle()
	wantText(t, "once more", at.Unsubscribe(t.Context(), roomID, "boss", ack.ID), none)
	wantText(t, "pause of what has ended", control("boss", pause), none)
	asked := len(w.mesh.seats["c"].asked)
	wantText(t, "end of what cannot be", at.Unsubscribe(t.Context(), roomID, "boss", strings.Repeat("x", 1000)), none)
	if n := len(w.mesh.seats["c"].asked) - asked; n != 0 {
		t.Errorf("%d edges are asked for what cannot be", n)
	}
	if calls := b.seen(); calls[len(calls)-1] != "stop "+ack.ID {
		t.Errorf("media of b: %q", calls)
	}
	vera.take()
	// An edge that does not answer may have it.
	w.kill("a")
	wantText(t, "while an edge is away", control("boss", pause), portalproto.ErrClusterUnavailable.Text)
}

// told has the edges tell of a stream what a test can look for.
func (w *town) told(edges ...string) {
	for _, edge := range edges {
		w.houses[edge].d.options.Quality = func(_ context.Context, room, stream, participant string, users map[string]string) (jsonvalue.Value, bool) {
			one := jsonvalue.OfArray(jsonvalue.OfObject(jsonvalue.M("at", jsonvalue.Of(edge)), jsonvalue.M("who", jsonvalue.Of(participant)),
				jsonvalue.M("users", jsonvalue.OfInt(int64(len(users))))))
			return jsonvalue.OfObject(jsonvalue.M("id", jsonvalue.Of(room+"/"+stream)), jsonvalue.M("edge", jsonvalue.Of(edge)),
				jsonvalue.M("notMixed", one), jsonvalue.M("subscriptions", one), jsonvalue.M("ended", one), jsonvalue.M("omitted", jsonvalue.OfInt(2)),
			), true
		}
	}
}

// TestQualityFromAfar: wherever it is asked for, the quality of a stream is what the stream's edge says, with what is only known on others.
func TestQualityFromAfar(t *testing.T) {
	for _, asked := range []string{"a", "b", "c", "d"} {
		w := newTown(t, nil, "a", "b", "c", "d")
		w.told("a", "b", "c", "d")
		w.join("a", "anna", "presenter") // the home
		w.join("b", "bob", "presenter")
		w.join("c", "vera", "viewer")
		stream := w.publish("b", "bob")
		d := w.houses[asked].d // d has not got the room
		look := func(participant string) (edge string, at []string, omitted int64) {
			t.Helper()
			q, ok := d.StreamQuality(t.Context(), roomID, stream, participant)
			if !ok || q.Get("id").Text() != roomID+"/"+stream || q.Get("ended").Len() != q.Get("subscriptions").Len() {
				t.Errorf("asked at %s: %v", asked, q)
			}
			for i := range q.Get("subscriptions").Len() {
				s := q.Get("subscriptions").Index(i)
				if s.Get("who").Text() != participant || s.Get("users").String() != "3" {
					t.Errorf("asked at %s for %q: %v", asked, participant, s)
				}
				at = append(at, s.Get("at").Text())
			}
			slices.Sort(at)
			omitted, _ = q.Get("omitted").Int()
			return q.Get("edge").Text(), at, omitted
		}
		if edge, at, omitted := look(""); edge != "b" || !slices.Equal(at, []string{"a", "b", "c"}) || omitted != 6 {
			t.Errorf("asked at %s: %s, %q, %d omitted", asked, edge, at, omitted)
		}
		if edge, at, _ := look("bob"); edge != "b" || slices.Contains(at, "c") && asked != "c" {
			t.Errorf("asked at %s for bob: %s, %q", asked, edge, at)
		}
		for _, c := range [][2]string{{"nosuch", ""}, {roomID + "-common", ""}, {strings.Repeat("x", 1000), ""}, {stream, strings.Repeat("x", 1000)}} {
			if q, ok := d.StreamQuality(t.Context(), roomID, c[0], c[1]); ok {
				t.Errorf("asked at %s for %.20s: %v", asked, c[0], q)
			}
		}
		if asked == "d" {
			continue
		}
		w.kill(map[string]string{"a": "c", "b": "c", "c": "a"}[asked]) // the others' word is not kept back
		if edge, at, _ := look(""); edge != "b" || len(at) != 2 {
			t.Errorf("asked at %s while an edge is away: %s, %q", asked, edge, at)
		}
	}
}

// TestSilentEdge: an edge that says nothing does not keep back what the others say, of the quality of a stream, and what one of them does
// for an admin; who may have the subscription is not known while it says nothing.
func TestSilentEdge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, "a", "b", "c")
		w.told("a", "b", "c")
		w.join("a", "boss", "admin")
		w.join("b", "vera", "viewer")
		w.join("c", "carl", "viewer")
		stream := w.publish("a", "boss")
		ack, err := w.houses["b"].d.Subscribe(t.Context(), roomID, "vera", av(stream))
		if err != nil {
			t.Fatal(err)
		}
		w.mesh.mu.Lock()
		w.mesh.silent = map[string]bool{"c": true}
		w.mesh.mu.Unlock()
		d, begin := w.houses["a"].d, time.Now()
		q, ok := d.StreamQuality(t.Context(), roomID, stream, "")
		if took := time.Since(begin); !ok || q.Get("subscriptions").Len() != 2 || took != patience {
			t.Errorf("%v after %v", q, took)
		}
		begin = time.Now()
		wantText(t, "end", d.Unsubscribe(t.Context(), roomID, "boss", ack.ID), "<nil>")
		if took := time.Since(begin); took != 0 {
			t.Errorf("ended after %v", took)
		}
		wantText(t, "once more", d.Unsubscribe(t.Context(), roomID, "boss", ack.ID), portalproto.ErrClusterUnavailable.Text)
		if took := time.Since(begin); took != maxAsk {
			t.Errorf("given up after %v", took)
		}
	})
}

// TestQualityFits: what does not go into an answer is left out, and counted.
func TestQualityFits(t *testing.T) {
	var list []jsonvalue.Value
	for range maxShown {
		list = append(list, jsonvalue.OfObject(jsonvalue.M("text", jsonvalue.Of(strings.Repeat("x", 10_000)))))
	}
	q := jsonvalue.OfObject(jsonvalue.M("subscriptions", jsonvalue.OfArray(list...)), jsonvalue.M("omitted", jsonvalue.OfInt(3)),
		jsonvalue.M("events", jsonvalue.OfArray()), jsonvalue.M("ended", jsonvalue.OfArray()))
	got := fitQuality(q)
	omitted, _ := got.Get("omitted").Int()
	n := got.Get("subscriptions").Len()
	if size := len(got.Append(nil)); size > maxQuality || n < 30 || int(omitted)+n != maxShown+3 || !got.Get("events").Exists() {
		t.Errorf("%d bytes, %d left, %d omitted", size, n, omitted)
	}
	got = fitQuality(q.With("events", jsonvalue.Of(strings.Repeat("x", maxQuality))))
	if size := len(got.Append(nil)); size > maxQuality || got.Get("subscriptions").Len() != 0 {
		t.Errorf("%d bytes", size)
	}
	got = fitQuality(q.With("notMixed", jsonvalue.OfArray(jsonvalue.Of(strings.Repeat("x", maxQuality)))))
	if size := len(got.Append(nil)); size > maxQuality {
		t.Errorf("%d bytes", size)
	}
	two := mergeQuality([]jsonvalue.Value{q, q})
	if omitted, _ := two.Get("omitted").Int(); two.Get("subscriptions").Len() != maxShown || omitted != maxShown+6 {
		t.Errorf("of two: %d, %d omitted", two.Get("subscriptions").Len(), omitted)
	}
}

// endless is a cluster whose home always has more.
type endless struct {
	fakeCluster
	asked int
	reply string
}

func (e *endless) Command(context.Context, string, []byte) ([]byte, error) {
	e.asked++
	return []byte(e.reply), nil
}

// TestEndlessList: a home that always has more is broken off, with an error, be the pages short or long.
func TestEndlessList(t *testing.T) {
	one := `{"id":"x","user":"u","role":"viewer"}`
	for reply, most := range map[string]int{
		`{"participants":[` + one + `],"more":true}`:                                            maxPages,
		`{"participants":[` + strings.Repeat(one+",", 999) + one + `],"more":true}`:             maxListed/1000 + 1,
		`{"participants":[],"more":true}`:                                                       1,
		`{"refused":"` + portalproto.ErrClusterUnavailable.Text + `"}`:                          1,
		`{"participants":[` + strings.Repeat(one+",", 10) + `{"id":"","role":""}],"more":true}`: 1,
	} {
		h := newHouse(t, nil)
		e := &endless{reply: reply}
		h.d.options.Cluster = e
		list, err := h.d.Participants(t.Context(), roomID)
		if (err == nil) != strings.Contains(reply, "[]") || len(list) != 0 || e.asked != most {
			t.Errorf("%.60s: %d, %v, asked %d times", reply, len(list), err, e.asked)
		}
		if streams, err := h.d.Streams(t.Context(), roomID); err != nil && strings.Contains(reply, "[]") || len(streams) != 0 {
			t.Errorf("%.60s: %d streams, %v", reply, len(streams), err)
		}
	}
	n := 0
	list, err := pages(func(from int) ([]string, bool, error) {
		n++
		return []string{fmt.Sprint(from)}, n < 3, nil
	})
	if err != nil || !slices.Equal(list, []string{"0", "1", "2"}) {
		t.Errorf("%q %v", list, err)
	}
}
