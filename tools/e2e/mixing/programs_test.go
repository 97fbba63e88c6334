//go:build linux

package mixing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// builds are the folders with the programs, without and with the race detector; each is built once.
var builds = [2]func() (string, error){
	sync.OnceValues(func() (string, error) { return build("plain") }),
	sync.OnceValues(func() (string, error) { return build("race", "-race") }),
}

// build makes the programs. The relay decodes and encodes with libraries in C.
func build(name string, flags ...string) (string, error) {
	dir := filepath.Join(scratch, name)
	for _, program := range []struct{ name, cgo string }{{"edge", "0"}, {"relay", "1"}} {
		cmd := exec.Command("go", append(append([]string{"build", "-o", filepath.Join(dir, program.name)}, flags...), "portico/"+program.name)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED="+program.cgo)
		if len(flags) > 0 {
			cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w\n%s", program.name, err, out)
		}
	}
	return dir, nil
}

// program is a process of ours.
type program struct {
	name  string
	cmd   *exec.Cmd
	ended chan struct{} // closed when it is gone

	mu      sync.Mutex // guards what follows
	text    []byte     // the end of what it said
	dropped int        // bytes before that
	changed chan struct{}
}

// starter starts a command; (*exec.Cmd).Start, or that of a network of its own.
type starter func(*exec.Cmd) error

func run(name string, start starter, file string, environment []string, arguments ...string) (*program, error) {
	p := &program{name: name, cmd: exec.Command(file, arguments...), ended: make(chan struct{}), changed: make(chan struct{})}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "PORTICO_") {
			p.cmd.Env = append(p.cmd.Env, e)
		}
	}
	p.cmd.Env = append(p.cmd.Env, environment...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := start(p.cmd); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // how it ended is seen in what it said
	}()
	return p, nil
}

// mostSaid is how much of what a program says is kept, in bytes.
const mostSaid = 1 << 20

// Write implements io.Writer.
func (p *program) Write(b []byte) (int, error) {
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

// mark is where what the program has said so far ends.
func (p *program) mark() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dropped + len(p.text)
}

// said waits until the program has said something with all the words in one line, and returns the line.
func (p *program) said(ctx context.Context, from int, words ...string) (string, error) {
	for {
		p.mu.Lock()
		text, changed := string(p.text[max(0, from-p.dropped):]), p.changed
		p.mu.Unlock()
		for line := range strings.Lines(text) {
			if strings.HasSuffix(line, "\n") && contains(line, words) {
				return line, nil
			}
		}
		select {
		case <-changed:
		case <-p.ended:
			return "", fmt.Errorf("%s has ended:\n%s", p.name, p.tail())
		case <-ctx.Done():
			return "", fmt.Errorf("%s did not say %q:\n%s", p.name, words, p.tail())
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

// all is what the program said, as far as it is kept.
func (p *program) all() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.text)
}

// tail is the last of it.
func (p *program) tail() string {
	text := p.all()
	return text[max(0, len(text)-3000):]
}

func (p *program) pid() int { return p.cmd.Process.Pid }

// kill is the power cut. It returns when the process is gone.
func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// stop is the orderly way.
func (p *program) stop(t *testing.T) {
	select {
	case <-p.ended:
		return
	default:
	}
	_ = p.cmd.Process.Signal(os.Interrupt)
	timer := time.NewTimer(20 * time.Second)
	defer timer.Stop()
	select {
	case <-p.ended:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("%s ended with %s:\n%s", p.name, p.cmd.ProcessState, p.tail())
		}
	case <-timer.C:
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // it says where it hangs
		<-p.ended
		t.Errorf("%s does not stop:\n%s", p.name, p.tail())
	}
}

// children are the processes that one has started and that are not gone.
func children(pid int) (list []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		// The name, in brackets, may hold anything; behind it are the state and the parent (proc(5)).
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if len(fields) > 1 && string(fields[1]) == strconv.Itoa(pid) && fields[0][0] != 'Z' {
			list = append(list, id)
		}
	}
	return list
}

// alive tells whether there is such a process.
func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// resident is the memory that a process holds, in bytes; 0 when it is gone.
func resident(pid int) int64 {
	text, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "statm"))
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// nextPort is the next to be tried.
var nextPort atomic.Uint32

// freePort is one that is free for TCP and UDP, and that the system gives nobody of itself: programs come back to theirs.
func freePort(host string) (int, error) {
	nextPort.CompareAndSwap(0, rand.Uint32N(10_000))
	for range 100 {
		port := 20_000 + int(nextPort.Add(1))%10_000
		at := net.JoinHostPort(host, strconv.Itoa(port))
		l, err := net.Listen("tcp", at)
		if err != nil {
			continue
		}
		u, err := net.ListenPacket("udp", at)
		_ = l.Close()
		if err == nil {
			return port, u.Close()
		}
	}
	return 0, errors.New("no port is free")
}
