//go:build unix

// Package proctest runs the programs of Portico as processes of a test: built once, stopped in order or killed, suspended and let go on,
// and waited for by what they say.
//
// It is for tests of the whole system, where what matters is what a process's end, or its standing still, does to the others. Those of
// one node alone run it within the test (package edgetest).
package proctest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Builds makes the programs in a folder, each with its own flags once.
type Builds struct {
	Dir string

	mu   sync.Mutex // guards made
	made map[string]func() (string, error)
}

// Get gives the folder of the programs edge and relay, built with those flags. The relay decodes and encodes with libraries in
// C, so that it is built with cgo, and with the race detector all are.
func (b *Builds) Get(flags ...string) (string, error) {
	name := "plain"
	if len(flags) > 0 {
		name = strings.Join(flags, "")
	}
	b.mu.Lock()
	if b.made == nil {
		b.made = map[string]func() (string, error){}
	}
	build := b.made[name]
	if build == nil {
		build = sync.OnceValues(func() (string, error) { return b.build(name, flags) })
		b.made[name] = build
	}
	b.mu.Unlock()
	return build()
}

func (b *Builds) build(name string, flags []string) (string, error) {
	dir := filepath.Join(b.Dir, name)
	for _, program := range []struct{ name, path, cgo string }{{"edge", "portico/edge", "0"}, {"relay", "portico/relay", "1"}} {
		if len(flags) > 0 {
			program.cgo = "1"
		}
		cmd := exec.Command("go", append(append([]string{"build", "-o", filepath.Join(dir, program.name)}, flags...), program.path)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED="+program.cgo)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w\n%s", program.name, err, out)
		}
	}
	return dir, nil
}

// Process is a program that runs, or has run. All methods are safe for concurrent use.
type Process struct {
	Name  string
	Ended chan struct{} // closed when it is gone
	cmd   *exec.Cmd

	mu      sync.Mutex // guards what follows
	text    []byte     // the end of what it said
	dropped int        // bytes before that
	changed chan struct{}
}

// Starter starts a command: (*exec.Cmd).Start, or that of a network of its own.
type Starter func(*exec.Cmd) error

// Spec is a program to be run.
type Spec struct {
	Name        string // in messages
	Start       Starter
	File        string
	Arguments   []string
	Environment []string // beside this process's, without Portico's variables
	Input       *os.File // standard input; nil: none
}

// Run starts a program. The environment is this process's, without Portico's variables, and with those given.
func Run(name string, start Starter, file string, environment []string, arguments ...string) (*Process, error) {
	return RunWith(Spec{Name: name, Start: start, File: file, Environment: environment, Arguments: arguments})
}

// RunWith is Run with all that can be said.
func RunWith(s Spec) (*Process, error) {
	p := &Process{Name: s.Name, cmd: exec.Command(s.File, s.Arguments...), Ended: make(chan struct{}), changed: make(chan struct{})}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "PORTICO_") {
			p.cmd.Env = append(p.cmd.Env, e)
		}
	}
	p.cmd.Env = append(p.cmd.Env, s.Environment...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if s.Input != nil {
		p.cmd.Stdin = s.Input
	}
	if err := s.Start(p.cmd); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.Ended)
		_ = p.cmd.Wait() // how it ended is seen in what it said
	}()
	return p, nil
}

// ExitCode is that with which the process ended, -1 when it was killed. It waits for the end.
func (p *Process) ExitCode() int {
	<-p.Ended
	return p.cmd.ProcessState.ExitCode()
}

// mostSaid is how much of what a program says is kept, in bytes.
const mostSaid = 1 << 20

// Write implements io.Writer, for the program's outputs.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = append(p.text, b...)
	if over := len(p.text) - mostSaid; over > 0 {
		p.text, p.dropped = p.text[over:], p.dropped+over
	}
	close(p.changed)
	p.changed = make(chan struct{})
	return len(b), nil
}

// Mark is where what the program has said so far ends.
func (p *Process) Mark() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dropped + len(p.text)
}

// Said waits until the program has said something, from the mark on, with all the words in one line, and returns the line.
func (p *Process) Said(ctx context.Context, from int, words ...string) (string, error) {
	for {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		text := p.Since(from)
		for line := range strings.Lines(text) {
			if strings.HasSuffix(line, "\n") && contains(line, words) {
				return line, nil
			}
		}
		select {
		case <-changed:
		case <-p.Ended:
			return "", fmt.Errorf("%s has ended:\n%s", p.Name, p.Tail())
		case <-ctx.Done():
			return "", fmt.Errorf("%s did not say %q:\n%s", p.Name, words, p.Tail())
		}
	}
}

func contains(line string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(line, w) {
			return false
		}
	}
	return true
}

// All is what the program said, as far as it is kept.
func (p *Process) All() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.text)
}

// Since is what it said from the mark on, as far as it is kept.
func (p *Process) Since(from int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.text[min(max(0, from-p.dropped), len(p.text)):])
}

// Tail is the last of it.
func (p *Process) Tail() string {
	text := p.All()
	return text[max(0, len(text)-3000):]
}

// PID is that of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill is the power cut. It returns when the process is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.Ended
}

// Suspend has the process stand still, Resume go on.
func (p *Process) Suspend() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume is the end of Suspend.
func (p *Process) Resume() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

// Terminate asks the process to end in order, and does not wait.
func (p *Process) Terminate() error { return p.cmd.Process.Signal(syscall.SIGTERM) }

// stopTime is how long Stop waits.
const stopTime = 20 * time.Second

// Stop ends the process in order; one that fails then, or does not end, fails the test. It is safe twice.
func (p *Process) Stop(t testing.TB) {
	select {
	case <-p.Ended:
		return
	default:
	}
	_ = p.Resume()
	_ = p.cmd.Process.Signal(os.Interrupt)
	timer := time.NewTimer(stopTime)
	defer timer.Stop()
	select {
	case <-p.Ended:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("%s ended with %s:\n%s", p.Name, p.cmd.ProcessState, p.Tail())
		}
	case <-timer.C:
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // it says where it hangs
		<-p.Ended
		t.Errorf("%s does not stop:\n%s", p.Name, p.Tail())
	}
}
