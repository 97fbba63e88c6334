package client

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

const (
	homeURL   = "http://portal:8080"
	secondURL = "http://second:8080"
	thirdURL  = "http://third:8080"
)

// inCluster is resumable with a portal that names two other edges, and a client that has published and subscribed.
func inCluster(t *testing.T, fn func(w *world, pub *Publication, sub *Subscription), changes ...func(*Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.portal.login = w.portal.login.With("edges", jsonvalue.OfStrings([]string{secondURL, thirdURL, homeURL, "ftp://x", "http://a/b"})).
			With("reconnectionTicket", jsonvalue.Of(w.portal.ticket()))
		w.portal.down, w.portal.hung = map[string]bool{}, map[string]bool{}
		options := w.options()
		options.SDKType = "JavaScript"
		for _, change := range changes {
			change(&options)
		}
		var err error
		if w.c, err = Join(t.Context(), goodToken, options); err != nil {
			t.Fatal(err)
		}
		pub := w.published()
		sub := w.subscribe(t.Context())
		if <-sub.done; sub.err != nil {
			t.Fatal(sub.err)
		}
		w.peers.last().events.State("connected")
		synctest.Wait()
		w.portal.journal.take()
		w.events.take()
		fn(w, pub, sub.value)
		_ = w.c.Leave(t.Context())
		<-w.c.Done()
	})
}

func (w *world) dials() (list []string) {
	for _, m := range w.portal.journal.take() {
		if url, ok := strings.CutPrefix(m, "dial "); ok {
			list = append(list, url)
		}
	}
	return list
}

// TestEdgeDies: the client takes its place on another edge at once; its stream keeps its id, and nobody is told that anybody left.
func TestEdgeDies(t *testing.T) {
	inCluster(t, func(w *world, pub *Publication, sub *Subscription) {
		w.portal.set(func() { w.portal.down[homeURL], w.portal.moved = true, true })
		begin := time.Now()
		w.portal.lose(errReset)
		synctest.Wait()
		if took := time.Since(begin); took > 0 {
			t.Errorf("it took %v", took)
		}
		w.told("state reconnecting connected", "state joined connected", "restored s1 s1", "restored s2 n2")
		time.Sleep(overlap)
		synctest.Wait()
		all := w.portal.journal.take()
		text := strings.Join(all, "\n")
		for _, want := range []string{
			"dial " + homeURL, "dial " + secondURL, `"restore":true,"migrate":true}`, "peer2 new", `"resume":"s1"`,
			`> subscribe {"media":{"tracks":[{"type":"audio","mid":"2","from":"S"},{"type":"video","mid":"3","from":"S"}]},"transport":{"type":"webrtc","id":"s1"}}`,
			"peer1 close",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("no %s in\n%s", want, text)
			}
		}
		if slices.Index(all, "peer1 close") < slices.Index(all, "peer2 new") {
			t.Errorf("the media of before ended first\n%s", text)
		}
		if pub.ID() != "s1" || sub.ID() != "n2" || len(sub.Tracks()) != 2 || pub.Ended() {
			t.Errorf("%s, %s, %d tracks", pub.ID(), sub.ID(), len(sub.Tracks()))
		}
		// From there on the new edge is where it resumes.
		w.portal.set(func() { w.portal.moved = false })
		w.portal.lose(errReset)
		synctest.Wait()
		if got := w.dials(); !slices.Equal(got, []string{secondURL}) {
			t.Errorf("resumed at %v", got)
		}
	})
}

// TestEdgeHangs: an edge that takes no connection is not waited for as long as when it is the only one.
func TestEdgeHangs(t *testing.T) {
	inCluster(t, func(w *world, pub *Publication, _ *Subscription) {
		w.portal.set(func() { w.portal.hung[homeURL], w.portal.down[secondURL], w.portal.moved = true, true, true })
		begin := time.Now()
		w.portal.lose(errReset)
		time.Sleep(firstTry)
		synctest.Wait()
		if got := w.dials(); !slices.Equal(got, []string{homeURL, secondURL, thirdURL}) || pub.ID() != "s1" || time.Since(begin) > firstTry {
			t.Errorf("%v", got)
		}
	})
}

// TestNoEdgeTakesIt: a cluster that is not whole is asked again, one that does not know the participant is not.
func TestNoEdgeTakesIt(t *testing.T) {
	inCluster(t, func(w *world, pub *Publication, _ *Subscription) {
		w.portal.set(func() { w.portal.down[homeURL], w.portal.moved = true, true })
		w.refuse("relogin", portalproto.ErrClusterUnavailable.Text)
		w.portal.lose(errReset)
		synctest.Wait()
		if got := w.dials(); !slices.Equal(got, []string{homeURL, secondURL, thirdURL}) {
			t.Errorf("first %v", got)
		}
		w.refuse("relogin", portalproto.ErrNoClient.Text)
		<-w.c.Done()
		if got := w.dials(); !slices.Equal(got, []string{homeURL, secondURL}) || !pub.Ended() {
			t.Errorf("then %v", got)
		}
	})
}

// TestMove: asked to go, the client goes, and the media of before end only when those over there have come.
func TestMove(t *testing.T) {
	inCluster(t, func(w *world, pub *Publication, sub *Subscription) {
		var offers []string
		w.portal.set(func() {
			w.portal.moved = true
			w.portal.onOffer = func(transport, sdp string) { offers = append(offers, sdp) }
		})
		old := w.portal.last
		w.portal.notify(portalproto.Move{Edges: []string{thirdURL, secondURL}, Ticket: "t2", Deadline: time.Minute})
		synctest.Wait()
		all := w.portal.journal.take()
		if !slices.Contains(all, "dial "+thirdURL) || !slices.Contains(all, `> relogin {"ticket":"t2","restore":true,"migrate":true}`) || len(offers) != 1 {
			t.Fatalf("%d offers, %s", len(offers), strings.Join(all, "\n"))
		}
		if slices.Contains(all, "peer1 close") || isClosed(old) {
			t.Error("the media of before have ended")
		}
		w.portal.set(func() { w.portal.onOffer = nil })
		w.portal.accept("s1", offers[0])
		synctest.Wait()
		w.told("state joined connected", "restored s1 s1", "restored s2 n2")
		time.Sleep(overlap - 1)
		synctest.Wait()
		if isClosed(old) {
			t.Error("the media of before did not go on for a while")
		}
		time.Sleep(1)
		synctest.Wait()
		if all := w.portal.journal.take(); !slices.Contains(all, "peer1 close") || !isClosed(old) {
			t.Errorf("the media of before go on\n%s", strings.Join(all, "\n"))
		}
		w.peers.last().events.State("connecting")
		w.peers.last().events.State("connected")
		w.portal.lose(errReset) // it resumes where it is now
		synctest.Wait()
		if got := w.dials(); !slices.Equal(got, []string{thirdURL}) || pub.ID() != "s1" || len(sub.Tracks()) != 2 {
			t.Errorf("resumed at %v", got)
		}
	})
}

func isClosed(s *fakeSocket) bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// TestNowhereToMove: without an edge that takes it the client stays where it is, and tries until the edge stops.
func TestNowhereToMove(t *testing.T) {
	inCluster(t, func(w *world, pub *Publication, _ *Subscription) {
		w.portal.set(func() { w.portal.down[secondURL], w.portal.hung[thirdURL] = true, true })
		w.portal.notify(portalproto.Move{Edges: []string{secondURL, thirdURL}, Ticket: "t2", Deadline: time.Minute})
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		w.told()
		if tries := w.dials(); len(tries) < 6 || pub.Ended() {
			t.Errorf("%v", tries)
		}
		if err := pub.Mute(w.t.Context(), ""); err != nil {
			t.Error(err)
		}
		w.portal.set(func() { w.portal.hung[thirdURL], w.portal.moved = false, true })
		w.portal.notify(portalproto.Move{Edges: []string{thirdURL}, Ticket: "t3"})
		w.told("state joined connected", "restored s1 s1", "restored s2 n2")
	})
}

// TestFormerMediaEnd: sessions that never come again do not keep the media of before for ever.
func TestFormerMediaEnd(t *testing.T) {
	inCluster(t, func(w *world, _ *Publication, _ *Subscription) {
		w.portal.set(func() {
			w.portal.moved = true
			w.portal.onOffer = func(string, string) {}
		})
		w.portal.notify(portalproto.Move{Edges: []string{secondURL}, Ticket: "t2"})
		time.Sleep(formerTime)
		synctest.Wait()
		if all := w.portal.journal.take(); !slices.Contains(all, "peer1 close") {
			t.Errorf("%s", strings.Join(all, "\n"))
		}
	})
}

// TestEdgesOf: nothing leads from TLS to where there is none, or anywhere but to a host.
func TestEdgesOf(t *testing.T) {
	all := []string{"http://a:1", "https://b:2", "https://b:2", "https://c/d", "//e", "f", "wss://g", "https://h@i"}
	if got := edgesOf("https://x", all); !slices.Equal(got, []string{"https://b:2"}) {
		t.Errorf("%v", got)
	}
	if got := edgesOf("http://x", all); !slices.Equal(got, []string{"http://a:1", "https://b:2"}) {
		t.Errorf("%v", got)
	}
	if isFinal(errors.New("x")) || !isFinal(&ServerError{Request: portalproto.EventRelogin, Text: "x"}) {
		t.Error("isFinal")
	}
}
