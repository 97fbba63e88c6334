package feedback

import "time"

// How often a subscriber is given packets again.
const (
	answerSlots = 256
	answerPause = 15 * time.Millisecond // between two retransmissions of the same packet
	answerRate  = 600                   // retransmissions a second in the long run
	answerBurst = 300                   // at once
)

// Answers limits the retransmissions to one subscriber, so that its NACKs, honest or not, cannot make more traffic than a
// link in trouble bears. The zero value is ready. Its subscription's writer owns it.
type Answers struct {
	slots  [answerSlots]answered
	credit int64 // nanoseconds of credit; a retransmission costs second/answerRate
	at     int64 // when credit was counted; 0: never
}

type answered struct {
	at  int64
	seq uint16
}

// Allow tells whether the packet with the outgoing number seq may be sent again now, and takes note that it is.
func (a *Answers) Allow(seq uint16, now int64) bool {
	const price = int64(time.Second) / answerRate
	if a.at == 0 {
		a.credit = answerBurst * price
	} else {
		a.credit = min(answerBurst*price, a.credit+max(0, now-a.at))
	}
	a.at = now
	slot := &a.slots[seq%answerSlots]
	if slot.seq == seq && slot.at != 0 && now-slot.at < int64(answerPause) {
		return false
	}
	if a.credit < price {
		return false
	}
	a.credit -= price
	*slot = answered{at: now, seq: seq}
	return true
}
