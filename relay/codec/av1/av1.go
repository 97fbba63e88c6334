// Package av1 decodes AV1 with dav1d and encodes it with libaom. Without cgo it is empty.
//
// A frame is a temporal unit without its delimiter, whose OBUs tell their sizes (low overhead format, AV1 specification section 5.2).
// dav1d is told how large pictures may be and refuses others before it takes memory; of its pictures 4:2:0 with 8 bits is passed on,
// the highest spatial layer. libaom is set for conversation: no look-ahead, no references but what has been shown, one thread.
package av1
