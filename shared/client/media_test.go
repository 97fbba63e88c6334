package client

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

const (
	publishFirst    = `> publish {"media":{"tracks":[{"type":"audio","mid":"0","source":"mic"},{"type":"video","mid":"1","source":"camera"}]},"transport":{"type":"webrtc"}}`
	publishSecond   = `> publish {"media":{"tracks":[{"type":"audio","mid":"2","source":"mic"},{"type":"video","mid":"3","source":"camera"}]},"transport":{"type":"webrtc","id":"s1"}}`
	subscribeSecond = `> subscribe {"media":{"tracks":[{"type":"audio","mid":"2","from":"S"},{"type":"video","mid":"3","from":"S"}]},"transport":{"type":"webrtc","id":"s1"}}`
)

// silent has the portal acknowledge offers and say no more.
func (w *world) silent() {
	w.portal.set(func() { w.portal.onOffer = func(string, string) {} })
}

func (w *world) talking() {
	w.portal.set(func() { w.portal.onOffer = nil })
}

func (w *world) answerTo(transport, sdp string) {
	w.portal.notify(portalproto.Progress{Transport: transport, Status: portalproto.ProgressSOAC, Answer: sdp})
}

// lines is an SDP of audio m-lines, for answers: "0:recvonly".
func lines(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		mid, dir, _ := strings.Cut(p, ":")
		b.WriteString("m=audio 9 X 96\r\na=mid:" + mid + "\r\na=" + dir + "\r\n")
	}
	return b.String()
}

func TestPublish(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.publish(w.t.Context())
		if <-p.done; p.err != nil {
			t.Fatal(p.err)
		}
		w.messages("peer1 new", publishFirst, "> offer s1 0:sendonly 1:sendonly", "peer1 answer 0:recvonly 1:recvonly")
		if p.value.ID() != "s1" {
			t.Errorf("id %q", p.value.ID())
		}
		if s := w.peers.config.ICEServers; len(s) != 1 || s[0].URLs[0] != "turn:relay:3478" || s[0].Credential != "c" {
			t.Errorf("ICE servers %v", s)
		}
		if err := p.value.Mute(w.t.Context(), conference.Audio); err != nil {
			t.Error(err)
		}
		if err := p.value.Unmute(w.t.Context(), ""); err != nil {
			t.Error(err)
		}
		if err := p.value.Replace(conference.Video, "screen"); err != nil {
			t.Error(err)
		}
		w.messages(`> stream-control {"id":"s1","operation":"pause","data":"audio"}`, `> stream-control {"id":"s1","operation":"play","data":"av"}`,
			"peer1 replace 1 screen")
		if err := p.value.Stop(w.t.Context()); err != nil {
			t.Error(err)
		}
		if err := p.value.Stop(w.t.Context()); err != nil {
			t.Errorf("second stop: %v", err)
		}
		w.told("ended s1 " + ReasonStopped)
		// The negotiator stops the lines beside the caller, who silences them and tells the portal.
		w.inAnyOrder(`> unpublish {"id":"s1"}`, "peer1 replace 0 nil", "peer1 replace 1 nil", "peer1 stop 0", "peer1 stop 1")
		if err := p.value.Replace(conference.Video, "cam"); !errors.Is(err, ErrStopped) {
			t.Errorf("replace after stop: %v", err)
		}
		// The next session uses the transport that is there, and says that the old m-lines are over.
		q := w.publish(w.t.Context())
		<-q.done
		w.messages(publishSecond, "> offer s1 0:inactive 1:inactive 2:sendonly 3:sendonly",
			"peer1 answer 0:inactive 1:inactive 2:recvonly 3:recvonly")
	})
}

func TestSubscribe(t *testing.T) {
	inWorld(t, func(w *world) {
		s := w.subscribe(w.t.Context())
		if <-s.done; s.err != nil {
			t.Fatal(s.err)
		}
		w.messages("peer1 new", `> subscribe {"media":{"tracks":[{"type":"audio","mid":"0","from":"S"},{"type":"video","mid":"1","from":"S"}]},"transport":{"type":"webrtc"}}`,
			"> offer s1 0:recvonly 1:recvonly", "peer1 answer 0:sendonly 1:sendonly")
		tracks := s.value.Tracks()
		if len(tracks) != 2 || tracks[0].Kind != conference.Audio || tracks[0].Track != "track 0" || tracks[1].Mid != "1" || tracks[0].Streams[0] != "ms" {
			t.Errorf("tracks %v", tracks)
		}
		if err := errors.Join(s.value.Mute(w.t.Context(), conference.Video), s.value.Unmute(w.t.Context(), conference.Video),
			s.value.Update(w.t.Context(), SubscriptionUpdate{Wanted: portalproto.Wanted{Resolution: conference.Resolution{Width: 320, Height: 240}}}),
			s.value.Stop(w.t.Context())); err != nil {
			t.Error(err)
		}
		w.told("ended s1 " + ReasonStopped)
		w.inAnyOrder(`> subscription-control {"id":"s1","operation":"pause","data":"video"}`, `> subscription-control {"id":"s1","operation":"play","data":"video"}`,
			`> subscription-control {"id":"s1","operation":"update","data":{"video":{"parameters":{"resolution":{"width":320,"height":240}}}}}`,
			`> unsubscribe {"id":"s1"}`, "peer1 stop 0", "peer1 stop 1")
	})
}

// TestQuality: what the server says of a subscription comes as it is; a server of others refuses.
func TestQuality(t *testing.T) {
	inWorld(t, func(w *world) {
		s := w.subscribe(w.t.Context())
		if <-s.done; s.err != nil {
			t.Fatal(s.err)
		}
		answer := jsonvalue.OfObject(jsonvalue.M("id", jsonvalue.Of("s1")), jsonvalue.M("new", jsonvalue.OfInt(1)))
		w.portal.mu.Lock()
		w.portal.answers = func(name string, data jsonvalue.Value) []jsonvalue.Value {
			if name == portalproto.EventSubscriptionQuality && data.String() == `{"id":"s1"}` {
				return portalproto.AckOK(answer)
			}
			return nil
		}
		w.portal.mu.Unlock()
		if q, err := s.value.Quality(w.t.Context()); err != nil || !jsonvalue.Equal(q, answer) {
			t.Errorf("%v, %v", q, err)
		}
		w.refuse(portalproto.EventSubscriptionQuality, portalproto.ErrNoSubscription.Text)
		var refused *ServerError
		if _, err := s.value.Quality(w.t.Context()); !errors.As(err, &refused) {
			t.Errorf("of one that is gone: %v", err)
		}
	})
}

// TestOneNegotiationAtATime: the second session waits for the answer to the first offer.
func TestOneNegotiationAtATime(t *testing.T) {
	inWorld(t, func(w *world) {
		w.silent()
		first := w.publish(w.t.Context())
		w.messages("peer1 new", publishFirst, "> offer s1 0:sendonly 1:sendonly")
		second := w.subscribe(w.t.Context())
		w.messages()
		w.answerTo("s1", lines("0:recvonly", "1:recvonly"))
		w.messages("peer1 answer 0:recvonly 1:recvonly", subscribeSecond, "> offer s1 0:sendonly 1:sendonly 2:recvonly 3:recvonly")
		if first.isDone() {
			t.Error("published without ready")
		}
		w.portal.ready("s1")
		if <-first.done; first.err != nil {
			t.Error(first.err)
		}
		synctest.Wait()
		if second.isDone() {
			t.Error("subscribed without an answer")
		}
		w.answerTo("s1", lines("0:recvonly", "1:recvonly", "2:sendonly", "3:sendonly"))
		w.messages("peer1 answer 0:recvonly 1:recvonly 2:sendonly 3:sendonly")
		if <-second.done; second.err != nil || second.value.ID() != "s2" {
			t.Error(second.err)
		}
	})
}

func TestReadyBeforeAnswer(t *testing.T) {
	inWorld(t, func(w *world) {
		w.silent()
		s := w.subscribe(w.t.Context())
		synctest.Wait()
		w.portal.ready("s1")
		synctest.Wait()
		if s.isDone() {
			t.Error("subscribed without tracks")
		}
		w.answerTo("s1", lines("0:sendonly", "1:inactive")) // the server sends one of the two
		if <-s.done; s.err != nil || len(s.value.Tracks()) != 1 {
			t.Errorf("%v", s.err)
		}
	})
}

func TestCandidates(t *testing.T) {
	inWorld(t, func(w *world) {
		w.silent()
		p := w.publish(w.t.Context())
		synctest.Wait()
		peer := w.peers.last()
		peer.events.Candidate("candidate:1 udp", "0", 0)
		peer.events.Candidate("a=candidate:2 udp", "1", 1)
		peer.events.Candidate("", "0", 0)
		w.messages("peer1 new", publishFirst, "> offer s1 0:sendonly 1:sendonly")
		w.answerTo("s1", lines("0:recvonly", "1:recvonly"))
		w.messages("peer1 answer 0:recvonly 1:recvonly",
			`> (no ack) soac {"id":"s1","signaling":{"type":"candidate","candidate":{"candidate":"a=candidate:1 udp","sdpMid":"0","sdpMLineIndex":0}}}`,
			`> (no ack) soac {"id":"s1","signaling":{"type":"candidate","candidate":{"candidate":"a=candidate:2 udp","sdpMid":"1","sdpMLineIndex":1}}}`)
		peer.events.Candidate("candidate:3 tcp", "0", 0)
		w.messages(`> (no ack) soac {"id":"s1","signaling":{"type":"candidate","candidate":{"candidate":"a=candidate:3 tcp","sdpMid":"0","sdpMLineIndex":0}}}`)
		w.portal.ready("s1")
		<-p.done
		// Another negotiation sends no candidate again.
		w.talking()
		q := w.publish(w.t.Context())
		<-q.done
		w.messages(publishSecond, "> offer s1 0:sendonly 1:sendonly 2:sendonly 3:sendonly", "peer1 answer 0:recvonly 1:recvonly 2:recvonly 3:recvonly")
	})
}
