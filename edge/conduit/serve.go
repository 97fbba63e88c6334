package conduit

import (
	"context"
	"errors"
	"io"

	"portico/edge/wt"
	"portico/shared/link"
	"portico/shared/meshproto"
)

// served is a publication here that another edge pulls.
type served struct{ cancel context.CancelFunc }

// Serve takes a call of the service data: see peers.Handler.
func (c *Conduit) Serve(ctx context.Context, from string, call *link.Call, first []byte) {
	ask, err := meshproto.DecodeDataAsk(first)
	if err != nil {
		c.options.Links.Cut(from, err)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.tasks.Context(), cancel)()
	x := &served{cancel}
	if !c.admit(from, ask.Stream, x) {
		say(call, nil, meshproto.DataMessage{Kind: meshproto.DataOver, Reason: meshproto.DataFull})
		return
	}
	defer c.dismiss(from, ask.Stream, x)
	tap, err := c.options.Data.OpenTap(ask.Room, ask.Stream)
	if err != nil {
		say(call, nil, meshproto.DataMessage{Kind: meshproto.DataOver, Reason: meshproto.DataUnknown})
		return
	}
	defer tap.Close()
	gone := make(chan struct{})
	go func() { // ends with the call, at the latest when it is closed below
		defer close(gone)
		defer cancel()
		if _, err := call.Receive(ctx); err == nil {
			c.options.Links.Cut(from, errUnasked)
		}
	}()
	c.send(ctx, call, tap)
	cancel()
	<-gone
}

// admit counts a pull in; false when there are too many. One of the same publication from before is of no use any more.
func (c *Conduit) admit(from, id string, x *served) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.serving[from]
	if all == nil {
		all = make(map[string]*served)
		c.serving[from] = all
	}
	before := all[id]
	switch {
	case c.closed || before == nil && len(all) >= c.options.MaxServed:
		return false
	case before != nil:
		before.cancel()
	}
	all[id] = x
	c.totals.serving.Add(1)
	return true
}

func (c *Conduit) dismiss(from, id string, x *served) {
	c.totals.serving.Add(-1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.serving[from][id] == x {
		delete(c.serving[from], id)
		if len(c.serving[from]) == 0 {
			delete(c.serving, from)
		}
	}
}

// send passes on what is published, until that ends, or the call.
func (c *Conduit) send(ctx context.Context, call *link.Call, tap *wt.Tap) {
	buffer, ok := say(call, nil, meshproto.DataMessage{Kind: meshproto.DataFromHere})
	for ok {
		item, err := tap.Next(ctx)
		m := meshproto.DataMessage{Kind: kinds[item.Kind], Stream: item.Stream, Bytes: item.Data, Code: item.Code}
		switch {
		case err == nil:
			buffer, ok = say(call, buffer, m)
			c.totals.bytesOut.Add(uint64(len(item.Data)))
			continue
		case errors.Is(err, io.EOF):
			m = meshproto.DataMessage{Kind: meshproto.DataOver, Reason: meshproto.DataEnded}
		case errors.Is(err, wt.ErrSlow):
			c.totals.tooSlow.Add(1)
			m = meshproto.DataMessage{Kind: meshproto.DataOver, Reason: meshproto.DataSlow}
		default:
			return
		}
		_, _ = say(call, buffer, m)
		return
	}
}

// kinds are those of a Tap's Items on a link.
var kinds = [...]meshproto.DataKind{
	wt.ItemBegin: meshproto.DataBegin, wt.ItemData: meshproto.DataBytes, wt.ItemEnd: meshproto.DataEnd, wt.ItemReset: meshproto.DataReset,
}

// say sends a message, which it writes into the buffer; false when the call has ended.
func say(call *link.Call, buffer []byte, m meshproto.DataMessage) ([]byte, bool) {
	buffer = meshproto.AppendData(buffer[:0], m)
	return buffer, call.Send(buffer) == nil
}
