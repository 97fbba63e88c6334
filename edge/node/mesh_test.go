package node

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"portico/edge/mesh"
	"portico/shared/cluster"
	"portico/shared/placement"
	"portico/shared/portalproto"
)

// TestInWords: the words that clients go by. One whose generation is outdone is not refused for good: its answer may have got lost, and
// the edge that has it then is found by trying on.
func TestInWords(t *testing.T) {
	other := errors.New("another")
	for err, want := range map[error]error{
		mesh.ErrReplayed: portalproto.ErrClusterUnavailable, mesh.ErrUnknownParticipant: portalproto.ErrNoClient,
		mesh.ErrTokenUsed: portalproto.ErrInvalidToken, mesh.ErrRoomFull: portalproto.ErrRoomFull, mesh.ErrTaken: portalproto.ErrAlreadyInRoom,
		fmt.Errorf("home: %w", mesh.ErrReplayed): portalproto.ErrClusterUnavailable, other: other, nil: nil,
	} {
		if got := inWords(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}

// TestNowhereToGo: an edge whose participants cannot go to others, which have databases of their own, does not wait for them when it stops.
func TestNowhereToGo(t *testing.T) {
	at := []cluster.Address{{Use: cluster.ForSecure, Text: "b:443"}}
	n := &Node{log: slog.New(slog.DiscardHandler), members: &members{
		edges: []placement.Edge{{ID: "b"}}, nodes: map[string]cluster.Node{"b": {Meta: cluster.Meta{ID: "b", Addresses: at}}},
	}}
	n.cfg.Cluster.DrainTimeout = time.Hour
	if len(n.members.portals("")) != 1 {
		t.Fatal("there is no other edge")
	}
	n.handOver(t.Context())
	if n.draining.Load() {
		t.Error("it drains")
	}
}
