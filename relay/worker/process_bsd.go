//go:build unix && !linux

package worker

import (
	"os"
	"syscall"
)

// namelessFile is a temporary one whose name is taken away.
func namelessFile() (*os.File, error) {
	f, err := os.CreateTemp("", "portico-job")
	if err != nil {
		return nil, err
	}
	if err = os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// dieWithParent keeps the signals of a terminal from the process. It ends when its sockets do.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func sacrifice() {}
