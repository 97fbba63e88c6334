package clusterapi

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"portico/shared/cluster"
)

// Status is the answer to GET /v1/cluster.
type Status struct {
	Self  string `json:"self"` // the edge that answers
	Nodes []Node `json:"nodes"`
	Rooms []Room `json:"rooms"`
	Links []Link `json:"links"`

	Omitted Omitted `json:"omitted,omitzero"` // by all edges together
}

// Node is one of the cluster.
type Node struct {
	ID       string    `json:"id"`
	Role     string    `json:"role"`
	Region   string    `json:"region,omitempty"`
	State    string    `json:"state"` // active, draining, leaving
	Load     int       `json:"load"`  // 0 to 7
	Capacity int       `json:"capacity"`
	Started  time.Time `json:"started"`
	Gossip   string    `json:"gossip"`
	Link     string    `json:"link,omitempty"`
	Portal   string    `json:"portal,omitempty"` // of an edge
	Error    string    `json:"error,omitempty"`  // why the edge did not say more

	Participants int `json:"participants"` // of an edge, that are connected to it
	Homes        int `json:"homes"`        // rooms whose home it is

	Omitted Omitted `json:"omitted,omitzero"` // by the edge, of its rooms and links
}

// Room is one that has a home.
type Room struct {
	ID        string   `json:"id"`
	Home      string   `json:"home"`
	Why       string   `json:"why"` // it is that one: hash, or sticky where the hash names another by now
	Epoch     string   `json:"epoch"`
	Anchors   []string `json:"anchors"`
	Followers []string `json:"followers"`
	Standby   string   `json:"standby,omitempty"` // the edge that knows all that the home does; left out while none has all of it
	Entries   int      `json:"entries"`           // participants, streams and mixes

	OmittedFollowers int `json:"omittedFollowers,omitempty"`
}

// Link is one between two edges, as the first sees it.
type Link struct {
	From     string  `json:"from"`
	To       string  `json:"to"`
	InUse    bool    `json:"inUse"`
	RTT      float64 `json:"rtt"`      // ms
	Lost     uint64  `json:"lost"`     // packets of QUIC
	Sent     uint64  `json:"sent"`     // packets of media and feedback
	Received uint64  `json:"received"` // the same
	Dropped  uint64  `json:"dropped"`
	Calls    int     `json:"calls"`
	Flows    []Flow  `json:"flows,omitempty"` // what comes from the second

	OmittedFlows int `json:"omittedFlows,omitempty"`
}

// Flow is what has come of one encoding, or of the feedback about one.
type Flow struct {
	ID      uint64 `json:"id"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Told is what an edge says of itself (cluster.DoTell).
type Told struct {
	Participants int     `json:"participants"`
	Rooms        []Room  `json:"rooms"` // whose home it is
	Links        []Link  `json:"links"`
	Omitted      Omitted `json:"omitted,omitzero"`
}

// maxStatus bounds a Status, in bytes: each edge gets its share, which is never less than minShare.
const (
	maxStatus = 32 << 20
	minShare  = 16 << 10
)

// status asks all edges.
func (a *API) status(ctx context.Context) Status {
	nodes := a.o.Cluster.Nodes()
	told := make([]Told, len(nodes))
	faults := make([]string, len(nodes))
	share := max(a.o.MaxStatus/max(len(nodes), 1), minShare)
	a.each(nodes, func(i int, n *cluster.Node) {
		if n.Roles&cluster.Edge == 0 {
			return
		}
		answer, err := a.o.Cluster.Ask(ctx, n.ID, cluster.Command{Do: cluster.DoTell})
		if err == nil {
			err = json.Unmarshal(answer.Told, &told[i])
		}
		if err != nil {
			faults[i], told[i] = err.Error(), Told{}
			return
		}
		told[i].Fit(share) // a short one, too: what it leaves out is written here
	})
	s := Status{Self: a.o.Cluster.Self(), Nodes: []Node{}, Rooms: []Room{}, Links: []Link{}}
	for i := range nodes {
		n := nodeOf(&nodes[i])
		n.Omitted.add(told[i].Omitted)
		n.Error, n.Participants, n.Homes = faults[i], told[i].Participants, len(told[i].Rooms)+n.Omitted.Rooms
		s.Omitted.add(n.Omitted)
		s.Nodes = append(s.Nodes, n)
		s.Rooms = append(s.Rooms, told[i].Rooms...)
		s.Links = append(s.Links, told[i].Links...)
	}
	slices.SortFunc(s.Nodes, func(a, b Node) int { return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.ID, b.ID)) })
	slices.SortStableFunc(s.Rooms, func(a, b Room) int { return cmp.Compare(a.ID, b.ID) })
	return s
}

// each calls a function for all nodes at once, and waits.
func (a *API) each(nodes []cluster.Node, f func(i int, n *cluster.Node)) {
	var all sync.WaitGroup
	for i := range nodes {
		all.Go(func() { f(i, &nodes[i]) })
	}
	all.Wait()
}

func nodeOf(n *cluster.Node) Node {
	v := Node{
		ID: n.ID, Role: "edge", Region: n.Region, State: n.State.String(), Load: n.Load, Capacity: n.Capacity,
		Started: time.UnixMilli(int64(n.Boot)).UTC(), Gossip: n.Gossip, Link: n.Address(cluster.ForLinks),
	}
	if n.Roles&cluster.Edge == 0 {
		v.Role = "relay"
	}
	if at := n.Address(cluster.ForSecure); at != "" {
		v.Portal = "https://" + at
	} else if at := n.Address(cluster.ForClients); at != "" {
		v.Portal = "http://" + at
	}
	return v
}
