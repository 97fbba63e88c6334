package roster

// maxUses is how many tokens a Register remembers.
const maxUses = 4096

// Use is a token that let somebody into a room, which it does once.
type Use struct {
	Token   string `json:"token"`
	Request string `json:"request,omitempty"` // that used it: asked again, it gets the same answer
	Created int64  `json:"created"`           // of the token, Unix seconds
}

// Valid tells whether there may be such a use.
func (u *Use) Valid() bool { return u.Token != "" && len(u.Token) <= MaxID && len(u.Request) <= MaxID }

// Register remembers which tokens were used in a room, so that the next home knows: the last 4096, in order, each with its number. The
// zero value is empty and ready. It belongs to one goroutine.
type Register struct {
	uses  []Use
	known map[string]bool
	last  uint64 // number of the last one
}

// Add notes a use, unless the token is known, and forgets those at the beginning that were created before oldest. It tells whether it
// was new.
func (r *Register) Add(u Use, oldest int64) bool {
	r.Forget(oldest)
	if r.known[u.Token] || !u.Valid() {
		return false
	}
	if len(r.uses) >= maxUses {
		r.drop(1)
	}
	if r.known == nil {
		r.known = map[string]bool{}
	}
	r.known[u.Token] = true
	r.uses = append(r.uses, u)
	r.last++
	return true
}

// Forget drops the uses at the beginning whose tokens were created before oldest.
func (r *Register) Forget(oldest int64) {
	n := 0
	for n < len(r.uses) && r.uses[n].Created < oldest {
		n++
	}
	r.drop(n)
}

func (r *Register) drop(n int) {
	for _, u := range r.uses[:n] {
		delete(r.known, u.Token)
	}
	if r.uses = r.uses[n:]; len(r.uses) == 0 {
		r.uses = nil
	}
}

// Last is the number of the last use.
func (r *Register) Last() uint64 { return r.last }

// Len is how many uses are remembered.
func (r *Register) Len() int { return len(r.uses) }

// Since gives what is remembered of the uses after number n, in order. Nobody changes them.
func (r *Register) Since(n uint64) []Use {
	if n >= r.last {
		return nil
	}
	return r.uses[len(r.uses)-int(min(r.last-n, uint64(len(r.uses)))):]
}
