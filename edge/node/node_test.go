package node_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"portico/edge/config"
	"portico/edge/node"
	"portico/shared/jsonvalue"
	"portico/shared/sioclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// started is a running edge and its address; stop ends it before the test does.
func started(t *testing.T, change func(*config.Settings)) (url string, stop func()) {
	t.Helper()
	cfg := config.Default()
	cfg.HTTP.Listen, cfg.DataDir = "127.0.0.1:0", t.TempDir()
	if change != nil {
		change(cfg)
	}
	sockets, err := node.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.New(cfg, sockets, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := n.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
	t.Cleanup(stop)
	return fmt.Sprintf("http://127.0.0.1:%d", sockets.Port()), stop
}

// client makes requests that leave no connection behind.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

func TestPages(t *testing.T) {
	url, _ := started(t, nil)
	for path, want := range map[string]string{
		"/livez": "200 ok", "/readyz": "200 ok", "/": "200 <!doctype html>", "/metrics": "200 # HELP", "/v1/rooms": "401 {\"error\":{\"code\":1101",
		"/V1/nosuch": "404 {\"error\":{\"code\":1001", "/socket.io/?EIO=4&transport=polling": "200 0{\"sid\":", "/none": "404 ", "/demo/token": "404 ",
	} {
		code, body := get(t, url+path)
		if got := fmt.Sprintf("%d %s", code, body); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %.80s, want %s", path, got, want)
		}
	}
	_, metrics := get(t, url+"/metrics")
	for _, name := range []string{"portico_rooms 0", "portico_portal_connections_total 1", `portico_build_info{program="portico-edge"`} {
		if !strings.Contains(metrics, name) {
			t.Errorf("metrics lack %s", name)
		}
	}
}

func TestMetricsAreHiddenFromStrangers(t *testing.T) {
	url, _ := started(t, func(s *config.Settings) { s.HTTP.MetricsFrom = []string{"192.0.2.0/24"} })
	if code, _ := get(t, url+"/metrics"); code != http.StatusNotFound {
		t.Errorf("status %d", code)
	}
}

func TestDemoTokensInDevOnly(t *testing.T) {
	url, _ := started(t, func(s *config.Settings) { s.Dev = true })
	rooms := map[string]bool{}
	for _, name := range []string{"a", "a", "b"} {
		c := connect(t, url)
		ack, err := c.Request(t.Context(), "login", login(demoToken(t, url, name)))
		if err != nil || ack[0].Text() != "ok" {
			t.Fatalf("login: %v, %v", ack, err)
		}
		rooms[ack[1].Path("room", "id").Text()] = true
	}
	if len(rooms) != 2 {
		t.Errorf("two names made %d rooms", len(rooms))
	}
}

// demoToken gets a token as the demo page does.
func demoToken(t *testing.T, url, room string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/demo/token", strings.NewReader(`{"room":"`+room+`","user":"u","role":"presenter"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Origin", url)
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonvalue.Parse(body, jsonvalue.Limits{})
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", answer.StatusCode, body)
	}
	return v.Get("token").Text()
}

// connect opens a Socket.IO connection that ends with the test; what is emitted and how it closes are dropped.
func connect(t *testing.T, url string) *sioclient.Conn {
	t.Helper()
	return connectWith(t, url, func(string, []jsonvalue.Value) {}, func(error) {})
}

func connectWith(t *testing.T, url string, event func(string, []jsonvalue.Value), closed func(error)) *sioclient.Conn {
	t.Helper()
	c, err := sioclient.Dial(t.Context(), sioclient.Options{URL: url, OnEvent: event, OnClose: closed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		<-c.Done()
	})
	return c
}

func login(token string) jsonvalue.Value { return loginAs(token, "Go") }

func loginAs(token, sdk string) jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("token", jsonvalue.Of(token)), jsonvalue.M("protocol", jsonvalue.Of("1.2")),
		jsonvalue.M("userAgent", jsonvalue.OfObject(jsonvalue.M("sdk", jsonvalue.OfObject(
			jsonvalue.M("type", jsonvalue.Of(sdk)), jsonvalue.M("version", jsonvalue.Of("1")))))))
}

// Garbage costs its sender the connection, and nobody else anything.
func TestGarbage(t *testing.T) {
	url, _ := started(t, nil)
	good := connect(t, url)
	for name, text := range map[string]string{
		"not HTTP":        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
		"endless header":  "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n",
		"bad packet":      "POST /socket.io/?EIO=4&transport=polling&sid=zzz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\n9zz",
		"unknown upgrade": "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(conn, text); err != nil {
			t.Logf("%s: %v", name, err) // cut off while still sending
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err == nil && !strings.Contains(line, " 4") {
			t.Errorf("%s: answered %q", name, line)
		}
		_ = conn.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if ack, err := good.Request(ctx, "logout"); err != nil || ack[1].Text() != "Illegal request" {
		t.Errorf("the good client: %v, %v", ack, err)
	}
}

// A participant learns of the stop before its connection ends, and Stop leaves nothing behind (goleak checks it).
func TestStopTellsParticipants(t *testing.T) {
	url, stop := started(t, func(s *config.Settings) { s.Dev = true })
	told := make(chan string, 10)
	c := connectWith(t, url, func(name string, _ []jsonvalue.Value) { told <- name }, func(error) { told <- "closed" })
	if ack, err := c.Request(t.Context(), "login", login(demoToken(t, url, "r"))); err != nil || ack[0].Text() != "ok" {
		t.Fatalf("login: %v, %v", ack, err)
	}
	stop()
	for _, want := range []string{"drop", "closed"} {
		if got := <-told; got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	if _, err := client.Get(url + "/livez"); err == nil {
		t.Error("still answers")
	}
}
