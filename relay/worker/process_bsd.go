//go:build unix && !linux

package worker

import "syscall"

// dieWithParent keeps the signals of a terminal from the process. It ends when its sockets do.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func sacrifice() {}
