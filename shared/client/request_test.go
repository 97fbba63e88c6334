package client

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
)

// TestRequestsAreKept: in order, and longer than they would wait for an answer.
func TestRequestsAreKept(t *testing.T) {
	resumable(t, func(w *world) {
		pub := w.published()
		w.cutOff()
		w.told("state reconnecting ")
		first := w.send("1")
		synctest.Wait()
		mute := start(func() (struct{}, error) {
			return struct{}{}, pub.Mute(w.t.Context(), conference.Audio)
		})
		synctest.Wait()
		ctx, cancel := context.WithCancel(w.t.Context())
		never := start(func() (struct{}, error) {
			return struct{}{}, w.c.Send(ctx, jsonvalue.Of("never"), "")
		})
		synctest.Wait()
		second := w.send("2")
		time.Sleep(30 * time.Second) // three times what a request waits for its answer
		cancel()
		if <-never.done; !errors.Is(never.err, context.Canceled) {
			t.Error(never.err)
		}
		if first.isDone() || mute.isDone() || second.isDone() {
			t.Error("answered without a connection")
		}
		w.heard()
		w.reachable()
		if err := errors.Join(first.err, mute.err, second.err); err != nil || !first.isDone() || !mute.isDone() || !second.isDone() {
			t.Errorf("kept requests: %v", err)
		}
		got := w.heard()
		compare(t, "requests", got[:3], []string{sentText("1"), `> stream-control {"id":"s1","operation":"pause","data":"audio"}`, sentText("2")})
		w.portal.set(func() { w.portal.mute["text"] = true })
		begin := time.Now()
		if late := w.send("3"); true {
			if <-late.done; !errors.Is(late.err, ErrTimeout) || time.Since(begin) != 10*time.Second {
				t.Errorf("%v after %v", late.err, time.Since(begin))
			}
		}
	})
}

// TestOrderOfRepetition: what is sent again comes before what was asked for later.
func TestOrderOfRepetition(t *testing.T) {
	resumable(t, func(w *world) {
		pub := w.published()
		w.portal.set(func() {
			w.portal.losses["stream-control"] = "unanswered"
			w.portal.dialling = func(context.Context) error { return errors.New("no route") }
		})
		mute := start(func() (struct{}, error) { return struct{}{}, pub.Mute(w.t.Context(), "") })
		synctest.Wait()
		unmute := start(func() (struct{}, error) { return struct{}{}, pub.Unmute(w.t.Context(), "") })
		synctest.Wait()
		w.heard()
		w.portal.set(func() { w.portal.dialling = nil })
		<-mute.done
		<-unmute.done
		compare(t, "requests", w.heard(), []string{`> stream-control {"id":"s1","operation":"pause","data":"av"}`, `> stream-control {"id":"s1","operation":"play","data":"av"}`})
		if err := errors.Join(mute.err, unmute.err); err != nil {
			t.Error(err)
		}
	})
}

func TestTooManyRequestsWait(t *testing.T) {
	resumable(t, func(w *world) {
		w.cutOff()
		var waiting []*pending[struct{}]
		for i := range maxKept {
			waiting = append(waiting, w.send(strconv.Itoa(i)))
			synctest.Wait()
		}
		if over := w.send("over"); true {
			if <-over.done; !errors.Is(over.err, ErrBusy) {
				t.Error(over.err)
			}
		}
		w.heard()
		w.reachable()
		for i, got := range w.heard() {
			if i < maxKept && got != sentText(strconv.Itoa(i)) {
				t.Fatalf("message %d: %s", i, got)
			}
		}
		for _, p := range waiting {
			if <-p.done; p.err != nil {
				t.Fatal(p.err)
			}
		}
	})
}

// TestUnknownOutcome: what may have been carried out is not sent twice, what may be sent twice is.
func TestUnknownOutcome(t *testing.T) {
	for name, c := range map[string]struct {
		call func(w *world, pub *Publication) error
		want error
		sent string // again; empty: not
	}{
		"text":           {func(w *world, _ *Publication) error { return w.c.Send(w.t.Context(), jsonvalue.Of("x"), "") }, ErrUnknownOutcome, ""},
		"stream-control": {func(w *world, p *Publication) error { return p.Mute(w.t.Context(), "") }, nil, `> stream-control {"id":"s1","operation":"pause","data":"av"}`},
		"unpublish":      {func(w *world, p *Publication) error { return p.Stop(w.t.Context()) }, nil, `> unpublish {"id":"s1"}`},
		"publish": {func(w *world, _ *Publication) error {
			p := w.publish(w.t.Context())
			<-p.done
			return p.err
		}, ErrUnknownOutcome, ""},
		"subscribe": {func(w *world, _ *Publication) error {
			p := w.subscribe(w.t.Context())
			<-p.done
			return p.err
		}, ErrUnknownOutcome, ""},
	} {
		for _, loss := range []string{"unheard", "unanswered", "answered"} {
			t.Run(name+" "+loss, func(t *testing.T) {
				resumable(t, func(w *world) {
					pub := w.published()
					w.portal.set(func() { w.portal.losses[name] = loss })
					want := c.want
					if loss == "answered" {
						want = nil
					}
					if err := c.call(w, pub); !errors.Is(err, want) {
						t.Errorf("%v, want %v", err, want)
					}
					count := 0
					for _, line := range w.heard() {
						if strings.HasPrefix(line, "> "+name+" ") {
							count++
						}
					}
					if want := map[string]int{"unheard": 0, "unanswered": 1, "answered": 1}[loss]; c.sent == "" && count != want || c.sent != "" && loss != "answered" && count != want+1 {
						t.Errorf("the portal heard it %d times", count)
					}
					if err := w.c.Send(w.t.Context(), jsonvalue.Of("alive"), ""); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// TestOrphan: a publication that came about though nobody learned of it is ended.
func TestOrphan(t *testing.T) {
	resumable(t, func(w *world) {
		w.published()
		w.portal.set(func() { w.portal.losses["publish"] = "unanswered" })
		p := w.publish(w.t.Context())
		if <-p.done; !errors.Is(p.err, ErrUnknownOutcome) {
			t.Error(p.err)
		}
		got := strings.Join(w.heard(), "\n")
		if !strings.Contains(got, `> unpublish {"id":"s2"}`) {
			t.Errorf("messages\n%s", got)
		}
	})
}

// TestNegotiationGoesOn: a publication comes about wherever on its way the connection breaks.
func TestNegotiationGoesOn(t *testing.T) {
	for _, loss := range []string{"unheard", "unanswered", "answered"} {
		t.Run("offer "+loss, func(t *testing.T) {
			bothForms(t, func(w *world) {
				w.portal.set(func() { w.portal.losses["soac"] = loss })
				p := w.publish(w.t.Context())
				synctest.Wait()
				w.peers.last().events.Candidate("candidate:1 udp", "0", 0)
				if <-p.done; p.err != nil {
					w.t.Fatal(p.err)
				}
				if p.value.ID() != "s1" {
					w.t.Errorf("id %s", p.value.ID())
				}
				got := strings.Join(w.heard(), "\n")
				if !strings.Contains(got, "candidate:1") {
					w.t.Errorf("no candidate\n%s", got)
				}
				// The transport is fit for more.
				if q := w.publish(w.t.Context()); true {
					if <-q.done; q.err != nil {
						w.t.Error(q.err)
					}
				}
			})
		})
	}
	t.Run("answer while away", func(t *testing.T) {
		bothForms(t, func(w *world) {
			w.silent()
			p := w.publish(w.t.Context())
			synctest.Wait()
			w.cutOff()
			time.Sleep(40 * time.Second) // far more than an answer may take
			w.answerTo("s1", lines("0:recvonly", "1:recvonly"))
			w.portal.ready("s1")
			w.reachable()
			if <-p.done; p.err != nil {
				w.t.Fatal(p.err)
			}
		})
	})
	t.Run("lost with its answer", func(t *testing.T) {
		bothForms(t, func(w *world) {
			w.silent()
			p := w.publish(w.t.Context())
			synctest.Wait()
			w.portal.set(func() { w.portal.deaf = true })
			w.answerTo("s1", lines("0:recvonly", "1:recvonly"))
			synctest.Wait()
			w.portal.set(func() { w.portal.deaf = false })
			w.talking()
			w.portal.lose(errReset)
			if got := w.heard(); !slices.Contains(got, "peer1 answer 0:recvonly 1:recvonly") {
				w.t.Errorf("messages %q", got)
			}
			w.portal.ready("s1")
			if <-p.done; p.err != nil {
				w.t.Fatal(p.err)
			}
		})
	})
	t.Run("before it began", func(t *testing.T) {
		resumable(t, func(w *world) {
			w.cutOff()
			p := w.publish(w.t.Context())
			time.Sleep(50 * time.Second)
			w.heard()
			w.reachable()
			if <-p.done; p.err != nil {
				t.Fatal(p.err)
			}
			compare(t, "messages", w.heard()[:4], []string{"peer1 new", publishFirst, "> offer s1 0:sendonly 1:sendonly", "peer1 answer 0:recvonly 1:recvonly"})
		})
	})
}

// TestCandidatesAgain: while media does not flow, all candidates go out again, as nobody knows which arrived.
func TestCandidatesAgain(t *testing.T) {
	resumable(t, func(w *world) {
		w.published()
		events := w.peers.last().events
		events.Candidate("candidate:1 udp", "0", 0)
		w.heard()
		w.cutOff()
		events.Candidate("candidate:2 udp", "0", 0)
		w.heard()
		w.portal.set(func() { w.portal.dialling = nil })
		time.Sleep(5 * time.Second)
		got := strings.Join(w.heard(), "\n")
		if strings.Count(got, "candidate:1") != 1 || strings.Count(got, "candidate:2") != 1 {
			t.Errorf("messages\n%s", got)
		}
		events.State("connecting")
		events.State("connected")
		synctest.Wait()
		w.portal.lose(errReset)
		if got := w.heard(); len(got) != 0 {
			t.Errorf("media flow, but %q", got)
		}
	})
}

// TestSecondAnswer: an offer that was sent twice may be answered twice; the second answer is not taken for that to the next offer.
func TestSecondAnswer(t *testing.T) {
	resumable(t, func(w *world) {
		w.silent()
		w.portal.set(func() { w.portal.losses["soac"] = "unanswered" })
		p := w.publish(w.t.Context())
		synctest.Wait()
		w.answerTo("s1", lines("0:recvonly", "1:recvonly"))
		w.portal.ready("s1")
		<-p.done
		w.heard()
		q := w.subscribe(w.t.Context())
		synctest.Wait()
		w.answerTo("s1", lines("0:recvonly", "1:recvonly")) // the second to the first offer
		w.portal.ready("s1")
		compare(t, "messages", w.heard(), []string{subscribeSecond, "> offer s1 0:sendonly 1:sendonly 2:recvonly 3:recvonly"})
		w.answerTo("s1", lines("0:recvonly", "1:recvonly", "2:sendonly", "3:sendonly"))
		if <-q.done; q.err != nil {
			t.Error(q.err)
		}
	})
}
