package node

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"portico/edge/config"
	"portico/edge/jobs"
	"portico/edge/portal"
	"portico/shared/cluster"
	shared "portico/shared/config"
	"portico/shared/identity"
	"portico/shared/placement"
)

// members is who is in the cluster, as gossip tells this edge. Make it with newMembers; start it once there is somebody to be told.
type members struct {
	cfg    config.Cluster
	id     *identity.Identity
	secret identity.Secret
	self   placement.Name
	log    *slog.Logger
	// changed is told, in order, that the edges are others than before, or described otherwise than by their load; relays that the relays
	// are, or their load.
	changed func(edges []placement.Edge)
	relays  func(relays []jobs.Relay)
	linked  func() map[string]bool // the edges that there is a link to

	telling sync.Mutex // one at a time looks at the nodes and tells
	gossip  *cluster.Cluster

	news chan struct{} // one token: gossip has told something

	pages portal.Origins // of the cluster's edges, whose pages may connect to this one too

	mu        sync.RWMutex            // guards what follows
	heard     map[string]cluster.Node // as gossip has it
	nodes     map[string]cluster.Node // as this edge believes it
	edges     []placement.Edge        // by id, those that are confirmed
	confirmed map[string]cluster.Meta // what nodes themselves have said they are
	inquiries map[string]*inquiry
	holds     bool // gossip has lost nodes that are linked
}

// newMembers reads the edge's identity. It is nil when the edge is in no cluster that gossips.
func newMembers(cfg *config.Settings, log *slog.Logger) (*members, error) {
	if !cfg.Gossips() {
		return nil, nil
	}
	id, err := who(cfg)
	if err != nil {
		return nil, err
	}
	number, err := boot(cfg.DataDir, time.Now(), log)
	if err != nil {
		return nil, err
	}
	m := &members{
		cfg: cfg.Cluster, id: id, secret: cfg.Secret, log: log, nodes: map[string]cluster.Node{}, confirmed: map[string]cluster.Meta{},
		inquiries: map[string]*inquiry{}, linked: func() map[string]bool { return nil },
		news: make(chan struct{}, 1), self: placement.Name{ID: id.Name, Boot: number},
	}
	if m.secret == nil {
		if m.secret, err = identity.LoadSecret(cfg.Cluster.SecretFile()); err != nil {
			return nil, fmt.Errorf("cluster.secret_file: %w", err)
		}
	}
	return m, nil
}

// who reads the edge's identity; nil when it has none.
func who(cfg *config.Settings) (*identity.Identity, error) {
	id := cfg.Identity
	if id == nil {
		if cfg.Cluster.None() {
			return nil, nil
		}
		var err error
		if id, err = identity.Load(cfg.Cluster.Files); err != nil {
			return nil, fmt.Errorf("cluster: %w", err)
		}
	}
	if id.Role != identity.Edge {
		return nil, fmt.Errorf("cluster.cert_file is of a node whose role is %s: an edge needs one for an edge", id.Role)
	}
	return id, nil
}

// start joins the cluster: it takes part from here on, and looks for the others in the background.
func (m *members) start(at places) error {
	keys, err := m.cfg.Keys(m.secret.ForRelays())
	if err != nil {
		return fmt.Errorf("cluster.gossip_keys_file: %w", err)
	}
	where := m.cfg.Where(cluster.OwnAddress)
	self := cluster.Meta{
		ID: m.self.ID, Boot: m.self.Boot, Region: m.cfg.Region, Roles: cluster.Edge, Capacity: capacity(m.cfg.Capacity),
		Fingerprint: sha256.Sum256(m.id.Certificate.Certificate[0]), Addresses: at.addresses(where.Addr()),
	}
	m.telling.Lock()
	m.gossip, err = cluster.New(cluster.Config{
		Self: self, Label: m.cfg.Label, Keys: keys, Seeds: m.cfg.Seeds, Bind: m.cfg.Listen, Advertise: where.String(),
		Profile: cluster.Profile(m.cfg.Profile), Notify: func(cluster.Event) { m.look() }, SaveKeys: m.cfg.SaveKeys, Log: m.log,
		MaxStrangers: cluster.DefaultMaxNodes / 2,
	})
	m.telling.Unlock()
	if refused := (*cluster.ListenError)(nil); errors.As(err, &refused) {
		return shared.ListenFault("cluster.listen", refused.Addr, refused.Err)
	}
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	m.look()
	return nil
}

// capacity is the setting, or what the processors say.
func capacity(setting int) int { return cmp.Or(setting, 100*runtime.GOMAXPROCS(0)) }

// places are where an edge is reached.
type places struct {
	links   netip.AddrPort // the UDP socket, as it is bound
	clients string         // host:port
	secure  bool
	data    string // URL; empty: none
}

// addresses are those of the node's description; own is where other nodes reach it.
func (p places) addresses(own netip.Addr) []cluster.Address {
	at := p.links.Addr().Unmap()
	if at.IsUnspecified() {
		at = own
	}
	list := []cluster.Address{{Use: cluster.ForLinks, Text: netip.AddrPortFrom(at, p.links.Port()).String()}}
	use := cluster.ForClients
	if p.secure {
		use = cluster.ForSecure
	}
	list = append(list, cluster.Address{Use: use, Text: p.clients})
	if p.data != "" {
		list = append(list, cluster.Address{Use: cluster.ForData, Text: p.data})
	}
	return list
}

// look takes over what gossip says by now, and tells what is new of it.
func (m *members) look() {
	m.telling.Lock()
	defer m.telling.Unlock()
	if m.gossip == nil {
		return
	}
	heard, linked := map[string]cluster.Node{}, m.linked()
	for _, n := range m.gossip.Nodes() {
		heard[n.ID] = n
	}
	heard[m.self.ID] = m.gossip.Self() // the list may be behind
	m.mu.Lock()
	nodes := m.believe(heard, linked)
	edges, relays := m.sorted(nodes)
	same := slices.EqualFunc(m.edges, edges, func(a, b placement.Edge) bool {
		a.Load = b.Load
		return a == b
	})
	m.heard, m.nodes, m.edges = heard, nodes, edges
	m.mu.Unlock()
	select {
	case m.news <- struct{}{}:
	default:
	}
	if !same && m.changed != nil {
		m.changed(slices.Clone(edges))
	}
	if m.relays != nil {
		m.relays(relays)
	}
}

// sorted are the edges that are confirmed, and the relays, in the order of their names. The mu is held.
func (m *members) sorted(nodes map[string]cluster.Node) (edges []placement.Edge, relays []jobs.Relay) {
	for _, id := range slices.Sorted(maps.Keys(nodes)) {
		n := nodes[id]
		if n.Roles&cluster.Edge != 0 && m.isConfirmed(id) {
			edges = append(edges, edgeOf(&n))
		}
		if at := n.Address(cluster.ForLinks); n.Roles&cluster.Relay != 0 && at != "" {
			relays = append(relays, jobs.Relay{
				Name: n.ID, Address: at, Region: n.Region, Weight: n.Capacity, Load: n.Load, Draining: n.State != cluster.Active, Codecs: n.Codecs,
			})
		}
	}
	return edges, relays
}

func edgeOf(n *cluster.Node) placement.Edge {
	return placement.Edge{ID: n.ID, Boot: n.Boot, Region: n.Region, Weight: n.Capacity, Draining: n.State != cluster.Active, Load: n.Load}
}

// Edges are the edges that are there and confirmed, this one included.
func (m *members) Edges() []placement.Edge {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Clone(m.edges)
}

// Node is one of the cluster's.
func (m *members) Node(id string) (cluster.Node, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, ok := m.nodes[id]
	return n, ok
}

// Nodes are all of them, by id.
func (m *members) Nodes() []cluster.Node {
	m.mu.RLock()
	defer m.mu.RUnlock()
	list := make([]cluster.Node, 0, len(m.nodes))
	for _, n := range m.nodes {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b cluster.Node) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// link is where an edge takes the links of others. When gossip says something else than the edge itself has said before, either may be
// true: now the one is tried and now the other.
func (m *members) link(id string) (string, bool) {
	m.mu.RLock()
	n, ok := m.nodes[id]
	if heard, is := m.heard[id]; is && heard.Roles&cluster.Edge != 0 && rand.IntN(2) == 0 {
		n = heard
	}
	m.mu.RUnlock()
	at := n.Address(cluster.ForLinks)
	return at, ok && at != "" && n.Roles&cluster.Edge != 0
}

// portals are the URLs of the portals of other edges that take participants, those of the region first and then the less loaded.
func (m *members) portals(region string) (urls []string) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	edges := slices.DeleteFunc(slices.Clone(m.edges), func(e placement.Edge) bool {
		return e.ID == m.self.ID || e.Draining || e.Load >= placement.MaxLoad
	})
	away := func(e placement.Edge) int {
		if e.Region == region {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(edges, func(a, b placement.Edge) int {
		return cmp.Or(cmp.Compare(away(a), away(b)), cmp.Compare(a.Load, b.Load))
	})
	for _, e := range edges {
		n := m.nodes[e.ID]
		if url := portalURL(&n); url != "" && len(urls) < maxPortals {
			urls = append(urls, url)
		}
	}
	return urls
}

// maxPortals is how many other edges a client is told of.
const maxPortals = 4

func portalURL(n *cluster.Node) string {
	if at := n.Address(cluster.ForSecure); at != "" {
		return "https://" + at
	}
	if at := n.Address(cluster.ForClients); at != "" {
		return "http://" + at
	}
	return ""
}

// ourPage tells whether a page is one of another edge's, which goes on here when its own edge stops.
func (n *Node) ourPage(origin string) bool { return n.members != nil && n.members.pages.Allow(origin) }

// turnSecret is what credentials for the relays are made with.
func turnSecret(setting string, m *members) string {
	if setting != "" || m == nil {
		return setting
	}
	return m.secret.ForRelays().TURN()
}

// turnURLs are the addresses of the relays that gossip knows of, of the region first and then the less loaded.
func (m *members) turnURLs(region string) (urls []string) {
	m.mu.RLock()
	var list []cluster.Node
	for id, n := range m.nodes {
		if n.Roles&cluster.Relay != 0 && n.State == cluster.Active && m.isConfirmed(id) {
			list = append(list, n)
		}
	}
	m.mu.RUnlock()
	away := func(n *cluster.Node) int {
		if n.Region == region {
			return 0
		}
		return 1
	}
	slices.SortFunc(list, func(a, b cluster.Node) int {
		return cmp.Or(cmp.Compare(away(&a), away(&b)), cmp.Compare(a.Load, b.Load), cmp.Compare(a.ID, b.ID))
	})
	for _, n := range list[:min(len(list), maxRelays)] {
		for _, a := range n.Addresses {
			switch a.Use {
			case cluster.ForSTUN:
				urls = append(urls, "stun:"+a.Text, "turn:"+a.Text+"?transport=udp")
			case cluster.ForTURN:
				urls = append(urls, "turn:"+a.Text+"?transport=tcp")
			case cluster.ForTURNS:
				urls = append(urls, "turns:"+a.Text+"?transport=tcp")
			}
		}
	}
	return urls
}

// maxRelays is how many relays a client is told of: it tries them all at once.
const maxRelays = 2

// leave ends the membership, and says so to the others.
func (m *members) leave(ctx context.Context) error {
	m.telling.Lock()
	gossip := m.gossip
	m.telling.Unlock()
	if gossip == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	err := gossip.Leave(ctx)
	gossip.Close()
	if errors.Is(err, cluster.ErrClosed) {
		return nil
	}
	return err
}

// setDraining tells the others, and this edge's own parts.
func (m *members) setDraining(on bool) {
	m.telling.Lock()
	gossip := m.gossip
	m.telling.Unlock()
	if gossip != nil {
		gossip.SetDraining(on)
		m.look()
	}
}

// setLoad tells the others how much this edge has to do.
func (m *members) setLoad(value float64) {
	m.telling.Lock()
	gossip := m.gossip
	m.telling.Unlock()
	if gossip != nil {
		gossip.SetLoad(value)
	}
}

// GossipAddr is where the edge takes gossip, once it has started; empty outside of a cluster.
func (n *Node) GossipAddr() string {
	if n.members == nil {
		return ""
	}
	n.members.telling.Lock()
	defer n.members.telling.Unlock()
	if n.members.gossip == nil {
		return ""
	}
	return n.members.gossip.Self().Gossip
}
