//go:build linux

package cluster

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"portico/edge/clusterapi"
	"portico/shared/conference"
	"portico/tools/portico/manage"
)

// statusTime is how long an edge has to say how the cluster is.
const statusTime = 8 * time.Second

// status is what an edge says of the cluster; ok is false when it says nothing.
func (c *cluster) status(by *edge) (s clusterapi.Status, ok bool) {
	ctx, cancel := context.WithTimeout(c.t.Context(), statusTime)
	defer cancel()
	settings := c.super
	settings.URL = by.outside
	client, err := manage.New(settings)
	c.must(err)
	text, err := client.Cluster(ctx)
	if err != nil {
		return s, false
	}
	c.must(json.Unmarshal(text, &s))
	return s, true
}

// sees tells whether an edge sees so many nodes, all of them well, and can reach the edges.
func (c *cluster) sees(by *edge, nodes int) bool {
	s, ok := c.status(by)
	return ok && len(s.Nodes) == nodes && !slices.ContainsFunc(s.Nodes, func(n clusterapi.Node) bool { return n.Error != "" || n.State != "active" })
}

// whole waits until all edges see so many nodes.
func (c *cluster) whole(nodes int) {
	c.t.Helper()
	c.until(patience, "the edges see all nodes", func() bool {
		return !slices.ContainsFunc(c.edges, func(e *edge) bool { return !c.sees(e, nodes) })
	})
}

// homes are the edges that say they are the room's home, as another one than those without sees it.
func (c *cluster) homes(without ...*edge) (list []*edge) {
	for _, by := range c.edges {
		if slices.Contains(without, by) {
			continue
		}
		s, ok := c.status(by)
		if !ok {
			continue
		}
		for _, r := range s.Rooms {
			for _, e := range c.edges {
				if r.ID == c.room && r.Home == e.name && !slices.Contains(list, e) {
					list = append(list, e)
				}
			}
		}
		return list
	}
	return nil
}

// home is the edge that is the room's home, nil when there is none or more than one.
func (c *cluster) home(without ...*edge) *edge {
	if list := c.homes(without...); len(list) == 1 {
		return list[0]
	}
	return nil
}

// oneHome waits until the room has one home.
func (c *cluster) oneHome(limit time.Duration) {
	c.t.Helper()
	took := c.until(limit, "the room has one home", func() bool { return len(c.homes()) == 1 })
	c.t.Logf("one home after %v", took.Round(10*time.Millisecond))
}

// flows is how many encodings come from one edge to another; what comes back about them does not count.
func (c *cluster) flows(from, to *edge) (n int) {
	s, ok := c.status(to)
	if !ok {
		c.t.Fatalf("%s does not say how it is", to.name)
	}
	for _, l := range s.Links {
		if l.From != to.name || l.To != from.name {
			continue
		}
		for _, f := range l.Flows {
			if f.Packets > 20 { // in two seconds and more; of feedback there is less
				n++
			}
		}
	}
	return n
}

// mixed are the streams that the room makes, which everybody sees.
func (c *cluster) mixed() (list []conference.Stream) {
	for _, s := range c.people[0].c.Info().Streams {
		if s.Type == conference.Mixed {
			list = append(list, s)
		}
	}
	return list
}
