// Command portico is the operator's command line: it tries Portico out on one machine, makes tokens and manages rooms.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"portico/edge/store"
	"portico/relay/worker"
	"portico/shared/version"
	"portico/tools/portico/manage"
)

// verb is one command.
type verb struct {
	name, summary string
	run           func(ctx context.Context, args []string, out, errOut io.Writer) error
}

var verbs = []verb{
	{"dev", "run an edge and a relay on this machine, to try Portico out", dev},
	{"token", "print a token that admits someone to a room", managed(manage.Token)},
	{"room", "create, list, show and delete rooms", managed(manage.Room)},
	{"load", "put participants on an edge and measure it", load},
	{"keys", "print the services and keys in an edge's data folder", keys},
	{"cluster", "make nodes of a cluster, see how it is, drain a node, replace keys", cluster},
	{"version", "print the version", func(_ context.Context, _ []string, out, _ io.Writer) error {
		_, err := fmt.Fprintln(out, "portico", version.Number())
		return err
	}},
}

func main() {
	worker.Main() // does not return in the process of one of the relay's jobs
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, cancel) // from the first signal on the next one kills
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program; it returns the exit status: 0, 1 for a failure, 2 for a wrong command line.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" || args[0] == "-help" {
		usage(out)
		if len(args) == 0 {
			return 2
		}
		return 0
	}
	for _, v := range verbs {
		if v.name != args[0] {
			continue
		}
		switch err := v.run(ctx, args[1:], out, errOut); {
		case err == nil, errors.Is(err, flag.ErrHelp):
			return 0
		case errors.Is(err, manage.ErrUsage):
			fmt.Fprintln(errOut, "portico:", err)
			return 2
		default:
			fmt.Fprintln(errOut, "portico:", err)
			return 1
		}
	}
	fmt.Fprintf(errOut, "portico: there is no command %q; `portico help` lists them\n", args[0])
	return 2
}

func usage(out io.Writer) {
	fmt.Fprint(out, "Usage: portico COMMAND [arguments]\n\nCommands:\n")
	for _, v := range verbs {
		fmt.Fprintf(out, "  %-9s %s\n", v.name, v.summary)
	}
	fmt.Fprint(out, "\n`portico COMMAND -h` shows the flags of a command.\n")
}

// managed makes a verb of a command of the management API. Where nothing says which service asks, it is the sample service
// of the data folder here, if there is one.
func managed(command func(context.Context, []string, io.Writer, manage.Settings) error) func(context.Context, []string, io.Writer, io.Writer) error {
	return func(ctx context.Context, args []string, out, _ io.Writer) error {
		s := manage.Environment(os.Getenv)
		if s.Service == "" && s.Key == "" {
			if sample, err := serviceNamed(ctx, defaultData, store.SampleServiceName); err == nil {
				s.Service, s.Key = sample.ID, sample.Key
			}
		}
		return command(ctx, args, out, s)
	}
}
