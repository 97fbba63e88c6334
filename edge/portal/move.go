package portal

import (
	"slices"
	"time"

	"portico/shared/portalproto"
)

// Move asks every client that said it would to go on with another edge, within that time, and tells how many there are. Those that can
// not are left where they are, until Drain.
func (p *Portal) Move(within time.Duration) int {
	edges := p.options.Edges()
	if len(edges) == 0 {
		return 0
	}
	p.mu.Lock()
	var all []*participant
	for _, who := range p.participants {
		if who.migrate.Load() && who.sdk.Resumable() {
			all = append(all, who)
		}
	}
	p.mu.Unlock()
	for i, who := range all {
		who.Notify(portalproto.Move{Edges: rotated(edges, i), Ticket: p.ticket(who), Deadline: within})
	}
	return len(all)
}

// rotated is the list with another first: not everybody shall go to the same edge. The first half is that of the better ones.
func rotated(edges []string, n int) []string {
	first := n % ((len(edges) + 1) / 2)
	return append(append([]string{edges[first]}, edges[:first]...), edges[first+1:]...)
}

// Stay takes a Move back: nobody is told of it any more who has not been, be it that they are away. Who has been goes where it was asked
// to. It must not run beside Move.
func (p *Portal) Stay() {
	p.mu.Lock()
	all := make([]*participant, 0, len(p.participants))
	for _, who := range p.participants {
		all = append(all, who)
	}
	p.mu.Unlock()
	for _, who := range all {
		who.unsay(portalproto.EventMove)
	}
}

// unsay forgets the notifications of a kind that are kept: also those that were sent and may have been lost.
func (p *participant) unsay(event string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = slices.DeleteFunc(p.kept, func(k kept) bool {
		if k.Event == event {
			p.size -= k.size
		}
		return k.Event == event
	})
}
