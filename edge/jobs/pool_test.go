package jobs

import (
	"encoding/json"
	"testing"
	"time"

	"portico/shared/relayproto"
)

// foundRig is an edge that finds its relays, none of which the settings name.
func foundRig(t *testing.T, relays int) *rig {
	t.Helper()
	r := &rig{t: t, media: newMedia(t)}
	ids := cluster(t, relays)
	for _, id := range ids[1:] {
		r.relays = append(r.relays, newRelay(t, id))
	}
	r.Jobs = New(Options{Region: "here", Identity: ids[0], Media: r.media, Linger: 50 * time.Millisecond})
	t.Cleanup(r.Jobs.Close)
	return r
}

func (r *rig) found(i int, change func(*Relay)) Relay {
	f := Relay{Name: r.relays[i].id.Name, Address: r.relays[i].address, Region: "here", Weight: 100}
	if change != nil {
		change(&f)
	}
	return f
}

// Relays come and go as the node finds them. One that is not found any more stays as long as its link does.
func TestRelaysThatAreFound(t *testing.T) {
	r := foundRig(t, 2)
	if s := r.Stats(); s.Relays != 0 {
		t.Errorf("%+v", s)
	}
	r.SetRelays([]Relay{r.found(0, nil)})
	waitFor(t, "the first", func() bool { return r.Stats().Connected == 1 })
	r.SetRelays([]Relay{r.found(0, nil), r.found(1, nil)})
	waitFor(t, "both", func() bool { return r.Stats().Connected == 2 })
	r.SetRelays([]Relay{r.found(1, nil)})
	if s := r.Stats(); s.Relays != 2 || s.Connected != 2 {
		t.Errorf("a relay that works was dropped: %+v", s)
	}
	r.relays[0].kill()
	waitFor(t, "the end of the first", func() bool { s := r.Stats(); return s.Relays == 1 && s.Connected == 1 })
	r.SetRelays(nil)
	r.relays[1].kill()
	waitFor(t, "the end of the second", func() bool { return r.Stats().Relays == 0 })
}

// A job goes to a relay of the region that takes jobs and is not full; elsewhere only when there is none.
func TestWhichRelayOfThoseFound(t *testing.T) {
	r := foundRig(t, 3)
	away := func(f *Relay) { f.Region = "away" }
	full := func(f *Relay) { f.Load = 7 }
	draining := func(f *Relay) { f.Draining = true }
	r.SetRelays([]Relay{r.found(0, nil), r.found(1, nil), r.found(2, nil)})
	waitFor(t, "the links", func() bool { return r.Stats().Connected == 3 })
	for name, c := range map[string]struct {
		list []Relay
		want int
	}{
		"another region":           {[]Relay{r.found(0, away), r.found(1, nil), r.found(2, away)}, 1},
		"a full one":               {[]Relay{r.found(0, full), r.found(1, full), r.found(2, away)}, 2},
		"one that drains":          {[]Relay{r.found(0, nil), r.found(1, draining), r.found(2, draining)}, 0},
		"all drain but a full one": {[]Relay{r.found(0, draining), r.found(1, full), r.found(2, draining)}, 1},
	} {
		r.SetRelays(c.list)
		for range 20 { // it is chance among equals
			at, _, err := r.pool.pick(nil)
			if err != nil || at.relay.address != r.relays[c.want].address {
				t.Errorf("%s: %v, %v", name, at, err)
				break
			}
		}
	}
	first, _, err := r.pool.pick(nil)
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := r.pool.pick(map[*relay]relayproto.Reason{first.relay: relayproto.Full})
	if err != nil || second == first {
		t.Error("a relay that has refused is asked again")
	}
}

// A command goes to the relay that its certificate names.
func TestAsk(t *testing.T) {
	r := foundRig(t, 1)
	if _, err := r.Ask(t.Context(), "relay-1", []byte(`{}`)); err != errNoRelay {
		t.Errorf("before there is one: %v", err)
	}
	r.SetRelays([]Relay{r.found(0, func(f *Relay) { f.Name = "somebody" })})
	waitFor(t, "the link", func() bool { return r.Stats().Connected == 1 })
	if _, err := r.Ask(t.Context(), "somebody", []byte(`{}`)); err != errNoRelay {
		t.Errorf("a name that gossip alone says: %v", err)
	}
	answer, err := r.Ask(t.Context(), "relay-1", []byte(`{"do":"keys"}`))
	if err != nil || !json.Valid(answer) || string(answer) != `{"said":{"do":"keys"}}` {
		t.Errorf("%s, %v", answer, err)
	}
}

// An order of a mix carries the epoch of the room's home.
func TestEpochOfTheRoom(t *testing.T) {
	r := foundRig(t, 0)
	if r.epochOf("R") != r.epoch || r.epochOf("") != r.epoch {
		t.Error("without a cluster it is the edge's own")
	}
	r.options.Epoch = func(room string) uint64 { return map[string]uint64{"R": 7}[room] }
	if r.epochOf("R") != 7 || r.epochOf("other") != r.epoch || r.epochOf("") != r.epoch {
		t.Error("it is not the room's")
	}
}
