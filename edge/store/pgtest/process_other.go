//go:build !linux

package pgtest

import (
	"errors"
	"os/exec"
	"sync"
)

// process is a running server. Elsewhere than on Linux the processes that it started end by themselves when it does, and it cannot be
// frozen.
type process struct {
	command  *exec.Cmd
	watchers sync.WaitGroup
}

func run(command *exec.Cmd) (*process, error) {
	if err := command.Start(); err != nil {
		return nil, err
	}
	p := &process{command: command}
	p.watchers.Go(func() {
		_ = command.Wait() // it was killed
	})
	return p, nil
}

func (p *process) kill() {
	_ = p.command.Process.Kill() // it may have ended
	p.watchers.Wait()
}

func (p *process) family() []int { return []int{p.command.Process.Pid} }

func freeze(int) error { return errors.ErrUnsupported }
func thaw(int) error   { return errors.ErrUnsupported }

func unprivileged(*exec.Cmd) {}
func give(...string) error   { return nil }
