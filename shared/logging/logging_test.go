package logging

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLevelsAndFormats(t *testing.T) {
	var out bytes.Buffer
	log := New(Options{Level: "warn", Format: "json", Writer: &out})
	log.Info("not shown")
	log.Warn("shown", "room", "r1")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line["msg"] != "shown" || line["room"] != "r1" {
		t.Fatalf("%v: %s", err, &out)
	}
	out.Reset()
	New(Options{Writer: &out}).Info("text")
	if !strings.Contains(out.String(), "level=INFO msg=text") {
		t.Fatalf("%s", &out)
	}
}

func TestCheck(t *testing.T) {
	if f := (Options{Level: "debug", Format: "json"}).Check(); f != nil {
		t.Fatal(f)
	}
	if f := (Options{Level: "loud", Format: "xml"}).Check(); len(f) != 2 || !strings.Contains(f[0], `"loud": write debug`) || !strings.Contains(f[1], "write text or json") {
		t.Fatal(f)
	}
}

func TestSecretsAreHidden(t *testing.T) {
	var out bytes.Buffer
	log := New(Options{Writer: &out, Format: "json"}).With("token", "hush1")
	log.Info("x", "password", "hush2", slog.Group("turn", "secret", "hush3"), "api_key", "hush4", "Authorization", "hush5",
		"text", Secret("hush6"), "any", fmt.Sprintf("%v %#v", Secret("hush7"), Secret("hush8")), "monkey", "shown1", "tokens", "shown2")
	if strings.Contains(out.String(), "hush") {
		t.Fatalf("a secret was written: %s", &out)
	}
	if !strings.Contains(out.String(), "shown1") || !strings.Contains(out.String(), "shown2") {
		t.Fatalf("more than secrets was hidden: %s", &out)
	}
}

func TestPionMapping(t *testing.T) {
	var out bytes.Buffer
	l := Pion(New(Options{Level: "debug", Writer: &out})).NewLogger("ice")
	l.Trace("t")
	l.Tracef("t")
	l.Debugf("%d", 1)
	l.Info("two 100%")
	l.Warn("three")
	l.Errorf("%s", strings.Repeat("é", 400))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines:\n%s", len(lines), &out)
	}
	for i, want := range []string{"level=DEBUG msg=pion scope=ice text=1", `level=DEBUG msg=pion scope=ice text="two 100%"`, "level=WARN msg=pion scope=ice text=three", "level=WARN"} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("line %d is %q, want %q", i, lines[i], want)
		}
	}
	if len(lines[3]) > 700 {
		t.Errorf("a long message was written whole: %d bytes", len(lines[3]))
	}
}

func TestPionIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := Pion(New(Options{Writer: &out})).NewLogger("turn")
		for range 1000 {
			l.Warn("flood")
		}
		if n := strings.Count(out.String(), "\n"); n != pionBurst {
			t.Fatalf("%d lines of a flood, want %d", n, pionBurst)
		}
		out.Reset()
		time.Sleep(2 * pionInterval) // the bubble's clock
		l.Warn("later")
		if !strings.Contains(out.String(), "dropped_before=990") {
			t.Fatalf("%s", &out)
		}
	})
}

func TestPionCostsNothingWhenOff(t *testing.T) {
	l := Pion(New(Options{Writer: &bytes.Buffer{}})).NewLogger("turn")
	if n := testing.AllocsPerRun(100, func() { l.Debugf("packet") }); n != 0 {
		t.Fatalf("%v allocations for a line that is not written", n)
	}
}
