// Package turnserver answers STUN (RFC 5389) and TURN (RFC 5766) on UDP, TCP and TLS with credentials that expire, refuses peers
// that a relay must not reach, and keeps to quotas. It is a relay's front on the packet path: browsers that cannot reach an edge
// send their media here in ChannelData messages, and the relayed packets leave from a UDP socket of the allocation's own.
//
// The protocol itself is pion/turn v3.0.3, of which this package is the only importer. As it comes, it admits every peer, has no
// quota and trusts its input in places; so nothing reaches it unseen. Each UDP socket and each accepted TCP connection gets a
// turn.Server of its own behind a front, which is the net.PacketConn that the library reads. The library handles one packet at
// a time between two reads of a front, so the front knows whose request each callback belongs to.
//
//	client --> wire (udp, tcp, tls) --> front: checked, limited --> pion/turn --> relayedConn: checked, limited --> peer
//	client <-- wire <----------------- front: watched <----------- pion/turn <-- relayedConn: checked, limited <-- peer
//
// What is closed here, because v3.0.3 leaves it open:
//   - Peers: refused when a permission or channel is asked for, and again packet by packet in both directions, by address and port.
//   - Quotas: allocations per user and in all, permissions and channels per allocation, bit rate per allocation and direction.
//   - Messages: only well-formed ones pass. An empty XOR-PEER-ADDRESS at the end of a message makes the library panic.
//   - Streams: framed here, with deadlines. A STUN length of 0xffec makes the library's own framing spin for ever.
//   - Users: an authenticated request on an allocation must come from the user who made it (RFC 5766 section 4).
//   - Lifetimes: nothing is added to an allocation in its last second, when the library's expiry would race with it and panic.
//   - Reading: a transient socket error does not end the library's read loop. Datagrams longer than its buffer are dropped, not cut.
//   - Unsupported options are refused (EVEN-PORT, RESERVATION-TOKEN, TCP and IPv6 relaying), which the library accepts and ignores.
//   - Reflection: requests of strangers are limited per second, so that the server is no amplifier worth using.
//
// What cannot be closed from outside: relayed addresses are IPv4 only (the library asks for "udp4"); a refused CreatePermission is
// answered without an error code and wrong credentials with 400 instead of 401; Send indications are, as in the RFC, bound to
// the client's address and port only; and Close cannot join the library's goroutines, though it waits until each of them has
// come back from its last call into this package, after which they only return.
package turnserver
