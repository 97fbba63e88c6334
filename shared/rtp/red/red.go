// Package red reads the payload of RTP packets with redundant audio (RFC 2198), for receivers that did not negotiate it or that have
// another payload type for the blocks in it.
//
// It stands where such a packet comes from its sender, and where it leaves for a receiver. Who did not negotiate it gets the primary
// one of the blocks only, which is what the packet would have carried without redundancy.
//
// The headers of the blocks come first, in the order of the blocks; the oldest block is first, the primary one last:
//
//	0                   1                   2                   3
//	0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	|1|  block PT   |   timestamp offset        |   block length    |   of a redundant block
//	|0|  block PT   |                                                 of the primary block, which has the rest
package red

// Sizes of a block's header, in bytes.
const (
	redundantHeader = 4
	primaryHeader   = 1
)

// maxBlocks bounds how many redundant blocks are read, as browsers do.
const maxBlocks = 32

// Primary finds the primary block of a payload; it is a part of the payload, and may be empty, which is silence. The block's
// payload type is not looked at, since negotiation allows one codec only. ok is false when the payload is not as the RFC has it:
// cut short, with blocks that reach beyond its end, or with more than 32 of them.
func Primary(payload []byte) (block []byte, ok bool) {
	redundant, rest := 0, payload
	for range maxBlocks + 1 {
		if len(rest) == 0 {
			return nil, false
		}
		if rest[0]&0x80 == 0 {
			rest = rest[primaryHeader:]
			if redundant > len(rest) {
				return nil, false
			}
			return rest[redundant:], true
		}
		if len(rest) < redundantHeader {
			return nil, false
		}
		redundant += int(rest[2]&0x03)<<8 | int(rest[3])
		rest = rest[redundantHeader:]
	}
	return nil, false
}

// SetPayloadType gives all blocks of a payload that payload type, which has 7 bits. The payload is one that Primary accepts; another
// is left as it is from the place on where it is wrong.
func SetPayloadType(payload []byte, payloadType uint8) {
	for rest := payload; len(rest) > 0; rest = rest[redundantHeader:] {
		more := rest[0] & 0x80
		if more != 0 && len(rest) < redundantHeader {
			return
		}
		rest[0] = more | payloadType&0x7f
		if more == 0 {
			return
		}
	}
}
