package client

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

const edgeURL = "https://portal:8080/"

var dataJoinToken = base64Of(`{"tokenId":"t","host":"portal:8080","secure":false,"webTransportUrl":"` + edgeURL + `","signature":"x"}`)

// dataToken opens the transport of that id.
func dataToken(transport string) string { return base64Of(`{"transportId":"` + transport + `"}`) }

const (
	publishData   = `> publish {"media":null,"data":true,"transport":{"type":"quic","id":"q1"}}`
	subscribeData = `> subscribe {"media":null,"data":{"from":"D"},"transport":{"type":"quic","id":"q1"}}`
	refreshData   = "> refreshWebTransportToken"
)

// withData runs a test with a joined conference that may have data streams.
func withData(t *testing.T, fn func(w *world), change ...func(*Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.portal.login = w.portal.login.With("reconnectionTicket", jsonvalue.Of(w.portal.ticket())).
			With("webTransportToken", jsonvalue.Of(dataToken("q1"))).
			With("webTransportCertificateHashes", portalproto.EncodeHashes([]string{"aGFzaA=="}))
		options := w.options()
		for _, c := range change {
			c(&options)
		}
		c, err := Join(t.Context(), dataJoinToken, options)
		if err != nil {
			t.Fatal(err)
		}
		w.c = c
		synctest.Wait()
		w.portal.journal.take()
		w.events.take()
		fn(w)
		_ = c.Leave(context.Background())
		<-c.Done()
	})
}

// grants gives that token for data streams from now on.
func (w *world) grants(token string) {
	w.portal.set(func() {
		w.portal.answers = func(name string, _ jsonvalue.Value) []jsonvalue.Value {
			if name == portalproto.EventRefreshWebTransport {
				return portalproto.AckOK(portalproto.WebTransportGrant{Token: token}.Encode())
			}
			return nil
		}
	})
}

// dataConnected makes it a world whose program has opened the connection for data.
func (w *world) dataConnected() {
	w.t.Helper()
	if g, err := w.c.OpenData(w.t.Context()); err != nil || g.Token == "" {
		w.t.Fatalf("%+v, %v", g, err)
	}
}

func (w *world) publishData(ctx context.Context) *pending[*Publication] {
	return start(func() (*Publication, error) {
		return w.c.PublishData(ctx, PublishDataOptions{
			OnOpen: func(id string) { w.events.event("open", id) }, OnReady: func(p *Publication) { w.events.event("ready", p.ID()) },
		})
	})
}

func (w *world) subscribeData(ctx context.Context) *pending[*Subscription] {
	return start(func() (*Subscription, error) {
		return w.c.SubscribeData(ctx, "D", func(s *Subscription) { w.events.event("ready", s.ID()) })
	})
}

// dataReady is what the portal says when a data session has its stream.
func (w *world) dataReady(id string) {
	w.portal.notify(portalproto.Progress{Transport: id, Status: portalproto.ProgressReady})
	synctest.Wait()
}

func TestPublishData(t *testing.T) {
	withData(t, func(w *world) {
		early := w.publishData(w.t.Context())
		if <-early.done; !errors.Is(early.err, ErrData) {
			t.Errorf("without a connection: %v", early.err)
		}
		grant, err := w.c.OpenData(w.t.Context())
		if err != nil || grant.URL != edgeURL || grant.Token != dataToken("q1") || len(grant.Hashes) != 1 || grant.Hashes[0] != "aGFzaA==" {
			t.Fatalf("grant %+v, %v", grant, err)
		}
		p := w.publishData(w.t.Context())
		w.messages(publishData)
		w.told("open s1")
		if p.isDone() {
			t.Error("published before there is a stream")
		}
		w.dataReady("s1")
		w.portal.notify(portalproto.StreamAdded{Stream: conference.Stream{ID: "s1", Type: conference.Forward, Data: true}})
		w.told("ready s1", "stream s1")
		if <-p.done; p.err != nil || p.value.ID() != "s1" {
			t.Fatalf("%v, %v", p.value, p.err)
		}
		for _, err := range []error{p.value.Mute(w.t.Context(), ""), p.value.Replace(conference.Audio, nil)} {
			if !errors.Is(err, ErrArgument) {
				t.Errorf("done to data: %v", err)
			}
		}
		// Media beside it have a transport of their own.
		w.published()
		if err := p.value.Stop(w.t.Context()); err != nil {
			t.Error(err)
		}
		w.messages(`> unpublish {"id":"s1"}`)
		w.told("ended s1 " + ReasonStopped)
	})
}

func TestSubscribeData(t *testing.T) {
	withData(t, func(w *world) {
		w.dataConnected()
		// The portal may say that it is ready before it acknowledges, also while other requests are on their way.
		w.portal.set(func() { w.portal.mute["publish"] = true })
		other := w.publishData(w.t.Context())
		synctest.Wait()
		w.portal.journal.take()
		w.portal.set(func() {
			w.portal.answers = func(string, jsonvalue.Value) []jsonvalue.Value {
				w.portal.notify(portalproto.Progress{Transport: "sub", Status: portalproto.ProgressReady})
				return portalproto.AckOK(portalproto.SessionAck{ID: "sub", Transport: "q1"}.Encode())
			}
		})
		s := w.subscribeData(w.t.Context())
		if <-s.done; s.err != nil || s.value.ID() != "sub" || len(s.value.Tracks()) != 0 {
			t.Fatalf("%v, %v", s.value, s.err)
		}
		w.messages(subscribeData)
		w.told("ready sub")
		if err := s.value.Update(w.t.Context(), SubscriptionUpdate{Wanted: portalproto.Wanted{Framerate: 1}}); !errors.Is(err, ErrArgument) {
			t.Errorf("updated: %v", err)
		}
		w.portal.notify(portalproto.Progress{Transport: "sub", Status: portalproto.ProgressError, Reason: portalproto.ReasonSourceLoss})
		w.told("ended sub " + portalproto.ReasonSourceLoss)
		if !s.value.Ended() {
			t.Error("it goes on")
		}
		if <-other.done; !errors.Is(other.err, ErrTimeout) {
			t.Errorf("unanswered: %v", other.err)
		}
	})
}

func TestDataIsRefused(t *testing.T) {
	withData(t, func(w *world) {
		w.dataConnected()
		w.refuse("subscribe", "unauthorized")
		s := w.subscribeData(w.t.Context())
		if <-s.done; !errors.Is(s.err, ErrUnauthorized) {
			t.Errorf("refused: %v", s.err)
		}
		// Acknowledged on another transport, it would never be ready.
		w.portal.set(func() {
			w.portal.answers = func(name string, _ jsonvalue.Value) []jsonvalue.Value {
				if name != "publish" {
					return nil
				}
				return portalproto.AckOK(portalproto.SessionAck{ID: "x", Transport: "elsewhere"}.Encode())
			}
		})
		p := w.publishData(w.t.Context())
		if <-p.done; !errors.Is(p.err, ErrProtocol) {
			t.Errorf("elsewhere: %v", p.err)
		}
		w.messages(subscribeData, publishData, `> unpublish {"id":"x"}`)
		// Never ready.
		w.portal.set(func() { w.portal.answers = nil })
		q := w.publishData(w.t.Context())
		if <-q.done; !errors.Is(q.err, ErrTimeout) {
			t.Errorf("never ready: %v", q.err)
		}
		w.messages(publishData, `> unpublish {"id":"s1"}`)
		w.told("open s1")
	})
}

// TestDataIsGivenUp: whoever does not wait any more leaves nothing behind, whenever the portal answers.
func TestDataIsGivenUp(t *testing.T) {
	withData(t, func(w *world) {
		w.dataConnected()
		ctx, cancel := context.WithCancel(w.t.Context())
		hold := make(chan struct{})
		w.portal.set(func() {
			w.portal.answers = func(name string, _ jsonvalue.Value) []jsonvalue.Value {
				if name == "subscribe" {
					<-hold
				}
				return nil
			}
		})
		s := w.subscribeData(ctx)
		synctest.Wait()
		cancel()
		if <-s.done; !errors.Is(s.err, context.Canceled) {
			t.Errorf("cancelled: %v", s.err)
		}
		w.messages(subscribeData)
		close(hold)
		w.messages(`> unsubscribe {"id":"s1"}`)
	})
}

func TestDataConnectionIsLost(t *testing.T) {
	withData(t, func(w *world) {
		w.dataConnected()
		p := w.publishData(w.t.Context())
		synctest.Wait()
		w.dataReady("s1")
		<-p.done
		waiting := w.subscribeData(w.t.Context())
		synctest.Wait()
		w.portal.journal.take()
		w.events.take()
		w.c.DataLost()
		if <-waiting.done; !errors.Is(waiting.err, ErrData) || !p.value.Ended() {
			t.Errorf("waiting: %v, publication ended %v", waiting.err, p.value.Ended())
		}
		w.inAnyOrder(`> unpublish {"id":"s1"}`, `> unsubscribe {"id":"s2"}`)
		w.told("ended s1 " + ReasonData)
		again := w.publishData(w.t.Context())
		if <-again.done; !errors.Is(again.err, ErrData) {
			t.Errorf("on the lost connection: %v", again.err)
		}
		w.grants(dataToken("q2"))
		if g, err := w.c.OpenData(w.t.Context()); err != nil || g.Token != dataToken("q2") || g.URL != edgeURL || g.Hashes != nil {
			t.Errorf("grant %+v, %v", g, err)
		}
		w.messages(refreshData)
		w.publishData(w.t.Context())
		w.messages(strings.Replace(publishData, "q1", "q2", 1))
		w.c.DataLost()
		w.grants("nothing that can be read")
		if g, err := w.c.OpenData(w.t.Context()); !errors.Is(err, ErrProtocol) {
			t.Errorf("grant %+v, %v", g, err)
		}
		w.refuse(portalproto.EventRefreshWebTransport, portalproto.ErrNoWebTransport.Text)
		var refused *ServerError
		if g, err := w.c.OpenData(w.t.Context()); !errors.As(err, &refused) {
			t.Errorf("grant %+v, %v", g, err)
		}
	})
}

// TestDataWhenResumed: data goes on while the connection to the portal is lost; a token that comes with the resumption is the next one.
func TestDataWhenResumed(t *testing.T) {
	withData(t, func(w *world) {
		w.dataConnected()
		p := w.publishData(w.t.Context())
		synctest.Wait()
		w.dataReady("s1")
		<-p.done
		w.cutOff()
		waiting := w.subscribeData(w.t.Context())
		synctest.Wait()
		w.portal.set(func() { w.portal.regrant = dataToken("q2") })
		w.reachable()
		w.dataReady("s2")
		if <-waiting.done; waiting.err != nil || p.value.Ended() {
			t.Errorf("subscription %v, publication ended %v", waiting.err, p.value.Ended())
		}
		w.c.DataLost()
		w.portal.journal.take()
		if g, err := w.c.OpenData(w.t.Context()); err != nil || g.Token != dataToken("q2") {
			t.Errorf("grant %+v, %v", g, err)
		}
		w.inAnyOrder(`> unpublish {"id":"s1"}`, `> unsubscribe {"id":"s2"}`)
	})
}

// TestDataOfUnknownOutcome: a subscription whose acknowledgement was lost is ended when the portal tells of it.
func TestDataOfUnknownOutcome(t *testing.T) {
	withData(t, func(w *world) {
		w.dataConnected()
		w.portal.set(func() { w.portal.losses["subscribe"] = "unanswered" })
		s := w.subscribeData(w.t.Context())
		if <-s.done; !errors.Is(s.err, ErrUnknownOutcome) {
			t.Errorf("lost: %v", s.err)
		}
		synctest.Wait()
		w.portal.journal.take()
		w.dataReady("s1")
		w.messages(`> unpublish {"id":"s1"}`, `> unsubscribe {"id":"s1"}`)
	})
}

// TestDataWhenJoinedAnew: the connection was the earlier participant's.
func TestDataWhenJoinedAnew(t *testing.T) {
	token := func(o *Options) {
		o.Token = func(context.Context) (string, error) { return dataJoinToken, nil }
	}
	withData(t, func(w *world) {
		w.dataConnected()
		p := w.publishData(w.t.Context())
		synctest.Wait()
		w.dataReady("s1")
		<-p.done
		waiting := w.subscribeData(w.t.Context())
		synctest.Wait()
		w.events.take()
		w.portal.journal.take()
		w.forget()
		w.portal.set(func() { w.portal.login = w.portal.login.With("webTransportToken", jsonvalue.Of(dataToken("q2"))) })
		w.portal.lose(errReset)
		if <-waiting.done; !errors.Is(waiting.err, ErrLost) || !p.value.Ended() {
			t.Errorf("waiting: %v, publication ended %v", waiting.err, p.value.Ended())
		}
		synctest.Wait()
		if told := strings.Join(w.events.take(), "\n"); !strings.Contains(told, "ended s1 "+ReasonGone) || strings.Contains(told, "restored s1") {
			t.Errorf("told\n%s", told)
		}
		if got := strings.Join(w.heard(), "\n"); strings.Contains(got, "unpublish") || strings.Contains(got, `"data"`) {
			t.Errorf("the new participant said\n%s", got)
		}
		if g, err := w.c.OpenData(w.t.Context()); err != nil || g.Token != dataToken("q2") {
			t.Errorf("grant %+v, %v", g, err)
		}
	}, token)
}

func TestNoDataStreams(t *testing.T) {
	inWorld(t, func(w *world) { // the token names no address
		if g, err := w.c.OpenData(w.t.Context()); !errors.Is(err, ErrNoData) {
			t.Errorf("grant %+v, %v", g, err)
		}
		_, err1 := w.c.SubscribeData(w.t.Context(), "", nil)
		_, err2 := w.c.PublishData(w.t.Context(), PublishDataOptions{Attributes: jsonvalue.Of("x")})
		if !errors.Is(err1, ErrArgument) || !errors.Is(err2, ErrArgument) {
			t.Errorf("%v, %v", err1, err2)
		}
		w.c.DataLost()
		w.messages()
	})
	for text, want := range map[string]string{
		`{"host":"h","webTransportUrl":"https://h:1/"}`: "https://h:1/", `{"webTransportUrl":"http://h/"}`: "", `{"webTransportUrl":7}`: "",
		`{"webTransportUrl":"https://` + strings.Repeat("h", maxDataURL) + `"}`: "", `[]`: "", `x`: "",
	} {
		if got := dataURL(base64Of(text)); got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
	for text, want := range map[string]string{`{"transportId":"q"}`: "q", `{}`: "", `x`: ""} {
		if got := transportOf(strings.TrimRight(base64Of(text), "=")); got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
	if got := transportOf(dataToken(strings.Repeat("q", maxToken))); got != "" {
		t.Error("a token of any length")
	}
}

func FuzzDataToken(f *testing.F) {
	f.Add(dataJoinToken)
	f.Add(dataToken("q"))
	f.Fuzz(func(t *testing.T, token string) {
		if url := dataURL(token); url != "" && !strings.HasPrefix(url, "https://") {
			t.Errorf("%q", url)
		}
		if id := transportOf(token); len(id) > base64.StdEncoding.DecodedLen(len(token)) {
			t.Errorf("%q", id)
		}
	})
}

// Whatever the portal says of a data session, in whatever order, is survived.
func TestDataProgressOfAllKinds(t *testing.T) {
	withData(t, func(w *world) {
		w.dataConnected()
		p := w.publishData(w.t.Context())
		synctest.Wait()
		for _, status := range []string{"soac", "rtp", "ready", "ready", "error", "error", "ready"} {
			w.portal.push("progress", parse(t, `{"id":"s1","status":"`+status+`","data":"why"}`))
		}
		if <-p.done; p.err != nil {
			t.Error(p.err)
		}
		time.Sleep(time.Minute) // synthetic time
		w.told("open s1", "ready s1", "ended s1 why")
	})
}
