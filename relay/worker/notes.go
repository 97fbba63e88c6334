package worker

import (
	"encoding/binary"
	"io"
	"sync/atomic"

	"portico/shared/conference"
	"portico/shared/relayproto"
)

// notes is what a job's process leaves behind when it dies: which tracks its decoders were at work for. It is a page of memory that lies
// in a file without a name, which the worker can read however the process ended. It implements pipeline.Watch.
//
// Each slot is a mark, or 0 while it is free, in the byte order of the machine. The process's libraries can write anything there: the
// worker believes only marks of inputs that it knows.
type notes [noteSlots]atomic.Uint64

// A page has room for more decoders than work at a time on any machine; those beyond are not noted.
const (
	noteSlots = 512
	noteBytes = 8 * noteSlots
)

// noSlot is what Begin gives when all are taken.
const noSlot = -1

// Begin implements pipeline.Watch.
func (n *notes) Begin(input string, kind conference.Kind) int {
	m := mark(input, kind)
	for i := range n {
		if n[i].Load() == 0 && n[i].CompareAndSwap(0, m) {
			return i
		}
	}
	return noSlot
}

// End implements pipeline.Watch.
func (n *notes) End(slot int) {
	if slot != noSlot {
		n[slot].Store(0)
	}
}

// mark stands for a track: FNV-1a of its kind and its input's id, but never 0.
func mark(input string, kind conference.Kind) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for _, s := range [2]string{string(kind), input} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * prime
		}
		h *= prime // of a zero byte, which parts the two
	}
	return max(h, 1)
}

// suspects reads what a process has left in the file, most of which are as many tracks as it can have decoded at a time: more are not
// believed.
func suspects(file io.ReaderAt, known []relayproto.Suspect, most int) []relayproto.Suspect {
	var page [noteBytes]byte
	if _, err := file.ReadAt(page[:], 0); err != nil {
		return nil
	}
	marks := make(map[uint64]bool)
	for i := 0; i < noteBytes; i += 8 {
		marks[binary.NativeEndian.Uint64(page[i:])] = true
	}
	var list []relayproto.Suspect
	for _, s := range known {
		if marks[mark(s.Input, s.Kind)] {
			list = append(list, s)
		}
	}
	if len(list) > min(most, relayproto.MaxSuspects) {
		return nil
	}
	return list
}

// tracksOf are the tracks of an order.
func tracksOf(o *relayproto.Order) []relayproto.Suspect {
	list := make([]relayproto.Suspect, 0, 2*len(o.Inputs))
	for i := range o.Inputs {
		in := &o.Inputs[i]
		if in.Audio != nil {
			list = append(list, relayproto.Suspect{Input: in.ID, Kind: conference.Audio})
		}
		if in.Video != nil {
			list = append(list, relayproto.Suspect{Input: in.ID, Kind: conference.Video})
		}
	}
	return list
}
