package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"portico/relay/pipeline"
	"portico/shared/relayproto"
)

// marker is the variable that makes this program a job's process; its value are settings as JSON.
const marker = "PORTICO_JOB_PROCESS"

var errNoSockets = errors.New("worker: started as a job, but not by a relay")

// How long a job's process may take to end by itself, once its sockets are closed, and its output to end behind it.
const (
	graceful  = 3 * time.Second
	lastWords = time.Second
)

// settings are what a job's process is told at its start.
type settings struct {
	Job      string     `json:"job"`
	Parallel int        `json:"parallel"` // how much may run at a time
	Memory   int64      `json:"memory"`   // bytes
	Level    slog.Level `json:"level"`    // least that is logged
	Notes    bool       `json:"notes"`    // there is a file for them
}

// job is what a process does: one of relay/pipeline, or a test's.
type job interface {
	Order(*relayproto.Order) error
	Packet(flowID uint64, packet []byte)
	Close()
}

// makeJob is replaced by tests before they call Main.
var makeJob = func(o pipeline.Options) job { return pipeline.New(o) }

// Main runs the job if this process was started to be one, and does not return then. Otherwise it returns at once. Programs that hold a
// relay, and tests that run one, call it first.
func Main() {
	text, ok := os.LookupEnv(marker)
	if !ok {
		return
	}
	if err := runJob(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runJob is a job's process: until the control socket ends.
func runJob(text string) error {
	var set settings
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		return errNoSockets
	}
	control, packets, err := inherited()
	if err != nil {
		return err
	}
	sacrifice()
	// A service's stop signals all of its processes; the relay ends its jobs in order, and tells the edges.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: set.Level}))
	done := make(chan struct{})
	p := &port{queue: newQueue(queueLimit), news: make(chan struct{}, 1), done: done}
	var writers sync.WaitGroup
	writers.Go(func() { p.queue.drain(packets, done) })
	writers.Go(func() { p.report(control) })
	o := pipeline.Options{Port: p, Log: log, Parallel: set.Parallel}
	if set.Notes {
		o.Watch = inheritedNotes()
	}
	j := makeJob(o)
	var reader sync.WaitGroup
	refusal := obey(control, j, func() {
		reader.Go(func() { _ = readPackets(packets, j.Packet) })
	})
	if refusal != nil {
		// The worker closes the sockets when it has read this, and counts us as crashed if we were gone before.
		if text, err := relayproto.Encode(relayproto.Message{Refusal: refusal}); err == nil {
			p.write(control, text)
		}
	}
	time.AfterFunc(graceful, func() { os.Exit(1) }) // nobody is left to wait for
	close(done)
	_ = packets.Close()
	reader.Wait()
	j.Close()
	writers.Wait()
	if _, dropped := p.queue.counts(); dropped > 0 {
		log.Warn("packets made faster than sent", "dropped", dropped)
	}
	return nil
}

// obey carries out orders until the worker closes the socket, or one cannot be carried out. ready is called once, when the first has
// been: packets that come before wait in their socket.
func obey(control io.Reader, j job, ready func()) *relayproto.Refusal {
	for begun := false; ; begun = true {
		text, err := readMessage(control)
		if err != nil {
			return nil
		}
		m, err := relayproto.Decode(text)
		if err == nil && m.Order == nil {
			err = relayproto.ErrMessage
		}
		if err == nil {
			err = j.Order(m.Order)
		}
		if err != nil {
			return refusalOf(err)
		}
		if !begun {
			ready()
		}
	}
}

func refusalOf(err error) *relayproto.Refusal {
	var e *pipeline.Error
	if errors.As(err, &e) {
		return &relayproto.Refusal{Reason: e.Reason, Detail: e.Detail}
	}
	return &relayproto.Refusal{Reason: relayproto.BadOrder, Detail: err.Error()}
}

// port is the pipeline's way out. Its methods may be called by any goroutine and never block.
type port struct {
	queue *queue
	done  <-chan struct{}
	news  chan struct{} // one token: newest is to be sent

	writing sync.Mutex // held while a message is written, so that two do not mix

	mu     sync.Mutex // guards newest; leaf
	newest *relayproto.Report
}

// Send implements pipeline.Port.
func (p *port) Send(flowID uint64, packet []byte) { p.queue.push(flowID, packet) }

// Report implements pipeline.Port. A report says all there is, so the newest one is enough.
func (p *port) Report(r relayproto.Report) {
	p.mu.Lock()
	p.newest = &r
	p.mu.Unlock()
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// report writes reports until done.
func (p *port) report(control io.Writer) {
	for {
		select {
		case <-p.news:
		case <-p.done:
			return
		}
		p.mu.Lock()
		r := p.newest
		p.mu.Unlock()
		if text, err := relayproto.Encode(relayproto.Message{Report: r}); err == nil {
			p.write(control, text)
		}
	}
}

func (p *port) write(control io.Writer, text []byte) {
	p.writing.Lock()
	defer p.writing.Unlock()
	_ = writeMessage(control, text) // the reader of the socket sees its end
}
