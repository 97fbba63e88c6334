// Package roster is who and what is in a room that spans edges: participants, streams and mixes. It holds no connection, clock or
// goroutine; messages, and the time as a duration that counts from anywhere and does not go back, come in.
//
// # Three parts
//
// An access edge keeps what is its own in an Own, and announces that by Updates, whose versions count its changes. The room's home
// keeps the directory of all in an Index, which puts the changes in one order, the sequence, and gives them out as Deltas. Every edge
// with participants in the room, the home included, keeps a Copy of the directory, which tells what a Delta changes.
//
//	Own --Update--> Index --Delta--> Copy --Change--> those who listen on that edge
//
// All three are made of states, not of steps: an Update or a Delta says how the keys that changed are now, so that it may come twice,
// late, or merged with others. Who has missed more than is remembered gets all of it (Full).
//
// # Which entry of a key stands
//
// The one with the higher Generation; of equal ones that of the greater Owner, then of the later Life. A participant that resumes on
// another edge has a higher generation there than it had before. What stood is remembered as Gone for a while after it was removed, so
// that a lower claim, of an edge that was stopped meanwhile, does not come back. Such a claim is Outdone: its owner is told, and gives
// it up (Own.Yield). A key is not put again after it was removed, unless with a higher generation.
//
// # When an owner is away
//
// Entries stay for Config.Grace after their owner was lost, and a former life of a node that has started again is lost: its
// participants may resume somewhere. An owner that comes back goes on as if nothing had been, by an Update from where it was or by a
// full one, which also says what it no longer has.
//
// # When the home changes
//
// A new Index knows what its node's Copy held, if it had one, and what followers tell from theirs (Hearsay), as long as the owners
// themselves have not announced. So a follower sends Hearsay and its own full Update before it takes the first Delta of a new epoch:
// then that Delta lacks nothing that is still there, and the Copy finds no difference. The same makes one directory of two when a
// partition ends. Entries whose owners can be reached and do not announce them are dropped after Config.Confirm.
//
// # Tokens
//
// A Register remembers which tokens were used in the room, by number, so that the home can tell another edge, which tells the next home.
// Whether a token may be used is for whoever runs the Index to say.
package roster
