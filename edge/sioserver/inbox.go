package sioserver

import (
	"sync"

	"portico/shared/jsonvalue"
)

type jobKind uint8

const (
	jobAccept jobKind = iota
	jobEvent
	jobClosed
	jobMark // everything before it has been handled
)

// job is one call of a Handler.
type job struct {
	kind   jobKind
	socket *Socket
	name   string // of the event; the reason of jobClosed
	args   []jsonvalue.Value
	id     int64         // ack id or socketio.NoID
	size   int           // bytes of the packet
	taken  chan struct{} // of jobMark
}

// What an inbox holds before put waits. Parsed JSON can take many times its text, hence the small number of bytes.
const (
	inboxJobs  = 128
	inboxBytes = 256 << 10
)

// inbox is the bounded queue between the feed of a session and its Handler. Its lock is a leaf.
type inbox struct {
	mu      sync.Mutex // guards what follows
	changed sync.Cond
	jobs    []job
	bytes   int
	closed  bool
}

func (b *inbox) init() { b.changed.L = &b.mu }

// put adds a job, once there is room. After close it drops it and reports false.
func (b *inbox) put(j job) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.closed && (len(b.jobs) >= inboxJobs || b.bytes >= inboxBytes) {
		b.changed.Wait()
	}
	if !b.closed {
		b.add(j)
	}
	return !b.closed
}

// putNow adds a job without waiting: for what cannot come often.
func (b *inbox) putNow(j job) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(j)
}

func (b *inbox) add(j job) {
	b.jobs = append(b.jobs, j)
	b.bytes += j.size
	b.changed.Broadcast()
}

// take waits for the next job; it reports false when the inbox is closed and empty.
func (b *inbox) take() (job, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.jobs) == 0 && !b.closed {
		b.changed.Wait()
	}
	if len(b.jobs) == 0 {
		return job{}, false
	}
	j := b.jobs[0]
	b.jobs[0] = job{}
	if b.jobs = b.jobs[1:]; len(b.jobs) == 0 {
		b.jobs = nil
	}
	b.bytes -= j.size
	b.changed.Broadcast()
	return j, true
}

// close ends put, and take once what is left has been taken.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.changed.Broadcast()
}
