package cluster

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"
)

// Looking for nodes.
const (
	maxLost    = 256
	keepLost   = time.Hour // how long a node that failed is looked for
	lookAgain  = 30 * time.Second
	lookUpWait = 3 * time.Second
	maxBackOff = time.Minute // for addresses that answer without becoming members: another cluster, another version
	maxRefresh = 16 * time.Second
	together   = 3 // how many of a cluster look for lost nodes at a time
)

// seeker is what runJoin remembers.
type seeker struct {
	c        *Cluster
	lost     map[string]time.Time // address of a failed node -> since when
	seeds    []string             // as addresses
	lookedUp time.Time
	backOff  map[string]*backOff
	faults   map[string]string // address -> last fault that was logged
	met      bool
	compared backOff // the next refresh
}

type backOff struct {
	next time.Time
	wait time.Duration
}

// runJoin brings this node together with its seeds, and with nodes it has lost sight of.
func (c *Cluster) runJoin(ctx context.Context) {
	s := &seeker{c: c, lost: map[string]time.Time{}, backOff: map[string]*backOff{}, faults: map[string]string{}}
	ticker := time.NewTicker(c.cfg.Profile.rejoin())
	defer ticker.Stop()
	var before []Node
	for {
		now := time.Now()
		nodes := c.Nodes()
		s.compare(before, nodes, now)
		before = nodes
		s.lookUp(ctx, now)
		list := s.choose(nodes, now)
		if a := s.refresh(nodes, now); a != "" {
			list = append(list, a)
		}
		for _, address := range list {
			if ctx.Err() != nil {
				return
			}
			s.join(address)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// compare notes who is gone, unless it said so, and who is back.
func (s *seeker) compare(before, nodes []Node, now time.Time) {
	here := addresses(nodes)
	said := map[string]bool{}
	s.c.mu.Lock()
	for a := range s.c.gone {
		if !here[a] {
			said[a] = true
			delete(s.c.gone, a)
		}
	}
	s.c.mu.Unlock()
	for _, n := range before {
		if !here[n.Gossip] && n.State != Leaving && !said[n.Gossip] && len(s.lost) < maxLost {
			s.lost[n.Gossip] = now
		}
	}
	for a, since := range s.lost {
		if here[a] || now.Sub(since) > keepLost {
			delete(s.lost, a)
		}
	}
	for a := range here {
		delete(s.backOff, a)
		delete(s.faults, a)
	}
}

func addresses(nodes []Node) map[string]bool {
	here := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		here[n.Gossip] = true
	}
	return here
}

// lookUp turns the seeds into addresses, from time to time, since names may get others.
func (s *seeker) lookUp(ctx context.Context, now time.Time) {
	if len(s.c.cfg.Seeds) == 0 || !s.lookedUp.IsZero() && now.Sub(s.lookedUp) < lookAgain {
		return
	}
	s.lookedUp = now
	ctx, cancel := context.WithTimeout(ctx, lookUpWait)
	defer cancel()
	var found []string
	for _, seed := range s.c.cfg.Seeds {
		host, port, err := net.SplitHostPort(seed)
		if err != nil {
			host, port = strings.Trim(seed, "[]"), "7946"
		}
		if net.ParseIP(host) != nil {
			found = append(found, net.JoinHostPort(host, port))
			continue
		}
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			s.fault(seed, "seed has no address: "+err.Error())
			continue
		}
		for _, ip := range ips {
			found = append(found, net.JoinHostPort(ip.Unmap().String(), port))
		}
	}
	slices.Sort(found)
	s.seeds = slices.Compact(found)
}

// choose names the addresses to try now. Alone, a node tries all its seeds; otherwise some nodes of the cluster try one address each,
// so that what is lost is found within seconds and a thousand nodes do not rush upon it.
func (s *seeker) choose(nodes []Node, now time.Time) []string {
	here := addresses(nodes)
	var list []string
	may := func(a string) bool {
		b := s.backOff[a]
		return !here[a] && a != s.c.own && (b == nil || now.After(b.next))
	}
	for _, a := range s.seeds {
		if may(a) {
			list = append(list, a)
		}
	}
	for a := range s.lost {
		if may(a) && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	if len(list) == 0 || len(nodes) == 1 && len(s.lost) == 0 {
		return list
	}
	if rand.IntN(len(nodes)) >= together {
		return nil
	}
	return []string{list[rand.IntN(len(list))]}
}

// refresh names a member to exchange states with beyond what memberlist does on its own, some times after this node has met others
// or has found its name at another address. Gossip may miss one in a crowd that starts at once, and memberlist compares all only once
// in minutes when there are many. And a node that starts again elsewhere is let in once its former self is found dead.
func (s *seeker) refresh(nodes []Node, now time.Time) string {
	s.c.mu.Lock()
	contested := s.c.contested
	s.c.contested = false
	self := s.c.self.ID
	s.c.mu.Unlock()
	if len(nodes) < 2 {
		s.met = false
		return ""
	}
	if !s.met || contested && s.compared.wait > maxRefresh {
		s.met = true
		s.compared.wait = s.c.cfg.Profile.rejoin()
		s.compared.next = now.Add(s.compared.wait)
	}
	if s.compared.wait > maxRefresh || now.Before(s.compared.next) {
		return ""
	}
	s.compared.wait *= 2
	s.compared.next = now.Add(s.compared.wait)
	i := rand.IntN(len(nodes) - 1)
	if nodes[i].ID >= self {
		i++ // not itself: the list is sorted
	}
	return nodes[i].Gossip
}

// join exchanges states with the node at an address.
func (s *seeker) join(address string) {
	_, err := s.c.list.Join([]string{address})
	if err != nil {
		if s.c.isClosed() {
			return
		}
		s.fault(address, because(err.Error()))
	}
	if err != nil && !answered(err.Error()) {
		return // nobody there: trying again costs nothing
	}
	b := s.backOff[address]
	if b == nil {
		if len(s.backOff) > maxLost {
			clear(s.backOff)
		}
		b = &backOff{wait: s.c.cfg.Profile.rejoin()}
		s.backOff[address] = b
	}
	b.next = time.Now().Add(b.wait)
	b.wait = min(2*b.wait, maxBackOff)
}

const (
	anotherKey = "it has another gossip key: bring this node the files that portico cluster issue makes in that cluster, " +
		"or the file gossip-keys of a node that is in it"
	anotherLabel = "it does not answer: it belongs to a cluster with another label, or is no node: compare cluster.label and cluster.seeds"
)

// What memberlist's errors say when there was an answer, and what is wrong then.
var answers = []struct{ text, means string }{
	{"no installed keys could decrypt", anotherKey},
	{"remote state is not encrypted", "it does not encrypt gossip"},
	{"remote error:", "it refuses this node"},
	{"EOF", anotherLabel},
	{"closed pipe", anotherLabel},
	{"reset by peer", anotherLabel},
	{"broken pipe", anotherLabel},
}

func because(text string) string {
	for _, a := range answers {
		if strings.Contains(text, a.text) {
			return a.means
		}
	}
	// memberlist puts its own words and several lines around it.
	_, text, _ = strings.Cut(text, "failed to join ")
	_, text, _ = strings.Cut(text, ": ")
	return strings.Join(strings.Fields(text), " ")
}

func answered(text string) bool {
	return slices.ContainsFunc(answers, func(a struct{ text, means string }) bool { return strings.Contains(text, a.text) })
}

// fault logs why an address was not joined, once until that changes.
func (s *seeker) fault(address, text string) {
	if s.faults[address] == text {
		return
	}
	if len(s.faults) > maxLost {
		clear(s.faults)
	}
	s.faults[address] = text
	s.c.log.Warn("node is not reached by gossip", "address", address, "reason", text)
}
