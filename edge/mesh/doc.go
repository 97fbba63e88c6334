// Package mesh makes one room of the edges that have participants in it. On each edge a part of the room enters it; mesh finds the
// room's home, keeps the directory of what all edges own (package roster), and carries notes, commands and admissions between the
// parts. What entries, notes and commands hold is for the parts to know.
//
// What happens in a room is decided by package directory, which holds no connection, clock or goroutine. Around it, here, is what does:
//
//   - a room runs its directory.Room on a goroutine that lives only as long as there is something to do, so that a room where nothing
//     happens costs memory and a beat now and then;
//   - one timer wakes those rooms that are due;
//   - the messages of all seats to one node go over one call, many at a time (service "seats");
//   - so do the messages of all homes to their standbys on one node, and back (service "standby"): a room where nothing happens has none;
//   - a follower has one call to its home for each room (service "room"), with a queue that is bounded: who does not read loses the
//     call, and begins anew;
//   - commands and admissions are a call each (service "command"), which waits through a change of home as long as its context does.
//
// Everything that comes from a peer is bounded and checked; a peer that sends what cannot be is cut off (peers.Cut).
package mesh
