package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"portico/edge/store"
	"portico/relay/worker"
	gossip "portico/shared/cluster"
)

func TestMain(m *testing.M) {
	worker.Main()
	goleak.VerifyTestMain(m)
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args      string
		code      int
		out, said string
	}{
		{"", 2, "Usage: portico COMMAND", ""},
		{"help", 0, "Usage: portico COMMAND", ""},
		{"nope", 2, "", `portico: there is no command "nope"; ` + "`portico help` lists them\n"},
		{"version", 0, "portico ", ""},
		{"dev -h", 0, "Usage: portico dev [flags]", ""},
		{"dev -nope", 2, "", "portico: wrong usage: flag provided but not defined: -nope; `portico dev -h` shows the flags\n"},
		{"dev x", 2, "", "portico: wrong usage: \"x\" is too much; `portico dev -h` shows the flags\n"},
		{"dev -log loud", 2, "", "portico: wrong usage: -log level"},
		{"keys -data none", 1, "", "portico: there is no store in the folder \"none\": start the edge once, or name its data folder with -data\n"},
		{"token -h", 0, "Usage: portico token ROOM", ""},
		{"room", 2, "Usage: portico room COMMAND", "portico: wrong usage: what is to be done with rooms?\n"},
	} {
		var out, said bytes.Buffer
		if code := run(t.Context(), strings.Fields(c.args), &out, &said); code != c.code {
			t.Errorf("%q: status %d, want %d", c.args, code, c.code)
		}
		if !strings.HasPrefix(out.String(), c.out) || !strings.HasPrefix(said.String(), c.said) || (c.said == "") != (said.Len() == 0) {
			t.Errorf("%q said:\n%s%s", c.args, &out, &said)
		}
	}
}

// running collects what dev prints and says when the address is there.
type running struct {
	mu      sync.Mutex
	text    bytes.Buffer
	address chan string
}

var addressLine = regexp.MustCompile(`address=(\S+)`)

func (r *running) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text.Write(p)
	if m := addressLine.FindSubmatch(r.text.Bytes()); m != nil && r.address != nil {
		r.address <- string(m[1])
		r.address = nil
	}
	return len(p), nil
}

func TestDev(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	data := filepath.Join(t.TempDir(), "data")
	out := &running{address: make(chan string, 1)}
	address := out.address
	var said bytes.Buffer
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, []string{"dev", "-http", "127.0.0.1:0", "-media", "127.0.0.1:0", "-turn", "127.0.0.1:0", "-relay-admin", "", "-data", data}, out, &said)
	}()
	select {
	case url := <-address:
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		r, err := client.Get(url + "/readyz")
		if err != nil || r.StatusCode != http.StatusOK {
			t.Errorf("%v, %v", r, err)
		} else {
			_ = r.Body.Close()
		}
		var keys bytes.Buffer
		if code := run(t.Context(), []string{"keys", "-data", data}, &keys, &said); code != 0 || !strings.Contains(keys.String(), "# sampleService\nPORTICO_SERVICE=") {
			t.Errorf("keys: %d %s", code, &keys)
		}
	case code := <-status:
		t.Fatalf("ended with %d: %s", code, &said)
	}
	cancel()
	if code := <-status; code != 0 || said.Len() > 0 {
		t.Errorf("status %d: %s", code, &said)
	}
}

// TestDevCluster: a cluster on one machine, and what an operator does with it.
func TestDevCluster(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	data, authority := filepath.Join(dir, "data"), filepath.Join(dir, "authority")
	if err := os.Mkdir(authority, 0o700); err != nil {
		t.Fatal(err)
	}
	out := &running{address: make(chan string, 1)}
	address := out.address
	var said bytes.Buffer
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, []string{"dev", "-edges", "2", "-http", "127.0.0.1:0", "-media", "127.0.0.1:0", "-turn", "127.0.0.1:0", "-relay-admin", "", "-data", data}, out, &said)
	}()
	url := ""
	select {
	case url = <-address:
	case code := <-status:
		t.Fatalf("ended with %d: %s", code, &said)
	}
	db, err := openStore(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	super, err := db.ServiceByName(t.Context(), store.SuperServiceName)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PORTICO_URL", url)
	t.Setenv("PORTICO_SERVICE", super.ID)
	t.Setenv("PORTICO_KEY", super.Key)
	try := func(words ...string) (string, bool) {
		var printed, fault bytes.Buffer
		code := run(t.Context(), append([]string{"cluster"}, words...), &printed, &fault)
		return printed.String() + fault.String(), code == 0
	}
	until := func(what string, words []string, want ...string) {
		t.Helper()
		text := ""
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
			all := false
			if text, all = try(words...); all {
				for _, w := range want {
					all = all && regexp.MustCompile(w).MatchString(text)
				}
				if all {
					return
				}
			}
		}
		t.Fatalf("%s: %s", what, text)
	}
	until("status", []string{"status"}, `edge-1 +edge +active`, `edge-2 +edge +active`, `relay-1 +relay +active`)
	until("keys", []string{"keys"}, `edge-1 +[0-9a-f]{8} +-`, `edge-2 +[0-9a-f]{8} +-`, `relay-1 +[0-9a-f]{8} +-`)
	until("rotate", []string{"rotate", "-dir", authority}, "all nodes understand", "all nodes use it", "is of no use any more")
	kept, err := os.ReadFile(filepath.Join(authority, "gossip-keys"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := gossip.ParseKeys(string(kept))
	if err != nil || len(key) != 1 {
		t.Fatalf("%v", err)
	}
	name := gossip.KeyName(key[0])
	until("the new key", []string{"keys"}, "edge-1 +"+name+" +-", "edge-2 +"+name+" +-", "relay-1 +"+name+" +-")
	for _, node := range []string{"edge-2", "relay-1"} {
		until("drain", []string{"drain", "-wait", node}, node+" drains", "Nobody is there")
		until("drained", []string{"status"}, node+` +\w+ +draining`)
		until("undrain", []string{"undrain", node}, "takes part again")
		until("undrained", []string{"status"}, node+` +\w+ +active`)
	}
	if text, ok := try("drain", "nobody"); ok || text != "portico: Node not found\n" {
		t.Error(text)
	}
	cancel()
	if code := <-status; code != 0 || said.Len() > 0 {
		t.Errorf("status %d: %s", code, &said)
	}
}

func TestDevOnATakenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	var out, said bytes.Buffer
	if code := run(t.Context(), []string{"dev", "-http", taken.Addr().String(), "-data", t.TempDir()}, &out, &said); code != 1 {
		t.Errorf("status %d", code)
	}
	want := "portico: -http: " + taken.Addr().String() + " is taken by another program: stop that one, or set -http to another port\n"
	if said.String() != want {
		t.Errorf("said %s", &said)
	}
}
