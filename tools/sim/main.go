// Command sim simulates a cluster of edges: thousands of them, with all that goes wrong, in virtual time, in one goroutine, and the same
// again for the same seed.
//
//	sim                  1,000 seeds of moderate size
//	sim -seed 17 -v      one of them, and all that happens in it
//	sim -big -seeds 3    1,000 edges, 10,000 participants, 1,000,000 counted
//
// # What is real, and what is not
//
// Real code runs for: who is home of a room (placement.Seat), the directory and its copies (roster), how both work together on an edge
// and who else keeps what a home knows (edge/mesh/directory), where participants are sent (placement.ChooseAccess), the single use of
// tokens (token.Used), when tickets are in force (token.Ticket), and now and then the form of the messages (meshproto). They get their
// clock, their network and their chance from here.
//
// Modelled after the code that cannot run without sockets and goroutines are: links, their loss and how they are dialed again
// (edge/peers), the asking of the home (edge/mesh), portals, rooms and clients, as far as logging in, resuming and moving go, what gossip
// tells and when (shared/cluster), and what it costs, from measured figures. Left out are media, notes and commands, the limits of rooms,
// and that edges confirm over a link what gossip says of them.
//
// # What is checked, after every event
//
//	unique   no two nodes lead under one epoch
//	epoch    in a connected part, and after healing overall, a room has one home, within 5 s
//	stale    no node obeys a lower epoch than before
//	seat     every participant has a place again within 15 s
//	roster   5 s after the last change all rosters are equal, and are what the owners have
//	told     what a roster is told are exact differences
//	left     nobody is said to have left who has not
//	order    what a home tells goes forward
//	replay   no token is accepted twice, no ticket takes a participant from its edge twice, or once it was exchanged there
//	drain    an edge that drains is empty by its deadline
//	gossip   what it costs stays within its budget
//	crowd    no edge takes more than it can
//
// The 5 s are of quiet: they count from the last thing that failed or was mended; in a cluster of more than 500 nodes, of one that is gone,
// from when gossip has noticed.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"
)

func main() {
	seed := flag.Int64("seed", -1, "run this seed alone")
	first := flag.Uint64("first", 0, "first of many seeds")
	seeds := flag.Int("seeds", 1000, "how many")
	big := flag.Bool("big", false, "1,000 edges, 10,000 participants, 1,000,000 counted")
	middle := flag.Bool("wide", false, "200 edges")
	verbose := flag.Bool("v", false, "tell all that happens")
	flag.Parse()
	size, flags := moderate, ""
	switch {
	case *big:
		size, flags = large, " -big"
	case *middle:
		size, flags = wide, " -wide"
	}
	if *seed >= 0 {
		cfg := size(uint64(*seed))
		if *verbose {
			cfg.log = os.Stdout
		}
		w := simulate(cfg)
		fmt.Println(w.summary())
		if len(w.faults) > 0 {
			fmt.Println(strings.Join(w.faults, "\n"))
			os.Exit(1)
		}
		return
	}
	began := time.Now()
	var all stats
	events := 0
	failed := many(*first, *seeds, size, func(w *world) {
		events += w.count
		all.add(&w.stats)
		if *verbose || len(w.faults) > 0 {
			fmt.Println(w.summary())
		}
		if len(w.faults) > 0 {
			fmt.Printf("%s\nseed %d fails: go run ./tools/sim -seed %d%s -v\n", strings.Join(w.faults, "\n"), w.cfg.seed, w.cfg.seed, flags)
		}
	})
	fmt.Printf("%d events; %v\n", events, &all)
	fmt.Printf("%d seeds, %d failed, %v\n", *seeds, failed, time.Since(began).Round(time.Second))
	if failed > 0 {
		os.Exit(1)
	}
}

// many runs seeds, as many at a time as there are processors.
func many(first uint64, count int, size func(uint64) config, done func(*world)) (failed int) {
	var mu sync.Mutex // guards next and failed, and keeps what done writes together
	next := first
	var all sync.WaitGroup
	for range min(runtime.NumCPU(), count) {
		all.Go(func() {
			for {
				mu.Lock()
				seed := next
				next++
				mu.Unlock()
				if seed >= first+uint64(count) {
					return
				}
				w := simulate(size(seed))
				mu.Lock()
				if len(w.faults) > 0 {
					failed++
				}
				done(w)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return failed
}

// moderate is a cluster of a size that takes less than a second.
func moderate(seed uint64) config {
	return config{
		seed: seed, edges: 3 + int(seed*7%30), regions: 1 + int(seed%4), rooms: 16, participants: 220, counted: 20_000, rounds: 2,
	}
}

// wide is a cluster of many edges.
func wide(seed uint64) config {
	return config{seed: seed, edges: 200, regions: 5, rooms: 60, participants: 1000, counted: 100_000, rounds: 1, every: true}
}

// large is the size the cluster is made for.
func large(seed uint64) config {
	return config{seed: seed, edges: 1000, regions: 8, rooms: 500, participants: 10_000, counted: 1_000_000, rounds: 1, every: true}
}
