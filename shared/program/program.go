// Package program is the frame of a server program: it reads the settings, runs a node until a signal comes, and stops it in
// order. The mains of the edge and the relay are one call of it.
package program

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"portico/shared/config"
	"portico/shared/version"
)

// StopWithin is how long an ordered stop may take.
const StopWithin = 10 * time.Second

// Node is what a program runs. Stop is called once, after a Start that succeeded. It may have a method StopWithin, which says how much
// longer than StopWithin its ordered stop may take, and one Reload, for SIGHUP.
type Node interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
}

// Program describes a program; S is its settings, a struct.
type Program[S any] struct {
	Name, About string
	Settings    *S // the defaults; they are filled in
	// Log makes the log that the settings ask for, writing to w.
	Log func(s *S, w io.Writer) *slog.Logger
	// Build makes the node. Its error is one or more lines that say what to do, like that of Start.
	Build func(s *S, log *slog.Logger) (Node, error)
}

// Main runs the program as this process and does not return.
func Main[S any](p Program[S]) {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, cancel) // from the first signal on the next one kills
	os.Exit(Run(ctx, p, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// Run runs the program until ctx ends. It returns the exit status: 0, 1 when it could not start or stop, 2 for wrong settings.
func Run[S any](ctx context.Context, p Program[S], args, env []string, stdout, stderr io.Writer) int {
	err := config.Load(p.Settings, config.Source{
		Program: p.Name, About: p.About, Version: version.Number(), Args: args, Env: env, Output: stdout,
	})
	switch {
	case errors.Is(err, config.ErrAnswered):
		return 0
	case err != nil:
		config.WriteFaults(stderr, p.Name, err)
		return 2
	}
	log := p.Log(p.Settings, stderr)
	n, err := p.Build(p.Settings, log)
	if err == nil {
		err = n.Start(ctx)
	}
	if err != nil {
		config.WriteFaults(stderr, p.Name, err)
		return 1
	}
	wait(ctx, n)
	within := StopWithin
	if longer, ok := n.(interface{ StopWithin() time.Duration }); ok {
		within += longer.StopWithin()
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	if err := n.Stop(stopping); err != nil {
		log.Error("did not stop in time", "error", err)
		return 1
	}
	return 0
}

// wait waits for the end of ctx. Meanwhile SIGHUP makes a node that can look at its files again; without this the signal would
// end the process.
func wait(ctx context.Context, n Node) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			if r, ok := n.(interface{ Reload() }); ok {
				r.Reload()
			}
		}
	}
}
