package mesh

import (
	"context"
	"slices"

	"portico/edge/mesh/directory"
	"portico/shared/placement"
)

// Epoch is the one that this edge obeys or leads a room by; none when it has nothing to do with the room, or knows no home.
func (m *Mesh) Epoch(name string) placement.Epoch {
	r := m.room(name, false)
	if r == nil {
		return placement.Epoch{}
	}
	e, _, _ := r.home()
	return e
}

// Present names the edges that are known here to have the room: its home, and the others if this edge is the home. Of a room that
// nothing is known of it names the edge that will be the home, for a room of that region.
func (m *Mesh) Present(ctx context.Context, name, region string) (edges []string) {
	if r := m.room(name, false); r != nil {
		var s directory.State
		_ = r.do(ctx, func() { s = r.core.State(m.now()) }) // it is closing: nothing is known
		if s.Alive || s.Leads {
			edges = append(slices.Clone(s.Followers), s.Home.Home.ID)
		}
	}
	if len(edges) == 0 {
		m.mu.Lock()
		defer m.mu.Unlock()
		if home := placement.Home(name, region, m.view); home != "" {
			edges = append(edges, home)
		}
	}
	return edges
}
