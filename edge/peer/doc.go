// Package peer is the edge's end of one client's connection: ICE, DTLS and SRTP over the UDP port that all clients share.
//
// On the packet path it is the first and the last of ours. A Port reads the sockets, one goroutine each. A datagram of SRTP goes
// straight from there to the Conn whose client sends from its address, is decrypted in place and handed to that Conn's Handler; all
// else goes to ICE, and through it to DTLS. On the way out an Outlet, which belongs to one goroutine, collects what that
// goroutine sends for many Conns, sealed by each Conn right into the buffers that go to the kernel, and sends it all at once.
//
// That is the fast path. The plain path leaves every datagram to ICE, both ways, one system call each; it is for systems without
// batches, and for comparison. Which one a Port uses, and why, is told by Path. Both share all the rest: ICE is pion/ice, DTLS is
// pion/dtls, SRTP is pion/srtp, of which a Conn uses the contexts. pion/webrtc is not used: it keeps its keys and its socket
// to itself, and a dozen goroutines and several copies of each packet stand between the two.
//
// Clients that UDP does not reach open connections to the TCP port (RFC 6544), which tcpdoor tells from HTTP. ICE takes those of a client
// for one candidate, made when the first comes. On the fast path SRTP goes past ICE there too; a client that does not take its packets in
// time loses them, and nobody waits for it.
//
// Incoming packets of a Conn come one at a time. Outgoing RTP of a Conn is for one Outlet, and so for one goroutine, at a time;
// RTCP may be sent by any. The contexts of SRTP are never shared: one for what comes in, one for RTP and one for RTCP going out, so
// that no two goroutines use the same counter (RFC 7714 section 8.3: with AES-GCM a number used twice gives the key away).
package peer
