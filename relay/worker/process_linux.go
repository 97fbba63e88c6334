package worker

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// namelessFile lies in memory: there may be no place to write to.
func namelessFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("portico-job", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), "notes"), nil
}

// dieWithParent has the system kill the process when we die, and keeps the signals of a terminal from it: it ends when we say so.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// sacrifice offers this process to a system that is out of memory, before the relay itself. Without the right to it all stays as it is.
func sacrifice() { _ = os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0) }
