package client

import (
	"context"
	"errors"
	"slices"
	"time"

	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// maxKept bounds the requests that wait for the connection; those that were on their way when it was lost come on top.
const maxKept = 256

// request is one request and its answer. While the connection is lost it waits, in the order in which requests were made.
//
// A request whose answer was lost with the connection may or may not have been carried out. It is sent again when that changes nothing
// (again): the end of a session, a pause, a change of what is received, a logout, an offer that has no answer yet. All others fail with
// ErrUnknownOutcome: a text would arrive twice, a publication be there twice.
type request struct {
	name string
	data []jsonvalue.Value
	// limit is for the answer, counted from the sending; 0: Timeouts.Request.
	limit time.Duration
	again bool
	// done, if set, says when the time comes to send it again that there is no need any more.
	done func() bool
	// portable says that it makes sense for another participant too: the client after joining anew.
	portable bool
	// opens says that carrying it out makes a session.
	opens bool
	// late, if set, takes an answer that comes up to lateAck after the limit.
	late func(answer jsonvalue.Value)
	// reply is called once, on the loop; nil: nobody waits, or not any more.
	reply func(answer jsonvalue.Value, err error)

	wire  *wire // it was sent on
	alarm *alarm
}

// lateAck is how much longer than its caller a request with late waits for its acknowledgement.
const lateAck = time.Minute

// errReplaced is for requests about what an earlier participation had.
var errReplaced = withCause(ErrLost, errors.New("the client had to join anew"))

// request sends a request and reads its answer. It is not for the loop.
func (c *Conference) request(ctx context.Context, name string, data jsonvalue.Value) (jsonvalue.Value, error) {
	return c.wait(ctx, &request{name: name, data: []jsonvalue.Value{data}, again: true})
}

// wait sends a request and waits for its answer. When ctx ends first, it is not sent any more.
func (c *Conference) wait(ctx context.Context, r *request) (answer jsonvalue.Value, err error) {
	replied := make(chan struct{})
	r.reply = func(a jsonvalue.Value, e error) {
		answer, err = a, e
		close(replied)
	}
	if err := c.do(ctx, func() error { return c.submit(r) }); err != nil {
		return jsonvalue.Value{}, err
	}
	select {
	case <-replied:
		return answer, err
	case <-ctx.Done():
	}
	_ = c.loop.Do(context.Background(), func() { c.giveUpOn(r, context.Cause(ctx)) })
	<-replied // by the line before, or earlier
	return answer, err
}

// simple is a request that may be sent again and whose answer says no more than yes or no.
func (c *Conference) simple(ctx context.Context, name string, data jsonvalue.Value) error {
	_, err := c.request(ctx, name, data)
	return err
}

// tell sends a request whose outcome changes nothing, on the loop.
func (c *Conference) tell(name string, data jsonvalue.Value) {
	_ = c.submit(&request{name: name, data: []jsonvalue.Value{data}, again: true}) // refused when too many wait: the server will notice
}

// submit sends a request or keeps it, on the loop.
func (c *Conference) submit(r *request) error {
	if c.state.wire != nil && c.state.wire.open {
		c.send(r)
		return nil
	}
	if len(c.state.kept) >= maxKept {
		return ErrBusy
	}
	c.state.kept = append(c.state.kept, r)
	return nil
}

func (c *Conference) send(r *request) {
	w := c.state.wire
	r.wire = w
	c.state.asked = append(c.state.asked, r)
	limit := r.limit
	if limit == 0 {
		limit = c.options.Timeouts.Request
	}
	r.alarm = c.after(limit, func() { c.giveUpOn(r, ErrTimeout) })
	w.socket.Ask(r.name, func(args []jsonvalue.Value, err error) { c.post(func() { c.answered(r, w, args, err) }) }, r.data...)
}

// answered takes an acknowledgement, on the loop.
func (c *Conference) answered(r *request, w *wire, args []jsonvalue.Value, err error) {
	if r.wire != w || err != nil { // an error is the end of the wire, of which lose will hear
		return
	}
	c.forget(r)
	answer, err := decodeAck(r.name, args)
	if r.reply == nil {
		if r.late != nil && err == nil {
			r.late(answer)
		}
		return
	}
	r.finish(answer, err)
}

func (r *request) finish(answer jsonvalue.Value, err error) {
	if reply := r.reply; reply != nil {
		r.reply = nil
		reply(answer, err)
	}
}

// forget takes a request off the lists, on the loop.
func (c *Conference) forget(r *request) {
	c.state.asked = slices.DeleteFunc(c.state.asked, func(other *request) bool { return other == r })
	c.state.kept = slices.DeleteFunc(c.state.kept, func(other *request) bool { return other == r })
	c.stop(r.alarm)
	r.wire = nil
}

// giveUpOn ends the wait for an answer, on the loop.
func (c *Conference) giveUpOn(r *request, err error) {
	if r.reply == nil {
		return
	}
	sent := r.wire != nil
	if sent && r.late != nil {
		c.stop(r.alarm)
		r.alarm = c.after(lateAck, func() { c.forget(r) })
	} else {
		c.forget(r)
	}
	r.finish(jsonvalue.Value{}, err)
}

// takeBack decides what becomes of the requests whose answers were lost, on the loop.
func (c *Conference) takeBack() {
	var again []*request
	for _, r := range c.state.asked {
		c.stop(r.alarm)
		r.wire = nil
		c.state.orphans = c.state.orphans || r.opens
		if r.again {
			again = append(again, r)
			continue
		}
		r.finish(jsonvalue.Value{}, ErrUnknownOutcome)
	}
	c.state.asked = nil
	c.state.kept = append(again, c.state.kept...)
}

// flush sends what was kept, on the loop.
func (c *Conference) flush() {
	kept := c.state.kept
	c.state.kept = nil
	for _, r := range kept {
		if r.done != nil && r.done() {
			r.finish(jsonvalue.Value{}, nil)
			continue
		}
		c.send(r)
	}
}

// failRequests ends every request at the end of the conference.
func (c *Conference) failRequests(err error) {
	all := append(c.state.asked, c.state.kept...)
	c.state.asked, c.state.kept = nil, nil
	for _, r := range all {
		r.wire = nil
		r.finish(jsonvalue.Value{}, err)
	}
}

// dropStale ends the kept requests that are about an earlier participation.
func (c *Conference) dropStale() {
	kept := c.state.kept
	c.state.kept = nil
	for _, r := range kept {
		if r.portable {
			c.state.kept = append(c.state.kept, r)
			continue
		}
		r.finish(jsonvalue.Value{}, errReplaced)
	}
}

// orphan ends a session that came about though its acknowledgement was lost: nobody here knows it. Which of the two it is, the portal
// knows: the other request is refused.
func (c *Conference) orphan(id string) {
	c.tell(portalproto.EventUnpublish, portalproto.EncodeID(id))
	c.tell(portalproto.EventUnsubscribe, portalproto.EncodeID(id))
}
