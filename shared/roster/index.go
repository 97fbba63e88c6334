package roster

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"portico/shared/placement"
)

// Config is how patient and how large an Index is. What is zero gets its default.
type Config struct {
	Grace   time.Duration // for entries of an owner that was lost; default 60 s
	Confirm time.Duration // for entries of an owner that can be reached and has not announced them; default 5 s
	// Reserve is for a place that was given and is not taken, though its edge be lost: that may only have been stopped, and takes the place
	// when it goes on. Longer than any edge tries; default 7 s.
	Reserve time.Duration

	Entries int // of all owners; default 20,000
	Bytes   int // of all values; default 256 MiB
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		value *time.Duration
		usual time.Duration
	}{{&c.Grace, time.Minute}, {&c.Confirm, 5 * time.Second}, {&c.Reserve, 7 * time.Second}} {
		if *d.value == 0 {
			*d.value = d.usual
		}
	}
	if c.Entries == 0 {
		c.Entries = 20_000
	}
	if c.Bytes == 0 {
		c.Bytes = 256 << 20
	}
}

// indexLog is how many changes of an Index are remembered one by one.
const indexLog = 4096

// Index is the directory of a room, at its home, under one epoch. It belongs to one goroutine.
type Index struct {
	cfg     Config
	epoch   placement.Epoch
	began   time.Duration
	expired time.Duration // last call of Expire
	entries map[Key]*Entry
	bytes   int
	people  int // participants
	log     history[Gone]
	gone    graves

	owners   map[string]*owner
	heard    []Position // of Copies that went into this Index
	reserved map[string]*reservation
}

// holder is a node in one of its lives.
type holder struct {
	owner string
	life  uint64
}

// owner is what the Index knows of a node.
type owner struct {
	life  uint64 // the latest, as far as known
	lives map[uint64]*held
}

// held is what one life of a node has.
type held struct {
	keys    map[Key]bool
	heard   bool   // it has announced, and version counts
	version uint64 // of its Own
	present bool   // it has announced and was not lost since

	// While it is not present.
	absent    time.Duration // since when
	reachable bool
	back      time.Duration // reachable: since when
}

// Holder is an owner that is not present.
type Holder struct {
	Owner string
	Life  uint64
}

// NewIndex makes the directory of a home that has just come into office: it is empty, until Hearsay and Announce fill it.
func NewIndex(epoch placement.Epoch, cfg Config, now time.Duration) *Index {
	cfg.setDefaults()
	return &Index{
		cfg: cfg, epoch: epoch, began: now, expired: now,
		entries: map[Key]*Entry{}, owners: map[string]*owner{}, reserved: map[string]*reservation{},
		log: history[Gone]{limit: indexLog}, gone: newGraves(indexGraves),
	}
}

// Epoch is under which it was made.
func (x *Index) Epoch() placement.Epoch { return x.epoch }

// Seq is the sequence: it counts the changes.
func (x *Index) Seq() uint64 { return x.log.next }

// Get gives an entry.
func (x *Index) Get(key Key) (Entry, bool) {
	if e := x.entries[key]; e != nil {
		return *e, true
	}
	return Entry{}, false
}

// Entries gives all, ordered by key.
func (x *Index) Entries() []Entry { return sorted(x.entries) }

// Len is how many entries there are.
func (x *Index) Len() int { return len(x.entries) }

// Participants is how many of the entries are participants.
func (x *Index) Participants() int { return x.people }

// Known is what the home tells its successor, or the one it has given way to.
func (x *Index) Known() Hearsay {
	return Hearsay{Position: Position{x.epoch, x.Seq()}, Entries: x.Entries(), Gone: x.gone.list()}
}

// Since gives what has changed since a sequence of this epoch, or everything when that is no longer known. For a follower whose Copy
// is of another epoch it is Full.
func (x *Index) Since(seq uint64) Delta {
	changed, ok := x.log.since(seq)
	if !ok {
		return x.Full()
	}
	d := Delta{Epoch: x.epoch, From: seq, To: x.Seq()}
	for key, was := range last(changed) {
		if e := x.entries[key]; e != nil {
			d.Put = append(d.Put, *e)
		} else {
			d.Removed = append(d.Removed, was)
		}
	}
	order(d.Put, d.Removed)
	return d
}

// Full gives everything, and what was removed lately, so that owners give up what is no more (Own.Outdone).
func (x *Index) Full() Delta {
	return Delta{Epoch: x.epoch, To: x.Seq(), Full: true, Put: x.Entries(), Removed: x.gone.last(fullGraves)}
}

// Answer is what an owner is told of its Update.
type Answer struct {
	NeedFull bool   // something is missing in between: send Full
	Outdone  []Gone // its claims to these keys do not stand against these: give them up (Own.Yield)
}

// Announce takes what an owner says of itself. What cannot stand is left out: ErrTooMany beyond the limits, ErrBad of what is nobody's
// honest word. ErrStale is of a former life of the node.
func (x *Index) Announce(u Update, now time.Duration) (Answer, error) {
	var answer Answer
	if u.Owner == "" || len(u.Owner) > MaxID || u.From > u.To {
		return answer, fmt.Errorf("%w: update of %q from %d to %d", ErrBad, u.Owner[:min(len(u.Owner), 40)], u.From, u.To)
	}
	o := x.owner(u.Owner)
	if u.Life < o.life {
		return answer, ErrStale
	}
	x.born(o, u.Life, now)
	h := o.held(u.Life, now)
	if !u.Full && (!h.heard || u.From > h.version) {
		answer.NeedFull = true
		return answer, nil
	}
	news := u.To > h.version || u.Full && (!h.heard || u.To == h.version)
	h.present, h.reachable = true, false
	if !news {
		return answer, nil // it came before
	}
	h.heard, h.version = true, u.To
	var failed error
	for i := range u.Put {
		if err := x.claim(h, &u, u.Put[i], &answer); err != nil {
			failed = err
		}
	}
	for _, g := range u.Removed {
		g.Owner, g.Life = u.Owner, u.Life
		if g.check() == nil {
			x.renounce(g)
		}
	}
	if u.Full {
		named := make(map[Key]bool, len(u.Put))
		for i := range u.Put {
			named[u.Put[i].Key] = true
		}
		x.drop(h, Gone.itself, func(key Key) bool { return !named[key] })
	}
	return answer, failed
}

// claim takes one entry of an Update.
func (x *Index) claim(h *held, u *Update, e Entry, answer *Answer) error {
	if e.Owner != "" && e.Owner != u.Owner || e.Life != 0 && e.Life != u.Life {
		return fmt.Errorf("%w: %s announces an entry of %s", ErrBad, u.Owner, e.Owner)
	}
	e.Owner, e.Life = u.Owner, u.Life
	if err := e.check(); err != nil {
		return err
	}
	if before, ok := x.before(e.Gone()); ok {
		answer.Outdone = append(answer.Outdone, before)
		return nil
	}
	x.taken(&e)
	return x.put(h, &e)
}

// before gives what stands, or stood, before a claim.
func (x *Index) before(claim Gone) (Gone, bool) {
	if e := x.entries[claim.Key]; e != nil && e.Gone().Compare(claim) > 0 {
		return e.Gone(), true
	}
	if was, ok := x.gone.get(claim.Key); ok && was.Compare(claim) > 0 {
		return was, true
	}
	return Gone{}, false
}

// renounce takes an owner's word that it has an entry no more.
func (x *Index) renounce(g Gone) {
	e := x.entries[g.Key]
	switch {
	case e == nil:
		x.gone.add(g)
	case e.Gone().Compare(g) <= 0:
		x.remove(g)
	}
}

// put has an entry stand, which nothing goes before.
func (x *Index) put(h *held, e *Entry) error {
	was := x.entries[e.Key]
	grows := len(e.Value)
	if was != nil {
		if same(was, e) {
			return nil
		}
		grows -= len(was.Value)
	}
	if was == nil && len(x.entries) >= x.cfg.Entries || x.bytes+grows > x.cfg.Bytes {
		return ErrTooMany
	}
	if was != nil {
		x.disown(was)
	} else if e.Kind == Participant {
		x.people++
	}
	x.gone.remove(e.Key)
	x.entries[e.Key] = e
	x.bytes += grows
	h.keys[e.Key] = true
	x.log.add(e.Gone())
	return nil
}

// remove ends an entry, and remembers it as g says.
func (x *Index) remove(g Gone) {
	e := x.entries[g.Key]
	delete(x.entries, g.Key)
	x.bytes -= len(e.Value)
	if e.Kind == Participant {
		x.people--
	}
	x.disown(e)
	x.gone.add(g)
	was, _ := x.gone.get(g.Key)
	x.log.add(was)
}

func (x *Index) disown(e *Entry) { delete(x.owners[e.Owner].lives[e.Life].keys, e.Key) }

// drop removes entries of one life of a node.
func (x *Index) drop(h *held, as func(Gone) Gone, which func(Key) bool) {
	for _, key := range slices.SortedFunc(maps.Keys(h.keys), Key.Compare) {
		if which(key) {
			x.remove(as(x.entries[key].Gone()))
		}
	}
}

func (x *Index) owner(id string) *owner {
	o := x.owners[id]
	if o == nil {
		o = &owner{lives: map[uint64]*held{}}
		x.owners[id] = o
	}
	return o
}

func (o *owner) held(life uint64, now time.Duration) *held {
	h := o.lives[life]
	if h == nil {
		h = &held{keys: map[Key]bool{}, absent: now}
		o.lives[life] = h
	}
	return h
}

// born notes that a node is in a life: those before are lost.
func (x *Index) born(o *owner, life uint64, now time.Duration) {
	if life <= o.life {
		return
	}
	o.life = life
	for l, h := range o.lives {
		if l < life {
			h.lose(now)
		}
	}
}

func (h *held) lose(now time.Duration) {
	if h.present {
		h.present, h.absent = false, now
	}
	h.reachable = false
}
