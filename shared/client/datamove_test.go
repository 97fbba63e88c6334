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

// inDataCluster is withData with a portal that names another edge, a publication of data s1 and a subscription s2 to D.
func inDataCluster(t *testing.T, fn func(w *world, pub *Publication, sub *Subscription)) {
	t.Helper()
	withData(t, func(w *world) {
		w.dataConnected()
		pub := w.publishData(w.t.Context())
		synctest.Wait()
		w.dataReady("s1")
		<-pub.done
		sub := w.subscribeData(w.t.Context())
		synctest.Wait()
		w.dataReady("s2")
		<-sub.done
		if pub.err != nil || sub.err != nil {
			t.Fatal(pub.err, sub.err)
		}
		w.portal.journal.take()
		w.events.take()
		w.portal.set(func() {
			w.portal.login = w.portal.login.With("webTransportToken", jsonvalue.Of(dataToken("q9"))).
				With("webTransportUrl", jsonvalue.Of("https://second/"))
			w.portal.moved, w.portal.down, w.portal.hung = true, map[string]bool{}, map[string]bool{}
		})
		fn(w, pub.value, sub.value)
	}, func(o *Options) { o.SDKType = "JavaScript" })
}

// hasStream puts D into the room as the next edge shows it.
func (w *world) hasStream() {
	w.portal.set(func() {
		room := w.portal.login.Get("room")
		streams := jsonvalue.OfArray(room.Get("streams").Index(0), parse(w.t,
			`{"id":"D","type":"forward","media":{"tracks":[]},"data":true,"info":{"owner":"bob","type":"quic","inViews":[]}}`))
		w.portal.login = w.portal.login.With("room", room.With("streams", streams))
	})
}

// reopened is what happens when the program has opened a connection to the new edge.
func (w *world) reopened(pub *Publication, sub *Subscription) {
	w.t.Helper()
	w.portal.set(func() { // its requests are answered beside each other
		w.portal.answers = func(name string, _ jsonvalue.Value) []jsonvalue.Value {
			if name != "subscribe" {
				return nil
			}
			return portalproto.AckOK(portalproto.SessionAck{ID: "n2", Transport: "q9"}.Encode())
		}
	})
	if g, err := w.c.OpenData(w.t.Context()); err != nil || g.URL != "https://second/" || g.Token != dataToken("q9") {
		w.t.Fatalf("grant %+v, %v", g, err)
	}
	w.messages(`> publish {"media":null,"data":true,"transport":{"type":"quic","id":"q9"},"resume":"s1"}`,
		strings.Replace(subscribeData, "q1", "q9", 1))
	w.told()
	w.dataReady("s1")
	w.dataReady("n2")
	w.told("restored s1 s1", "restored s2 n2")
	if pub.ID() != "s1" || sub.ID() != "n2" || pub.Ended() || sub.Ended() {
		w.t.Errorf("%s, %s", pub.ID(), sub.ID())
	}
}

// TestDataMoves: asked to go to another edge, the client goes on there with its data as soon as the program has a connection.
func TestDataMoves(t *testing.T) {
	inDataCluster(t, func(w *world, pub *Publication, sub *Subscription) {
		w.hasStream()
		w.portal.notify(portalproto.Move{Edges: []string{secondURL}, Ticket: "t2", Deadline: time.Minute})
		w.told("state joined ", "stream D", "datamoved")
		w.dials()
		w.reopened(pub, sub)
	})
}

// TestDataAfterDeath: it makes no difference whether the program notices first that the connection for data is lost, or the conference that
// the edge is.
func TestDataAfterDeath(t *testing.T) {
	for _, first := range []string{"data", "edge"} {
		t.Run(first, func(t *testing.T) {
			inDataCluster(t, func(w *world, pub *Publication, sub *Subscription) {
				w.hasStream()
				w.portal.set(func() {
					w.portal.down[homeURL] = true
					w.portal.login = w.portal.login.With("edges", jsonvalue.OfStrings([]string{secondURL}))
				})
				w.knowsEdge()
				if first == "data" {
					w.portal.set(func() { w.portal.mute[portalproto.EventRefreshTicket] = true })
					w.c.DataLost()
					w.told()
					time.Sleep(probeTime) // the edge does not answer
				} else {
					w.portal.lose(errReset)
					w.c.DataLost()
				}
				w.told("state reconnecting ", "state joined ", "stream D", "datamoved")
				w.portal.set(func() { w.portal.mute[portalproto.EventRefreshTicket] = false })
				w.portal.journal.take()
				w.reopened(pub, sub)
			})
		})
	}
}

// knowsEdge lets the client know of the other edge, as a login does.
func (w *world) knowsEdge() {
	_ = w.c.do(w.t.Context(), func() error { w.c.state.edges = []string{secondURL}; return nil })
}

// TestDataLostAlone: when the edge is there the sessions end as they do without others.
func TestDataLostAlone(t *testing.T) {
	inDataCluster(t, func(w *world, pub *Publication, sub *Subscription) {
		w.knowsEdge()
		w.c.DataLost()
		synctest.Wait()
		told := w.events.take()
		slices.Sort(told)
		compare(t, "events", told, []string{"ended s1 " + ReasonData, "ended s2 " + ReasonData})
		if got := w.heard(); !slices.Contains(got, `> unpublish {"id":"s1"}`) || !slices.Contains(got, `> unsubscribe {"id":"s2"}`) ||
			!pub.Ended() || !sub.Ended() {
			t.Errorf("%v", got)
		}
		// Nor do they outlive a break after which the edge is the same.
		w.grants(dataToken("q2"))
		if _, err := w.c.OpenData(w.t.Context()); err != nil {
			t.Fatal(err)
		}
		p := w.publishData(w.t.Context())
		synctest.Wait()
		w.dataReady("s3")
		<-p.done
		w.portal.set(func() { w.portal.moved = false })
		w.events.take()
		w.portal.lose(errReset)
		w.c.DataLost()
		synctest.Wait()
		if !p.value.Ended() {
			t.Errorf("it goes on: %v", w.events.take())
		}
	})
}

// TestDataThatDoesNotMove: what has no stream any more ends, so does what is on its way, and all of it when there are no data streams over
// there, or the program opens no connection.
func TestDataThatDoesNotMove(t *testing.T) {
	t.Run("no stream", func(t *testing.T) {
		inDataCluster(t, func(w *world, pub *Publication, sub *Subscription) {
			waiting := w.publishData(w.t.Context())
			w.told("open s3")
			w.portal.notify(portalproto.Move{Edges: []string{secondURL}, Ticket: "t2"})
			w.told("state joined ", "ended s2 "+portalproto.ReasonSourceLoss, "datamoved")
			if <-waiting.done; !errors.Is(waiting.err, errReplaced) || pub.Ended() || !sub.Ended() {
				t.Errorf("%v, %v, %v", waiting.err, pub.Ended(), sub.Ended())
			}
			time.Sleep(w.c.options.Timeouts.Ready) // nobody opens a connection
			w.told("ended s1 " + ReasonGone)
		})
	})
	t.Run("no data", func(t *testing.T) {
		inDataCluster(t, func(w *world, pub *Publication, sub *Subscription) {
			w.hasStream()
			w.portal.set(func() { w.portal.login = w.portal.login.With("webTransportUrl", jsonvalue.Value{}) })
			w.portal.notify(portalproto.Move{Edges: []string{secondURL}, Ticket: "t2"})
			synctest.Wait()
			if !pub.Ended() || !sub.Ended() {
				t.Errorf("they go on: %v", w.events.take())
			}
			if _, err := w.c.OpenData(w.t.Context()); !errors.Is(err, ErrNoData) {
				t.Error(err)
			}
		})
	})
}

// TestDataAsAnother: a publication whose stream had ended is another one on the new edge, and needs a stream of its own.
func TestDataAsAnother(t *testing.T) {
	inDataCluster(t, func(w *world, pub *Publication, _ *Subscription) {
		w.hasStream()
		w.portal.set(func() {
			w.portal.answers = func(name string, _ jsonvalue.Value) []jsonvalue.Value {
				if name != "publish" {
					return nil
				}
				return portalproto.AckOK(portalproto.SessionAck{ID: "other", Transport: "q9"}.Encode())
			}
		})
		w.portal.notify(portalproto.Move{Edges: []string{secondURL}, Ticket: "t2"})
		synctest.Wait()
		w.events.take()
		if _, err := w.c.OpenData(w.t.Context()); err != nil {
			t.Fatal(err)
		}
		w.told("open other")
		w.dataReady("other")
		w.told("restored s1 other")
		if pub.ID() != "other" {
			t.Error(pub.ID())
		}
	})
}
