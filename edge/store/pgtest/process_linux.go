package pgtest

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// process is a running server with the processes that it started, which are in sessions of their own.
type process struct {
	pid      int
	watchers sync.WaitGroup
}

// run starts the command. It ends with the thread that started it, which therefore is kept: like that no server outlives a test that
// crashed.
func run(command *exec.Cmd) (*process, error) {
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	p := &process{}
	started := make(chan error)
	p.watchers.Go(func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait() // it was killed
		}
	})
	if err := <-started; err != nil {
		return nil, err
	}
	p.pid = command.Process.Pid
	return p, nil
}

// kill ends the server and waits until nothing of it is left: its successor would find the data in use.
func (p *process) kill() {
	_ = freeze(p.pid) // so that it starts no others; it may have ended
	family := p.family()
	for _, pid := range family {
		_ = syscall.Kill(pid, syscall.SIGKILL) // one that has ended meanwhile
	}
	p.watchers.Wait()
	for _, pid := range family {
		for alive(pid) {
			runtime.Gosched()
		}
	}
}

// family is the server's process and those that it started, the server's first so that it starts no others.
func (p *process) family() []int {
	family := []int{p.pid}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well formed
	for _, path := range stats {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if _, parent := stat(pid); parent == p.pid {
			family = append(family, pid)
		}
	}
	return family
}

func alive(pid int) bool {
	state, _ := stat(pid)
	return !slices.Contains([]string{"", "Z", "X"}, state)
}

// stat is a process's state and parent, from the fields that follow its name in parentheses (proc(5)).
func stat(pid int) (state string, parent int) {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, rest, ok := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 2 {
		return "", 0
	}
	parent, _ = strconv.Atoi(fields[1])
	return fields[0], parent
}

func freeze(pid int) error { return syscall.Kill(pid, syscall.SIGSTOP) }
func thaw(pid int) error   { return syscall.Kill(pid, syscall.SIGCONT) }

// account is who the server runs as; nil: whoever runs the test.
func account() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

// unprivileged makes a command of root's run as somebody else.
func unprivileged(command *exec.Cmd) {
	if who, err := account(); err == nil && who != nil {
		command.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	}
}

// give makes the files belong to who the server runs as.
func give(paths ...string) error {
	who, err := account()
	if err != nil || who == nil {
		return err
	}
	for _, path := range paths {
		if err := os.Chown(path, int(who.Uid), int(who.Gid)); err != nil {
			return err
		}
	}
	return nil
}
