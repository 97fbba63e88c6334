package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"portico/edge/store"
	"portico/shared/identity"
	"portico/tools/portico/manage"
)

// defaultCluster is the authority's folder where nothing else is said.
const defaultCluster = "cluster"

const clusterHelp = `Usage: portico cluster COMMAND

Edges and relays that work together know each other by certificates of an authority of their own, which has nothing to do with the
certificates for browsers. Make it once, on a machine that you keep safe, and there a folder for every node, which you bring to it:

  portico cluster init
  portico cluster join -role edge -seeds 192.0.2.1,192.0.2.2 edge-1
  portico cluster join -role relay -seeds 192.0.2.1,192.0.2.2 relay-1

Commands:
  init                           make the authority
  join -role edge|relay NAME     make all that a node needs, and print its settings
  issue -role edge|relay NAME    make a node's certificate and key alone, anew with -replace
`

const clusterMore = `
The last ones ask a running edge, as the super service: PORTICO_URL, PORTICO_SERVICE and PORTICO_KEY say where and how, as
` + "`portico keys` prints them.\n\n`portico cluster COMMAND -h` shows the flags of a command.\n"

const initHelp = `Makes the authority of a cluster: ca.pem, its certificate, valid for ten years, ca-key.pem, its key, and secret, which all
nodes get and from which the keys are derived that they have in common. One that is there is left alone. Whoever can read the key can add nodes to the cluster: keep the folder on one machine, and a copy of it
where nobody comes.`

// cluster makes what nodes of a cluster identify themselves with.
func cluster(ctx context.Context, args []string, out, _ io.Writer) error {
	if len(args) > 0 {
		if ok, err := manage.Cluster(ctx, args, out, superSettings(ctx)); ok {
			return err
		}
		switch args[0] {
		case "init":
			return clusterInit(args[1:], out)
		case "issue":
			return clusterIssue(args[1:], out)
		case "join":
			return clusterJoin(ctx, args[1:], out)
		case "-h", "-help", "--help", "help":
		default:
			return fmt.Errorf("%w: there is no `portico cluster %s`; `portico cluster -h` shows what there is", manage.ErrUsage, args[0])
		}
	}
	fmt.Fprint(out, clusterHelp)
	for _, c := range manage.ClusterCommands {
		fmt.Fprintf(out, "  %-29s  %s\n", c.Usage, c.Summary)
	}
	if _, err := fmt.Fprint(out, clusterMore); err != nil {
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
		"Next, for each node:  portico cluster join -role edge|relay NAME\n", *dir)
	return err
}

// newNode are the flags by which a node is made.
type newNode struct {
	dir, role string
	replace   bool
	name      string
}

// read reads the command line of a command that makes a node.
func (n *newNode) read(flags *flag.FlagSet, args []string, out io.Writer, about string) error {
	flags.SetOutput(io.Discard)
	flags.StringVar(&n.dir, "dir", defaultCluster, "the `folder` of the authority")
	flags.StringVar(&n.role, "role", "", "what the node is: `edge|relay`")
	flags.BoolVar(&n.replace, "replace", false, "make the files of a node anew: to renew its certificate")
	names, err := parseNames(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(out, "Usage: portico %s -role edge|relay [flags] NAME\n\n%s\nFlags:\n", flags.Name(), about)
		flags.SetOutput(out)
		flags.PrintDefaults()
		return err
	case err != nil:
		return fmt.Errorf("%w: %v; `portico %s -h` shows the flags", manage.ErrUsage, err, flags.Name())
	case len(names) != 1:
		return fmt.Errorf("%w: one NAME is needed; `portico %s -h` shows how it is used", manage.ErrUsage, flags.Name())
	case !identity.ValidRole(n.role):
		return fmt.Errorf("%w: -role is %s or %s; `portico %s -h` shows how it is used", manage.ErrUsage, identity.Edge, identity.Relay, flags.Name())
	case !identity.ValidName(names[0]):
		return fmt.Errorf("%w: a node cannot be called %q: take letters, digits, dots and hyphens, %d at most", manage.ErrUsage, names[0], identity.MaxName)
	}
	n.name = names[0]
	return nil
}

// issue makes the node's files.
func (n *newNode) issue() (identity.Files, *identity.Identity, error) {
	files, err := identity.Issue(n.dir, n.name, n.role, n.replace)
	switch {
	case errors.Is(err, identity.ErrExists):
		return files, nil, fmt.Errorf("%w: -replace makes it anew", err)
	case err != nil:
		return files, nil, fmt.Errorf("the certificate cannot be made: %w", err)
	}
	id, err := identity.Load(files)
	return files, id, err
}

const nodeFiles = `Makes a node's certificate, valid for one year, and its key, in the folder nodes/NAME of the authority's, and beside them all
else that the nodes have in common. Bring the folder to the node, readable by it alone (it writes there too when keys of gossip are
replaced), then the copy here can go. NAME is any name of letters, digits, dots and hyphens that no other node has; it stands in logs
and tells nodes apart.

Before the year is over issue again with -replace, bring the files to the node and restart it. A certificate cannot be taken back:
after a theft of a key make a new authority, and issue for all nodes again.
`

func clusterIssue(args []string, out io.Writer) error {
	var n newNode
	if err := n.read(flag.NewFlagSet("cluster issue", flag.ContinueOnError), args, out, nodeFiles); err != nil {
		return err
	}
	files, id, err := n.issue()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "Made for the %s %s, valid until %s. Bring the folder to the node and set there, with the path it has then:\n\n"+
		"[cluster]\nfolder = %q\n", n.role, n.name, id.NotAfter.Format("2 January 2006"), filepath.ToSlash(files.Folder))
	return err
}

const joinHelp = `Makes all that a new node of the cluster needs and prints the settings that belong to it. ` + nodeFiles + `
-seeds are nodes that are usually there, for gossip to begin with. Without them a running edge is asked for some, as by
` + "`portico cluster status`.\n"

// maxSeeds is how many nodes are named to a new one.
const maxSeeds = 3

func clusterJoin(ctx context.Context, args []string, out io.Writer) error {
	var n newNode
	flags := flag.NewFlagSet("cluster join", flag.ContinueOnError)
	seeds := flags.String("seeds", "", "`nodes` to begin with, as host or host:port of their gossip, with commas")
	region := flags.String("region", "", "`where` the node is, in a word")
	store := flags.String("store", "", "`url` of the database that all edges share, as postgres://user:password@host/portico")
	if err := n.read(flags, args, out, joinHelp); err != nil {
		return err
	}
	var list []string
	if *seeds != "" {
		list = strings.Split(*seeds, ",")
	} else if s := superSettings(ctx); s.Key != "" {
		c, err := manage.New(s)
		if err != nil {
			return err
		}
		status, err := c.Status(ctx)
		if err != nil {
			return fmt.Errorf("no seeds are given with -seeds, and %w", err)
		}
		for _, node := range status.Nodes {
			if node.Role == identity.Edge && node.State == "active" && len(list) < maxSeeds {
				list = append(list, node.Gossip)
			}
		}
	}
	files, id, err := n.issue()
	if err != nil {
		return err
	}
	return n.print(out, files, id, list, *region, *store)
}

// print writes a node's settings.
func (n *newNode) print(out io.Writer, files identity.Files, id *identity.Identity, seeds []string, region, store string) error {
	fmt.Fprintf(out, "# All of the %s %s is in the folder %s, valid until %s.\n# Bring it to the node, and add this to its settings, with the path it has there.\n",
		n.role, n.name, filepath.ToSlash(files.Folder), id.NotAfter.Format("2 January 2006"))
	if n.role == identity.Edge {
		if store == "" {
			fmt.Fprint(out, "# Rooms and services are in a database that all edges share: uncomment and correct its address.\n\n[store]\n# url = \"postgres://user:password@host/portico\"\n")
		} else {
			fmt.Fprintf(out, "\n[store]\nurl = %q\n", store)
		}
	}
	fmt.Fprintf(out, "\n[cluster]\nfolder = %q\n", filepath.ToSlash(files.Folder))
	if region != "" {
		fmt.Fprintf(out, "region = %q\n", region)
	}
	quoted := make([]string, len(seeds))
	for i, s := range seeds {
		quoted[i] = strconv.Quote(strings.TrimSpace(s))
	}
	_, err := fmt.Fprintf(out, "seeds = [%s]\n", strings.Join(quoted, ", "))
	return err
}

// superSettings are those of the environment or, where nothing says which service asks, the super service of the data folder here.
func superSettings(ctx context.Context) manage.Settings {
	s := manage.Environment(os.Getenv)
	if s.Service == "" && s.Key == "" {
		if super, err := serviceNamed(ctx, defaultData, store.SuperServiceName); err == nil {
			s.Service, s.Key = super.ID, super.Key
		}
	}
	return s
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
