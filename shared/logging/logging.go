// Package logging sets up log/slog for the programs and bridges pion's loggers into it.
//
// Every part is given its *slog.Logger at construction, with room, participant and session bound; this package makes the first
// one. Whatever is logged under a name that sounds secret is replaced before it is written, as a net under the rule that no
// secret is logged at all.
package logging

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	pion "github.com/pion/logging"
)

// Hidden stands in the log for what was secret.
const Hidden = "(hidden)"

// Options are what New needs; the zero value logs text from Info up to stderr.
type Options struct {
	Level  string    // "debug", "info", "warn" or "error"; "" is "info"
	Format string    // "text" or "json"; "" is "text"
	Writer io.Writer // nil is os.Stderr
}

// Check says what is wrong with the level or the format: each line ends with what to write instead.
func (o Options) Check() []string {
	var faults []string
	if _, ok := parseLevel(o.Level); !ok {
		faults = append(faults, fmt.Sprintf("level is %q: write debug, info, warn or error", o.Level))
	}
	if o.Format != "" && o.Format != "text" && o.Format != "json" {
		faults = append(faults, fmt.Sprintf("format is %q: write text or json", o.Format))
	}
	return faults
}

// New makes the first logger of a program. An unknown level or format, which Check finds beforehand, counts as the default.
func New(o Options) *slog.Logger {
	w := o.Writer
	if w == nil {
		w = os.Stderr
	}
	level, _ := parseLevel(o.Level)
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: hideSecrets}
	if o.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

func parseLevel(text string) (slog.Level, bool) {
	switch text {
	case "debug":
		return slog.LevelDebug, true
	case "", "info":
		return slog.LevelInfo, true
	case "warn":
		return slog.LevelWarn, true
	case "error":
		return slog.LevelError, true
	}
	return slog.LevelInfo, false
}

// secretNames are attribute names whose values are never written, alone or behind an underscore ("turn_secret").
var secretNames = []string{"secret", "password", "token", "ticket", "key", "credential", "authorization", "cookie", "signature"}

// hideSecrets is slog's ReplaceAttr.
func hideSecrets(_ []string, a slog.Attr) slog.Attr {
	name := strings.ToLower(a.Key)
	for _, s := range secretNames {
		if strings.HasSuffix(name, s) && (len(name) == len(s) || strings.ContainsRune("_-.", rune(name[len(name)-len(s)-1]))) {
			return slog.String(a.Key, Hidden)
		}
	}
	return a
}

// Secret is a text that hides itself wherever it is logged or printed with %v.
type Secret string

// LogValue hides the text.
func (Secret) LogValue() slog.Value { return slog.StringValue(Hidden) }

// String hides the text.
func (Secret) String() string { return Hidden }

// GoString hides the text from %#v.
func (Secret) GoString() string { return Hidden }

// How much of pion's talk one scope may write: a burst, then one line each interval.
const (
	pionBurst    = 10
	pionInterval = time.Second
	pionText     = 500 // bytes of one message
)

// Pion gives pion's packages loggers that write to log. Pion calls many things errors that a peer or the network has caused, so
// its errors and warnings become Warn and its infos and debugs Debug; its traces, which are per packet, stay out. Each scope
// ("ice", "turn") is limited to a few lines a second, because remote peers can provoke them at will; how many were
// dropped stands in the next line.
func Pion(log *slog.Logger) pion.LoggerFactory { return pionFactory{log} }

type pionFactory struct{ log *slog.Logger }

// NewLogger implements pion's LoggerFactory.
func (f pionFactory) NewLogger(scope string) pion.LeveledLogger {
	return &pionLogger{log: f.log.With("scope", scope), tokens: pionBurst}
}

// pionLogger implements pion's LeveledLogger.
type pionLogger struct {
	log *slog.Logger

	mu      sync.Mutex // guards the fields below
	tokens  float64
	last    time.Time
	dropped int
}

func (l *pionLogger) Trace(string)          {}
func (l *pionLogger) Tracef(string, ...any) {}
func (l *pionLogger) Debug(msg string)      { l.write(slog.LevelDebug, msg, nil) }
func (l *pionLogger) Info(msg string)       { l.write(slog.LevelDebug, msg, nil) }
func (l *pionLogger) Warn(msg string)       { l.write(slog.LevelWarn, msg, nil) }
func (l *pionLogger) Error(msg string)      { l.write(slog.LevelWarn, msg, nil) }

func (l *pionLogger) Debugf(format string, args ...any) { l.write(slog.LevelDebug, format, args) }
func (l *pionLogger) Infof(format string, args ...any)  { l.write(slog.LevelDebug, format, args) }
func (l *pionLogger) Warnf(format string, args ...any)  { l.write(slog.LevelWarn, format, args) }
func (l *pionLogger) Errorf(format string, args ...any) { l.write(slog.LevelWarn, format, args) }

// write formats only what is going to be written: pion calls it for every packet.
func (l *pionLogger) write(level slog.Level, format string, args []any) {
	ctx := context.Background()
	if !l.log.Enabled(ctx, level) {
		return
	}
	dropped, ok := l.take()
	if !ok {
		return
	}
	text := format
	if args != nil {
		text = fmt.Sprintf(format, args...)
	}
	if len(text) > pionText {
		text = strings.ToValidUTF8(text[:pionText], "") + "…"
	}
	attrs := []slog.Attr{slog.String("text", text)}
	if dropped > 0 {
		attrs = append(attrs, slog.Int("dropped_before", dropped))
	}
	l.log.LogAttrs(ctx, level, "pion", attrs...)
}

// take says whether a line may be written, and how many were dropped since the last one.
func (l *pionLogger) take() (dropped int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if !l.last.IsZero() {
		l.tokens = min(pionBurst, l.tokens+float64(now.Sub(l.last))/float64(pionInterval))
	}
	l.last = now
	if l.tokens < 1 {
		l.dropped++
		return 0, false
	}
	l.tokens--
	dropped, l.dropped = l.dropped, 0
	return dropped, true
}
