package node

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"time"

	"portico/relay/codec/library"
	"portico/shared/cluster"
	"portico/shared/conference"
	shared "portico/shared/config"
	"portico/shared/identity"
)

// secretOf reads the cluster's secret; nil when the relay does not gossip.
func (n *Node) secretOf() (identity.Secret, error) {
	if n.cfg.Secret != nil || !n.cfg.Gossips() {
		return n.cfg.Secret, nil
	}
	s, err := identity.LoadSecret(n.cfg.Cluster.SecretFile())
	if err != nil {
		return nil, fmt.Errorf("cluster.secret_file: %w", err)
	}
	return s, nil
}

// turnSecret is that of the settings, or else of the cluster.
func turnSecret(setting string, s identity.Secret) string {
	if setting != "" || s == nil {
		return setting
	}
	return s.TURN()
}

// startGossip has the relay take part in its cluster, if it is in one.
func (n *Node) startGossip() error {
	if n.secret == nil || n.identity == nil {
		return nil
	}
	s := n.cfg.Cluster
	keys, err := s.Keys(n.secret)
	if err != nil {
		return fmt.Errorf("cluster.gossip_keys_file: %w", err)
	}
	where := s.Where(cluster.OwnAddress)
	c, err := cluster.New(cluster.Config{
		Self: cluster.Meta{
			ID: n.identity.Name, Boot: uint64(time.Now().UnixMilli()), Region: s.Region, Roles: cluster.Relay, Capacity: n.capacity(),
			Fingerprint: sha256.Sum256(n.identity.Certificate.Certificate[0]), Addresses: n.places(where.Addr()), Codecs: codecs(),
		},
		Label: s.Label, Keys: keys, Seeds: s.Seeds, Bind: s.Listen, Advertise: where.String(), Profile: cluster.Profile(s.Profile),
		SaveKeys: s.SaveKeys, Log: n.log,
	})
	if refused := (*cluster.ListenError)(nil); errors.As(err, &refused) {
		return shared.ListenFault("cluster.listen", refused.Addr, refused.Err)
	}
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	n.gossip.Store(c)
	return n.tasks.Go(n.measure)
}

func (n *Node) capacity() int {
	cores := n.cfg.Mixing.Cores
	if cores <= 0 {
		cores = float64(runtime.GOMAXPROCS(0))
	}
	return cmp.Or(n.cfg.Cluster.Capacity, max(1, int(100*cores)))
}

// places are the relay's addresses; own is where other nodes reach it, while clients reach it at turn.public_ip.
func (n *Node) places(own netip.Addr) (list []cluster.Address) {
	if door, err := netip.ParseAddrPort(n.addrs.Link); err == nil {
		at := door.Addr().Unmap()
		if at.IsUnspecified() {
			at = own
		}
		list = append(list, cluster.Address{Use: cluster.ForLinks, Text: netip.AddrPortFrom(at, door.Port()).String()})
	}
	for _, l := range []struct {
		use  cluster.Use
		addr string
	}{{cluster.ForSTUN, n.addrs.UDP}, {cluster.ForTURN, n.addrs.TCP}, {cluster.ForTURNS, n.addrs.TLS}} {
		if at, err := netip.ParseAddrPort(l.addr); err == nil {
			text := netip.AddrPortFrom(n.options.RelayIP, at.Port()).String()
			if l.use == cluster.ForTURNS && n.tlsName != "" { // browsers hold the certificate against the host
				text = n.tlsName + ":" + strconv.Itoa(int(at.Port()))
			}
			list = append(list, cluster.Address{Use: l.use, Text: text})
		}
	}
	return list
}

// codecs are what jobs here can make.
func codecs() (list []string) {
	for _, kind := range []conference.Kind{conference.Audio, conference.Video} {
		for _, f := range library.Encodes(kind) {
			list = append(list, f.Codec)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// GossipAddr is where the relay takes gossip, once it has started; empty outside of a cluster.
func (n *Node) GossipAddr() string {
	if c := n.gossip.Load(); c != nil {
		return c.Self().Gossip
	}
	return ""
}

// measureEvery is how often the relay's load is told to gossip, which passes on what has changed.
const measureEvery = time.Second

func (n *Node) measure(ctx context.Context) {
	ticker := time.NewTicker(measureEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		n.gossip.Load().SetLoad(n.load())
	}
}

// load is how much the relay has to do, from 0 to 1: of its cores, or of its allocations.
func (n *Node) load() (load float64) {
	if m := n.Mixing(); m.Cores > 0 {
		load = max(m.Load, m.CPU) / m.Cores
	}
	if limit := n.cfg.Limit.Allocations; limit > 0 {
		load = max(load, float64(n.Stats().Allocations)/float64(limit))
	}
	return min(load, 1)
}

// command answers an edge.
func (n *Node) command(edge string, body []byte) []byte {
	c, err := cluster.DecodeCommand(body)
	gossip := n.gossip.Load()
	switch {
	case err != nil:
		return cluster.Answer{Error: err.Error()}.Encode()
	case gossip == nil:
		return cluster.Answer{Error: "this relay does not gossip"}.Encode()
	}
	if c.Do != cluster.DoDescribe && c.Do != cluster.DoKeys {
		n.log.Info("command of an operator", "edge", edge, "command", c.Do)
	}
	if c.Do != cluster.DoDrain && c.Do != cluster.DoUndrain {
		return gossip.Obey(c).Encode()
	}
	n.drain(c.Do == cluster.DoDrain)
	return cluster.Answer{}.Encode()
}

// drain has the relay take nothing new and give back its jobs, or begin anew. TURN goes on for those who have it: what is relayed cannot
// be moved, and edges name a relay that drains to nobody.
func (n *Node) drain(on bool) {
	n.draining.Store(on)
	if c := n.gossip.Load(); c != nil {
		c.SetDraining(on)
	}
	if w := n.worker.Load(); w != nil {
		w.Drain(on)
	}
}

// StopWithin is how long an ordered stop may take.
func (n *Node) StopWithin() time.Duration {
	if n.gossip.Load() == nil {
		return 0
	}
	return n.cfg.Cluster.DrainTimeout
}

// farewell gives the jobs back before the stop, and says to the cluster that the relay goes.
func (n *Node) farewell(ctx context.Context) error {
	c := n.gossip.Load()
	if c == nil {
		return nil
	}
	if n.cfg.Cluster.DrainTimeout > 0 {
		n.drain(true)
		n.emptied(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	err := c.Leave(ctx)
	c.Close()
	if errors.Is(err, cluster.ErrClosed) {
		return nil
	}
	return err
}

// emptied waits until there are no jobs, or the time is up.
func (n *Node) emptied(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Cluster.DrainTimeout)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		jobs := 0
		for _, count := range n.Mixing().Jobs {
			jobs += count
		}
		if jobs == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
