//go:build !linux

package loadtest

import (
	"errors"
	"os/exec"
	"time"
)

// usage is what a process has used.
type usage struct {
	cpu       time.Duration
	rss, peak int64
}

var errLinuxOnly = errors.New("only known on Linux")

func processUsage(int) (usage, error) { return usage{}, errLinuxOnly }

func machineTime() time.Duration { return 0 }

func cores() []int { return nil }

func confine(int, []int) error { return errLinuxOnly }

func startOn(_ int, command *exec.Cmd) error { return command.Start() }
