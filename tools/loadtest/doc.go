// Package loadtest puts participants on an edge and measures what comes of it: the generator behind `portico load`.
//
// A participant joins through the portal as any client does, with a token of the management API, and has real ICE, DTLS and SRTP on a
// socket of its own. Beyond that it is light, so that two hundred of them fit on one core: no pion/webrtc, no buffers, no decoding. A few
// pollers read the sockets of all participants, count every packet by its sequence number, and decrypt a sample.
//
// Publishers send what an encoder with a pacer would: VP8-looking frames of several packets back to back, thirty a second, and Opus-looking
// audio. The payload of each packet ends in a trailer, big-endian:
//
//	magic uint32, source uint32, packet of that source uint64, time of sending int64 (nanoseconds of this process's clock)
//
// so that whoever decrypts it knows how long it took, and whether the edge left packets out before it without a gap in the numbers.
//
// What is sent again and padding come on an SSRC of their own and count as neither delivered nor lost. Participants do not ask for lost
// packets: a loss stays a loss.
package loadtest
