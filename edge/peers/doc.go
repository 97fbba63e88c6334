// Package peers is the links between the edges of a cluster: one in use for each pair, made when it is first asked for, dialed again
// when it is lost, closed when nothing has needed it for a while.
//
// What edges say to each other goes over it: mesh (the directory of rooms) and cascade (their media) open Calls by the name of a
// service, and send packets on the Link itself. A Call begins with a meshproto.Hello, which names the service; the caller's first
// message comes next.
//
//   - Two edges that dial each other at the same moment have two links. The one that the lower name dialed is used for what is new;
//     the other goes when the Calls on it have ended. Both sides go by the same rule.
//   - A link dialed by the same side as the one before replaces it: who dials has none that lives.
//   - Who is at the other end is what its certificate says. An address in gossip that leads to somebody else leads nowhere.
//   - A peer that does not keep to the format, or whose message a service could not read (Cut), is cut off for a while, with one line
//     in the log.
//
// Handlers.Changed is told, in order and by one goroutine, that a node can be reached and that it cannot. Of changes that follow each
// other faster than they are told, the last stands; that there was a loss is not left out.
package peers
