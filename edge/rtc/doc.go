// Package rtc is the edge's end of PeerConnections: it answers the clients' offers and joins their media to the forwarding core.
//
// Of a signalling message's way it is the lower end: publish and subscribe declare sessions, sets of m-lines by mid, on a
// transport, one PeerConnection; offers and candidates come as the client wrote them; what comes of it goes to Events. Of a
// packet's way it is both ends: what leaves SRTP is routed to an sfu.Encoding, what an sfu.Subscription writes goes to SRTP.
//
// Clients always offer and the edge always answers (portal protocol section 8). The offers are read and the answers written
// here (offer.go, plan.go, answer.go: pure), because the protocol asks for answers that a general WebRTC stack does not give:
// refused m-lines that stay open, mids used again, codecs chosen by room and source. Lost packets are sent again on RTX where the
// client offers it, both ways, and what comes on it is restored before it is routed. ICE, DTLS and SRTP are package peer's: a carrier
// (carrier.go) is one peer.Conn, which is made with the first offer and again when a client begins anew; it hands every packet over by
// the SSRC, and of m-lines it knows nothing.
//
// What a subscription gets may also be made for it: of a published track in another form, or for a feed, which has no media of its own
// (making.go, feed.go). The Converter that does it takes what it needs by taps (tap.go). See package jobs.
//
// A publication may also be on another edge (remote.go): its tracks are had like those published here, and brought by a way of their own
// (intake.go) while somebody wants them. When its participant moves from one edge to another, what is fed by it goes over (inherit.go). See
// package cascade.
//
// All transports share one UDP port, and a TCP port for clients that UDP does not reach. A transport's negotiation runs on a task.Loop
// of its own, which also makes its calls of Events; what several transports share (which session, track and mid is whose) is under one
// short lock of the Engine.
package rtc
