package loadtest

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestParseMetrics(t *testing.T) {
	values := parseMetrics("# HELP go_goroutines Number.\n# TYPE go_goroutines gauge\ngo_goroutines 42\nportico_rtp_packets_total{direction=\"out\"} 1.5e+06\nbroken\n")
	if values["go_goroutines"] != 42 || values[`portico_rtp_packets_total{direction="out"}`] != 1.5e6 || len(values) != 2 {
		t.Errorf("%v", values)
	}
}

func TestTail(t *testing.T) {
	var output tail
	for range 1000 {
		if n, err := output.Write([]byte("one line\n")); n != 9 || err != nil {
			t.Fatal(n, err)
		}
	}
	_, _ = output.Write([]byte("the end\n"))
	if text := output.String(); !strings.HasSuffix(text, "one line\nthe end") || len(text) > 4096 {
		t.Errorf("%d bytes: %q", len(text), text)
	}
}

func TestProcessUsage(t *testing.T) {
	u, err := processUsage(os.Getpid())
	if runtime.GOOS != "linux" {
		t.Skip("figures of processes are Linux's")
	}
	if err != nil || u.rss < 1<<20 || u.peak < u.rss/2 {
		t.Errorf("%+v %v", u, err)
	}
	if m := machineTime(); m < u.cpu {
		t.Errorf("the machine has used %v, this process %v", m, u.cpu)
	}
	if _, err := processUsage(1 << 30); err == nil {
		t.Error("figures of a process that cannot be")
	}
}

// An edge that does not start says why.
func TestProgramThatEnds(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	program := filepath.Join(t.TempDir(), "edge")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho it is too late $# >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := startServer(t.Context(), program, []string{"-more"}, -1)
	if err == nil || !strings.Contains(err.Error(), "it is too late 7") {
		t.Errorf("%v", err)
	}
	if _, err := startServer(t.Context(), filepath.Join(t.TempDir(), "nothing"), nil, -1); err == nil || !strings.Contains(err.Error(), "cannot start an edge") {
		t.Errorf("%v", err)
	}
}

func TestWithoutSettings(t *testing.T) {
	if got := withoutSettings([]string{"PATH=/bin", "PORTICO_HTTP_LISTEN=x", "HOME=/"}); strings.Join(got, " ") != "PATH=/bin HOME=/" {
		t.Errorf("%q", got)
	}
}
