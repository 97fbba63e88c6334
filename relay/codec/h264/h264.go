// Package h264 decodes and encodes H.264 with openh264. Without cgo it is empty.
//
// # Decoding
//
// Of a frame (Annex B) slices and parameter sets go to openh264, the rest stays outside: messages, layers of SVC, padding. Sequence
// parameter sets are read first (section 7.3.2.1.1), for the size of a picture and the number of references decide how much memory is
// taken. Nothing is concealed: a frame of which a part is missing counts as corrupt, and nothing decodes until an IDR picture.
// Pictures of the main and high profiles come one or two late when they may be out of order.
//
// # Encoding
//
// Constrained baseline, which is also what B asks for: one slice, one reference, CAVLC, one thread. Each IDR picture has its
// parameter sets before it.
package h264
