package loadtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"portico/edge/store"
	"portico/tools/portico/manage"
)

// server is the edge whose figures are taken.
type server struct {
	settings manage.Settings
	pid      int // 0: unknown
	process  *exec.Cmd
	ended    chan struct{} // closed when an edge of our own has ended
	dir      string
	output   *tail
}

// startServer starts an edge of our own, on a free port, with nothing in it. core is where it has to run; below 0: anywhere.
func startServer(ctx context.Context, program string, arguments []string, core int) (*server, error) {
	const attempts = 3 // at a port that nobody else takes meanwhile
	var err error
	for range attempts {
		var s *server
		if s, err = tryServer(ctx, program, arguments, core); err == nil {
			return s, nil
		}
		if ctx.Err() != nil || !strings.Contains(err.Error(), "in use") {
			break
		}
	}
	return nil, err
}

func tryServer(ctx context.Context, program string, arguments []string, core int) (*server, error) {
	dir, err := os.MkdirTemp("", "portico-load")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir, output: &tail{}, ended: make(chan struct{})}
	port, err := freePort()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s.settings.URL = "http://127.0.0.1:" + strconv.Itoa(port)
	s.process = exec.Command(program, append([]string{
		"-data_dir", dir, "-http.listen", "0.0.0.0:" + strconv.Itoa(port), "-log.level", "warn",
	}, arguments...)...)
	s.process.Env = withoutSettings(os.Environ())
	s.process.Stdout, s.process.Stderr = s.output, s.output
	if err := startOn(core, s.process); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start an edge: %w", err), os.RemoveAll(dir))
	}
	s.pid = s.process.Process.Pid
	go func() {
		defer close(s.ended)
		_ = s.process.Wait() // its output says what was wrong
	}()
	if err := s.await(ctx); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// withoutSettings leaves out what would be taken for settings of the edge.
func withoutSettings(environment []string) []string {
	var list []string
	for _, e := range environment {
		if !strings.HasPrefix(e, "PORTICO_") {
			list = append(list, e)
		}
	}
	return list
}

// freePort finds a port that is free for TCP and UDP.
func freePort() (int, error) {
	for {
		l, err := net.Listen("tcp", "0.0.0.0:0")
		if err != nil {
			return 0, err
		}
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenUDP("udp", &net.UDPAddr{Port: port})
		_ = l.Close()
		if err == nil {
			return port, u.Close()
		}
	}
}

// await waits until the edge takes participants, and reads the key of its sample service.
func (s *server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errors.New("it has not started within 20 s"))
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		if text, err := get(ctx, s.settings.URL+"/readyz"); err == nil && strings.TrimSpace(text) == "ok" {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the edge does not start: %w\n%s", context.Cause(ctx), s.output)
		case <-s.ended:
			return fmt.Errorf("the edge has ended at once:\n%s", s.output)
		case <-ticker.C:
		}
	}
	db, err := store.OpenSQLite(ctx, s.dir, store.Limits{})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	service, err := db.ServiceByName(ctx, store.SampleServiceName)
	s.settings.Service, s.settings.Key = service.ID, service.Key
	return err
}

// stop ends an edge of our own and forgets its data; another one is left alone.
func (s *server) stop() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Signal(os.Interrupt) // it may have ended
	select {
	case <-s.ended:
	case <-time.After(15 * time.Second):
		_ = s.process.Process.Kill()
		<-s.ended
	}
	_ = os.RemoveAll(s.dir) // in the folder for such things
}

// died tells why an edge of our own is not there any more, nil when it is.
func (s *server) died() error {
	if s.process == nil {
		return nil
	}
	select {
	case <-s.ended:
		return fmt.Errorf("the edge has ended while it was measured:\n%s", s.output)
	default:
		return nil
	}
}

// reading is what a server's process shows at one moment.
type reading struct {
	at         int64 // clock
	cpu        time.Duration
	rss, peak  int64 // bytes
	goroutines float64
	transports float64
	metrics    bool // the page was there
	process    bool // cpu and rss are known
}

func (s *server) read() reading {
	r := reading{at: clock()}
	if s.pid != 0 {
		if u, err := processUsage(s.pid); err == nil {
			r.cpu, r.rss, r.peak, r.process = u.cpu, u.rss, u.peak, true
		}
	}
	return r
}

// readAll reads the metrics page as well, which costs the server a little.
func (s *server) readAll(ctx context.Context) reading {
	r := s.read()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	text, err := get(ctx, s.settings.URL+"/metrics")
	if err != nil {
		return r
	}
	values := parseMetrics(text)
	r.goroutines, r.metrics = values["go_goroutines"], true
	r.transports = values["portico_transports"]
	return r
}

// parseMetrics reads the Prometheus text format as far as series without spaces in their labels go.
func parseMetrics(text string) map[string]float64 {
	values := map[string]float64{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if n, err := strconv.ParseFloat(value, 64); ok && err == nil {
			values[name] = n
		}
	}
	return values
}

func get(ctx context.Context, address string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4<<20))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP status %d", answer.StatusCode)
	}
	return string(text), err
}

// tail keeps the end of what a program says.
type tail struct {
	mu   sync.Mutex // guards text
	text []byte
}

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if over := len(t.text) - 4096; over > 0 {
		t.text = t.text[over:]
	}
	return len(b), nil
}

// String is the end of it.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
