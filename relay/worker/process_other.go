//go:build !unix

package worker

import (
	"context"
	"errors"
	"net"
	"os"

	"portico/relay/pipeline"
	"portico/shared/task"
)

var errNoProcesses = errors.New("worker: no jobs on this system, which has no socket pairs")

type child struct {
	control, packets net.Conn
	said             *talk
	page             *os.File
	exited           chan struct{}
}

type spawner struct{}

func newSpawner(*task.Group) (*spawner, error) { return &spawner{}, nil }

func (*spawner) start(context.Context, settings, *talk) (*child, error) { return nil, errNoProcesses }

func (*child) stop()         {}
func (*child) kill()         {}
func (*child) pid() int      { return 0 }
func (*child) cause() string { return "" }
func (*child) faulted() bool { return false }
func (*child) forget()       {}

func inherited() (control, packets net.Conn, err error) { return nil, nil, errNoProcesses }

func inheritedNotes() pipeline.Watch { return nil }

func sacrifice() {}
