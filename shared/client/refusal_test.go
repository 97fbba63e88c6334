package client

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

func (w *world) refuse(name, text string) { w.refuseAll(map[string]string{name: text}) }

func (w *world) refuseAll(texts map[string]string) {
	w.portal.set(func() {
		w.portal.answers = func(name string, _ jsonvalue.Value) []jsonvalue.Value {
			if text, refused := texts[name]; refused {
				return portalproto.AckError(&portalproto.Error{Text: text})
			}
			return nil
		}
	})
}

// TestFirstRefused: without a transport there is nobody to answer the offer, so the PeerConnection goes.
func TestFirstRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		w.refuse("publish", "unauthorized")
		p := w.publish(w.t.Context())
		if <-p.done; !errors.Is(p.err, ErrUnauthorized) {
			t.Error(p.err)
		}
		w.messages("peer1 new", publishFirst, "peer1 close")
		w.refuse("", "")
		if p = w.publish(w.t.Context()); true {
			<-p.done
		}
		w.messages("peer2 new", publishFirst, "> offer s1 0:sendonly 1:sendonly", "peer2 answer 0:recvonly 1:recvonly")
		w.told()
	})
}

// TestLaterRefused: the offer is sent all the same, to come back to stable, and its m-lines end with the next.
func TestLaterRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		w.published()
		w.refuse("publish", "Too many inputs")
		w.portal.set(func() {
			w.portal.onOffer = func(transport, sdp string) { w.answerTo(transport, mirror(sdp, "2", "3")) }
		})
		p := w.publish(w.t.Context())
		var refusal *ServerError
		if <-p.done; !errors.As(p.err, &refusal) || refusal.Text != "Too many inputs" {
			t.Error(p.err)
		}
		w.messages(publishSecond, "> offer s1 0:sendonly 1:sendonly 2:sendonly 3:sendonly",
			"peer1 answer 0:recvonly 1:recvonly 2:inactive 3:inactive", "peer1 stop 2", "peer1 stop 3")
		w.refuse("", "")
		w.talking()
		p = w.publish(w.t.Context())
		if <-p.done; p.err != nil {
			t.Error(p.err)
		}
		w.messages(strings.NewReplacer(`"2"`, `"4"`, `"3"`, `"5"`).Replace(publishSecond),
			"> offer s1 0:sendonly 1:sendonly 2:inactive 3:inactive 4:sendonly 5:sendonly",
			"peer1 answer 0:recvonly 1:recvonly 2:inactive 3:inactive 4:recvonly 5:recvonly")
		w.told()
	})
}

// TestLateAnswer: the session it was for is given up in time; the answer still makes way for the next.
func TestLateAnswer(t *testing.T) {
	inWorld(t, func(w *world) {
		w.published()
		w.silent()
		begin := time.Now()
		late := w.publish(w.t.Context())
		if <-late.done; !errors.Is(late.err, ErrTimeout) || time.Since(begin) != 10*time.Second {
			t.Errorf("%v after %v", late.err, time.Since(begin))
		}
		next := w.subscribe(w.t.Context())
		w.messages(publishSecond, "> offer s1 0:sendonly 1:sendonly 2:sendonly 3:sendonly", `> unpublish {"id":"s2"}`)
		w.talking()
		w.answerTo("s1", lines("0:recvonly", "1:recvonly", "2:recvonly", "3:recvonly"))
		if <-next.done; next.err != nil {
			t.Fatal(next.err)
		}
		w.messages("peer1 answer 0:recvonly 1:recvonly 2:recvonly 3:recvonly", "peer1 stop 2", "peer1 stop 3",
			strings.NewReplacer(`"2"`, `"4"`, `"3"`, `"5"`).Replace(subscribeSecond),
			"> offer s1 0:sendonly 1:sendonly 2:inactive 3:inactive 4:recvonly 5:recvonly",
			"peer1 answer 0:recvonly 1:recvonly 2:inactive 3:inactive 4:sendonly 5:sendonly")
		w.told()
	})
}

// TestNoAnswer: a PeerConnection that cannot negotiate any more is given up with all its sessions, and a new one made.
func TestNoAnswer(t *testing.T) {
	inWorld(t, func(w *world) {
		live := w.published()
		w.silent()
		late := w.publish(w.t.Context())
		<-late.done
		w.messages(publishSecond, "> offer s1 0:sendonly 1:sendonly 2:sendonly 3:sendonly", `> unpublish {"id":"s2"}`)
		time.Sleep(10 * time.Second)
		w.told("ended s1 " + ReasonMedia)
		w.inAnyOrder("peer1 close", `> unpublish {"id":"s1"}`)
		if !live.Ended() {
			t.Error("publication lives on")
		}
		w.talking()
		p := w.publish(w.t.Context())
		if <-p.done; p.err != nil {
			t.Error(p.err)
		}
		w.messages("peer2 new", publishFirst, "> offer s3 0:sendonly 1:sendonly", "peer2 answer 0:recvonly 1:recvonly")
	})
}

// TestNoAnswerToTheFirst: there is nothing to preserve, so nothing waits longer.
func TestNoAnswerToTheFirst(t *testing.T) {
	inWorld(t, func(w *world) {
		w.silent()
		p := w.publish(w.t.Context())
		if <-p.done; !errors.Is(p.err, ErrTimeout) {
			t.Error(p.err)
		}
		w.inAnyOrder("peer1 new", publishFirst, "> offer s1 0:sendonly 1:sendonly", `> unpublish {"id":"s1"}`, "peer1 close")
	})
}

func TestNeverReady(t *testing.T) {
	inWorld(t, func(w *world) {
		w.portal.set(func() { w.portal.onOffer = func(transport, sdp string) { w.answerTo(transport, mirror(sdp)) } })
		begin := time.Now()
		p := w.publish(w.t.Context())
		if <-p.done; !errors.Is(p.err, ErrTimeout) || time.Since(begin) != 20*time.Second {
			t.Errorf("%v after %v", p.err, time.Since(begin))
		}
		w.inAnyOrder("peer1 new", publishFirst, "> offer s1 0:sendonly 1:sendonly", "peer1 answer 0:recvonly 1:recvonly",
			`> unpublish {"id":"s1"}`, "peer1 stop 0", "peer1 stop 1")
	})
}

func TestServerEndsSessions(t *testing.T) {
	inWorld(t, func(w *world) {
		w.published()
		s := w.subscribe(w.t.Context())
		<-s.done
		w.portal.journal.take()
		w.portal.notify(portalproto.Progress{Transport: "s1", Session: "unknown", Status: portalproto.ProgressError, Reason: "x"})
		w.portal.notify(portalproto.Progress{Transport: "s1", Session: "s2", Status: portalproto.ProgressError, Reason: "Source stream loss"})
		w.told("ended s2 Source stream loss")
		w.messages("peer1 stop 2", "peer1 stop 3") // no unsubscribe: the session is gone
		w.portal.notify(portalproto.Progress{Transport: "elsewhere", Status: portalproto.ProgressError, Reason: "x"})
		w.told()
		w.portal.notify(portalproto.Progress{Transport: "s1", Status: portalproto.ProgressError, Reason: "Node lost"})
		w.told("ended s1 Node lost")
		w.messages("peer1 close")
	})
}

func TestServerEndsSessionBeforeReady(t *testing.T) {
	inWorld(t, func(w *world) {
		w.portal.set(func() {
			w.portal.onOffer = func(transport, sdp string) {
				w.answerTo(transport, mirror(sdp))
				w.portal.notify(portalproto.Progress{Transport: transport, Session: "s1", Status: portalproto.ProgressError, Reason: "No valid tracks in stream"})
			}
		})
		p := w.publish(w.t.Context())
		var e *SessionError
		if <-p.done; !errors.As(p.err, &e) || e.Reason != "No valid tracks in stream" || e.ID != "s1" {
			t.Error(p.err)
		}
		w.told()
		w.messages("peer1 new", publishFirst, "> offer s1 0:sendonly 1:sendonly", "peer1 answer 0:recvonly 1:recvonly", "peer1 stop 0", "peer1 stop 1")
	})
}

// TestProgressOvertakesTheAck: what comes right behind the acknowledgement is seen before the caller has read it.
func TestProgressOvertakesTheAck(t *testing.T) {
	inWorld(t, func(w *world) {
		w.portal.set(func() {
			w.portal.answers = func(name string, data jsonvalue.Value) []jsonvalue.Value {
				if name != "publish" {
					return nil
				}
				ack := w.portal.answer(name, data)
				w.portal.notify(portalproto.Progress{Transport: "s1", Session: "s1", Status: portalproto.ProgressError, Reason: "Node lost"})
				synctest.Wait()
				return ack
			}
		})
		p := w.publish(w.t.Context())
		var e *SessionError
		if <-p.done; !errors.As(p.err, &e) || e.Reason != "Node lost" {
			t.Error(p.err)
		}
	})
}

func TestStreamRemovedByTheServer(t *testing.T) {
	inWorld(t, func(w *world) {
		w.published()
		w.portal.notify(portalproto.StreamAdded{Stream: conference.Stream{ID: "s1"}})
		w.portal.notify(portalproto.StreamRemoved{ID: "s1"})
		w.told("stream s1", "removed s1", "ended s1 "+ReasonRemoved)
		w.messages("peer1 stop 0", "peer1 stop 1")
	})
}

// TestMediaFails: media that never flowed are given up at once.
func TestMediaFails(t *testing.T) {
	inWorld(t, func(w *world) {
		w.published()
		for _, state := range []string{"connecting", "failed", "closed"} {
			w.peers.last().events.State(state)
		}
		w.told("state joined connecting", "state joined failed", "ended s1 "+ReasonMedia, "state joined ")
		w.inAnyOrder("peer1 close", `> unpublish {"id":"s1"}`)
	})
}

func TestPeerErrors(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		setup func(*peers)
		want  []string // after "peer1 new", if there is one
	}{
		"new":    {func(f *peers) { f.err = boom }, nil},
		"add":    {func(f *peers) { f.setup = func(p *fakePeer) { p.addErr = boom } }, []string{"peer1 close"}},
		"offer":  {func(f *peers) { f.setup = func(p *fakePeer) { p.offerErr = boom } }, []string{"peer1 close"}},
		"answer": {func(f *peers) { f.setup = func(p *fakePeer) { p.answerErr = boom } }, []string{publishFirst, "> offer s1 0:sendonly 1:sendonly", "peer1 answer 0:recvonly 1:recvonly"}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.portal.set(func() { w.portal.onOffer = func(transport, sdp string) { w.answerTo(transport, mirror(sdp)) } })
				c.setup(w.peers)
				p := w.publish(w.t.Context())
				if <-p.done; !errors.Is(p.err, ErrMedia) {
					t.Error(p.err)
				}
				synctest.Wait()
				got := w.portal.journal.take()
				if c.want == nil {
					compare(t, "messages", got, nil)
					return
				}
				if got[0] != "peer1 new" {
					t.Errorf("messages %q", got)
				}
				if name == "answer" { // the session is ended at the server, beside the closing
					rest := strings.Join(got[4:], "\n")
					if !strings.Contains(rest, "peer1 close") || !strings.Contains(rest, `> unpublish {"id":"s1"}`) {
						t.Errorf("messages %q", got)
					}
					got = got[:4]
				}
				compare(t, "messages", got[1:], c.want)
			})
		})
	}
}

// TestPeerErrorLater: a track that cannot be sent costs nobody else anything.
func TestPeerErrorLater(t *testing.T) {
	inWorld(t, func(w *world) {
		w.published()
		w.peers.last().addErr = errors.New("no such codec")
		p := w.publish(w.t.Context())
		if <-p.done; !errors.Is(p.err, ErrMedia) || !strings.Contains(p.err.Error(), "no such codec") {
			t.Error(p.err)
		}
		w.messages()
		w.told()
	})
}

func TestOfferHangs(t *testing.T) {
	inWorld(t, func(w *world) {
		w.peers.setup = func(p *fakePeer) { p.offerHangs = true }
		p := w.publish(w.t.Context())
		if <-p.done; !errors.Is(p.err, ErrMedia) {
			t.Error(p.err)
		}
		w.messages("peer1 new", "peer1 close")
	})
}

func TestHostileAcks(t *testing.T) {
	for name, ack := range map[string]string{
		"nothing": `null`, "no id": `{"transportId":"s1"}`, "no transport": `{"id":"s2"}`, "another transport": `{"id":"s9","transportId":"s9"}`,
		"an id in use": `{"id":"s1","transportId":"s1"}`,
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.published()
				w.portal.set(func() {
					w.portal.answers = func(n string, _ jsonvalue.Value) []jsonvalue.Value {
						if n == "publish" {
							return portalproto.AckOK(parse(t, ack))
						}
						return nil
					}
				})
				p := w.publish(w.t.Context())
				if <-p.done; !errors.Is(p.err, ErrProtocol) {
					t.Error(p.err)
				}
				want := []string{publishSecond, "> offer s1 0:sendonly 1:sendonly 2:sendonly 3:sendonly"}
				synctest.Wait()
				got := w.portal.journal.take()
				var rest []string
				for _, line := range got {
					if line == `> unpublish {"id":"s9"}` {
						continue
					}
					rest = append(rest, line)
				}
				compare(t, "messages", rest[:2], want)
				w.told() // the publication that was there lives on
			})
		})
	}
}

// TestUnaskedAnswers: answers nobody waits for are ignored, and do not become the answer to a later offer.
func TestUnaskedAnswers(t *testing.T) {
	inWorld(t, func(w *world) {
		w.published()
		for range 5 {
			w.answerTo("s1", "garbage")
		}
		synctest.Wait()
		p := w.publish(w.t.Context())
		if <-p.done; p.err != nil {
			t.Error(p.err)
		}
		w.messages(publishSecond, "> offer s1 0:sendonly 1:sendonly 2:sendonly 3:sendonly", "peer1 answer 0:recvonly 1:recvonly 2:recvonly 3:recvonly")
	})
}

func TestOfferRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		w.refuse("soac", "Transport s1 does NOT exist")
		p := w.publish(w.t.Context())
		var refusal *ServerError
		if <-p.done; !errors.Is(p.err, ErrMedia) && !errors.As(p.err, &refusal) {
			t.Error(p.err)
		}
		synctest.Wait()
		if got := strings.Join(w.portal.journal.take(), "\n"); !strings.Contains(got, "peer1 close") {
			t.Errorf("messages\n%s", got)
		}
	})
}

func TestLeaveDuringNegotiation(t *testing.T) {
	for _, stage := range []string{"publish", "soac", "answer"} {
		t.Run(stage, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.silent()
				w.portal.set(func() { w.portal.mute[stage] = true })
				first, second := w.publish(w.t.Context()), w.subscribe(w.t.Context())
				synctest.Wait()
				w.portal.journal.take()
				if err := w.c.Leave(w.t.Context()); err != nil {
					t.Error(err)
				}
				<-first.done
				<-second.done
				if !errors.Is(first.err, ErrEnded) || !errors.Is(second.err, ErrEnded) {
					t.Errorf("%v, %v", first.err, second.err)
				}
				<-w.c.Done()
				w.messages("> logout", "peer1 close")
				w.told("state ended ", "disconnected nil")
			})
		})
	}
}

func TestGivenUpByTheCaller(t *testing.T) {
	inWorld(t, func(w *world) {
		w.published()
		w.silent()
		ctx, cancel := context.WithCancel(w.t.Context())
		p := w.publish(ctx)
		synctest.Wait()
		q := w.publish(ctx) // waits in the queue
		synctest.Wait()
		cancel()
		<-p.done
		if <-q.done; !errors.Is(p.err, context.Canceled) || !errors.Is(q.err, context.Canceled) {
			t.Errorf("%v, %v", p.err, q.err)
		}
		w.messages(publishSecond, "> offer s1 0:sendonly 1:sendonly 2:sendonly 3:sendonly", `> unpublish {"id":"s2"}`)
		w.answerTo("s1", lines("0:recvonly", "1:recvonly", "2:recvonly", "3:recvonly"))
		w.messages("peer1 answer 0:recvonly 1:recvonly 2:recvonly 3:recvonly", "peer1 stop 2", "peer1 stop 3")
		w.told()
	})
}

// TestLateAck: nobody waits any more for the session that comes about, so it is ended.
func TestLateAck(t *testing.T) {
	inWorld(t, func(w *world) {
		gate := make(chan struct{})
		w.portal.set(func() {
			w.portal.answers = func(name string, _ jsonvalue.Value) []jsonvalue.Value {
				if name == "publish" {
					<-gate
				}
				return nil
			}
		})
		begin := time.Now()
		p := w.publish(w.t.Context())
		if <-p.done; !errors.Is(p.err, ErrTimeout) || time.Since(begin) != 10*time.Second {
			t.Errorf("%v after %v", p.err, time.Since(begin))
		}
		w.messages("peer1 new", publishFirst, "peer1 close")
		close(gate)
		w.messages(`> unpublish {"id":"s1"}`)
	})
}

// TestGivenUpBeforeTheAck: the session that comes about is ended at once.
func TestGivenUpBeforeTheAck(t *testing.T) {
	inWorld(t, func(w *world) {
		w.published()
		ctx, cancel := context.WithCancel(w.t.Context())
		gate := make(chan struct{})
		w.portal.set(func() {
			w.portal.answers = func(name string, _ jsonvalue.Value) []jsonvalue.Value {
				if name == "publish" {
					<-gate
				}
				return nil
			}
		})
		p := w.publish(ctx)
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(gate)
		if <-p.done; !errors.Is(p.err, context.Canceled) {
			t.Error(p.err)
		}
		w.inAnyOrder(publishSecond, "> offer s1 0:sendonly 1:sendonly 2:sendonly 3:sendonly", "peer1 answer 0:recvonly 1:recvonly 2:recvonly 3:recvonly",
			`> unpublish {"id":"s2"}`, "peer1 stop 2", "peer1 stop 3")
	})
}

func TestOnReadyComesBeforeTheStream(t *testing.T) {
	inWorld(t, func(w *world) {
		w.portal.set(func() {
			w.portal.onOffer = func(transport, sdp string) {
				w.portal.accept(transport, sdp)
				w.portal.notify(portalproto.StreamAdded{Stream: conference.Stream{ID: "s1"}})
			}
		})
		p, err := w.c.Publish(w.t.Context(), PublishOptions{
			Tracks: []LocalTrack{{Kind: conference.Audio, Local: "mic"}}, Attributes: parse(t, `{"name":"x"}`),
			OnReady: func(p *Publication) { w.events.add("ready", p.ID()) },
		})
		if err != nil || p.ID() != "s1" {
			t.Fatal(err)
		}
		w.told("ready s1", "stream s1")
		if got := w.portal.journal.take(); !strings.Contains(got[1], `"attributes":{"name":"x"}`) {
			t.Errorf("messages %q", got)
		}
	})
}

func TestArguments(t *testing.T) {
	inWorld(t, func(w *world) {
		audio := LocalTrack{Kind: conference.Audio}
		for i, o := range []PublishOptions{{}, {Tracks: []LocalTrack{{Kind: "data"}}}, {Tracks: make([]LocalTrack, 17)},
			{Tracks: []LocalTrack{audio}, Attributes: jsonvalue.Of("x")}} {
			if _, err := w.c.Publish(w.t.Context(), o); !errors.Is(err, ErrArgument) {
				t.Errorf("publish %d: %v", i, err)
			}
		}
		for i, o := range []SubscribeOptions{{}, {Audio: &SubscribeTrack{}}} {
			if _, err := w.c.Subscribe(w.t.Context(), o); !errors.Is(err, ErrArgument) {
				t.Errorf("subscribe %d: %v", i, err)
			}
		}
		w.messages()
	})
}

func TestTooManySessions(t *testing.T) {
	inWorld(t, func(w *world) {
		w.portal.set(func() { w.portal.mute["publish"] = true })
		var waiting []*pending[*Publication]
		for range maxSessions {
			waiting = append(waiting, w.publish(w.t.Context()))
		}
		synctest.Wait()
		p := w.publish(w.t.Context())
		if <-p.done; !errors.Is(p.err, ErrBusy) {
			t.Error(p.err)
		}
		if err := w.c.Leave(w.t.Context()); err != nil {
			t.Error(err)
		}
		for _, p := range waiting {
			if <-p.done; !errors.Is(p.err, ErrEnded) {
				t.Fatal(p.err)
			}
		}
	})
}
