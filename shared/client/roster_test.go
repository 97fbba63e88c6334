package client

import (
	"strings"
	"testing"
	"testing/synctest"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// TestThinRoster: a client that asks for it is told how many there are beside those that it is told of.
func TestThinRoster(t *testing.T) {
	inCluster(t, func(w *world, _ *Publication, _ *Subscription) {
		expect := func(listed, count int, thin bool, events ...string) {
			t.Helper()
			w.told(events...)
			if i := w.c.Info(); len(i.Participants) != listed || i.Count != count || i.Thin != thin {
				t.Errorf("%d of %d participants, thin: %v", len(i.Participants), i.Count, i.Thin)
			}
		}
		expect(2, 2, false)
		w.portal.notify(portalproto.Roster{Count: 700, Thin: true})
		w.portal.notify(portalproto.ParticipantLeft{ID: "bob"})
		expect(1, 700, true, "roster 700 true", "left bob")
		w.portal.notify(portalproto.Roster{Count: 700, Thin: true})
		w.portal.notify(portalproto.Roster{Count: 699, Thin: true})
		expect(1, 699, true, "roster 699 true")
		w.portal.notify(portalproto.ParticipantJoined{Participant: conference.Participant{ID: "bob"}})
		w.portal.notify(portalproto.Roster{Count: 2})
		w.portal.notify(portalproto.Roster{Count: 3})
		expect(2, 2, false, "joined bob", "roster 2 false")

		// Another edge shows the room as it is there, and is asked for the same.
		login := w.portal.login
		w.portal.set(func() {
			w.portal.down[homeURL], w.portal.moved = true, true
			w.portal.login = login.With("count", jsonvalue.OfInt(501)).With("thin", jsonvalue.OfBool(true))
		})
		w.portal.lose(errReset)
		synctest.Wait()
		if all := strings.Join(w.portal.journal.take(), "\n"); !strings.Contains(all, `"migrate":true,"thin":true}`) {
			t.Errorf("not asked for: %s", all)
		}
		expect(2, 501, true, "state reconnecting connected", "state joined connected", "roster 501 true", "restored s1 s1", "restored s2 n2")
		w.peers.last().events.State("connected")
		w.portal.set(func() {
			w.portal.down[homeURL], w.portal.down[secondURL] = false, true
			w.portal.login, w.portal.prefix, w.portal.sessions = login, "m", 0
		})
		w.portal.lose(errReset)
		synctest.Wait()
		w.events.take()
		expect(2, 2, false)
	}, func(o *Options) { o.Thin = true })
}

// TestThinLogin: who does not ask for it says nothing of it.
func TestThinLogin(t *testing.T) {
	for _, thin := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			options := w.options()
			options.Thin = thin
			w.portal.login = w.portal.login.With("count", jsonvalue.OfInt(1)).With("thin", jsonvalue.OfBool(thin))
			c, err := Join(t.Context(), goodToken, options)
			if err != nil {
				t.Fatal(err)
			}
			if all := strings.Join(w.portal.journal.take(), "\n"); strings.Contains(all, `"thin":true`) != thin {
				t.Errorf("asked for %v: %s", thin, all)
			}
			if i := c.Info(); i.Count != 2 || i.Thin != thin { // a number below those that are listed makes no sense
				t.Errorf("%d participants, thin: %v", i.Count, i.Thin)
			}
			_ = c.Leave(t.Context())
			<-c.Done()
		})
	}
}
