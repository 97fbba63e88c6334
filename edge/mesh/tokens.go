package mesh

import (
	"sync"
	"time"

	"portico/shared/token"
)

// tokens sees to it that each token is used once. The same request may ask again: its answer may have got lost.
type tokens struct {
	mu    sync.Mutex // guards what follows
	used  *token.Used
	by    map[string]string // token to request, of the last ones
	queue []string
}

const maxRecent = 4096

func (t *tokens) init(life time.Duration) {
	t.used, t.by = token.NewUsed(life, 0), map[string]string{}
}

func (t *tokens) use(id, request string, created, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if by, ok := t.by[id]; ok && by == request && request != "" {
		return true
	}
	if !t.used.Use(id, created, now) {
		return false
	}
	if len(t.queue) >= maxRecent {
		delete(t.by, t.queue[0])
		t.queue = t.queue[1:]
	}
	t.by[id] = request
	t.queue = append(t.queue, id)
	return true
}
