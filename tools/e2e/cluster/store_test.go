//go:build linux

package cluster

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/edge/store/pgtest"
	"portico/shared/jsonvalue"
	sharedtoken "portico/shared/token"
)

// outage is how long the database is away.
func outage() time.Duration {
	if os.Getenv("PORTICO_TEST_LONG") != "" {
		return time.Minute
	}
	return 20 * time.Second
}

// TestStoreAway: the cluster's database is killed and comes back later; calls and joins go on meanwhile, and an edge starts without it.
func TestStoreAway(t *testing.T) {
	db := pgtest.Start(t)
	c := startOn(t, db.SocketURL())
	begin := time.Now()
	anna, bert, carl := c.joins("anna", c.edges[0]), c.joins("bert", c.edges[1]), c.joins("carl", c.edges[2])
	for _, p := range c.people {
		p.hears(begin, 15*time.Second, c.people...)
	}
	c.settled()
	joined := time.Now()
	c.until(patience, "the edges have kept what they have read", func() bool {
		for _, e := range c.edges {
			if info, err := os.Stat(filepath.Join(c.dir, e.name, "store.cache")); err != nil || info.ModTime().Before(joined) {
				return e.api == nil
			}
		}
		return true
	})
	marks := map[*edge]int{}
	for _, e := range c.edges {
		marks[e] = e.Mark()
	}

	killed := time.Now()
	db.Kill()
	for i, e := range c.edges {
		c.oneGuest("early"+e.name, e, c.edges[(i+1)%3])
		c.createsNoRoom(e)
	}
	dead := c.edges[1]
	if c.home() == dead {
		dead = c.edges[0]
	}
	others := c.off(dead)
	dead.Kill()
	dead.up()
	marks[dead] = 0
	c.whole(4)
	t.Logf("%s was killed and is back after %v", dead.name, time.Since(killed).Round(time.Millisecond))
	for i, e := range c.edges {
		c.oneGuest("late"+e.name, e, c.edges[(i+1)%3])
	}
	dora := c.joins("dora", dead)
	for _, p := range c.people {
		p.hears(time.Now(), 15*time.Second, c.people...)
	}
	c.lets(outage() - time.Since(killed))
	c.uninterrupted(others, killed, time.Now(), 300*time.Millisecond, time.Second)

	back := time.Now()
	db.Restart()
	for _, e := range c.edges {
		e.says(marks[e], "store answers again")
	}
	t.Logf("the edges have found the database again after %v", time.Since(back).Round(time.Millisecond))
	c.writes()
	for i, e := range c.edges {
		c.oneGuest("after"+e.name, e, c.edges[(i+1)%3])
	}
	c.uninterrupted([]*person{anna, bert, carl, dora}, back, time.Now(), 300*time.Millisecond, time.Second)
	for _, e := range c.edges {
		said := e.Since(marks[e])
		t.Logf("%s says:\n%s", e.name, strings.Join(e.complaints(marks[e]), "\n"))
		if away, back := strings.Count(said, "store is away"), strings.Count(said, "store answers again"); away != 1 || back != 1 {
			t.Errorf("%s said %d times that the store is away, and %d times that it is back", e.name, away, back)
		}
		for _, line := range e.complaints(marks[e]) {
			if strings.Contains(line, "PostgreSQL") && !strings.Contains(line, "store is away") {
				t.Errorf("%s complains once more: %s", e.name, line)
			}
		}
	}
}

// oneGuest has somebody join with a token that an edge has made, and somebody else try the same token on another one.
func (c *cluster) oneGuest(name string, at, other *edge) {
	c.t.Helper()
	begin := time.Now()
	text := at.token(name)
	home := c.guest(name, c.edges...)
	guest, err := c.enter(home, text)
	if err != nil {
		c.tails()
		c.t.Fatalf("%s cannot join at %s: %v", name, at.name, err)
	}
	defer func() { _ = guest.Leave(context.Background()) }()
	took := time.Since(begin)
	if n := len(guest.Info().Participants); n != len(c.people)+1 {
		c.t.Errorf("%s sees %d participants, not %d", name, n, len(c.people)+1)
	}
	for _, e := range []*edge{at, other} {
		t, err := sharedtoken.Decode(text)
		c.must(err)
		t.Host = e.at(clientPort)
		thief, err := c.enter(home, c.keys.Mint(t).Encode())
		if err == nil {
			_ = thief.Leave(context.Background())
			c.t.Errorf("%s: the token works again on %s", name, e.name)
		} else if !strings.Contains(err.Error(), "oken") {
			c.t.Errorf("%s: the token is refused on %s, but not as one: %v", name, e.name, err)
		}
	}
	c.t.Logf("%s has a token and is in the room after %v", name, took.Round(time.Millisecond))
}

// createsNoRoom checks that what cannot be done without the database fails at once, and says why.
func (c *cluster) createsNoRoom(e *edge) {
	c.t.Helper()
	begin := time.Now()
	_, err := e.api.CreateRoom(c.t.Context(), "no", jsonvalue.Value{})
	took := time.Since(begin)
	if err == nil || took > time.Second || !strings.Contains(err.Error(), "database does not answer") {
		c.t.Errorf("%s creates a room: %v after %v", e.name, err, took)
	}
	c.t.Logf("%s creates no room: %v, after %v", e.name, err, took.Round(time.Millisecond))
}

// writes checks that what is written by one edge is read by the others.
func (c *cluster) writes() {
	c.t.Helper()
	for _, e := range c.edges {
		created, err := e.api.CreateRoom(c.t.Context(), "of "+e.name, jsonvalue.Value{})
		c.must(err)
		for _, other := range c.edges {
			if _, err := other.api.Room(c.t.Context(), created.Get("_id").Text()); err != nil {
				c.t.Errorf("%s does not know the room of %s: %v", other.name, e.name, err)
			}
		}
	}
}
