//go:build linux

package cluster

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"portico/tools/proctest"
)

// programs are built once for all tests.
var programs proctest.Builds

func TestMain(m *testing.M) {
	goFirst()
	os.Exit(func() int {
		var err error
		if programs.Dir, err = os.MkdirTemp("", "portico-cluster"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(programs.Dir) }()
		code := m.Run()
		if code == 0 {
			if err := goleak.Find(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}
		return code
	}())
}

// goFirst gives this process, which is the network as well, precedence over others. Where that is not allowed the tests cannot run anyway.
func goFirst() {
	const nice = -10
	threads, _ := os.ReadDir("/proc/self/task")
	for _, t := range threads {
		if id, err := strconv.Atoi(t.Name()); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, id, nice)
		}
	}
}
