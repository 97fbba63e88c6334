package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"

	"portico/shared/identity"
	"portico/tools/portico/manage"
)

// defaultCluster is the authority's folder where nothing else is said.
const defaultCluster = "cluster"

const clusterHelp = `Usage: portico cluster COMMAND

Edges and relays that work together know each other by certificates of an authority of their own, which has nothing to do with the
certificates for browsers. Make it once, on a machine that you keep safe, and issue for every node there:

  portico cluster init
  portico cluster issue -role edge edge-1
  portico cluster issue -role relay relay-1

Commands:
  init                           make the authority
  issue -role edge|relay NAME    make the certificate and key of a node

` + "`portico cluster COMMAND -h` shows the flags of a command.\n"

const initHelp = `Makes the authority of a cluster: ca.pem, its certificate, valid for ten years, and ca-key.pem, its key. One that is
there is left alone. Whoever can read the key can add nodes to the cluster: keep the folder on one machine, and a copy of it
where nobody comes.`

// cluster makes what nodes of a cluster identify themselves with.
func cluster(_ context.Context, args []string, out, _ io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "init":
			return clusterInit(args[1:], out)
		case "issue":
			return clusterIssue(args[1:], out)
		case "-h", "-help", "--help", "help":
		default:
			return fmt.Errorf("%w: there is no `portico cluster %s`; `portico cluster -h` shows what there is", manage.ErrUsage, args[0])
		}
	}
	if _, err := fmt.Fprint(out, clusterHelp); err != nil {
		return err
	}
	if len(args) == 0 {
		return fmt.Errorf("%w: what is to be done for the cluster?", manage.ErrUsage)
	}
	return flag.ErrHelp
}

func clusterInit(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("cluster init", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	dir := flags.String("dir", defaultCluster, "the `folder` to make the authority in")
	if err := parse(flags, args, out, initHelp); err != nil {
		return err
	}
	switch err := identity.Init(*dir); {
	case errors.Is(err, identity.ErrExists):
		return fmt.Errorf("%w: it is left as it is; -dir makes one in another folder", err)
	case err != nil:
		return fmt.Errorf("the authority cannot be made: %w", err)
	}
	_, err := fmt.Fprintf(out, "The cluster's authority is in the folder %s. Keep ca-key.pem secret; nodes do not need it.\n"+
		"Next, for each node:  portico cluster issue -role edge|relay NAME\n", *dir)
	return err
}

func clusterIssue(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("cluster issue", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	dir := flags.String("dir", defaultCluster, "the `folder` of the authority")
	role := flags.String("role", "", "what the node is: `edge|relay`")
	replace := flags.Bool("replace", false, "make the files of a node anew: to renew its certificate")
	names, err := parseNames(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, `Usage: portico cluster issue -role edge|relay [flags] NAME

Makes a node's certificate, valid for one year, and its key, in the folder nodes/NAME of the authority's, and says which settings
they belong to. Bring the three files to the node, readable by it alone, then the copy here can go. NAME is any name of letters,
digits, dots and hyphens that no other node has; it stands in logs and tells nodes apart.

Before the year is over issue again with -replace, bring the files to the node and restart it. A certificate cannot be taken back:
after a theft of a key make a new authority, and issue for all nodes again.

Flags:
`)
		flags.SetOutput(out)
		flags.PrintDefaults()
		return err
	case err != nil:
		return fmt.Errorf("%w: %v; `portico cluster issue -h` shows the flags", manage.ErrUsage, err)
	case len(names) != 1:
		return fmt.Errorf("%w: one NAME is needed; `portico cluster issue -h` shows how it is used", manage.ErrUsage)
	case !identity.ValidRole(*role):
		return fmt.Errorf("%w: -role is %s or %s; `portico cluster issue -h` shows how it is used", manage.ErrUsage, identity.Edge, identity.Relay)
	case !identity.ValidName(names[0]):
		return fmt.Errorf("%w: a node cannot be called %q: take letters, digits, dots and hyphens, %d at most", manage.ErrUsage, names[0], identity.MaxName)
	}
	files, err := identity.Issue(*dir, names[0], *role, *replace)
	switch {
	case errors.Is(err, identity.ErrExists):
		return fmt.Errorf("%w: -replace makes it anew", err)
	case err != nil:
		return fmt.Errorf("the certificate cannot be made: %w", err)
	}
	id, err := identity.Load(files)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "Made for the %s %s, valid until %s. Bring the files to the node and set there, with the paths they have then:\n\n"+
		"[cluster]\nca_file = %q\ncert_file = %q\nkey_file = %q\n",
		*role, names[0], id.NotAfter.Format("2 January 2006"), filepath.ToSlash(files.CA), filepath.ToSlash(files.Cert), filepath.ToSlash(files.Key))
	return err
}

// parseNames reads flags, which may stand before and after the other arguments.
func parseNames(flags *flag.FlagSet, args []string) (names []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if flags.NArg() == 0 {
			return names, nil
		}
		names, args = append(names, flags.Arg(0)), flags.Args()[1:]
	}
}
