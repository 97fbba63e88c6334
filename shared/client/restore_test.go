package client

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

const newRoomText = `{"id":"me2","user":"alice","role":"presenter",
	"permission":{"publish":{"video":true,"audio":true},"subscribe":{"video":true,"audio":true}},
	"room":{"id":"r","views":["common"],"participants":[{"id":"carol","user":"carol","role":"viewer"},{"id":"me2","user":"alice","role":"presenter"}],
	"streams":[{"id":"S","type":"forward","media":{"tracks":[{"id":"S-0","type":"audio","format":{"codec":"opus"},"optional":{},"status":"inactive","mid":"0"}]},
	"info":{"owner":"carol","type":"webrtc","inViews":[]}},
	{"id":"U","type":"forward","media":{"tracks":[]},"info":{"owner":"carol","type":"webrtc","inViews":[]}}]}}`

// withToken is for resumable: the page gives a new token when it is asked.
func withToken(tokens *int, errs ...error) func(*Options) {
	return func(o *Options) {
		o.Token = func(context.Context) (string, error) {
			*tokens++
			if *tokens <= len(errs) {
				return "", errs[*tokens-1]
			}
			return goodToken, nil
		}
	}
}

// forget has the portal forget the participant, as one that was restarted would.
func (w *world) forget() {
	w.portal.set(func() {
		w.portal.login = parse(w.t, newRoomText).With("reconnectionTicket", jsonvalue.Of(w.portal.ticket()))
		w.portal.prefix, w.portal.sessions = "n", 0
	})
	w.refuse("relogin", portalproto.ErrNoClient.Text)
}

// evict forgets the participant and ends its connection.
func (w *world) evict() {
	w.forget()
	w.portal.lose(errReset)
}

func relogins(messages []string) []string {
	return slices.DeleteFunc(messages, func(m string) bool { return !strings.HasPrefix(m, "> relogin") })
}

func TestJoinAnew(t *testing.T) {
	tokens := 0
	resumable(t, func(w *world) {
		w.portal.notify(portalproto.StreamAdded{Stream: conference.Stream{ID: "T", Type: conference.Forward}})
		synctest.Wait()
		w.events.take()
		var states []State
		w.events.onState = func(s State) { states = append(states, s) }
		w.evict()
		w.told("state reconnecting ", "state joined ", "removed T", "left bob", "left me", "joined carol", "updated S .", "stream U")
		if tokens != 1 || len(states) != 2 || states[0].Self.ID != "me" || states[1].Self.ID != "me2" {
			t.Errorf("%d tokens, states %+v", tokens, states)
		}
		info := w.c.Info()
		if info.Self.ID != "me2" || len(info.Participants) != 2 || len(info.Streams) != 2 {
			t.Errorf("info %+v", info)
		}
		// From here on it can be resumed again, and counts anew.
		w.refuse("", "")
		w.text("1")
		old := relogins(w.portal.journal.take())
		w.portal.lose(errReset)
		w.told(`message bob all "1"`, "state reconnecting ", "state joined ")
		if now := relogins(w.portal.journal.take()); len(old) != 1 || len(now) != 1 || old[0] == now[0] {
			t.Errorf("resumed with %q, then %q", old, now)
		}
		if tokens != 1 {
			t.Errorf("%d tokens", tokens)
		}
	}, withToken(&tokens))
}

func TestSessionsAreRestored(t *testing.T) {
	tokens := 0
	resumable(t, func(w *world) {
		pub := w.published()
		sub := w.subscribe(w.t.Context())
		<-sub.done
		gone := start(func() (*Subscription, error) {
			return w.c.Subscribe(w.t.Context(), SubscribeOptions{Audio: &SubscribeTrack{From: "T"}})
		})
		if <-gone.done; gone.err != nil {
			t.Fatal(gone.err)
		}
		if err := errors.Join(pub.Replace(conference.Video, "screen"), pub.Mute(w.t.Context(), conference.Audio),
			sub.value.Mute(w.t.Context(), conference.Video),
			sub.value.Update(w.t.Context(), SubscriptionUpdate{Wanted: portalproto.Wanted{Framerate: 15}})); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.events.take()
		w.portal.journal.take()
		w.evict()
		w.told("state reconnecting ", "state joined ", "left bob", "left me", "joined carol", "updated S .", "stream U",
			"ended s3 "+portalproto.ReasonSourceLoss, "restored s1 n1", "restored s2 n2")
		got := w.heard()
		text := strings.Join(got, "\n")
		for _, want := range []string{
			"> login", "peer1 close", "peer2 new", "peer2 silent audio", publishFirst, "> offer n1 0:sendonly 1:sendonly", "peer2 answer 0:recvonly 1:recvonly",
			`> stream-control {"id":"n1","operation":"pause","data":"audio"}`, "peer2 replace 0 mic",
			`> subscribe {"media":{"tracks":[{"type":"audio","mid":"2","from":"S"},{"type":"video","mid":"3","from":"S","parameters":{"framerate":15}}]},"transport":{"type":"webrtc","id":"n1"}}`,
			"> offer n1 0:sendonly 1:sendonly 2:recvonly 3:recvonly", `> subscription-control {"id":"n2","operation":"pause","data":"video"}`,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("no %s in\n%s", want, text)
			}
		}
		if strings.Index(text, "peer2 replace 0 mic") < strings.Index(text, `"operation":"pause","data":"audio"`) {
			t.Errorf("the microphone was heard before it was muted\n%s", text)
		}
		if pub.ID() != "n1" || sub.value.ID() != "n2" || pub.Ended() || len(sub.value.Tracks()) != 2 {
			t.Errorf("%s, %s, ended %v, %d tracks", pub.ID(), sub.value.ID(), pub.Ended(), len(sub.value.Tracks()))
		}
		if err := errors.Join(pub.Unmute(w.t.Context(), conference.Audio), pub.Stop(w.t.Context())); err != nil {
			t.Error(err)
		}
		if got := strings.Join(w.heard(), "\n"); !strings.Contains(got, `> unpublish {"id":"n1"}`) {
			t.Errorf("messages\n%s", got)
		}
		w.told("ended n1 " + ReasonStopped)
	}, withToken(&tokens))
}

// TestJoinAnewInTheMiddle: what is on its way when the participation is lost comes about in the new one.
func TestJoinAnewInTheMiddle(t *testing.T) {
	for _, stage := range []string{"queued", "publish", "soac", "answer", "ready"} {
		t.Run(stage, func(t *testing.T) {
			tokens := 0
			resumable(t, func(w *world) {
				live := w.published()
				switch stage {
				case "queued":
					w.cutOff()
				case "publish", "soac":
					w.forget()
					w.portal.set(func() { w.portal.losses[stage] = "unheard" })
				default:
					w.silent()
				}
				p := w.publish(w.t.Context())
				synctest.Wait()
				if stage == "ready" {
					w.answerTo("s1", lines("0:recvonly", "1:recvonly", "2:recvonly", "3:recvonly"))
					synctest.Wait()
				}
				text := w.send("hello")
				mute := start(func() (struct{}, error) {
					return struct{}{}, live.Mute(w.t.Context(), conference.Video)
				})
				synctest.Wait()
				w.talking()
				if stage != "publish" && stage != "soac" {
					w.forget()
					w.portal.lose(errReset)
					w.portal.set(func() { w.portal.dialling = nil })
				}
				<-p.done
				<-text.done
				<-mute.done
				synctest.Wait()
				all := strings.Join(w.portal.journal.take(), "\n")
				if _, after, _ := strings.Cut(all, "> relogin"); strings.Contains(after, `"s1"`) || strings.Contains(after, `"s2"`) {
					t.Errorf("the new participant asked for what the old one had\n%s", after)
				}
				want := error(nil)
				if stage == "publish" {
					want = ErrUnknownOutcome
				}
				if !errors.Is(p.err, want) || text.err != nil || mute.err != nil {
					t.Errorf("%v, %v, %v", p.err, text.err, mute.err)
				}
				synctest.Wait()
				if live.Ended() || !strings.HasPrefix(live.ID(), "n") {
					t.Errorf("the one before: %s, ended %v", live.ID(), live.Ended())
				}
				if want == nil && !strings.HasPrefix(p.value.ID(), "n") {
					t.Errorf("the new one: %s", p.value.ID())
				}
			}, withToken(&tokens))
		})
	}
}

// TestTokenFails: the page is asked again, until it takes too long.
func TestTokenFails(t *testing.T) {
	tokens := 0
	offline := errors.New("offline")
	resumable(t, func(w *world) {
		w.evict()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if tokens != 3 || w.c.Info().Self.ID != "me2" {
			t.Errorf("%d tokens, participant %s", tokens, w.c.Info().Self.ID)
		}
	}, withToken(&tokens, offline, offline))
	resumable(t, func(w *world) {
		begin := time.Now()
		w.evict()
		<-w.c.Done()
		if took := time.Since(begin); took != 2*time.Minute {
			t.Errorf("took %v", took)
		}
		events := w.events.take()
		if last := events[len(events)-1]; last != "disconnected "+ErrLost.Error()+": offline" {
			t.Errorf("events %q", events)
		}
	}, func(o *Options) { o.Token = func(context.Context) (string, error) { return "", offline } })
}

// TestTokenIsForTheEndOnly: a participation that can be resumed is.
func TestTokenIsForTheEndOnly(t *testing.T) {
	tokens := 0
	resumable(t, func(w *world) {
		w.portal.lose(errReset)
		w.told("state reconnecting ", "state joined ")
		w.cutOff()
		time.Sleep(59 * time.Second)
		if tokens != 0 {
			t.Errorf("%d tokens", tokens)
		}
		w.portal.set(func() { w.portal.login = parse(w.t, newRoomText) })
		time.Sleep(2 * time.Second)
		w.portal.set(func() { w.portal.dialling = nil })
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if tokens == 0 || w.c.Info().Self.ID != "me2" {
			t.Errorf("%d tokens, participant %s", tokens, w.c.Info().Self.ID)
		}
	}, withToken(&tokens))
}

// TestNoTicket: a server that gives none, and a page that gives a token.
func TestNoTicket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := 0
		w := newWorld(t)
		options := w.options()
		withToken(&tokens)(&options)
		c, err := Join(t.Context(), goodToken, options)
		if err != nil {
			t.Fatal(err)
		}
		w.portal.set(func() { w.portal.login = parse(t, newRoomText) })
		w.portal.lose(errReset)
		synctest.Wait()
		if tokens != 1 || c.Info().Self.ID != "me2" {
			t.Errorf("%d tokens, participant %s", tokens, c.Info().Self.ID)
		}
		_ = c.Leave(t.Context())
		<-c.Done()
		if got := strings.Join(w.portal.journal.take(), "\n"); strings.Contains(got, "relogin") {
			t.Errorf("messages\n%s", got)
		}
	})
}

// TestRestorationFails: a session that the new participation may not have ends with the server's words.
func TestRestorationFails(t *testing.T) {
	tokens := 0
	resumable(t, func(w *world) {
		w.published()
		w.evict()
		w.refuseAll(map[string]string{"relogin": portalproto.ErrNoClient.Text, "publish": "unauthorized"})
		synctest.Wait()
		events := w.events.take()
		if last := events[len(events)-1]; last != "ended s1 unauthorized" {
			t.Errorf("events %q", events)
		}
	}, withToken(&tokens))
}

// TestTwiceAnew: the new participation is lost too, while sessions are being restored.
func TestTwiceAnew(t *testing.T) {
	tokens := 0
	resumable(t, func(w *world) {
		pub := w.published()
		w.silent()
		w.evict()
		synctest.Wait()
		w.talking()
		w.portal.set(func() { w.portal.prefix = "m" })
		w.portal.lose(errReset)
		synctest.Wait()
		if tokens != 2 || pub.Ended() || !strings.HasPrefix(pub.ID(), "m") {
			t.Errorf("%d tokens, %s, ended %v", tokens, pub.ID(), pub.Ended())
		}
		restored := 0
		for _, e := range w.events.take() {
			if strings.HasPrefix(e, "restored") {
				restored++
			}
		}
		if restored != 1 {
			t.Errorf("restored %d times", restored)
		}
	}, withToken(&tokens))
}
