//go:build unix

package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"portico/shared/task"
)

// child is a job's process seen from the worker. Its owner calls stop.
type child struct {
	control net.Conn // messages, see writeMessage
	packets net.Conn // see queue
	page    *os.File // its notes; nil: none
	said    *talk
	cmd     *exec.Cmd
	exited  chan struct{} // closed when the process is gone and waited for
}

// spawner starts processes, all on one thread of the system: linux kills a child whose parent's thread ends, and Go's threads end when
// they please.
type spawner struct {
	tasks  *task.Group
	starts chan func()
}

func newSpawner(tasks *task.Group) (*spawner, error) {
	s := &spawner{tasks: tasks, starts: make(chan func())}
	return s, tasks.Go(func(ctx context.Context) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread() // the thread lives on
		for {
			select {
			case start := <-s.starts:
				start()
			case <-ctx.Done():
				return
			}
		}
	})
}

// start runs this program once more, as a job's process.
func (s *spawner) start(ctx context.Context, set settings, said *talk) (*child, error) {
	ours, theirs, err := socketPairs(2)
	if err != nil {
		return nil, err
	}
	defer closeAll(theirs)
	c := &child{control: ours[0], packets: ours[1], page: pageFile(), said: said, exited: make(chan struct{})}
	if c.cmd, err = c.command(set, theirs); err == nil {
		err = s.run(ctx, c)
	}
	if err != nil {
		_, _ = ours[0].Close(), ours[1].Close()
		c.forget()
		return nil, fmt.Errorf("worker: job's process: %w", err)
	}
	return c, nil
}

// command is what to run, with its ends of the sockets.
func (c *child) command(set settings, sockets []*os.File) (*exec.Cmd, error) {
	program, err := executable()
	if err != nil {
		return nil, err
	}
	files := slices.Clone(sockets)
	if c.page != nil {
		set.Notes = true
		files = append(files, c.page)
	}
	text, err := json.Marshal(set)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program)
	cmd.Args = []string{"portico-job", set.Job} // what ps shows
	cmd.Env = environment(os.Environ(), string(text), set)
	cmd.ExtraFiles = files
	cmd.Stderr = c.said
	cmd.WaitDelay = lastWords
	cmd.SysProcAttr = dieWithParent()
	return cmd, nil
}

// run starts a process and has it waited for.
func (s *spawner) run(ctx context.Context, c *child) (err error) {
	started := make(chan error, 1)
	select {
	case s.starts <- func() { started <- c.cmd.Start() }:
		err = <-started
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	err = s.tasks.Go(func(context.Context) {
		_ = c.cmd.Wait() // ProcessState says it
		close(c.exited)
	})
	if err != nil { // closed in this moment
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	}
	return err
}

// executable is this program, also when its file has been replaced since it was started.
func executable() (string, error) {
	const self = "/proc/self/exe"
	if _, err := os.Stat(self); err == nil {
		return self, nil
	}
	return os.Executable()
}

// environment is that of the process: ours without our settings, some of which are secret and none of a job's business.
func environment(own []string, text string, set settings) []string {
	var env []string
	for _, v := range own {
		if !strings.HasPrefix(v, "PORTICO_") && !strings.HasPrefix(v, "GOMAXPROCS=") && !strings.HasPrefix(v, "GOMEMLIMIT=") {
			env = append(env, v)
		}
	}
	return append(env, marker+"="+text, "GOMAXPROCS="+strconv.Itoa(set.Parallel), "GOMEMLIMIT="+strconv.FormatInt(set.Memory/2, 10))
}

// socketPairs makes n pairs of connected stream sockets: ends for here and for a child.
func socketPairs(n int) (ours []net.Conn, theirs []*os.File, err error) {
	for range n {
		conn, file, err := socketPair()
		if err != nil {
			closeAll(theirs)
			for _, c := range ours {
				_ = c.Close()
			}
			return nil, nil, fmt.Errorf("worker: sockets of a job: %w", err)
		}
		ours, theirs = append(ours, conn), append(theirs, file)
	}
	return ours, theirs, nil
}

func socketPair() (net.Conn, *os.File, error) {
	syscall.ForkLock.RLock() // no fork may see the sockets before they are marked
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		syscall.ForkLock.RUnlock()
		return nil, nil, err
	}
	syscall.CloseOnExec(fds[0])
	syscall.CloseOnExec(fds[1])
	syscall.ForkLock.RUnlock()
	ours, theirs := os.NewFile(uintptr(fds[0]), "job"), os.NewFile(uintptr(fds[1]), "job")
	conn, err := net.FileConn(ours) // a copy
	_ = ours.Close()
	if err != nil {
		_ = theirs.Close()
	}
	return conn, theirs, err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// stop closes the sockets, which tells the process to end, and returns when it has: after graceful it is killed.
func (c *child) stop() {
	_ = c.control.Close()
	_ = c.packets.Close()
	timer := time.NewTimer(graceful)
	defer timer.Stop()
	select {
	case <-c.exited:
	case <-timer.C:
		c.kill()
		<-c.exited
	}
}

func (c *child) kill()    { _ = c.cmd.Process.Kill() }
func (c *child) pid() int { return c.cmd.Process.Pid }

// cause says how the process ended: only once exited is closed.
func (c *child) cause() string { return c.cmd.ProcessState.String() }

// runtimeDied is the exit status of a program whose Go runtime has ended it: because of a panic, or a signal that the system sent for what
// the code did, be it C's.
const runtimeDied = 2

// faulted tells whether the process died of what its code did, and not because somebody ended it: only once exited is closed.
func (c *child) faulted() bool {
	s, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && (s.Signaled() && s.Signal() != syscall.SIGKILL || s.ExitStatus() == runtimeDied)
}

// forget lets go of the notes.
func (c *child) forget() {
	if c.page != nil {
		_ = c.page.Close()
	}
}

// firstFile is the descriptor of the first file that a child is given.
const firstFile = 3

// inherited are the child's ends of its sockets.
func inherited() (control, packets net.Conn, err error) {
	var conns [2]net.Conn
	for i := range conns {
		f := os.NewFile(uintptr(firstFile+i), "job")
		if f == nil {
			return nil, nil, errNoSockets
		}
		conns[i], err = net.FileConn(f)
		_ = f.Close()
		if err != nil {
			return nil, nil, errNoSockets
		}
	}
	return conns[0], conns[1], nil
}
