//go:build linux

package mixing

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"portico/tools/proctest"
)

// programs are built once for all tests, without and with the race detector.
var programs proctest.Builds

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
