package sioclient

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/wsconn"
)

func TestDialFails(t *testing.T) {
	for name, c := range map[string]struct {
		packets []string
		want    error
	}{
		"no open packet":   {[]string{"4x"}, ErrProtocol},
		"faulty open":      {[]string{"0{}"}, ErrProtocol},
		"garbage":          {[]string{"zzz"}, ErrProtocol},
		"no sid":           {[]string{open, "40"}, ErrProtocol},
		"event first":      {[]string{open, `42["x"]`}, ErrProtocol},
		"open twice":       {[]string{open, open}, ErrProtocol},
		"closed at once":   {nil, wsconn.ErrClosed},
		"closed in middle": {[]string{open, "2"}, wsconn.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Dial(t.Context(), Options{URL: "https://x", Dialer: func(context.Context, string) (wsconn.Conn, error) {
				client, server := newPipe()
				for _, p := range c.packets {
					server.out <- p
				}
				if errors.Is(c.want, wsconn.ErrClosed) {
					go func() {
						if len(c.packets) > 0 {
							server.next() // 40
							server.next() // 3
						}
						server.Close()
					}()
				}
				return client, nil
			}})
			if !errors.Is(err, c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	_, err := Dial(t.Context(), Options{URL: "https://x", Dialer: func(context.Context, string) (wsconn.Conn, error) {
		client, server := newPipe()
		server.out <- open
		server.out <- `44{"message":"no"}`
		return client, nil
	}})
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Message != "no" {
		t.Errorf("refused: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := Dial(t.Context(), Options{URL: "https://x", Dialer: func(context.Context, string) (wsconn.Conn, error) {
			client, _ := newPipe()
			return client, nil
		}})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 20*time.Second {
			t.Errorf("silent server: %v after %v", err, time.Since(start))
		}
	})
}

func TestAddress(t *testing.T) {
	for url, want := range map[string]string{
		"http://edge:8080":     "ws://edge:8080/socket.io/?EIO=4&transport=websocket",
		"https://edge":         "wss://edge/socket.io/?EIO=4&transport=websocket",
		"wss://[2001:db8::1]/": "wss://[2001:db8::1]/socket.io/?EIO=4&transport=websocket",
		"HTTP://edge/room?x=1": "ws://edge/socket.io/?EIO=4&transport=websocket",
		"edge:8080":            "",
		"ftp://edge":           "",
		"http://":              "",
		"http://?x":            "",
	} {
		got, err := Options{URL: url}.withDefaults().address()
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v", url, got, err)
		}
	}
}

func TestBackoff(t *testing.T) {
	for attempt, want := range []time.Duration{1, 2, 4, 5, 5} {
		if got := (Backoff{}).Delay(attempt, 0.5); got != want*time.Second {
			t.Errorf("attempt %d: %v", attempt, got)
		}
	}
	b := Backoff{Min: 100 * time.Millisecond, Max: time.Hour, Factor: 3, Jitter: 0.1}
	if low, high := b.Delay(1, 0), b.Delay(1, 0.999999); low != 270*time.Millisecond || high < 329*time.Millisecond || high > 330*time.Millisecond {
		t.Error(low, high)
	}
	if got := b.Delay(1_000_000, 1); got != time.Hour {
		t.Error(got)
	}
}

func TestRedial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		var server *pipe
		options := r.options(&server)
		reached := options.Dialer
		attempts := 0
		options.Dialer = func(ctx context.Context, url string) (wsconn.Conn, error) {
			if attempts++; attempts < 4 {
				return nil, errors.New("unreachable")
			}
			return reached(ctx, url)
		}
		start := time.Now()
		c, err := Redial(t.Context(), options, Backoff{})
		if err != nil || attempts != 4 {
			t.Fatalf("%v after %d attempts", err, attempts)
		}
		if took := time.Since(start); took < 6*time.Second || took > 16*time.Second {
			t.Errorf("took %v", took)
		}
		c.Close()
		<-c.Done()
		attempts = -100
		if _, err := Redial(t.Context(), options, Backoff{Attempts: 3}); err == nil || attempts != -97 {
			t.Errorf("%v after %d attempts", err, attempts+100)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := Redial(ctx, options, Backoff{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		options.URL = "nonsense"
		if _, err := Redial(t.Context(), options, Backoff{}); !errors.Is(err, ErrURL) {
			t.Error(err)
		}
	})
}
