// Package directory is one node's part in the directory of one room that spans edges: a placement.Seat, which says where the room's
// home is, and the parts of package roster that go with it. It holds no connection, clock, goroutine or source of chance: events and
// the time come in, effects go out, so that the same code runs in package mesh, in tests and in a simulator.
//
// Make a Room with New for each room that a node hears of, and hand it all events in one order (Handle); carry out the effects in
// theirs. The effects are valid until the next call. Time is a duration that counts from anywhere and does not go back; Due tells when
// a placement.Tick is wanted at the latest. Forgettable tells when the Room can be dropped.
//
// # Events
//
//   - of package placement: View, Lost, Healed, Drain, Tick, and Received for the messages of other seats;
//   - of the part of the room on this node: Enter, Put, Remove, Note, Sync, and Wish, which says that somebody waits for the home;
//   - of the calls of the service "room" (meshproto): Called and Heard at the home, Heard at the follower, Ended at both;
//   - of homes and standbys (meshproto.Standby): Posted, for each Post of another node.
//
// Commands and admissions are calls of their own. Whoever gets one asks Command, or Admit, and answers.
//
// # A follower's call
//
// A node that obeys a home dials it (Dial) and says Enrol with the Position of its Copy. The home answers Enrolled, and whether it
// needs Hearsay. The follower sends that, then a full Update, then its notes that nobody has acknowledged. From then on both send what
// changes. An Enrol that comes again asks for an Enrolled after everything that the home knows (Sync).
//
// A home that is new holds its first Deltas back, for Timing.Wait twice at the most, until the owners that it knows of and that can be
// reached have announced what they have: what is told then is what is there, and nobody hears twice of anything.
//
// # Notes
//
// A note goes to the home, from there to those it concerns, is acknowledged by each (Noted), and then to its origin. Until then the
// origin keeps it, and sends it again to the next home. Whoever receives one counts the notes of each origin, so that none is
// delivered twice. A node that could not be reached for longer than two leases misses what was said meanwhile.
//
// # The standby
//
// What only the home knows would be lost with it: the participants of a room that is on one edge alone, and which tokens were used. So
// with Config.Standby the home keeps one other edge informed, which takes no part in the room. It holds the Copy and the register of uses
// (Use), and says after each message how far it is. Nothing is said while nothing happens.
//
//   - The home chooses (standby.go): an edge of another region, because a region is what fails at once; then one that follows the room
//     anyway, which needs the register alone; then an anchor, because whoever looks for the home asks the anchors. A few milliseconds
//     more of delay are no matter: nobody waits for the standby. What the home was told in its last moments, less than one way to the
//     standby before it died, may be lost.
//   - It is another one when the standby is lost, leaves, drains or does not answer, or when a better one comes; the one before is
//     released once the new one has everything.
//   - A new home whose claim is not the first of the room asks the other edges what they know (Recall), 64 of them at most, those first
//     that may be the dead home's standby. It tells and admits nobody before they have answered, or for Timing.Wait twice at the most.
//     Hence a room is not filled beyond its limit, and no token is used again, because the home has changed. Somebody who resumes waits
//     longer (roster.Config.Confirm).
//   - When somebody asks an anchor that is the standby for a home that is gone, it claims the room itself if it is in the room's
//     region: then nothing has to be asked. It does so only when asked. Whoever claimed because its home is out of reach would take
//     rooms away from those on the other side of a broken link.
//   - A standby whose home is gone keeps what it knows for the grace time and some more, then forgets it (keeper.go). Now and then it
//     asks its home whether it is the standby still.
//   - A home stays in office as long as there are participants, be they those of a lost edge.
package directory
