package room

import (
	"slices"
	"sync"
)

// inbox is what the other edges have said and the room has not taken yet. The room's mailbox holds a reminder of it, and is not needed for
// that when it is full: whatever waits there looks here first.
//
// It is bounded. When more changes wait than it holds, they are all dropped, and so is what comes after, until the Membership has told
// the whole again (Membership.Resync, Part.Whole). Notes cannot be told again: they have bounds of their own, which are far above what
// the Membership of one edge lets be on its way, and those beyond them are lost.
type inbox struct {
	mu     sync.Mutex // guards what follows
	words  []word
	weight int  // of those about the state
	notes  int  // the number of the others,
	bytes  int  // and how long they are
	lost   int  // how many of these were dropped, and the log has not been told
	posted bool // the room has been reminded
	missed bool // something about the state was dropped,
	turned bool // also who is the home
	asked  bool // the whole is on its way
	ends   bool // one of the words ends the room
}

// word is something to take, on the Loop.
type word struct {
	do     func(m *machine)
	weight int  // of one that the whole says again; 0: it does not
	bytes  int  // of a note
	home   bool // it says whether this edge is the home
	always bool // there cannot be many of it, and nobody says it again
}

// Bounds of an inbox. A change weighs 1, and 1 more for each KiB of its value.
const (
	maxWaiting   = 1 << 16
	maxNotes     = 1 << 14
	maxNoteBytes = 128 << 20
)

// add takes a word, and tells whether the room is to be reminded.
func (b *inbox) add(w word) (remind bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case w.always:
	case w.weight == 0 && (b.notes >= maxNotes || b.bytes+w.bytes > maxNoteBytes):
		b.lost++
		return b.remind()
	case w.weight == 0:
		b.notes++
		b.bytes += w.bytes
	case b.missed:
		b.turned = b.turned || w.home
		return b.remind()
	case b.weight+w.weight > maxWaiting:
		b.forget()
		b.missed, b.asked, b.turned = true, false, b.turned || w.home
		return b.remind()
	default:
		b.weight += w.weight
	}
	b.words = append(b.words, w)
	return b.remind()
}

// whole takes a word that says all of the state; it is told whether this edge may have become the home, or have ceased to be, more than
// once meanwhile. It is kept however long: the Membership has bounded it.
func (b *inbox) whole(do func(m *machine, turned bool)) (remind bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget()
	turned := b.turned
	b.missed, b.asked, b.turned = false, false, false
	b.words = append(b.words, word{do: func(m *machine) { do(m, turned) }, weight: 1, home: turned})
	b.weight = 1
	return b.remind()
}

// forget drops what is about the state. The mu is held.
func (b *inbox) forget() {
	b.words = slices.DeleteFunc(b.words, func(w word) bool {
		b.turned = b.turned || w.home
		return w.weight > 0
	})
	b.weight = 0
}

// remind tells whether the room is to be reminded, which counts as done. The mu is held.
func (b *inbox) remind() bool {
	before := b.posted
	b.posted = true
	return !before
}

// begin tells how many words there are. For later ones the room is reminded again. lost is how many notes were dropped.
func (b *inbox) begin() (words, lost int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.posted = false
	lost, b.lost = b.lost, 0
	return len(b.words), lost
}

// next gives the words in their order; nil after the last.
func (b *inbox) next() func(m *machine) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.words) == 0 {
		b.words = nil
		return nil
	}
	w := b.words[0]
	b.words[0] = word{}
	b.words = b.words[1:]
	if b.weight -= w.weight; w.weight == 0 && !w.always {
		b.notes--
		b.bytes -= w.bytes
	}
	return w.do
}

// end tells whether the room's end is news, and takes note of it; ended says that it has been taken.
func (b *inbox) end() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.ends
	b.ends = true
	return !before
}

func (b *inbox) ended() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ends = false
}

// ask tells whether the whole is to be asked for, which counts as done.
func (b *inbox) ask() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	asks := b.missed && !b.asked
	b.asked = b.asked || asks
	return asks
}

// hear has the room take what the other edges have said by now, on the Loop. What they say meanwhile waits for its turn: else an edge that
// says much would keep the room from all else. What one word breaks off by a panic goes on with the next thing that the room does.
func (c *controller) hear() {
	taken := false
	defer func() {
		if !taken {
			_ = c.loop.Post(func() { c.hear(); c.deliver() })
		}
	}()
	n, lost := c.inbox.begin()
	if lost > 0 {
		c.log.Warn("too many notes of other edges wait: some are lost", "lost", lost)
	}
	for ; n > 0; n-- {
		do := c.inbox.next()
		if do == nil {
			break // too much came meanwhile
		}
		idle := c.machine.idle()
		do(c.machine)
		if !idle && c.machine.idle() {
			c.left()
		}
	}
	taken = true
	if c.inbox.ask() {
		c.log.Warn("too much has come from other edges at a time: the room is compared as a whole")
		c.membership.Resync()
	}
}

// heed has the room take a word of the other edges.
func (p part) heed(w word) {
	if p.c.inbox.add(w) {
		p.remind()
	}
}

// remind has the room look into its inbox. Where its mailbox is full, what waits there does so.
func (p part) remind() { p.c.post(func() {}) }
