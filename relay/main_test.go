package main

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"portico/shared/program"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quick = []string{"-turn.udp", "127.0.0.1:0", "-turn.tcp", "", "-turn.tls", "", "-admin.listen", "127.0.0.1:0", "-turn.public_ip", "127.0.0.1"}

// started ends its context when the log says that the program runs.
type started struct {
	mu   sync.Mutex
	text bytes.Buffer
	then context.CancelFunc
}

func (w *started) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if bytes.Contains(p, []byte("relay started")) {
		w.then()
	}
	return w.text.Write(p)
}

func TestRunsAndStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := &started{then: cancel}
	status := program.Run(ctx, relay(), quick, []string{"PORTICO_TURN_SECRET=a secret of some length"}, w, w)
	if status != 0 || !strings.Contains(w.text.String(), "relay stopped") || strings.Contains(w.text.String(), "a secret of") {
		t.Fatalf("status %d:\n%s", status, &w.text)
	}
}

func TestFaultsAreOneLine(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	secret := []string{"-turn.secret", "a secret of some length"}
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no secret":      {quick, 2, "portico-relay: turn.secret is empty: make one with"},
		"unknown flag":   {append([]string{"-turn.upd", "x"}, append(quick, secret...)...), 2, "portico-relay: flag -turn.upd: no such setting; did you mean -turn.udp?"},
		"taken port":     {append(append(quick, secret...), "-turn.udp", taken.LocalAddr().String()), 1, "portico-relay: turn.udp: " + taken.LocalAddr().String() + " is taken by another program"},
		"no certificate": {append(append(quick, secret...), "-turn.tls", "127.0.0.1:0", "-turn.cert_file", "none.pem", "-turn.key_file", "none.key"), 1, "portico-relay: turn.cert_file: there is no file none.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, faults bytes.Buffer
			if code := program.Run(t.Context(), relay(), c.args, nil, &out, &faults); code != c.code {
				t.Errorf("status %d, want %d", code, c.code)
			}
			if !strings.HasPrefix(faults.String(), c.want) || strings.Count(faults.String(), "\n") != 1 || out.Len() > 0 {
				t.Errorf("said %q%q, want %q in one line", &out, &faults, c.want)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	var out, faults bytes.Buffer
	if code := program.Run(t.Context(), relay(), []string{"-h"}, nil, &out, &faults); code != 0 || !strings.Contains(out.String(), "-turn.allow_peers LIST") || faults.Len() > 0 {
		t.Fatalf("%d %s%s", code, &out, &faults)
	}
}
