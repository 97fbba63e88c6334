package client

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
	"portico/shared/task"
)

func TestJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, err := Join(w.t.Context(), goodToken, w.options())
		if err != nil {
			t.Fatal(err)
		}
		w.messages("dial http://portal:8080",
			`> login {"token":"`+goodToken+`","userAgent":{"sdk":{"type":"Go","version":"1.0"}},"protocol":"1.2","migrate":true}`)
		w.told("state joined ")
		info := c.Info()
		if info.RoomID != "r" || len(info.Views) != 1 || info.Self.User != "alice" || !info.Self.Permission.Publish.Audio ||
			len(info.Participants) != 2 || info.Participants[0].ID != "bob" || info.Participants[1] != info.Self ||
			len(info.Streams) != 1 || info.Streams[0].Owner != "bob" {
			t.Errorf("info %+v", info)
		}
		if err := c.Leave(w.t.Context()); err != nil {
			t.Error(err)
		}
		if err := c.Leave(w.t.Context()); err != nil {
			t.Errorf("second leave: %v", err)
		}
		<-c.Done()
		w.messages("> logout")
		w.told("state ended ", "disconnected nil")
		if after := c.Info(); after.RoomID != "r" {
			t.Errorf("info after the end: %+v", after)
		}
		if err := c.Send(w.t.Context(), jsonvalue.Of("x"), ""); !errors.Is(err, ErrEnded) {
			t.Errorf("send after the end: %v", err)
		}
	})
}

func TestJoinRefused(t *testing.T) {
	for text, want := range map[string]error{
		"Invalid token": ErrTokenRefused, "Expired": ErrTokenRefused, "Invalid token signature": ErrTokenRefused,
		"Room is full": ErrRoomFull, "something else": nil,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.portal.answers = func(string, jsonvalue.Value) []jsonvalue.Value {
				return portalproto.AckError(&portalproto.Error{Text: text})
			}
			w.portal.losses["login"] = "answered" // the portal disconnects who it refused
			_, err := Join(w.t.Context(), goodToken, w.options())
			var refusal *ServerError
			if !errors.As(err, &refusal) || refusal.Text != text || refusal.Request != "login" || want != nil && !errors.Is(err, want) {
				t.Errorf("%s: %v", text, err)
			}
			w.told()
		})
	}
}

func TestJoinFails(t *testing.T) {
	join := func(prepare func(*world, *Options)) (err error, took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			options := w.options()
			prepare(w, &options)
			begin := time.Now()
			_, err = Join(w.t.Context(), goodToken, options)
			took = time.Since(begin)
			w.told()
		})
		return err, took
	}
	login := func(text string) func(*world, *Options) {
		return func(w *world, _ *Options) { w.portal.login = parse(w.t, text) }
	}
	for name, c := range map[string]struct {
		prepare func(*world, *Options)
		want    error
		took    time.Duration
	}{
		"portal unreachable": {func(_ *world, o *Options) {
			o.Dial = func(context.Context, DialOptions) (Socket, error) { return nil, errors.New("refused") }
		}, ErrConnect, 0},
		"portal does not connect": {func(_ *world, o *Options) {
			o.Dial = func(ctx context.Context, _ DialOptions) (Socket, error) { <-ctx.Done(); return nil, context.Cause(ctx) }
		}, ErrConnect, 10 * time.Second},
		"portal silent":    {func(w *world, _ *Options) { w.portal.mute["login"] = true }, ErrTimeout, 15 * time.Second},
		"connection lost":  {func(w *world, _ *Options) { w.portal.losses["login"] = "unanswered" }, ErrLost, 0},
		"result no object": {login(`"hello"`), ErrProtocol, 0},
		"no id":            {login(`{"room":{"id":"r","participants":[],"streams":[]}}`), ErrProtocol, 0},
		"not in the room":  {login(`{"id":"me","room":{"id":"r","participants":[{"id":"other"}],"streams":[]}}`), ErrProtocol, 0},
		"wrong types":      {login(`{"id":{"id":1},"room":[[]],"iceServers":{"urls":1}}`), ErrProtocol, 0},
		"flood before the answer": {func(w *world, _ *Options) {
			w.portal.answers = func(string, jsonvalue.Value) []jsonvalue.Value {
				for range maxHeldEvents + 1 {
					w.portal.notify(portalproto.ParticipantLeft{ID: "x"})
				}
				return nil
			}
		}, ErrProtocol, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if err, took := join(c.prepare); !errors.Is(err, c.want) || took != c.took {
				t.Errorf("error %v after %v, want %v after %v", err, took, c.want, c.took)
			}
		})
	}
	if err, _ := join(func(w *world, o *Options) { o.Timeouts.Login = time.Second; w.portal.mute["login"] = true }); !errors.Is(err, ErrTimeout) {
		t.Errorf("own time-out: %v", err)
	}
}

func TestJoinGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.portal.mute["login"] = true
		ctx, cancel := context.WithCancel(w.t.Context())
		joining := start(func() (*Conference, error) { return Join(ctx, goodToken, w.options()) })
		synctest.Wait()
		cancel()
		if <-joining.done; !errors.Is(joining.err, context.Canceled) {
			t.Error(joining.err)
		}
		<-w.portal.socket.ended
	})
}

// TestNotificationsBeforeTheAnswerWasRead: the reader is ahead of the goroutine that waits for the login.
func TestNotificationsBeforeTheAnswerWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.portal.answers = func(name string, _ jsonvalue.Value) []jsonvalue.Value {
			if name == portalproto.EventLogin {
				w.portal.notify(portalproto.ParticipantJoined{Participant: conference.Participant{ID: "carol"}})
				w.portal.notify(portalproto.ParticipantLeft{ID: "bob"})
				synctest.Wait()
			}
			return nil
		}
		c, err := Join(w.t.Context(), goodToken, w.options())
		if err != nil {
			t.Fatal(err)
		}
		w.told("state joined ", "joined carol", "left bob")
		if err := c.Leave(w.t.Context()); err != nil {
			t.Error(err)
		}
		<-c.Done()
	})
}

func TestEvents(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.portal
		p.notify(portalproto.ParticipantJoined{Participant: conference.Participant{ID: "carol", User: "c"}})
		p.notify(portalproto.ParticipantJoined{Participant: conference.Participant{ID: "carol", User: "c"}})
		p.notify(portalproto.ParticipantLeft{ID: "nobody"})
		p.notify(portalproto.TextMessage{From: "bob", To: "me", Message: parse(w.t, `{"k":1}`)})
		p.notify(portalproto.StreamAdded{Stream: conference.Stream{ID: "T", Type: conference.Forward}})
		p.notify(portalproto.StreamUpdated{ID: "S", Field: portalproto.FieldAudioStatus, Value: jsonvalue.Of("inactive")})
		p.notify(portalproto.StreamUpdated{ID: "nothing", Field: portalproto.FieldAudioStatus, Value: jsonvalue.Of("inactive")})
		p.push("unheard-of", jsonvalue.Of("x"))
		p.notify(portalproto.StreamRemoved{ID: "T"})
		p.notify(portalproto.StreamRemoved{ID: "T"})
		p.notify(portalproto.ParticipantLeft{ID: "carol"})
		w.told("joined carol", `message bob me {"k":1}`, "stream T", "updated S audio.status", "removed T", "left carol")
		if info := w.c.Info(); !info.Streams[0].Tracks[0].Inactive || len(info.Participants) != 2 {
			w.t.Errorf("info %+v", info)
		}
	})
}

func TestSend(t *testing.T) {
	inWorld(t, func(w *world) {
		if err := w.c.Send(w.t.Context(), jsonvalue.Of("hi"), ""); err != nil {
			t.Error(err)
		}
		if err := w.c.Send(w.t.Context(), parse(t, `{"k":1}`), "bob"); err != nil {
			t.Error(err)
		}
		w.messages(`> text {"to":"all","message":"hi"}`, `> text {"to":"bob","message":{"k":1}}`)
		w.portal.set(func() {
			w.portal.answers = func(string, jsonvalue.Value) []jsonvalue.Value {
				return portalproto.AckError(portalproto.NoParticipant("x"))
			}
		})
		var refusal *ServerError
		if err := w.c.Send(w.t.Context(), jsonvalue.Of("hi"), "x"); !errors.As(err, &refusal) || refusal.Text != "Target participant does NOT exist: x" {
			t.Error(err)
		}
		w.portal.set(func() { w.portal.answers, w.portal.mute["text"] = nil, true })
		begin := time.Now()
		if err := w.c.Send(w.t.Context(), jsonvalue.Of("hi"), ""); !errors.Is(err, ErrTimeout) || time.Since(begin) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

func TestEndings(t *testing.T) {
	for name, c := range map[string]struct {
		cause func(*portal)
		want  error
		text  string
	}{
		"drop":       {func(p *portal) { p.notify(portalproto.Dropped{}) }, ErrDropped, ErrDropped.Error()},
		"goodbye":    {func(p *portal) { p.lose(ErrDropped) }, ErrDropped, ErrDropped.Error()},
		"lost":       {func(p *portal) { p.lose(errors.New("reset")) }, ErrLost, ErrLost.Error() + ": reset"},
		"drop, then": {func(p *portal) { p.notify(portalproto.Dropped{}); p.lose(errors.New("EOF")) }, ErrDropped, ErrDropped.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				pub := w.published()
				c.cause(w.portal)
				<-w.c.Done()
				w.told("ended s1 "+ReasonEnded, "state ended ", "disconnected "+c.text)
				w.messages("peer1 close")
				if err := w.c.Send(w.t.Context(), jsonvalue.Of("x"), ""); !errors.Is(err, c.want) || !errors.Is(err, ErrEnded) {
					t.Error(err)
				}
				if err := pub.Stop(w.t.Context()); err != nil || !pub.Ended() {
					t.Errorf("stop: %v, ended %v", err, pub.Ended())
				}
				if err := w.c.Leave(w.t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestLeaveWhenThePortalIsSilent(t *testing.T) {
	inWorld(t, func(w *world) {
		w.portal.set(func() { w.portal.mute["logout"] = true })
		begin := time.Now()
		if err := w.c.Leave(w.t.Context()); !errors.Is(err, ErrTimeout) || time.Since(begin) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		<-w.c.Done()
		w.told("state ended ", "disconnected nil")
	})
}

func TestLeaveWithoutPatience(t *testing.T) {
	inWorld(t, func(w *world) {
		ctx, cancel := context.WithCancel(w.t.Context())
		cancel()
		if err := w.c.Leave(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		<-w.c.Done()
	})
}

func TestLeaveFromAHandler(t *testing.T) {
	inWorld(t, func(w *world) {
		left := make(chan error, 1)
		w.events.onEvent = func(text string) {
			if text == "joined carol" {
				left <- w.c.Leave(context.Background())
			}
		}
		w.portal.notify(portalproto.ParticipantJoined{Participant: conference.Participant{ID: "carol"}})
		if err := <-left; err != nil {
			t.Error(err)
		}
		<-w.c.Done()
		w.told("joined carol", "state ended ", "disconnected nil")
	})
}

func TestLeaveWhenTheServerHangsUpFirst(t *testing.T) {
	inWorld(t, func(w *world) {
		w.portal.set(func() {
			w.portal.mute["logout"] = true
			w.portal.answers = nil
		})
		leaving := start(func() (struct{}, error) { return struct{}{}, w.c.Leave(context.Background()) })
		synctest.Wait()
		w.portal.lose(ErrDropped)
		if <-leaving.done; leaving.err != nil {
			t.Error(leaving.err)
		}
		<-w.c.Done()
		w.told("state ended ", "disconnected nil")
	})
}

// TestSlowHandler: a handler that blocks holds up its own events only, until too many wait.
func TestSlowHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		gate := make(chan struct{})
		w.events.onEvent = func(text string) {
			if strings.HasPrefix(text, "joined") {
				<-gate
			}
		}
		options := w.options()
		options.MaxEvents = 100
		c, err := Join(w.t.Context(), goodToken, options)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 90 {
			w.portal.notify(portalproto.ParticipantJoined{Participant: conference.Participant{ID: strconv.Itoa(i)}})
		}
		synctest.Wait()
		if err := c.Send(w.t.Context(), jsonvalue.Of("x"), ""); err != nil {
			t.Errorf("send beside a blocked handler: %v", err)
		}
		if n := len(c.Info().Participants); n != 92 {
			t.Errorf("%d participants", n)
		}
		for i := range 100 {
			w.portal.notify(portalproto.ParticipantLeft{ID: strconv.Itoa(i)})
		}
		synctest.Wait()
		if err := c.Send(w.t.Context(), jsonvalue.Of("x"), ""); !errors.Is(err, ErrSlowEvents) {
			t.Errorf("send after the overflow: %v", err)
		}
		close(gate)
		<-c.Done()
		events := w.events.take()
		if last := events[len(events)-1]; last != "disconnected "+ErrSlowEvents.Error() {
			t.Errorf("last event %q", last)
		}
	})
}

// TestHandlerPanics: the conference ends and says why.
func TestHandlerPanics(t *testing.T) {
	inWorld(t, func(w *world) {
		boom := errors.New("boom")
		var got error
		w.events.onEvent = func(text string) {
			if text == "left bob" {
				panic(boom)
			}
		}
		w.portal.notify(portalproto.ParticipantLeft{ID: "bob"})
		<-w.c.Done()
		got = w.c.Send(w.t.Context(), jsonvalue.Of("x"), "")
		var p *task.PanicError
		if !errors.As(got, &p) || !errors.Is(got, boom) {
			t.Error(got)
		}
	})
}

func TestBadToken(t *testing.T) {
	for _, token := range []string{"", "!!", "e30=", "bnVsbA==", strings.Repeat("A", maxToken+1), "eyJob3N0IjoxfQ=="} {
		if _, err := Join(t.Context(), token, Options{Dial: nil}); !errors.Is(err, ErrToken) {
			t.Errorf("%.20q: %v", token, err)
		}
	}
}
