package feedback

import "time"

// How often a subscriber is given packets again, where nothing else is said.
const (
	answerSlots = 256
	answerPause = 15 * time.Millisecond // between two retransmissions of the same packet
	answerRate  = 720_000               // bytes of retransmissions a second in the long run
	answerLeast = 6000                  // bytes that may always go at once
)

// Repair is how much a link bears of what is sent again. The zero value is for one that nothing is known of.
type Repair struct {
	Rate  int           // bytes a second in the long run, a quarter of it at once; 0: a great deal
	Pause time.Duration // between two retransmissions of the same packet: the time it takes to be asked for again; 15 ms at least
}

// Answers limits the retransmissions to one subscriber, so that its NACKs, honest or not, cannot make more traffic than a
// link in trouble bears. What was sent again already has a smaller share of its own: some clients ask on and on for what they
// have got, and that must not take the place of what they have not. The zero value is ready. Its subscription's writer owns it.
type Answers struct {
	slots        [answerSlots]answered
	first, again credit
}

type answered struct {
	at  int64
	seq uint16
}

// credit is what may be sent: it grows with time, up to an amount.
type credit struct {
	bytes float64
	at    int64 // when it was counted; 0: never
}

// take uses so many bytes, if they are there.
func (c *credit) take(size int, rate float64, now int64) bool {
	most := max(rate/4, answerLeast)
	if c.at == 0 {
		c.bytes = most
	} else {
		c.bytes = min(most, c.bytes+rate*float64(max(0, now-c.at))/float64(time.Second))
	}
	c.at = now
	if c.bytes < float64(size) {
		return false
	}
	c.bytes -= float64(size)
	return true
}

// againShare is the part of the rate for what was sent again already.
const againShare = 0.25

// Allow tells whether the packet with the outgoing number seq, of size bytes, may be sent again now, and takes note that it is.
func (a *Answers) Allow(seq uint16, size int, repair Repair, now int64) bool {
	rate := float64(repair.Rate)
	if repair.Rate <= 0 {
		rate = answerRate
	}
	slot := &a.slots[seq%answerSlots]
	if slot.seq == seq && slot.at != 0 {
		if now-slot.at < int64(max(answerPause, repair.Pause)) || !a.again.take(size, rate*againShare, now) {
			return false
		}
	} else if !a.first.take(size, rate, now) {
		return false
	}
	*slot = answered{at: now, seq: seq}
	return true
}
