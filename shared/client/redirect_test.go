package client

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

const fourthURL, fifthURL = "http://fourth:8080", "http://fifth:8080"

// TestJoinRedirected: where the portal that the token names lets nobody in, the client joins on one of the edges that it names.
func TestJoinRedirected(t *testing.T) {
	all := []string{secondURL, "ftp://x", homeURL, thirdURL, fourthURL, fifthURL}
	nothing := []string{}
	full := "login refused: " + portalproto.ErrOverloaded.Text
	for name, c := range map[string]struct {
		full map[string][]string
		down []string
		deny bool // the last answers with a refusal that is not its own alone
		want []string
		err  string
	}{
		"to the next": {map[string][]string{homeURL: all}, nil, false, []string{homeURL, secondURL}, ""},
		"past one": {map[string][]string{homeURL: all, secondURL: nothing}, []string{thirdURL}, false,
			[]string{homeURL, secondURL, thirdURL, fourthURL}, ""},
		"three at most": {map[string][]string{homeURL: all, secondURL: {fifthURL}, thirdURL: nothing, fourthURL: all}, nil, false,
			[]string{homeURL, secondURL, thirdURL, fourthURL}, full},
		"to nobody":         {map[string][]string{homeURL: nothing}, nil, false, []string{homeURL}, full},
		"to a full room":    {map[string][]string{homeURL: all}, nil, true, []string{homeURL, secondURL}, "login refused: Room is full"},
		"nobody is at home": {map[string][]string{}, []string{homeURL}, false, []string{homeURL}, ErrConnect.Error() + ": " + errReset.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.portal.full, w.portal.down = c.full, map[string]bool{}
				for _, url := range c.down {
					w.portal.down[url] = true
				}
				if c.deny {
					w.refuse("login", portalproto.ErrRoomFull.Text)
				}
				conf, err := Join(t.Context(), goodToken, w.options())
				if text := errorText(err); text != c.err {
					t.Errorf("%q, want %q", text, c.err)
				}
				if got := w.dials(); !slices.Equal(got, c.want) {
					t.Errorf("tried %v, want %v", got, c.want)
				}
				if conf != nil {
					_ = conf.Leave(t.Context())
					<-conf.Done()
				}
			})
		})
	}
}

// TestRedirectedFromTLS: nothing leads from TLS to where there is none.
func TestRedirectedFromTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const home, safe = "https://portal:8080", "https://safe:8080"
		w.portal.full = map[string][]string{home: {secondURL, safe}}
		secure := base64.StdEncoding.EncodeToString([]byte(`{"host":"portal:8080","secure":true,"webTransportUrl":"https://portal:8080/"}`))
		w.portal.login = w.portal.login.With("webTransportToken", jsonvalue.Of(dataToken("d")))
		conf, err := Join(t.Context(), secure, w.options())
		if err != nil {
			t.Fatal(err)
		}
		if got := w.dials(); !slices.Equal(got, []string{home, safe}) {
			t.Errorf("tried %v", got)
		}
		if _, err := conf.OpenData(t.Context()); !errors.Is(err, ErrNoData) {
			t.Errorf("data streams of another edge: %v", err)
		}
		_ = conf.Leave(t.Context())
		<-conf.Done()
	})
}

// TestResumeRedirected: an edge that is full names others, which the client did not know.
func TestResumeRedirected(t *testing.T) {
	inCluster(t, func(w *world, pub *Publication, _ *Subscription) {
		w.portal.set(func() {
			w.portal.down[homeURL], w.portal.down[thirdURL], w.portal.moved = true, true, true
			w.portal.full = map[string][]string{secondURL: {thirdURL, fourthURL}}
		})
		begin := time.Now()
		w.portal.lose(errReset)
		synctest.Wait()
		if got := w.dials(); !slices.Equal(got, []string{homeURL, secondURL, thirdURL, fourthURL}) || pub.ID() != "s1" || time.Since(begin) > 0 {
			t.Errorf("resumed at %v after %v", got, time.Since(begin))
		}
	})
}

// TestMoveRedirected: the same for a client that is asked to go.
func TestMoveRedirected(t *testing.T) {
	inCluster(t, func(w *world, pub *Publication, _ *Subscription) {
		w.portal.set(func() {
			w.portal.moved = true
			w.portal.full = map[string][]string{secondURL: {fourthURL, fifthURL}}
		})
		w.portal.notify(portalproto.Move{Edges: []string{secondURL}, Ticket: "t2", Deadline: time.Minute})
		synctest.Wait()
		if got := w.dials(); !slices.Equal(got, []string{secondURL, fourthURL}) || pub.Ended() {
			t.Errorf("went to %v", got)
		}
	})
}

// TestRejoinRedirected: and for one that has to join anew.
func TestRejoinRedirected(t *testing.T) {
	inCluster(t, func(w *world, pub *Publication, _ *Subscription) {
		logins := 0
		w.portal.set(func() {
			w.portal.prefix = "n"
			w.portal.answers = func(name string, _ jsonvalue.Value) []jsonvalue.Value {
				switch name {
				case portalproto.EventRelogin:
					return portalproto.AckError(portalproto.ErrNoClient)
				case portalproto.EventLogin:
					if logins++; logins == 1 {
						return portalproto.AckError(&portalproto.Redirect{Refusal: portalproto.ErrOverloaded, Edges: []string{fourthURL}})
					}
				}
				return nil
			}
		})
		w.portal.lose(errReset)
		synctest.Wait()
		if got := w.dials(); !slices.Equal(got, []string{homeURL, homeURL, fourthURL}) || pub.Ended() {
			t.Errorf("joined anew at %v", got)
		}
	}, func(o *Options) { o.Token = func(context.Context) (string, error) { return goodToken, nil } })
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
