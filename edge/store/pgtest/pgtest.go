// Package pgtest runs PostgreSQL servers for tests: each its own, with an empty database in a temporary folder, on a port of this
// machine that was free. They can be killed, frozen and brought back in the middle of a test. No system service is used or touched.
//
// PostgreSQL refuses to run as root, so under root it runs as the user postgres or else nobody. A server ends with its test, and with the
// test's process.
package pgtest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	owner    = "portico"
	database = "portico"
	// startLimit is long for machines that are busy with everything else a test does.
	startLimit = 60 * time.Second
)

// Server is a PostgreSQL server. Its methods fail the test rather than return errors; they may be called from any goroutine, one at a
// time.
type Server struct {
	making sync.Mutex // of schemas

	t        testing.TB
	programs string // folder of initdb and postgres
	dir      string // holds data, the socket and the password
	port     int
	password string

	mu      sync.Mutex // guards process
	process *process   // nil: not running
}

// Start makes a database and starts a server on it. Without PostgreSQL on the machine the test is skipped, or fails where CI is "true".
func Start(t testing.TB) *Server {
	t.Helper()
	programs := find()
	if programs == "" {
		const missing = "PostgreSQL is missing (initdb and postgres): run make deps, or install the package postgresql"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	s := &Server{t: t, programs: programs, password: rand.Text()}
	s.makeFolder()
	s.init()
	for try := 1; ; try++ { // between the look for a free port and its use somebody may take it
		s.port = freePort(t)
		err := s.start()
		if err == nil {
			return s
		}
		if try == 5 {
			t.Fatal(err)
		}
	}
}

// URL is the address of the database over TCP, at 127.0.0.1. It stays the same after Restart.
func (s *Server) URL() string {
	return s.url(net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), url.Values{})
}

// SocketURL is the address of the database over a Unix socket, which also reaches it from other network namespaces.
func (s *Server) SocketURL() string {
	return s.url("", url.Values{"host": {s.dir}, "port": {strconv.Itoa(s.port)}})
}

func (s *Server) url(host string, parameters url.Values) string {
	parameters.Set("sslmode", "disable")
	u := url.URL{Scheme: "postgres", User: url.UserPassword(owner, s.password), Host: host, Path: "/" + database, RawQuery: parameters.Encode()}
	return u.String()
}

// Schema is URL with a schema of its own in the database: for another name, it is as empty as another server. The name is of lower-case
// letters and digits.
func (s *Server) Schema(name string) string {
	s.t.Helper()
	s.making.Lock() // PostgreSQL fails for one of two who make it at once
	defer s.making.Unlock()
	s.psql(`CREATE SCHEMA IF NOT EXISTS "` + name + `"`)
	return s.url(net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), url.Values{"search_path": {name}})
}

// Dump is everything in the database as text.
func (s *Server) Dump() string {
	s.t.Helper()
	return s.tool("pg_dump", "--dbname", s.URL())
}

func (s *Server) psql(statement string) {
	s.t.Helper()
	s.tool("psql", "--no-psqlrc", "--quiet", "--dbname", s.URL(), "--command", statement)
}

func (s *Server) tool(name string, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(s.programs, name), args...)
	var out, fault bytes.Buffer
	command.Stdout, command.Stderr = &out, &fault
	if err := command.Run(); err != nil {
		s.t.Fatalf("%s: %v\n%s", name, err, fault.String())
	}
	return out.String()
}

// Kill ends the server as a power cut would: all of its processes at once, with connections open. What was committed is kept.
func (s *Server) Kill() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.process.kill()
		s.process = nil
	}
}

// Restart starts the server again after Kill, on the same port and data, and waits until it takes connections.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

// Freeze stops all processes of the server where they are: connections stay open and nothing is answered, as when the network is cut.
func (s *Server) Freeze() { s.signal(freeze) }

// Thaw lets a frozen server go on.
func (s *Server) Thaw() { s.signal(thaw) }

func (s *Server) signal(send func(pid int) error) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		s.t.Fatal("the PostgreSQL server is not running")
	}
	for _, pid := range s.process.family() {
		_ = send(pid) // those that have ended meanwhile
	}
}

// find is the folder with PostgreSQL's programs, which Debian keeps out of the path; "" when there is none.
func find() string {
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil && has(filepath.Dir(path), "initdb") {
			return filepath.Dir(path)
		}
	}
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is well formed
	slices.SortFunc(dirs, func(a, b string) int { return release(b) - release(a) })
	for _, dir := range dirs {
		if has(dir, "initdb") && has(dir, "postgres") {
			return dir
		}
	}
	return ""
}

func has(dir, program string) bool {
	_, err := exec.LookPath(filepath.Join(dir, program))
	return err == nil
}

func release(dir string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
	return n
}

// makeFolder makes the folder of the server. It is not the test's own, which only the test's user may enter.
func (s *Server) makeFolder() {
	dir, err := os.MkdirTemp("", "portico-pg-")
	if err != nil {
		s.t.Fatal(err)
	}
	s.dir = dir
	s.t.Cleanup(func() {
		s.Kill()
		if err := os.RemoveAll(dir); err != nil {
			s.t.Errorf("the PostgreSQL server's folder: %v", err)
		}
	})
	if err := os.WriteFile(s.passwordFile(), []byte(s.password), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := give(dir, s.passwordFile()); err != nil {
		s.t.Fatalf("the PostgreSQL server's folder: %v", err)
	}
}

func (s *Server) passwordFile() string { return filepath.Join(s.dir, "password") }

func (s *Server) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, filepath.Join(s.programs, program), args...)
	command.Dir = s.dir
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC", "HOME=" + s.dir}
	unprivileged(command)
	return command
}

func (s *Server) init() {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	out, err := s.command(ctx, "initdb", "--pgdata", filepath.Join(s.dir, "data"), "--username", owner, "--pwfile", s.passwordFile(),
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions").CombinedOutput()
	if err != nil {
		s.t.Fatalf("initdb: %v\n%s", err, out)
	}
	single := s.command(ctx, "postgres", "--single", "-D", filepath.Join(s.dir, "data"), "-F", "postgres")
	single.Stdin = strings.NewReader("CREATE DATABASE " + database + "\n")
	if out, err := single.CombinedOutput(); err != nil {
		s.t.Fatalf("making the database: %v\n%s", err, out)
	}
}

// start runs the server and waits until it takes connections.
func (s *Server) start() error {
	command := s.command(context.Background(), "postgres", "-D", filepath.Join(s.dir, "data"),
		"-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-k", s.dir, "-c", "max_connections=200", "-c", "shared_buffers=16MB",
		"-c", "fsync=off", "-c", "logging_collector=off", "-c", "log_destination=stderr", "-c", "deadlock_timeout=1s")
	stderr, end, err := os.Pipe()
	if err != nil {
		return err
	}
	command.Stderr = end
	p, err := run(command)
	end.Close()
	if err != nil {
		stderr.Close()
		return fmt.Errorf("postgres: %w", err)
	}
	said, up := make(chan string, 1), make(chan struct{})
	p.watchers.Go(func() {
		defer stderr.Close()
		follow(stderr, up, said)
	})
	timeout := time.NewTimer(startLimit)
	defer timeout.Stop()
	select {
	case <-up:
		s.mu.Lock()
		s.process = p
		s.mu.Unlock()
		return nil
	case last := <-said:
		p.kill()
		return fmt.Errorf("postgres ended at its start:\n%s", last)
	case <-timeout.C:
		p.kill()
		return fmt.Errorf("postgres takes no connections after %v", startLimit)
	}
}

// follow reads what the server says until its end: it closes up when the server takes connections, and hands over the last of it.
func follow(stderr io.Reader, up chan<- struct{}, said chan<- string) {
	var last []string
	lines := bufio.NewScanner(stderr)
	for ready := false; lines.Scan(); {
		if !ready && strings.Contains(lines.Text(), "ready to accept connections") {
			ready = true
			close(up)
		}
		if last = append(last, lines.Text()); len(last) > 20 {
			last = last[1:]
		}
	}
	said <- strings.Join(last, "\n")
}

func freePort(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
