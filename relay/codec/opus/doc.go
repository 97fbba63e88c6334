// Package opus decodes and encodes Opus with libopus, always at 48 kHz. Without cgo it is empty.
//
// Its encoder is set for conversation: complexity 5, forward error correction in the band (which takes effect once SetLoss says that
// something is lost), and no pauses in transmission unless they are asked for.
package opus
