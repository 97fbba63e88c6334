package meshproto

import (
	"strings"

	"portico/shared/placement"
	"portico/shared/roster"
)

// Command asks the home of a room, or the edge that owns something in it. Exactly one of Body, Admission and Find is set; an empty
// Body counts as set when it is not absent.
type Command struct {
	Number uint64          `json:"number"` // which Reply answers it
	Room   string          `json:"room"`
	Epoch  placement.Epoch `json:"epoch,omitzero"` // that the sender obeys; none: from an edge without the room
	Target *roster.Key     `json:"target,omitempty"`
	// Body is a command in the words of whoever carries it out: the edge that owns Target, or the home without one.
	Body      []byte            `json:"body,omitempty"`
	Admission *roster.Admission `json:"admission,omitempty"`
	Find      bool              `json:"find,omitempty"` // who is the home? Answered in Standing
}

// Reply answers a Command.
type Reply struct {
	Number   uint64           `json:"number"`
	Body     []byte           `json:"body,omitempty"`
	Admitted *roster.Admitted `json:"admitted,omitempty"`
	Refusal  Refusal          `json:"refusal,omitempty"` // why not
	Text     string           `json:"text,omitempty"`    // more about it, in words
	Standing placement.Epoch  `json:"standing,omitzero"` // the highest in effect that is known, where that helps
}

// Refusal is why a Command was not carried out.
type Refusal string

// The refusals.
const (
	RefusedStale    Refusal = "stale"    // the home is elsewhere: see Standing
	RefusedNoRoom   Refusal = "no room"  // nothing is known of it here
	RefusedTarget   Refusal = "target"   // it is not here
	RefusedFailed   Refusal = "failed"   // Text says why
	RefusedNotYet   Refusal = "not yet"  // ask again
	RefusedFull     Refusal = "full"     // the room is
	RefusedTaken    Refusal = "taken"    // the participant's id is
	RefusedUsed     Refusal = "used"     // the token was
	RefusedReplayed Refusal = "replayed" // the ticket was
	RefusedUnknown  Refusal = "unknown"  // the participant is
)

var refusals = map[Refusal]bool{
	"": true, RefusedStale: true, RefusedNoRoom: true, RefusedTarget: true, RefusedFailed: true, RefusedNotYet: true, RefusedFull: true,
	RefusedTaken: true, RefusedUsed: true, RefusedReplayed: true, RefusedUnknown: true,
}

// EncodeCommand writes a Command.
func EncodeCommand(c Command) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return write(&c)
}

// DecodeCommand reads a Command.
func DecodeCommand(b []byte) (Command, error) {
	var c Command
	if err := read(b, &c); err != nil {
		return Command{}, err
	}
	if err := c.check(); err != nil {
		return Command{}, err
	}
	return c, nil
}

func (c *Command) check() error {
	switch {
	case !nameFits(c.Room) || !epochFits(c.Epoch) || len(c.Body) > MaxBody:
		return bad("command")
	case c.Target != nil && (!c.Target.Kind.Valid() || !nameFits(c.Target.ID)):
		return bad("command's target")
	case (c.Admission != nil || c.Find) && (c.Body != nil || c.Target != nil) || c.Admission != nil && c.Find:
		return bad("two commands in one")
	}
	if a := c.Admission; a != nil {
		if !nameFits(a.Participant) || !nameFits(a.Owner) || len(a.Request) > MaxName || len(a.Token) > MaxName {
			return bad("admission")
		}
	}
	return nil
}

// EncodeReply writes a Reply. Text is cut to what fits.
func EncodeReply(r Reply) ([]byte, error) {
	r.Text = strings.ToValidUTF8(r.Text[:min(len(r.Text), MaxText)], "")
	if err := r.check(); err != nil {
		return nil, err
	}
	return write(&r)
}

// DecodeReply reads a Reply. A refusal that is not known is RefusedFailed.
func DecodeReply(b []byte) (Reply, error) {
	var r Reply
	if err := read(b, &r); err != nil {
		return Reply{}, err
	}
	if !refusals[r.Refusal] {
		r.Refusal = RefusedFailed
	}
	if err := r.check(); err != nil {
		return Reply{}, err
	}
	return r, nil
}

func (r *Reply) check() error {
	switch {
	case len(r.Body) > MaxBody || len(r.Text) > MaxText || !epochFits(r.Standing):
		return bad("reply")
	case r.Admitted != nil && len(r.Admitted.Before) > MaxName:
		return bad("admitted")
	case r.Refusal != "" && (r.Body != nil || r.Admitted != nil):
		return bad("an answer and a refusal in one")
	}
	return nil
}
