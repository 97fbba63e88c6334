package clusterapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"portico/shared/cluster"
)

// Done is what became of a change of keys, or which keys there are.
type Done struct {
	Done  bool      `json:"done"` // on all nodes
	Nodes []KeyNode `json:"nodes"`
}

// KeyNode is one node's part.
type KeyNode struct {
	ID    string            `json:"id"`
	Keys  []cluster.KeyInfo `json:"keys,omitempty"`
	Error string            `json:"error,omitempty"`
}

func (a *API) keys(ctx context.Context) Done { return a.all(ctx, cluster.Command{Do: cluster.DoKeys}) }

// all has all nodes carry out a command.
func (a *API) all(ctx context.Context, c cluster.Command) Done {
	nodes := a.o.Cluster.Nodes()
	d := Done{Done: true, Nodes: make([]KeyNode, len(nodes))}
	a.each(nodes, func(i int, n *cluster.Node) {
		d.Nodes[i].ID = n.ID
		answer, err := a.o.Cluster.Ask(ctx, n.ID, c)
		if err != nil {
			d.Nodes[i].Error = err.Error()
			return
		}
		d.Nodes[i].Keys = answer.Keys
	})
	for _, n := range d.Nodes {
		d.Done = d.Done && n.Error == ""
	}
	return d
}

func (a *API) changeKeys(ctx context.Context, r *http.Request) (any, error) {
	var body struct{ Do, Key, Name string }
	if err := readBody(r, &body); err != nil {
		return nil, err
	}
	var c cluster.Command
	var missing func(n KeyNode) bool // keeps the change from being made
	why := ""
	has := func(n KeyNode) int {
		return slices.IndexFunc(n.Keys, func(k cluster.KeyInfo) bool { return k.Name == body.Name })
	}
	switch body.Do {
	case "add":
		c = cluster.Command{Do: cluster.DoAddKey, Key: body.Key}
	case "use":
		c, why = cluster.Command{Do: cluster.DoUseKey, Key: body.Name}, "does not have it: add it first"
		missing = func(n KeyNode) bool { return has(n) < 0 }
	case "remove":
		c, why = cluster.Command{Do: cluster.DoRemoveKey, Key: body.Name}, "uses it: use another one first"
		missing = func(n KeyNode) bool { at := has(n); return at >= 0 && n.Keys[at].InUse }
	}
	if _, err := cluster.DecodeCommand(c.Encode()); err != nil {
		return nil, &failure{http.StatusBadRequest, 1201, "Bad request"}
	}
	if missing != nil {
		if err := a.allow(ctx, body.Name, missing, why); err != nil {
			return nil, err
		}
	}
	a.o.Log.Info("keys of gossip change", "do", body.Do, "name", body.Name)
	d := a.all(ctx, c)
	if body.Do == "remove" { // a node that does not have it any more is done
		d.Done = true
		for i, n := range d.Nodes {
			if strings.HasPrefix(n.Error, cluster.ErrNoKey.Error()) {
				d.Nodes[i].Error = ""
			}
			d.Done = d.Done && d.Nodes[i].Error == ""
		}
	}
	return d, nil
}

// allow looks at all nodes before a change that could cut some off.
func (a *API) allow(ctx context.Context, name string, missing func(KeyNode) bool, why string) error {
	var faults []error
	for _, n := range a.keys(ctx).Nodes {
		switch {
		case n.Error != "":
			faults = append(faults, fmt.Errorf("%s: %s", n.ID, n.Error))
		case missing(n):
			faults = append(faults, fmt.Errorf("%s %s", n.ID, why))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	text := strings.ReplaceAll(errors.Join(faults...).Error(), "\n", "; ")
	return &failure{http.StatusConflict, 1301, "Nothing has changed for the key " + name + ": " + text}
}
