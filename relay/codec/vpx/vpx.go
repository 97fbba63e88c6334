// Package vpx decodes and encodes VP8 and VP9 with libvpx. Without cgo it is empty.
//
// # Decoding
//
// libvpx would take memory for whatever size a frame claims, so the headers are read first (RFC 6386 section 9.1; VP9 bitstream
// specification sections 6.2 and 7.2). A frame of VP9 is handed on with an index of what is in it (annex B), if need be of our own: without
// one libvpx would take bytes behind the frame for another. Only profile 0 of VP9, 4:2:0 with 8 bits, is decoded. A picture of which some
// data was missing, which libvpx shows with a guess in it, counts as corrupt.
//
// # Encoding
//
// One pass at a constant rate for conversation: no look-ahead, key frames on demand, one thread. Pictures are left out rather than the
// rate exceeded, which is how a low one can be kept.
package vpx
