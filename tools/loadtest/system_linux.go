package loadtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// usage is what a process has used.
type usage struct {
	cpu       time.Duration // user and system
	rss, peak int64         // bytes
}

const ticksPerSecond = 100 // USER_HZ, on every architecture Go runs on

// processUsage reads /proc (proc(5)).
func processUsage(pid int) (usage, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return usage{}, err
	}
	// The name, in brackets, may hold anything; user and system time are the 12th and 13th fields behind it.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return usage{}, fmt.Errorf("%s/stat is unreadable", dir)
	}
	var u usage
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return usage{}, err
		}
		u.cpu += time.Duration(n) * time.Second / ticksPerSecond
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return usage{}, err
	}
	for line := range strings.Lines(string(status)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "VmRSS:" && f[0] != "VmHWM:" {
			continue
		}
		n, _ := strconv.ParseInt(f[1], 10, 64)
		if f[0] == "VmRSS:" {
			u.rss = n << 10
		} else {
			u.peak = n << 10
		}
	}
	return u, nil
}

// machineTime is the CPU time that all programs and the kernel have taken, 0 when unknown.
func machineTime() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var ticks int64
	for i, f := range strings.Fields(line) { // cpu user nice system idle iowait irq softirq …
		if n, err := strconv.ParseInt(f, 10, 64); err == nil && (i < 4 || i == 6 || i == 7) {
			ticks += n
		}
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond
}

// cores are the ones this process may run on.
func cores() []int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return nil
	}
	var list []int
	for i := range 8 * len(set) * 8 {
		if set.IsSet(i) {
			list = append(list, i)
		}
	}
	return list
}

func coreSet(list []int) *unix.CPUSet {
	var set unix.CPUSet
	for _, c := range list {
		set.Set(c)
	}
	return &set
}

// confine has every thread of a process run on those cores; threads that it makes later follow.
func confine(pid int, list []int) error {
	threads, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "task"))
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if err := unix.SchedSetaffinity(id, coreSet(list)); err != nil && err != unix.ESRCH {
			return fmt.Errorf("cannot confine process %d to its cores: %w", pid, err)
		}
	}
	return nil
}

// startOn starts a program on a core, so that it finds there is one alone; below 0: anywhere.
func startOn(core int, command *exec.Cmd) error {
	if core < 0 {
		return command.Start()
	}
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread, which the program inherits from, ends with the goroutine
		err := unix.SchedSetaffinity(0, coreSet([]int{core}))
		if err == nil {
			err = command.Start()
		}
		failed <- err
	}()
	return <-failed
}

// threadTime is the CPU time of the calling thread.
func threadTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
