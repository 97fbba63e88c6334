// Package sfu forwards media without sockets: encodings come in, subscriptions go out, and packets keep their bytes.
//
// On the packet path it stands between the transports. The reader of an incoming stream gives each packet to its Encoding, which
// numbers it (seqnum), looks at it (inspect), copies it once into the history, asks for what is missing (feedback), and
// hands the packet's index to the Writers of its Subscriptions: one entry in one queue for each Writer, however many
// Subscriptions it has. A Writer is one goroutine. It takes what is queued of one encoding as a run, copies that from the history
// once, and lets each Subscription in turn send the whole run: the Subscription decides about each packet (layer), puts the numbers
// of the outgoing stream before and into it (rewrite), and writes it to its Sink. What goes to one receiver so stands together.
//
// A Sink takes finished packets: the outgoing half of a PeerConnection, and in the same way a node link, or a recorder. An Upstream
// takes the wishes of an Encoding: the incoming half of a PeerConnection, or a link. No type of either side appears here. Times are
// nanoseconds since the Unix epoch, from a clock that never steps back.
//
// Locks: a Subscription's is taken before an Encoding's, never the other way round; a Writer's is taken alone.
package sfu

import "errors"

// Errors of Ingest.
var (
	ErrClosed    = errors.New("sfu: closed")
	ErrMalformed = errors.New("sfu: not an RTP packet")
)

// MaxPacket is the longest RTP packet that is forwarded, in bytes: what fits into one datagram on an Ethernet.
const MaxPacket = 1500

// Sink is where the packets of a Subscription go. Its Writer calls it, one call at a time. An error counts as a dropped packet.
type Sink interface {
	// WriteRTP sends one packet, complete with the outgoing stream's SSRC, payload type, number and timestamp. The
	// bytes are the caller's again when it returns. seqAt is where the two bytes of the transport-wide sequence number stand in
	// it, which the Sink fills in; 0: it has none.
	WriteRTP(packet []byte, seqAt int) error
	// WriteRTCP sends one compound packet.
	WriteRTCP(compound []byte) error
}

// Upstream is the sender of an Encoding as seen from here. The calls come from several goroutines and must not block.
type Upstream interface {
	// RequestPackets asks to send the packets with these sequence numbers, which rise, again. The slice is the caller's.
	RequestPackets(seqs []uint16)
	// RequestKeyFrame asks for a key frame. Its callers have merged and paced the wishes already.
	RequestKeyFrame()
}

// Drop is why a packet was not forwarded.
type Drop uint8

// The reasons, of Encodings first, then of Subscriptions.
const (
	DropMalformed      Drop = iota // no RTP, or too long
	DropForeignPayload             // not of the negotiated payload type
	DropStrange                    // its number is far from the rest of the stream
	DropDuplicate                  // came before
	DropMuted                      // the source is muted
	DropPaused                     // the subscription is paused
	DropQueueFull                  // the subscriber's writer does not keep up
	DropLate                       // waited too long in the queue
	DropWaitingKey                 // the subscriber still needs a key frame
	DropGone                       // no longer in the history
	DropNoPlace                    // belongs to a time at which nothing was forwarded
	DropWriteFailed                // the sink refused it
	DropTooOften                   // asked for again too often
	DropLayer                      // of a layer that is left out
	DropOverloaded                 // the edge does not keep up, and spares this subscriber for a while
	drops
)

var dropNames = [drops]string{
	"malformed", "foreign payload type", "strange number", "duplicate", "muted", "paused", "queue full", "late",
	"waiting for key frame", "gone from history", "no place", "write failed", "asked too often",
	"layer left out", "overloaded",
}

// String names the reason, for metrics and for people.
func (d Drop) String() string {
	if d >= drops {
		return "unknown"
	}
	return dropNames[d]
}

// Drops counts dropped packets by reason.
type Drops [drops]uint64

// Add adds other to d.
func (d *Drops) Add(other Drops) {
	for i := range d {
		d[i] += other[i]
	}
}
