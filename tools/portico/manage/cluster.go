package manage

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"portico/edge/clusterapi"
	"portico/shared/cluster"
	"portico/shared/identity"
	"portico/shared/jsonvalue"
)

// ClusterCommands are those of `portico cluster` that ask a running cluster, with what they do, for its help text.
var ClusterCommands = []struct{ Usage, Summary string }{
	{"status", "show the nodes, the rooms with their homes, and the links"},
	{"drain NODE", "take a node out of service: what it has goes to others"},
	{"undrain NODE", "take it back"},
	{"keys [add KEY | use NAME | remove NAME]", "show or replace the keys of gossip, step by step"},
	{"rotate", "replace the key of gossip on all nodes"},
}

var clusterCommands = []command{
	{"status", "", ClusterCommands[0].Summary, 0, jsonFlag, clusterStatus},
	{"drain", "NODE", ClusterCommands[1].Summary, 1, waitFlag, drain},
	{"undrain", "NODE", ClusterCommands[2].Summary, 1, nil, undrain},
	{"keys", "[add KEY | use NAME | remove NAME]", ClusterCommands[3].Summary, -1, nil, clusterKeys},
	{"rotate", "", ClusterCommands[4].Summary, 0, folderFlag, rotate},
}

// Cluster runs `portico cluster status|drain|undrain|keys|rotate`; args begin with one of these words, or ok is false. The service has to
// be the super service. Otherwise it is like Room.
func Cluster(ctx context.Context, args []string, out io.Writer, s Settings) (ok bool, err error) {
	for _, c := range clusterCommands {
		if len(args) > 0 && c.name == args[0] {
			c.name = "cluster " + c.name
			return true, c.execute(ctx, args[1:], out, s)
		}
	}
	return false, nil
}

func waitFlag(f *flag.FlagSet, o *options) {
	f.BoolVar(&o.wait, "wait", false, "wait until nobody is there any more, or until interrupted")
}

func folderFlag(f *flag.FlagSet, o *options) {
	f.StringVar(&o.folder, "dir", "cluster", "the `folder` of the authority, which keeps the new key for nodes that are issued later")
}

// Status is how the cluster is. Only the super service may ask.
func (c *Client) Status(ctx context.Context) (s clusterapi.Status, err error) {
	text, err := c.Cluster(ctx)
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	return s, err
}

// Drain takes a node out of service, or back.
func (c *Client) Drain(ctx context.Context, node string, on bool) error {
	method := http.MethodPost
	if !on {
		method = http.MethodDelete
	}
	_, err := c.do(ctx, method, "/v1/cluster/nodes/"+url.PathEscape(node)+"/drain", jsonvalue.Value{})
	return err
}

// Keys says which keys of gossip all nodes have.
func (c *Client) Keys(ctx context.Context) (clusterapi.Done, error) {
	return c.keys(ctx, http.MethodGet, jsonvalue.Value{})
}

// ChangeKeys changes the keys on all nodes: do is add, with a key, or use or remove, with the name of one. It fails when not all have
// done so.
func (c *Client) ChangeKeys(ctx context.Context, do, what string) (clusterapi.Done, error) {
	member := "name"
	if do == "add" {
		member = "key"
	}
	d, err := c.keys(ctx, http.MethodPost, jsonvalue.OfObject(jsonvalue.M("do", jsonvalue.Of(do)), jsonvalue.M(member, jsonvalue.Of(what))))
	if err != nil || d.Done {
		return d, err
	}
	var faults []string
	for _, n := range d.Nodes {
		if n.Error != "" {
			faults = append(faults, n.ID+": "+printable(n.Error))
		}
	}
	return d, errors.New("not all nodes have done it, and the others have: " + strings.Join(faults, "; "))
}

func (c *Client) keys(ctx context.Context, method string, body jsonvalue.Value) (d clusterapi.Done, err error) {
	text, err := c.do(ctx, method, "/v1/cluster/keys", body)
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	return d, err
}

func clusterStatus(ctx context.Context, c *Client, _ []string, o *options, out io.Writer) error {
	if o.json {
		text, err := c.Cluster(ctx)
		if err == nil {
			_, err = out.Write(text)
		}
		return err
	}
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "REGION\tNODE\tROLE\tSTATE\tLOAD\tPARTICIPANTS\tHOMES\tUP\tADDRESS")
	for _, n := range s.Nodes {
		participants, homes := "-", "-"
		if n.Role == identity.Edge {
			participants, homes = fmt.Sprint(n.Participants), fmt.Sprint(n.Homes)
		}
		address := n.Portal
		if address == "" {
			address = n.Link
		}
		if n.Error != "" {
			address += " (" + n.Error + ")"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d/7\t%s\t%s\t%s\t%s\n", orDash(n.Region), printable(n.ID), n.Role, n.State, n.Load, participants, homes,
			time.Since(n.Started).Round(time.Second), printable(address))
	}
	if len(s.Rooms) > 0 {
		fmt.Fprintln(table, "\nROOM\tHOME\tWHY\tEPOCH\tFOLLOWERS\tSTANDBY\tANCHORS\tENTRIES")
		for _, r := range s.Rooms {
			followers := list(r.Followers)
			if r.OmittedFollowers > 0 {
				followers += fmt.Sprintf(" and %d more", r.OmittedFollowers)
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", printable(r.ID), printable(r.Home), printable(r.Why), printable(r.Epoch),
				followers, printable(orDash(r.Standby)), list(r.Anchors), r.Entries)
		}
	}
	if len(s.Links) > 0 {
		fmt.Fprintln(table, "\nFROM\tTO\tRTT\tLOST\tSENT\tRECEIVED\tDROPPED\tFLOWS")
		for _, l := range s.Links {
			if l.InUse {
				fmt.Fprintf(table, "%s\t%s\t%.1f ms\t%d\t%d\t%d\t%d\t%d\n", printable(l.From), printable(l.To), l.RTT, l.Lost, l.Sent, l.Received,
					l.Dropped, len(l.Flows)+l.OmittedFlows)
			}
		}
	}
	omitted(table, s.Nodes)
	return table.Flush()
}

// omitted says what is not shown.
func omitted(out io.Writer, nodes []clusterapi.Node) {
	begun := false
	for _, n := range nodes {
		if n.Omitted == (clusterapi.Omitted{}) {
			continue
		}
		if !begun {
			begun = true
			fmt.Fprintln(out)
		}
		var parts []string
		for _, of := range []struct {
			n         int
			one, more string
		}{{n.Omitted.Rooms, "room", "rooms"}, {n.Omitted.Links, "link", "links"}, {n.Omitted.Flows, "flow", "flows"}} {
			if text := many(float64(of.n), of.one, of.more); text != "" {
				parts = append(parts, text)
			}
		}
		fmt.Fprintf(out, "Of %s not all is shown, since it is too much or takes too long. Not shown, the least busy ones first: %s.\n", printable(n.ID),
			strings.Join(parts, ", "))
	}
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return printable(text)
}

func list(names []string) string { return printable(orDash(strings.Join(names, ","))) }

// lookEvery is how often a wait looks.
const lookEvery = time.Second

func drain(ctx context.Context, c *Client, args []string, o *options, out io.Writer) error {
	node := args[0]
	if err := c.Drain(ctx, node, true); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s drains: it takes nothing new, and gives away what it has. `portico cluster undrain %s` takes it back.\n", node, node)
	if !o.wait {
		return nil
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		s, err := c.Status(ctx)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(s.Nodes, func(n clusterapi.Node) bool { return n.ID == node })
		if at < 0 || s.Nodes[at].Participants == 0 && s.Nodes[at].Homes == 0 && s.Nodes[at].Error == "" {
			fmt.Fprintln(out, "Nobody is there any more.")
			return nil
		}
		fmt.Fprintf(out, "%d participants, home of %d rooms\n", s.Nodes[at].Participants, s.Nodes[at].Homes)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

func undrain(ctx context.Context, c *Client, args []string, _ *options, out io.Writer) error {
	if err := c.Drain(ctx, args[0], false); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%s takes part again.\n", args[0])
	return err
}

func clusterKeys(ctx context.Context, c *Client, args []string, _ *options, out io.Writer) error {
	var d clusterapi.Done
	var err error
	switch {
	case len(args) == 0:
		d, err = c.Keys(ctx)
	case len(args) == 2 && slices.Contains([]string{"add", "use", "remove"}, args[0]):
		if d, err = c.ChangeKeys(ctx, args[0], args[1]); err == nil {
			d, err = c.Keys(ctx)
		}
	default:
		return usagef("`portico cluster keys` takes nothing, or add KEY, use NAME or remove NAME")
	}
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NODE\tIN USE\tUNDERSTOOD TOO")
	for _, n := range d.Nodes {
		used, other := "-", []string{}
		for _, k := range n.Keys {
			if k.InUse {
				used = printable(k.Name)
			} else {
				other = append(other, printable(k.Name))
			}
		}
		if n.Error != "" {
			used = printable(n.Error)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", n.ID, used, list(other))
	}
	return table.Flush()
}

// settle is how long gossip under the key before may be on its way.
const settle = 2 * time.Second

// rotate replaces the key of gossip everywhere.
func rotate(ctx context.Context, c *Client, _ []string, o *options, out io.Writer) error {
	if _, err := os.Stat(o.folder); err != nil {
		return fmt.Errorf("the authority's folder %q is not here: run this where it is, or name it with -dir, "+
			"or replace the key step by step with `portico cluster keys`", o.folder)
	}
	d, err := c.Keys(ctx)
	if err != nil {
		return err
	}
	old := ""
	for _, n := range d.Nodes {
		switch {
		case n.Error != "":
			return fmt.Errorf("nothing has changed: %s: %s", n.ID, printable(n.Error))
		case len(n.Keys) != 1, old != "" && n.Keys[0].Name != old:
			return errors.New("a replacement is under way: end it with `portico cluster keys use NAME`, then remove NAME")
		}
		old = n.Keys[0].Name
	}
	key := cluster.NewKey()
	// Before anybody has it: a key that only the nodes knew would leave no way in for another.
	if err := identity.WriteFile(identity.AuthorityKeysFile(o.folder), cluster.FormatKeys([][]byte{key})); err != nil {
		return fmt.Errorf("nothing has changed: the new key cannot be kept: %w", err)
	}
	name := cluster.KeyName(key)
	for _, step := range []struct{ do, what, said string }{
		{"add", cluster.FormatKey(key), "all nodes understand the new key " + name},
		{"use", name, "all nodes use it"},
		{"remove", old, "the key before, " + old + ", is of no use any more"},
	} {
		if step.do == "remove" {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(settle):
			}
		}
		if _, err := c.ChangeKeys(ctx, step.do, step.what); err != nil {
			return fmt.Errorf("%w (go on with `portico cluster keys`: use %s, then remove %s)", err, name, old)
		}
		fmt.Fprintln(out, step.said)
	}
	_, err = fmt.Fprintf(out, "Nodes that were away get the new key with the file %s, beside their certificate.\n", identity.AuthorityKeysFile(o.folder))
	return err
}
