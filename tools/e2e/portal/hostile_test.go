package portal

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/edge/config"
	"portico/shared/jsonvalue"
	"portico/shared/sioclient"
	"portico/shared/wsconn"
)

// Whatever a client does, it is cut off with an error of its own, memory stays bounded, and a call beside it loses nothing.
func TestHostileClients(t *testing.T) {
	e := startEdge(t, func(s *config.Settings) {
		s.Portal.PingInterval, s.Portal.PingTimeout = time.Second, time.Second
		s.Limits.QueueBytes = 1 << 20
	})
	k := e.startCall()
	for _, c := range []struct {
		name string
		run  func(*testing.T, *edge)
	}{
		{"2,000 sockets that never answer a ping", silentSockets}, {"slow-loris polling", slowLoris}, {"100 MB body", hugeBody},
		{"10,000-deep JSON", deepJSON}, {"lying placeholders", lyingPlaceholders}, {"__proto__ keys", protoKeys}, {"50,000 events in a burst", burst},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, mark := heap(), k.mark()
			began := time.Now()
			c.run(t, e)
			lost, of := k.lost(mark)
			t.Logf("%v; heap %+.1f MB; the call lost %d of %d packets", time.Since(began).Round(time.Millisecond), heap()-before, lost, of)
			if lost > 0 {
				t.Errorf("the call beside lost %d of %d packets", lost, of)
			}
			if grown := heap() - before; grown > 64 {
				t.Errorf("%.1f MB of memory were kept", grown)
			}
		})
	}
}

// heap is the memory in use, in MB.
func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapInuse) / (1 << 20)
}

func (e *edge) host() string {
	_, host, _ := strings.Cut(e.url, "://")
	return host
}

// socket opens a raw websocket session of Engine.IO 4 and connects the namespace.
func (e *edge) socket(t *testing.T) wsconn.Conn {
	t.Helper()
	conn, err := wsconn.Dial(t.Context(), "ws://"+e.host()+"/socket.io/?EIO=4&transport=websocket", wsconn.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	if err := conn.WriteText(t.Context(), []byte("40")); err != nil {
		t.Fatal(err)
	}
	return conn
}

// cutOff reads until the server ends the connection.
func cutOff(t *testing.T, conn wsconn.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		if _, err := conn.ReadText(ctx); err != nil {
			if ctx.Err() != nil {
				t.Error("was not cut off")
			}
			return
		}
	}
}

func silentSockets(t *testing.T, e *edge) {
	const sockets = 2000
	var wg sync.WaitGroup
	gate := make(chan struct{}, 50) // handshakes at a time
	for range sockets {
		wg.Add(1)
		gate <- struct{}{}
		go func() {
			defer wg.Done()
			conn, err := wsconn.Dial(t.Context(), "ws://"+e.host()+"/socket.io/?EIO=4&transport=websocket", wsconn.DialOptions{})
			<-gate
			if err != nil {
				t.Errorf("handshake: %v", err)
				return
			}
			defer func() { _ = conn.CloseNow() }()
			cutOff(t, conn)
		}()
	}
	t.Logf("heap while they are open, clients included: %.1f MB", heap())
	wg.Wait()
}

func slowLoris(t *testing.T, e *edge) {
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			conn, err := net.Dial("tcp", e.host())
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
			if _, err := io.WriteString(conn, "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n"); err != nil {
				t.Error(err)
				return
			}
			// One header byte now and then, for ever: the server must end it.
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for range tick.C {
				if _, err := io.WriteString(conn, "X: y\r\n"); err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
}

// polling opens a session by long-polling and returns its address.
func (e *edge) polling(t *testing.T) string {
	t.Helper()
	r, err := http.Get(e.url + "/socket.io/?EIO=4&transport=polling")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	text, err := io.ReadAll(r.Body)
	if err != nil || len(text) < 2 {
		t.Fatalf("handshake: %s, %v", text, err)
	}
	open, err := jsonvalue.Parse(text[1:], jsonvalue.Limits{})
	if err != nil {
		t.Fatalf("handshake: %s, %v", text, err)
	}
	return e.url + "/socket.io/?EIO=4&transport=polling&sid=" + open.Get("sid").Text()
}

func hugeBody(t *testing.T, e *edge) {
	const size = 100 << 20
	conn, err := net.Dial("tcp", e.host())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
	path := strings.TrimPrefix(e.polling(t), e.url)
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", path, size); err != nil {
		t.Fatal(err)
	}
	go func() {
		chunk := make([]byte, 64<<10)
		for sent := 0; sent < size; sent += len(chunk) {
			if _, err := conn.Write(chunk); err != nil {
				return
			}
		}
	}()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "HTTP/1.1 413") {
		t.Errorf("answered %q", line)
	}
}

func deepJSON(t *testing.T, e *edge) {
	conn := e.socket(t)
	deep := `42["text",` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `]`
	if err := conn.WriteText(t.Context(), []byte(deep)); err != nil {
		t.Fatal(err)
	}
	cutOff(t, conn)
}

func lyingPlaceholders(t *testing.T, e *edge) {
	for _, packet := range []string{
		`451-["text",{"_placeholder":true,"num":7}]`, `4599999999-["text"]`, `451-["text",{"_placeholder":true,"num":-1}]`, `452-["x"]`, `4561-0["y"]`,
	} {
		conn := e.socket(t)
		if err := conn.WriteText(t.Context(), []byte(packet)); err != nil {
			t.Fatal(err)
		}
		cutOff(t, conn)
	}
}

func protoKeys(t *testing.T, e *edge) {
	c, err := sioclient.Dial(t.Context(), sioclient.Options{URL: e.url, OnEvent: func(string, []jsonvalue.Value) {}, OnClose: func(error) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(); <-c.Done() }()
	data, err := jsonvalue.Parse([]byte(`{"__proto__":{"token":"x"},"constructor":{"prototype":1},"token":"x","protocol":"1.2","userAgent":{"sdk":{"__proto__":{"type":"JavaScript","version":"5.1"}}}}`), jsonvalue.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	ack, err := c.Request(t.Context(), "login", data)
	if err != nil || ack[1].Text() != "User agent info is incorrect" {
		t.Errorf("%v, %v", ack, err)
	}
}

func burst(t *testing.T, e *edge) {
	conn := e.socket(t)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	go func() {
		for i := range 50_000 {
			if conn.WriteText(ctx, fmt.Appendf(nil, `42%d["text",{"to":"all","message":"x"}]`, i)) != nil {
				return
			}
		}
	}()
	told := false
	for {
		text, err := conn.ReadText(ctx)
		if err != nil {
			break
		}
		told = told || strings.Contains(string(text), "Too many requests")
		if string(text) == "41" {
			break
		}
	}
	if !told {
		t.Error("was cut off without a word")
	}
	_ = conn.CloseNow()
}
