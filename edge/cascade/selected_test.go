package cascade

import (
	"strings"
	"testing"

	"portico/edge/room"
	"portico/edge/rtc"
)

// TestSelectedElsewhere: the loudest are chosen at one edge among those of all, and heard at another one; the choice goes over.
func TestSelectedElsewhere(t *testing.T) {
	x := newCluster(t, 2, nil)
	a, b := x.edges[0], x.edges[1]
	alice, bob := publish(a, "alice", "alice-pub", 1), publish(b, "bob", "bob-pub", 2)
	alice.remote(b, "alice-pub")
	bob.remote(a, "bob-pub")
	alice.level.Store(20)
	bob.level.Store(60)
	var choices []room.AudioSelector
	told := make(chan string, 1000)
	for _, e := range x.edges {
		c, err := e.OpenSelector([]string{"R-active-audio-0"}, func(_ int, publication string, _ bool) { told <- e.name + publication })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		c.Add("alice-pub")
		c.Add("bob-pub")
		choices = append(choices, c)
	}
	choices[1].Follow(a.name)
	hear := func(e *edge, name string) *viewer {
		return view(e, name, "sub-"+name, rtc.SubTrack{From: "R-active-audio-0"}, rtc.SubTrack{From: alice.tracks[1].ID})
	}
	carol := hear(b, "carol")
	carol.sound.gets(t, "alice's voice", 1)
	dave := hear(a, "dave")
	dave.sound.gets(t, "alice's voice", 1)
	waitFor(t, "only what is chosen comes to the other edge, and candidates from there", func() bool {
		pulls := b.pulls()
		return pulls["R-active-audio-0"] == a.name && pulls[alice.tracks[0].ID] == "" && a.pulls()[bob.tracks[0].ID] == b.name
	})
	alice.level.Store(90)
	bob.level.Store(10)
	carol.sound.gets(t, "bob's voice", 2)
	dave.sound.gets(t, "bob's voice", 2)

	choices[1].Follow("") // the home goes over
	choices[0].Follow(b.name)
	alice.level.Store(10)
	bob.level.Store(90)
	carol.sound.gets(t, "alice's voice, chosen at the other edge", 1)
	dave.sound.gets(t, "alice's voice, chosen at the other edge", 1)
	waitFor(t, "candidates and voices come from the other side", func() bool {
		pulls, back := b.pulls(), a.pulls()
		return pulls["R-active-audio-0"] == "" && back["R-active-audio-0"] == b.name && pulls[alice.tracks[0].ID] == a.name &&
			back[bob.tracks[0].ID] == ""
	})
	a.engine.Stop("sub-dave")
	waitFor(t, "nobody listens at the other edge", func() bool { return a.pulls()["R-active-audio-0"] == "" })
	carol.stays()
	choices[1].Close()
	select {
	case <-carol.failed:
	case <-t.Context().Done():
	}
	choices[0].Close()
	close(told)
	for who := range told {
		who = strings.TrimPrefix(strings.TrimPrefix(who, a.name), b.name)
		if who != "" && who != "alice-pub" && who != "bob-pub" {
			t.Errorf("told of %s", who)
		}
	}
}
