package feedback

import "time"

// How lost packets are asked for again.
const (
	maxGap     = 300                     // packets; a longer gap is not repaired: a key frame is asked for
	maxMissing = 600                     // packets missing at a time
	maxTries   = 8                       // requests for one packet
	firstRetry = 40 * time.Millisecond   // until the second request; each further one waits half as long again
	giveUp     = 1500 * time.Millisecond // after this a packet helps nobody
)

// Requests finds out which packets of one encoding are missing and when to ask for them again. The zero value is ready.
// Its encoding's reader owns it.
type Requests struct {
	highest int64
	started bool
	missing []missing // in rising order
}

type missing struct {
	index int64
	since int64 // when the gap was seen
	next  int64 // when to ask next
	wait  int64 // until the one after
	tries int
}

// Received notes that the packet index came. lost is true when the gap before it is too long to be repaired.
func (r *Requests) Received(index, now int64) (lost bool) {
	if !r.started {
		r.started = true
		r.highest = index
		return false
	}
	if index <= r.highest {
		r.found(index)
		return false
	}
	gap := index - r.highest - 1
	if gap > maxGap || len(r.missing)+int(gap) > maxMissing {
		r.missing = r.missing[:0]
		r.highest = index
		return true
	}
	for i := r.highest + 1; i < index; i++ {
		r.missing = append(r.missing, missing{index: i, since: now, next: now, wait: int64(firstRetry)})
	}
	r.highest = index
	return false
}

func (r *Requests) found(index int64) {
	for i := range r.missing {
		if r.missing[i].index == index {
			r.missing = append(r.missing[:i], r.missing[i+1:]...)
			return
		}
	}
}

// Due appends to dst the sequence numbers of the packets that should be asked for now, in rising order.
func (r *Requests) Due(now int64, dst []uint16) []uint16 {
	kept := r.missing[:0]
	for _, m := range r.missing {
		if m.next <= now {
			if m.tries == maxTries || now-m.since > int64(giveUp) {
				continue
			}
			dst = append(dst, uint16(m.index))
			m.tries++
			m.next = now + m.wait
			m.wait += m.wait / 2
		}
		kept = append(kept, m)
	}
	r.missing = kept
	return dst
}

// Pending is how many packets are missing and still hoped for.
func (r *Requests) Pending() int { return len(r.missing) }

// Forget gives up what is missing before index: a key frame there made it useless. A restart of the source forgets all.
func (r *Requests) Forget(before int64) {
	n := 0
	for n < len(r.missing) && r.missing[n].index < before {
		n++
	}
	r.missing = append(r.missing[:0], r.missing[n:]...)
}

// Restart forgets everything: the source began again.
func (r *Requests) Restart() { *r = Requests{missing: r.missing[:0]} }
