// Package bitrate decides how much may be sent to one receiver and which layers that pays for.
//
// It stands at the end of the way of a forwarded packet: each packet sent on a transport is noted (Estimator.Sent), the receiver
// says when it arrived (Estimator.Feedback), the Estimator turns that into a rate, and the Allocator divides the rate among the
// subscriptions of the transport. Both are plain values of one transport, without goroutine, lock or clock: times are nanoseconds
// of one clock that goes on, given as arguments. The caller sees to it that calls come one at a time.
//
// # Feedback on the wire
//
// Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1) is RTCP 205 with FMT 15. After the
// common header and two SSRCs, 12 bytes, come: base sequence number (16 bits), packet status count (16), reference time (24,
// multiples of 64 ms, the receiver's clock), feedback packet count (8); then status chunks of 16 bits until all statuses are there:
//
//	0 SS LLLLLLLLLLLLL    run length: L packets with status S
//	1 0 SSSSSSSSSSSSSS    14 statuses of 1 bit: 0 not received, 1 small delta
//	1 1 SSSSSSSSSSSSSS    7 statuses of 2 bits: 0 not received, 1 small delta, 2 large or negative delta, 3 reserved
//
// then for each packet received its distance from the one before, in 250 µs: 8 bits unsigned when small, 16 bits signed when large.
//
// # What follows which draft
//
// From draft-ietf-rmcat-gcc-02: packets sent within 5 ms are one group (section 5.2), the threshold that adapts (5.4), the
// detector's wait before it calls overuse (5.4), the three states of the rate control with its multiplicative and additive increase,
// the decrease to 0.85 of what arrives and the bound of 1.5 times what arrives (5.5), the bounds of 2 % and 10 % loss (section 6).
// From libwebrtc, which has moved on from that draft: a line fitted through the smoothed delays of 20 groups in the place of the
// Kalman filter, with its gains, and probing by clusters of padding.
//
// Our own, because a forwarder sends what comes when it comes and has no pacer before its socket:
//   - A group's delay is that of its luckiest packet, and of three groups that of the luckiest: jitter and the queue which a frame
//     makes for itself are not taken for congestion.
//   - What a packet must have waited behind our own earlier ones, were the estimate the capacity, is taken off its delay (up to
//     200 ms): a key frame leaves as fast as it came.
//   - An overuse right after a probe is charged to the probe, not to the media.
//   - Padding fills a probe up to its rate: media sent meanwhile counts. Lost padding is never loss.
//   - Loss that does not go away when much less is sent, without a queue, is the network's nature and not an answer to our rate.
//   - A queue that stands over its lowest delay stops every increase, and after a while lowers the rate a few times.
//   - Silence of the receiver lowers the rate and after some seconds leaves the least.
//   - The fall-backs by REMB and by receiver reports, and all of the allocation.
//
// # Allocation
//
// A subscription's layers become a ladder: those not larger and not faster than what is displayed, each better and dearer than the
// one before. Better is log2 of the pixels plus 1.2 times log2 of the pictures a second. Audio is sent whatever the budget is.
// Then each video gets its lowest layer, by priority, those being sent before new ones, the largest first. Then come rounds, by
// priority: in each every video may go up one step, in the order of displayed pixels times gain in quality for the cost. A step
// that is not being sent yet must fit with a fifth to spare, for a second at least, and two seconds after the last change; a raise
// that had to be taken back within eight seconds doubles the wait. What is new, or displayed larger where there was room, does
// not wait. Down goes at once, except that the lowest layer is kept for a second while 0.4 of it fits, and for good while 0.7 does.
package bitrate
