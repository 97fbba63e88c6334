package main

import (
	"bytes"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoadCommandLine(t *testing.T) {
	t.Chdir(t.TempDir()) // where no edge can be found
	t.Setenv("PATH", "")
	t.Setenv("PORTICO_SERVICE", "")
	t.Setenv("PORTICO_KEY", "")
	for args, want := range map[string]string{
		"-scenario 1x9":                    `there is no scenario "1x9": 1x50, 1x200, 10x10, 50x2, or all`,
		"-scenario all -rooms 2":           "-rooms is for shapes of your own",
		"-rate fast":                       `-rate: "fast" is no number`,
		"-pin perhaps":                     `-pin: "perhaps" is neither`,
		"-edge ftp://x":                    "is not the address of an edge",
		"-pid 1 -program /bin/true":        "-pid goes with -edge",
		"-mix":                             "there is no portico-relay to start",
		"more":                             `"more" is too much`,
		"-nope":                            "-nope",
		"-edge http://127.0.0.1:1":         "no service named",
		"":                                 "there is no portico-edge to start",
		"-edge http://x -key-file nowhere": "cannot read the service key",
		"-edge http://s:k@127.0.0.1:1 -publishers 0":          "with a publisher",
		"-edge http://s:k@127.0.0.1:1 -subscribers 1":         "no edge answers at http://127.0.0.1:1",
		"-edge http://s:k@127.0.0.1:1 -video 0 -audio=false":  "audio or video",
		"-edge http://s:k@127.0.0.1:1 -mutual -publishers 1":  "nobody receives anything",
		"-edge http://s:k@127.0.0.1:1 -rate 0 -scenario 1x50": "a rate is a factor",
		"-program a,b=c": "several need names",
		"-program nothing -pin no -floor no -subscribers 1":     "cannot start an edge",
		"-program nothing -pin no -floor no -scenario 1x50,bad": `no scenario "bad"`,
	} {
		var out, said bytes.Buffer
		if code := run(t.Context(), append([]string{"load"}, strings.Fields(args)...), &out, &said); code == 0 || !strings.Contains(said.String(), want) {
			t.Errorf("%q: status %d, no %q in %s", args, code, want, &said)
		}
	}
	var help bytes.Buffer
	if code := run(t.Context(), []string{"load", "-h"}, &help, &help); code != 0 {
		t.Errorf("-h: status %d", code)
	}
	for _, want := range []string{"Usage: portico load [flags]", "-scenario names", "-edge addresses", "-publishers number", "-rate factors", "-json", "Ctrl-C", "50x2"} {
		if !strings.Contains(help.String(), want) {
			t.Errorf("-h lacks %q", want)
		}
	}
}

// Against an edge of its own, as `make bench` does, but short.
func TestLoadOwnEdge(t *testing.T) {
	if !reachable(t) {
		t.Skip("this machine has no address but loopback, which an edge does not offer")
	}
	program := filepath.Join(t.TempDir(), "portico-edge")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "portico/edge")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	var out, said bytes.Buffer
	args := strings.Fields("load -json -pin no -floor no -duration 500ms -warm-up 100ms -join-rate 100 -subscribers 2 -program " + program)
	if code := run(t.Context(), args, &out, &said); code != 0 {
		t.Fatalf("status %d\n%s%s", code, &out, &said)
	}
	var report struct {
		Results []struct {
			Joined int
			Counts struct{ Delivered, Lost uint64 }
		}
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	if len(report.Results) != 1 || report.Results[0].Joined != 3 || report.Results[0].Counts.Delivered == 0 || report.Results[0].Counts.Lost != 0 {
		t.Errorf("%+v\n%s", report, &said)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("the edge's data folder is still there: %v %v", left, err)
	}
}

// reachable tells whether this machine has an IPv4 address that is not loopback.
func reachable(t *testing.T) bool {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			return true
		}
	}
	return false
}
