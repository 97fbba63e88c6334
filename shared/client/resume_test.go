package client

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

var errReset = errors.New("reset")

// resumable runs a test with a joined conference that the portal gave a ticket.
func resumable(t *testing.T, fn func(w *world), change ...func(*Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.portal.login = w.portal.login.With("reconnectionTicket", jsonvalue.Of(w.portal.ticket()))
		options := w.options()
		for _, c := range change {
			c(&options)
		}
		c, err := Join(t.Context(), goodToken, options)
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

// cutOff makes the portal unreachable.
func (w *world) cutOff() {
	w.portal.set(func() { w.portal.dialling = func(context.Context) error { return errors.New("no route") } })
	w.portal.lose(errReset)
	synctest.Wait()
}

// reachable is the end of cutOff, as the page would tell it.
func (w *world) reachable() {
	w.portal.set(func() { w.portal.dialling = nil })
	w.c.NetworkChanged()
	synctest.Wait()
}

// heard is what the portal heard since the last look, without connections and relogins.
func (w *world) heard() (names []string) {
	w.t.Helper()
	synctest.Wait()
	for _, line := range w.portal.journal.take() {
		if strings.HasPrefix(line, "dial") || strings.HasPrefix(line, "> relogin") || strings.HasPrefix(line, "> refresh") {
			continue
		}
		names = append(names, line)
	}
	return names
}

func (w *world) text(s string) {
	w.portal.notify(portalproto.TextMessage{From: "bob", To: "all", Message: jsonvalue.Of(s)})
}

func (w *world) send(s string) *pending[struct{}] {
	return start(func() (struct{}, error) {
		return struct{}{}, w.c.Send(w.t.Context(), jsonvalue.Of(s), "")
	})
}

func sentText(s string) string { return `> text {"to":"all","message":"` + s + `"}` }

func bothForms(t *testing.T, fn func(w *world)) {
	for _, form := range []string{"object", "string"} {
		t.Run(form, func(t *testing.T) {
			resumable(t, func(w *world) {
				w.portal.asString = form == "string"
				fn(w)
			})
		})
	}
}

func TestResume(t *testing.T) {
	bothForms(t, func(w *world) {
		w.text("before")
		w.told(`message bob all "before"`)
		w.portal.set(func() { w.portal.dialling = func(context.Context) error { w.text("while away"); return nil } })
		w.portal.lose(errReset)
		w.told("state reconnecting ", "state joined ", `message bob all "while away"`)
		got := w.portal.journal.take()
		if len(got) != 2 || got[0] != "dial http://portal:8080" || !strings.HasPrefix(got[1], `> relogin "`) {
			w.t.Errorf("messages %q", got)
		}
		w.text("after")
		w.told(`message bob all "after"`)
		if id := w.c.Info().Self.ID; id != "me" {
			w.t.Errorf("participant %s", id)
		}
	})
}

// TestNothingTwice: what the portal believes to have sent, and what it kept, come once and in order, however often the connection breaks.
func TestNothingTwice(t *testing.T) {
	resumable(t, func(w *world) {
		n := 0
		text := func() { n++; w.text(strconv.Itoa(n)) }
		for range 3 {
			text()
			w.portal.push("unheard-of", jsonvalue.Of("counts all the same"))
			w.portal.push("drop-not", jsonvalue.Value{})
			text()
			synctest.Wait()
			w.portal.set(func() { w.portal.deaf = true })
			text()
			text()
			w.portal.set(func() {
				w.portal.deaf = false
				w.portal.dialling = func(context.Context) error { text(); text(); return nil }
			})
			w.portal.lose(errReset)
			synctest.Wait()
			text()
			synctest.Wait()
		}
		var got []string
		for _, e := range w.events.take() {
			if m, ok := strings.CutPrefix(e, "message bob all "); ok {
				got = append(got, m)
			}
		}
		for i, m := range got {
			if m != strconv.Quote(strconv.Itoa(i+1)) {
				t.Fatalf("message %d is %s: %q", i+1, m, got)
			}
		}
		if len(got) != n || n != 21 {
			t.Errorf("%d of %d messages", len(got), n)
		}
	})
}

// TestTwiceInARow: the connection breaks during relogin, in every way, and nothing is lost.
func TestTwiceInARow(t *testing.T) {
	for _, loss := range []string{"unheard", "unanswered", "answered"} {
		t.Run(loss, func(t *testing.T) {
			resumable(t, func(w *world) {
				w.portal.set(func() { w.portal.losses["relogin"] = loss })
				w.portal.set(func() {
					w.portal.dialling = func(context.Context) error { w.text(strconv.Itoa(w.portal.dials)); return nil }
				})
				w.portal.lose(errReset)
				time.Sleep(5 * time.Second)
				synctest.Wait()
				got := strings.Join(w.events.take(), "\n")
				messages := "message bob all \"2\"\nmessage bob all \"3\""
				want := "state reconnecting \nstate joined \n" + messages
				if loss == "answered" {
					want = "state reconnecting \nstate joined \nmessage bob all \"2\"\nstate reconnecting \nstate joined \nmessage bob all \"3\""
				}
				if got != want {
					t.Errorf("events\n%s\nwant\n%s", got, want)
				}
			})
		})
	}
}

// TestBackOff: at once, then after 0.5 s doubling to 5 s, give or take half, for a minute.
func TestBackOff(t *testing.T) {
	resumable(t, func(w *world) {
		var at []time.Duration
		begin := time.Now()
		w.portal.set(func() {
			w.portal.dialling = func(context.Context) error { at = append(at, time.Since(begin)); return errors.New("no route") }
		})
		w.portal.lose(errReset)
		<-w.c.Done()
		if at[0] != 0 || len(at) < 12 || len(at) > 30 || at[len(at)-1] != time.Minute {
			t.Errorf("attempts at %v", at)
		}
		for i, most := range []time.Duration{750, 1500, 3000, 5000} {
			if pause := at[i+1] - at[i]; pause > most*time.Millisecond || pause < most*time.Millisecond/3 {
				t.Errorf("pause %d: %v", i, pause)
			}
		}
		events := w.events.take()
		compare(t, "events", events, []string{"state reconnecting ", "state ended ", "disconnected " + ErrLost.Error() + ": " + ErrConnect.Error() + ": no route"})
	})
}

// TestHurry: the page knows that the network is back before the next attempt is due, and ends an attempt that hangs.
func TestHurry(t *testing.T) {
	resumable(t, func(w *world) {
		w.cutOff()
		time.Sleep(8 * time.Second)
		w.portal.set(func() { w.portal.dialling = nil })
		w.told("state reconnecting ")
		w.c.NetworkChanged()
		w.told("state joined ")

		w.portal.set(func() { w.portal.dialling = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() } })
		w.portal.lose(errReset)
		time.Sleep(3 * time.Second)
		w.told("state reconnecting ")
		w.portal.set(func() { w.portal.dialling = nil })
		w.c.NetworkChanged()
		w.told("state joined ")
	})
}

// TestProbe: a connection that does not show that it works is replaced; one that does is kept.
func TestProbe(t *testing.T) {
	resumable(t, func(w *world) {
		w.c.NetworkChanged()
		w.c.NetworkChanged()
		w.messages("> refreshReconnectionTicket")
		time.Sleep(time.Minute)
		w.told()

		w.portal.set(func() { w.portal.mute["refreshReconnectionTicket"] = true })
		w.c.NetworkChanged()
		time.Sleep(probeTime - time.Millisecond)
		w.told()
		time.Sleep(time.Millisecond)
		w.told("state reconnecting ", "state joined ")
		if got := w.portal.journal.take(); len(got) != 3 || !strings.HasPrefix(got[2], "> relogin") {
			t.Errorf("messages %q", got)
		}
		w.text("still here")
		w.told(`message bob all "still here"`)
	})
}

func TestTicketIsRefreshed(t *testing.T) {
	resumable(t, func(w *world) {
		relogin := func() string {
			w.portal.lose(errReset)
			synctest.Wait()
			for _, line := range w.portal.journal.take() {
				if strings.HasPrefix(line, "> relogin") {
					return line
				}
			}
			return ""
		}
		first := relogin()
		time.Sleep(9*time.Minute - time.Millisecond)
		w.messages()
		time.Sleep(time.Millisecond)
		w.messages("> refreshReconnectionTicket")
		if second := relogin(); second == first || second == "" {
			t.Errorf("resumed with %s, then %s", first, second)
		}
		// No answer: once more after a while. A refusal is final.
		w.portal.set(func() { w.portal.mute["refreshReconnectionTicket"] = true })
		time.Sleep(9*time.Minute + 10*time.Second + refreshRetry)
		w.messages("> refreshReconnectionTicket", "> refreshReconnectionTicket")
		w.portal.set(func() { w.portal.mute["refreshReconnectionTicket"] = false })
		w.refuse("refreshReconnectionTicket", portalproto.ErrNoReconnection.Text)
		time.Sleep(10*time.Second + refreshRetry)
		w.messages("> refreshReconnectionTicket")
		time.Sleep(time.Hour)
		w.messages()
	})
	resumable(t, func(w *world) {
		time.Sleep(8*time.Minute + 50*time.Second)
		w.cutOff()
		time.Sleep(30 * time.Second)
		w.portal.set(func() { w.portal.dialling = nil })
		time.Sleep(10 * time.Second)
		if got := strings.Join(w.portal.journal.take(), "\n"); strings.Contains(got, "refresh") || !strings.Contains(got, "relogin") {
			t.Errorf("refreshed while away:\n%s", got)
		}
	})
}

func TestRefreshAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`{"notBefore":0,"notAfter":600000}`:                              9 * time.Minute,
		`{"notBefore":1700000000000,"notAfter":1700000060000}`:           50 * time.Second,
		`{"notBefore":0,"notAfter":8000}`:                                4 * time.Second,
		`{"notBefore":0,"notAfter":1}`:                                   time.Second,
		`{"notBefore":0,"notAfter":9000000000000000000}`:                 24*time.Hour - time.Minute,
		`{"notBefore":-9000000000000000000,"notAfter":9000000000000000}`: 24*time.Hour - time.Minute,
		`{"notBefore":9,"notAfter":1}`:                                   blindRefresh,
		`{}`:                                                             blindRefresh,
		`no JSON`:                                                        blindRefresh,
	} {
		if got := refreshAfter(base64Of(text)); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	if got := refreshAfter("!"); got != blindRefresh {
		t.Error(got)
	}
}

func FuzzRefreshAfter(f *testing.F) {
	f.Add(base64Of(`{"participantId":"p","ticketId":"t","notBefore":1700000000000,"notAfter":1700000600000,"signature":"s"}`))
	f.Add(base64Of(`{"notBefore":-9223372036854775808,"notAfter":9223372036854775807}`))
	f.Add("e30=")
	f.Fuzz(func(t *testing.T, ticket string) {
		if d := refreshAfter(ticket); d < minRefresh || d > maxRefresh {
			t.Errorf("%q: %v", ticket, d)
		}
	})
}

// TestNoComingBack: where the server or the page has ended it, the client does not come back.
func TestNoComingBack(t *testing.T) {
	for name, end := range map[string]func(w *world){
		"goodbye": func(w *world) { w.portal.lose(ErrDropped) },
		"drop":    func(w *world) { w.portal.notify(portalproto.Dropped{}); w.portal.lose(errReset) },
		"logout":  func(w *world) { _ = w.c.Leave(context.Background()) },
		"drop while away": func(w *world) {
			w.cutOff()
			w.portal.notify(portalproto.Dropped{})
			w.portal.set(func() { w.portal.dialling = nil })
		},
		"ticket refused": func(w *world) {
			w.refuse("relogin", portalproto.ErrNoClient.Text)
			w.portal.lose(errReset)
		},
	} {
		t.Run(name, func(t *testing.T) {
			resumable(t, func(w *world) {
				end(w)
				<-w.c.Done()
				dials := strings.Count(strings.Join(w.portal.journal.take(), "\n"), "dial")
				if name == "ticket refused" && dials != 1 || dials > 2 {
					t.Errorf("%d connections", dials)
				}
				events := w.events.take()
				want := map[string]string{"logout": "nil", "ticket refused": ErrLost.Error() + ": relogin refused: Client does NOT exist"}[name]
				if want == "" {
					want = ErrDropped.Error()
				}
				if last := events[len(events)-1]; last != "disconnected "+want {
					t.Errorf("events %q", events)
				}
				time.Sleep(2 * time.Minute)
				w.messages()
			})
		})
	}
}

func TestLeaveWhileAway(t *testing.T) {
	resumable(t, func(w *world) {
		w.cutOff()
		time.Sleep(10 * time.Second)
		w.portal.set(func() { w.portal.dialling = nil })
		if err := w.c.Leave(w.t.Context()); err != nil { // it does not wait for the next attempt
			t.Error(err)
		}
		got := w.heard()
		if len(got) != 1 || got[0] != "> logout" {
			t.Errorf("messages %q", got)
		}
	})
	resumable(t, func(w *world) {
		w.cutOff()
		begin := time.Now()
		if err := w.c.Leave(w.t.Context()); !errors.Is(err, ErrTimeout) || time.Since(begin) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		<-w.c.Done()
		w.told("state reconnecting ", "state ended ", "disconnected nil")
	})
	for _, loss := range []string{"unheard", "unanswered", "answered"} {
		resumable(t, func(w *world) {
			w.portal.set(func() { w.portal.losses["logout"] = loss })
			if loss == "unanswered" {
				w.refuse("relogin", portalproto.ErrNoClient.Text)
			}
			if err := w.c.Leave(w.t.Context()); err != nil {
				t.Errorf("%s: %v", loss, err)
			}
			if got := strings.Join(w.heard(), "\n"); strings.Count(got, "> logout") != 1 {
				t.Errorf("%s: messages\n%s", loss, got)
			}
		})
	}
}

// TestFloodWhileAway: a server cannot make a client keep more than it can bear.
func TestFloodWhileAway(t *testing.T) {
	resumable(t, func(w *world) {
		w.portal.set(func() {
			w.portal.answers = func(name string, _ jsonvalue.Value) []jsonvalue.Value {
				if name == "relogin" {
					w.portal.mu.Lock()
					s := w.portal.last
					w.portal.mu.Unlock()
					for range maxHeldEvents + 1 {
						s.wire <- func() { s.options.OnEvent("text", nil) }
					}
				}
				return nil
			}
		})
		w.portal.lose(errReset)
		<-w.c.Done()
		if events := w.events.take(); events[len(events)-1] != "disconnected "+ErrProtocol.Error() {
			t.Errorf("events %q", events)
		}
	})
}
