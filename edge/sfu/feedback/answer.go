package feedback

import "time"

// How often a subscriber is given packets again, where nothing else is said.
const (
	answerSlots = 256
	answerPause = 15 * time.Millisecond // between two retransmissions of the same packet
	answerRate  = 720_000               // bytes of retransmissions a second in the long run
	answerLeast = 3000                  // bytes that may always go at once
)

// Repair is how much a link bears of what is sent again. The zero value is for one that nothing is known of.
type Repair struct {
	Rate  int           // bytes a second in the long run, a quarter of it at once; 0: a great deal
	Pause time.Duration // between two retransmissions of the same packet: the time it takes to be asked for again; 15 ms at least
}

// Answers limits the retransmissions to one subscriber, so that its NACKs, honest or not, cannot make more traffic than a
// link in trouble bears. The zero value is ready. Its subscription's writer owns it.
type Answers struct {
	slots  [answerSlots]answered
	credit float64 // bytes
	at     int64   // when credit was counted; 0: never
}

type answered struct {
	at  int64
	seq uint16
}

// Allow tells whether the packet with the outgoing number seq, of size bytes, may be sent again now, and takes note that it is.
func (a *Answers) Allow(seq uint16, size int, repair Repair, now int64) bool {
	rate := float64(repair.Rate)
	if repair.Rate <= 0 {
		rate = answerRate
	}
	most := max(rate/4, answerLeast)
	if a.at == 0 {
		a.credit = most
	} else {
		a.credit = min(most, a.credit+rate*float64(max(0, now-a.at))/float64(time.Second))
	}
	a.at = now
	slot := &a.slots[seq%answerSlots]
	if slot.seq == seq && slot.at != 0 && now-slot.at < int64(max(answerPause, repair.Pause)) {
		return false
	}
	if a.credit < float64(size) {
		return false
	}
	a.credit -= float64(size)
	*slot = answered{at: now, seq: seq}
	return true
}
