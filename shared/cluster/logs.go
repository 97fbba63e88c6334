package cluster

import (
	"bytes"
	"log"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"
)

// memberlist writes text. All of it goes to debug; of what a node refuses, one line goes to the operator.

// refusals are what memberlist writes when it refuses a packet or a stream, and what that means.
var refusals = []struct{ text, means string }{
	{"unacceptable label", "gossip of a cluster with another label is refused"},
	{"no installed keys could decrypt", "gossip with another key is refused"},
	{"Decrypt packet failed", "gossip that is not encrypted with our key is refused"},
	{"remote state is not encrypted", "gossip that is not encrypted with our key is refused"},
}

// again is how long nothing more is written about one refusal of one host.
const again = 5 * time.Minute

// logWriter is the io.Writer memberlist's logger writes lines to.
type logWriter struct {
	log *slog.Logger

	mu   sync.Mutex // guards told
	told map[string]time.Time
}

func newLogger(l *slog.Logger) *log.Logger {
	return log.New(&logWriter{log: l, told: map[string]time.Time{}}, "", 0)
}

func (w *logWriter) Write(p []byte) (int, error) {
	line := string(bytes.TrimSpace(p))
	for _, r := range refusals {
		if strings.Contains(line, r.text) {
			// What came in answer has no origin here: who has asked says why it was to no avail.
			if from := origin(line); from != "" && w.first(r.means+from) {
				w.log.Warn(r.means, "from", from)
			}
			break
		}
	}
	w.log.Debug("gossip", "line", strings.TrimPrefix(line, "memberlist: "))
	return len(p), nil
}

// origin finds the host in a line that ends with from=host:port.
func origin(line string) string {
	_, from, _ := strings.Cut(line, "from=")
	from, _, _ = strings.Cut(from, " ")
	if host, _, err := net.SplitHostPort(from); err == nil {
		return host
	}
	return from
}

func (w *logWriter) first(what string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if at, ok := w.told[what]; ok && now.Sub(at) < again {
		return false
	}
	if len(w.told) >= 1024 {
		clear(w.told)
	}
	w.told[what] = now
	return true
}
