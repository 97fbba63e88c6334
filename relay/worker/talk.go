package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// talk takes what a job's process writes to its standard error: lines of its log, JSON objects, go into the relay's log; everything else
// is of the libraries and of the runtime, which writes there why it dies. Hostile media can make a job talk, so lines are limited.
//
// It is the io.Writer of exec.Cmd, which calls Write on one goroutine.
type talk struct {
	log *slog.Logger

	line    []byte // begun, without its end
	cut     bool   // the line was too long; the rest of it is dropped
	tokens  float64
	last    time.Time
	dropped int

	mu    sync.Mutex // guards the fields below, which others read
	plain []byte     // the last lines that were not of the log
	dying bool       // the first of them says why the process dies
}

// How much a job may write: lines at once and in each second, bytes of a line and of the last words.
const (
	talkBurst  = 100
	talkRate   = 10
	longLine   = 16 << 10
	wordsLimit = 8 << 10
)

func newTalk(log *slog.Logger) *talk { return &talk{log: log, tokens: talkBurst} }

// Write implements io.Writer; it never fails.
func (t *talk) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		part, rest, end := bytes.Cut(p, []byte("\n"))
		p = rest
		if room := longLine - len(t.line); len(part) > room {
			part, t.cut = part[:room], true
		}
		t.line = append(t.line, part...)
		if end {
			t.take(t.line)
			t.line, t.cut = t.line[:0], false
		}
	}
	return n, nil
}

func (t *talk) take(line []byte) {
	var m map[string]any
	if !t.cut && len(line) > 0 && line[0] == '{' && json.Unmarshal(line, &m) == nil {
		t.relay(m)
		return
	}
	t.keep(line)
}

// relay writes a line of the job's log into ours.
func (t *talk) relay(m map[string]any) {
	if !t.allowed(time.Now()) {
		t.dropped++
		return
	}
	var level slog.Level
	if name, _ := m[slog.LevelKey].(string); level.UnmarshalText([]byte(name)) != nil {
		level = slog.LevelWarn
	}
	text, _ := m[slog.MessageKey].(string)
	for _, key := range []string{slog.LevelKey, slog.MessageKey, slog.TimeKey} {
		delete(m, key)
	}
	var attrs []slog.Attr
	for _, key := range slices.Sorted(maps.Keys(m)) {
		attrs = append(attrs, slog.Any(key, m[key]))
	}
	if t.dropped > 0 {
		attrs = append(attrs, slog.Int("dropped_before", t.dropped))
		t.dropped = 0
	}
	t.log.LogAttrs(context.Background(), level, text, attrs...)
}

func (t *talk) allowed(now time.Time) bool {
	if !t.last.IsZero() {
		t.tokens = min(talkBurst, t.tokens+talkRate*now.Sub(t.last).Seconds())
	}
	t.last = now
	if t.tokens < 1 {
		return false
	}
	t.tokens--
	return true
}

// keep holds a line for the case that the process dies: the newest, or all from where the runtime begins to say why.
func (t *talk) keep(line []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.dying && saysWhy(string(line)) {
		t.plain, t.dying = nil, true
	}
	t.plain = append(append(t.plain, line...), '\n')
	if extra := len(t.plain) - wordsLimit; extra > 0 {
		if t.dying {
			t.plain = t.plain[:wordsLimit]
		} else {
			t.plain = slices.Delete(t.plain, 0, extra)
		}
	}
}

func saysWhy(line string) bool {
	for _, begin := range []string{"panic: ", "fatal error: ", "SIG", "runtime: ", "==================", "WARNING: DATA RACE"} {
		if strings.HasPrefix(line, begin) {
			return true
		}
	}
	return false
}

// words are the last ones.
func (t *talk) words() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.plain)
}
