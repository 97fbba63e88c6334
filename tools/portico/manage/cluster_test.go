package manage

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"portico/edge/clusterapi"
)

// TestClusterStatus: the nodes, the rooms with their homes and standbys, the links, and what is not told of.
func TestClusterStatus(t *testing.T) {
	status := clusterapi.Status{
		Self: "a",
		Nodes: []clusterapi.Node{
			{ID: "a", Role: "edge", State: "active", Started: time.Now(), Homes: 122, Omitted: clusterapi.Omitted{Rooms: 120, Flows: 1}},
			{ID: "b", Role: "edge", State: "active", Started: time.Now()},
		},
		Rooms: []clusterapi.Room{
			{ID: "one", Home: "a", Why: "hash", Epoch: "3/a", Followers: []string{"a", "b"}, OmittedFollowers: 7, Standby: "b", Anchors: []string{"b"}, Entries: 5},
			{ID: "two", Home: "a", Why: "sticky", Epoch: "1/a", Entries: 1},
		},
		Links:   []clusterapi.Link{{From: "a", To: "b", InUse: true, Flows: make([]clusterapi.Flow, 3), OmittedFlows: 40}},
		Omitted: clusterapi.Omitted{Rooms: 120, Flows: 1},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(status) }))
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	show := func() string {
		t.Helper()
		var out bytes.Buffer
		if ok, err := Cluster(t.Context(), []string{"status"}, &out, Settings{URL: server.URL, Service: "s", Key: "k"}); !ok || err != nil {
			t.Fatal(ok, err)
		}
		var lines []string
		for line := range strings.Lines(out.String()) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		return strings.Join(lines, "\n")
	}
	out := show()
	for _, want := range []string{
		"ROOM HOME WHY EPOCH FOLLOWERS STANDBY ANCHORS ENTRIES\none a hash 3/a a,b and 7 more b b 5\ntwo a sticky 1/a - - - 1\n",
		"\na b 0.0 ms 0 0 0 0 43\n", "\nOf a not all is shown, since it is too much or takes too long. Not shown, the least busy ones first: 120 rooms, 1 flow.",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "Of b") {
		t.Errorf("of b:\n%s", out)
	}
	// What edges say does nothing to a terminal.
	const bad = "x\x1b[2J"
	status.Rooms[0].Home, status.Rooms[0].Why, status.Rooms[0].Epoch, status.Rooms[0].Standby = bad, bad, bad, bad
	status.Rooms[0].Followers, status.Rooms[0].Anchors, status.Links[0].From, status.Links[0].To = []string{bad}, []string{bad}, bad, bad
	if out = show(); strings.Contains(out, "\x1b") || strings.Count(out, `\x1b`) != 8 {
		t.Errorf("not fit to be shown:\n%q", out)
	}
	status.Nodes[0].Omitted = clusterapi.Omitted{}
	if out = show(); strings.Contains(out, "not all") {
		t.Errorf("nothing is left out:\n%s", out)
	}
}
