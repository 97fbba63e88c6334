// Package placement decides where things run in a cluster: which edge is the home of a room, which edges remember that, which relay
// takes a job, and which edge a client is sent to. It holds no connection, clock, goroutine or source of random numbers: what the
// node knows, the time and the chance come in, so that the same code runs in a node, in tests and in a simulator.
//
// # Choosing
//
// Home and Anchors are rendezvous hashing: every node that sees the same edges computes the same answer, and an edge that comes or
// goes moves only the rooms it gains or had. A home is hashed over the active edges of the room's region, weighted by capacity; the two
// anchors over all edges, the second in another region than the first where there is one. The arithmetic is of integers alone, so that
// machines of different kinds agree to the last bit. ChooseRelay and ChooseAccess compare two random candidates and take the less
// loaded one, because everybody choosing the least loaded of what gossip told seconds ago would all choose the same.
//
// # The home of a room
//
// A Seat is one node's part in one room: it may have participants there (Want), be its home, or be an anchor, which remembers home and
// epoch. An Epoch is (number, node, boot of the node), ordered in that sequence. The rules:
//
//  1. A claim takes the highest number seen + 1 and the claimer's own name: no two claims are equal, and none comes twice.
//  2. An epoch is in effect once its home says so (Heartbeat, or a command of its own). Everybody remembers the highest in effect,
//     which only grows. Commands of any other than it are not obeyed: a lower one is refused as stale, naming the one that stands; a
//     higher one, from its home itself, takes effect at once.
//  3. Homes are sticky. An anchor that still hears a home refuses the claim of another, even a higher one, unless that home handed
//     over or drains, or the claimer insists because it has had no sign of any home for long (Timing.Patience). A better hash is no
//     reason to move.
//  4. Who has no home asks the anchors; when neither knows one that lives, it summons the edge the hash names, which claims.
//     A claim that no anchor refuses within Timing.Wait takes effect: a part of the cluster that was cut off works on with a home of
//     its own.
//  5. Of two homes the higher epoch stays, whatever it is home of: fixed, so that both sides decide alike. The lower resigns, tells its
//     followers (Moved), and its node hands its directory over (Resign). Nobody is put out.
//  6. A home that cannot be sure stops: after its own clock jumped by more than Timing.Lease (it was suspended), it neither gives nor
//     obeys commands before it has claimed anew. A former home is taken at its word against others who have heard it lately.
//  7. A draining home names its successor (HandOver) and stays in office until that one's epoch is in effect.
//
// What follows from them, and is tested with random orders, losses, repetitions and delays of messages, restarts, suspensions and
// partitions:
//
//   - Unique: no two nodes ever lead under one epoch.
//   - Monotone: while a node lives, the epochs it obeys never go down, so no stale command is obeyed.
//   - Agreement: in a connected part, once messages arrive, all that want the room obey one epoch, and its node alone leads.
//   - Sticky: without failures, drains or insistence the home does not change.
//
// None of the first two depends on messages arriving, on anchors, or on clocks; agreement and stickiness do.
package placement
