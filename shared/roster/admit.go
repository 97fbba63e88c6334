package roster

import (
	"fmt"
	"time"
)

// Admission asks for a participant's place.
type Admission struct {
	Participant string `json:"participant"` // id
	Owner       string `json:"owner"`       // the access edge, as its link says
	Request     string `json:"request"`     // names this attempt: asked again, it gets the same answer
	Generation  uint64 `json:"generation"`  // that its entry will have
	Resume      bool   `json:"resume,omitempty"`

	// Of the token, for whoever sees to its single use. The Index does not read them.
	Token   string `json:"token,omitempty"`
	Created int64  `json:"created,omitempty"` // Unix seconds
}

// Admitted is a place that was given: the owner announces the entry within Config.Reserve.
type Admitted struct {
	Before string `json:"before,omitempty"` // of a resumption: who has had the participant until now
}

type reservation struct {
	owner, request string
	generation     uint64
	resume         bool
	until          time.Duration
	answer         Admitted
}

// Admit gives a participant its place, which nobody sees before the owner announces it. limit is how many participants the room may
// have; below 0 there is none. It fails with ErrRoomFull, with ErrTaken when the id is there, and of a resumption with
// ErrUnknownParticipant, with ErrReplayed when the generation is not above all others but those that the owner itself has been promised, and
// with ErrNotYet while the home is so new that
// the participant may be unknown only to it.
func (x *Index) Admit(a Admission, limit int, now time.Duration) (Admitted, error) {
	if a.Participant == "" || len(a.Participant) > MaxID || a.Owner == "" || len(a.Owner) > MaxID || len(a.Request) > MaxID {
		return Admitted{}, fmt.Errorf("%w: admission", ErrBad)
	}
	r := x.reserved[a.Participant]
	if r != nil && now > r.until {
		delete(x.reserved, a.Participant)
		r = nil
	}
	if r != nil && r.owner == a.Owner && r.request == a.Request && r.generation == a.Generation {
		return r.answer, nil
	}
	next := reservation{owner: a.Owner, request: a.Request, generation: a.Generation, resume: a.Resume, until: now + x.cfg.Reserve}
	key := Key{Participant, a.Participant}
	standing := x.entries[key]
	if r != nil && a.Resume && r.resume && r.owner == a.Owner && r.generation == a.Generation {
		next.answer = r.answer // the same takeover once more: the attempt before came to nothing
		x.reserved[a.Participant] = &next
		return next.answer, nil
	}
	switch {
	case a.Resume && standing != nil:
		if a.Generation <= standing.Generation || r != nil && a.Generation <= r.generation {
			return Admitted{}, ErrReplayed
		}
		next.answer.Before = standing.Owner
	case a.Resume && r != nil: // its first entry is on its way
		if a.Generation <= r.generation {
			return Admitted{}, ErrReplayed
		}
		next.answer.Before = r.owner
	case a.Resume && x.dead(key, a.Generation):
		return Admitted{}, ErrReplayed
	case a.Resume && now-x.began < x.cfg.Confirm:
		return Admitted{}, ErrNotYet
	case a.Resume:
		return Admitted{}, ErrUnknownParticipant
	case standing != nil || r != nil || x.dead(key, a.Generation):
		return Admitted{}, ErrTaken
	case limit >= 0 && x.people+x.coming() >= limit:
		return Admitted{}, ErrRoomFull
	case len(x.entries)+len(x.reserved) >= x.cfg.Entries:
		return Admitted{}, ErrTooMany
	}
	x.reserved[a.Participant] = &next
	return next.answer, nil
}

// dead tells that an entry of this generation could not stand any more.
func (x *Index) dead(key Key, generation uint64) bool {
	was, ok := x.gone.get(key)
	return ok && was.Generation >= generation
}

// coming is how many places are given and not taken.
func (x *Index) coming() int {
	n := 0
	for id := range x.reserved {
		if x.entries[Key{Participant, id}] == nil {
			n++
		}
	}
	return n
}

// taken ends a reservation that an entry has come for.
func (x *Index) taken(e *Entry) {
	if e.Kind != Participant {
		return
	}
	if r := x.reserved[e.ID]; r != nil && e.Generation >= r.generation {
		delete(x.reserved, e.ID)
	}
}
