// Package network tests how calls get on in bad networks: an edge and native participants, each in a namespace of its own, with links
// between them that become narrow, lose packets, or go away (tools/netlab). Rooms have enableBandwidthAdaptation.
//
// Publishers send three simulcast layers that look like VP8, thirty pictures a second, and audio. They answer key frame requests and send
// lost packets again. Every packet says which picture it is part of and when it was sent, on the one clock of this process, so that a
// subscriber knows what it sees and how late. Subscribers do what browsers do: transport-wide feedback, NACK for video, PLI; what they
// show are pictures that are complete and follow on the one before.
//
// The tests need Linux and root and are skipped elsewhere; they print what they measured.
package network
