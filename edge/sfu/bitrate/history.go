package bitrate

// Sizes of the record of packets sent. At 3 Mbit/s and feedback every 100 ms the first one is enough; it doubles when packets
// have to be forgotten that are not older than remember.
const (
	firstSlots = 256
	maxSlots   = 8192 // two seconds at 4,000 packets a second
	remember   = 2 * second
	ownUnit    = 100_000 // ns, of packet.own
)

// flags of a packet sent.
type flags uint8

const (
	known    flags = 1 << iota // the slot holds a packet
	padding                    // for probing only: never counted as loss
	received                   // the receiver has it
	missing                    // the receiver said it had not come
)

// packet is what is remembered of one packet with a transport-wide number.
type packet struct {
	at      int64 // when it was sent, ns
	seq     uint16
	size    uint16
	own     uint16 // tenths of a millisecond that it waits behind our own packets
	cluster uint8  // of the probe it was sent in; 0: none
	flags   flags
}

// history is the ring of packets sent, by index: the transport-wide number unwrapped.
type history struct {
	slots []packet
	end   int64 // index of the next packet
}

// add notes a packet. Numbers normally follow each other; those left out are unknown.
func (h *history) add(seq uint16, p packet) (index int64) {
	if h.slots == nil {
		h.slots = make([]packet, firstSlots)
		h.end = 1<<16 + int64(seq)
	}
	skipped := int64(seq - uint16(h.end))
	for i := range min(skipped, int64(len(h.slots))) {
		h.slot(h.end + i).flags = 0
	}
	h.end += skipped
	old := h.slot(h.end)
	if old.flags&(known|received) == known && p.at-old.at < remember && len(h.slots) < maxSlots {
		h.grow()
		old = h.slot(h.end)
	}
	p.seq = seq
	p.flags |= known
	*old = p
	h.end++
	return h.end - 1
}

// slot is where the packet with that index is, or was, or will be.
func (h *history) slot(index int64) *packet { return &h.slots[index&int64(len(h.slots)-1)] }

// grow doubles the ring.
func (h *history) grow() {
	wider := history{slots: make([]packet, 2*len(h.slots))}
	for index := h.begin(); index < h.end; index++ {
		*wider.slot(index) = *h.slot(index)
	}
	h.slots = wider.slots
}

// begin is the lowest index that may still be there.
func (h *history) begin() int64 { return max(h.end-int64(len(h.slots)), 0) }

// find gives the packet that was sent with seq, and its index; nil when it is not remembered.
func (h *history) find(seq uint16) (*packet, int64) {
	index := h.end - 1 - int64(uint16(h.end-1)-seq)
	if index < h.begin() {
		return nil, 0
	}
	p := h.slot(index)
	if p.flags&known == 0 || p.seq != seq {
		return nil, 0
	}
	return p, index
}
