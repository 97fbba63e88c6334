package sioclient

import (
	"context"
	"sync"
	"time"

	"portico/shared/engineio"
	"portico/shared/jsonvalue"
	"portico/shared/socketio"
	"portico/shared/wsconn"
)

// Conn is a connection to a Socket.IO server. All methods may be called from any goroutine.
type Conn struct {
	options  Options
	ws       wsconn.Conn
	id       string
	patience time.Duration // the longest silence a living server keeps
	acks     socketio.AckTable
	decoder  *socketio.Decoder // the reader's
	transfer sync.WaitGroup    // reader and writer
	wake     chan struct{}     // capacity 1: the writer has something to look at
	ended    chan struct{}     // closed with err set
	done     chan struct{}     // closed after OnClose
	writing  context.Context   // of writes; ends when they have to
	endWrite context.CancelFunc

	mu        sync.Mutex // guards what follows
	heartbeat engineio.Heartbeat
	queue     [][]byte // packets for the writer
	bytes     int      // in queue
	err       error    // why it ended
	flush     bool     // the writer sends what is queued before it closes

	events inbox
}

// The most that may wait to be sent. A server that takes nothing for so long is lost.
const (
	maxQueue      = 4096
	maxQueueBytes = 16 << 20
)

const message = '0' + byte(engineio.TypeMessage)

// handshake reads the open packet and connects to the namespace.
func (c *Conn) handshake(ctx context.Context) error {
	p, err := c.read(ctx)
	if err != nil {
		return err
	}
	open, err := engineio.ParseOpen(p.Data)
	if err != nil || p.Type != engineio.TypeOpen {
		return ErrProtocol
	}
	c.heartbeat = engineio.Revision4.ClientHeartbeat(open.PingInterval, open.PingTimeout, time.Now())
	c.patience = open.PingInterval + open.PingTimeout
	if err := c.ws.WriteText(ctx, socketio.Packet{Type: socketio.Connect}.Append([]byte{message})); err != nil {
		return err
	}
	for {
		p, err := c.read(ctx)
		if err != nil {
			return err
		}
		if p.Type == engineio.TypePing {
			if err := c.ws.WriteText(ctx, []byte{'0' + byte(engineio.TypePong)}); err != nil {
				return err
			}
			continue
		}
		answer, complete, err := c.decoder.Text(p.Data)
		switch {
		case err != nil || p.Type != engineio.TypeMessage || !complete:
			return ErrProtocol
		case answer.Type == socketio.ConnectError:
			return &RefusedError{answer.Data.Get("message").Text() + answer.Data.Text()}
		case answer.Type != socketio.Connect || answer.Data.Get("sid").Text() == "":
			return ErrProtocol
		}
		c.id = answer.Data.Get("sid").Text()
		return nil
	}
}

func (c *Conn) read(ctx context.Context) (engineio.Packet, error) {
	text, err := c.ws.ReadText(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return engineio.Packet{}, err
	}
	p, err := engineio.Revision4.DecodePacket(text)
	if err != nil {
		return p, ErrProtocol
	}
	return p, nil
}

func (c *Conn) start() {
	c.events.init()
	c.transfer.Go(c.readLoop)
	c.transfer.Go(c.writeLoop)
	go c.callLoop()
}

// ID is the Socket.IO id the server gave us; in a conference it is our participant id.
func (c *Conn) ID() string { return c.id }

// Done is closed when OnClose has returned.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Emit sends an event without waiting for anything. The error is why the Conn has ended.
func (c *Conn) Emit(name string, args ...jsonvalue.Value) error {
	return c.send(socketio.AppendEvent([]byte{message}, socketio.NoID, name, args))
}

// Ask sends an event whose answer done will be called with: its arguments, or why there is none. done runs where OnEvent
// runs, so that answers and events keep the order in which the server sent them; after OnClose, Ask calls it itself.
func (c *Conn) Ask(name string, done func(answer []jsonvalue.Value, err error), args ...jsonvalue.Value) {
	c.ask(name, func(answer []jsonvalue.Value, err error) {
		call := func() { done(answer, err) }
		if !c.events.put(call) {
			call()
		}
	}, args)
}

// Request sends an event and waits for its answer. The error is that of ctx, or why the Conn has ended. Unlike Ask it does
// not depend on OnEvent, and may be called from it; other events may be delivered before the caller has seen the answer.
func (c *Conn) Request(ctx context.Context, name string, args ...jsonvalue.Value) ([]jsonvalue.Value, error) {
	type result struct {
		answer []jsonvalue.Value
		err    error
	}
	results := make(chan result, 1)
	id := c.ask(name, func(answer []jsonvalue.Value, err error) { results <- result{answer, err} }, args)
	select {
	case r := <-results:
		return r.answer, r.err
	case <-ctx.Done():
		c.acks.Remove(id)
		return nil, ctx.Err()
	}
}

func (c *Conn) ask(name string, fn socketio.AckFunc, args []jsonvalue.Value) int64 {
	id := c.acks.Add(fn)
	if id != socketio.NoID {
		c.send(socketio.AppendEvent([]byte{message}, id, name, args)) // when it fails, fn has been told
	}
	return id
}

// Close tells the server that we leave, once everything emitted before has been sent, and ends the connection; it waits
// wsconn.CloseWait at most for each of the two. When it returns, nothing more is read or sent; OnClose may still be about to
// be called, see Done. It is safe to call again.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.err == nil {
		c.queue = append(c.queue, socketio.Packet{Type: socketio.Disconnect}.Append([]byte{message}))
	}
	c.mu.Unlock()
	c.end(ErrClosed, true)
	c.transfer.Wait()
	return nil
}

func (c *Conn) send(packet []byte) error {
	c.mu.Lock()
	err := c.err
	full := false
	if err == nil {
		c.queue = append(c.queue, packet)
		c.bytes += len(packet)
		full = len(c.queue) > maxQueue || c.bytes > maxQueueBytes+len(packet)
	}
	c.mu.Unlock()
	c.signal()
	if full {
		err = &LostError{ErrTimeout}
		c.end(err, false)
	}
	return err
}

func (c *Conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// end notes why the connection ends and lets everything else follow. Only the first reason counts.
func (c *Conn) end(why error, flush bool) {
	c.mu.Lock()
	first := c.err == nil
	if first {
		c.err, c.flush = why, flush
		close(c.ended)
	}
	c.mu.Unlock()
	if !first {
		return
	}
	if flush {
		time.AfterFunc(wsconn.CloseWait, c.endWrite)
	} else {
		c.endWrite()
	}
	c.acks.FailAll(why)
	c.events.close(func() { c.options.OnClose(why) })
}

// readLoop takes packets until the WebSocket ends; the writer ends it in the other cases.
func (c *Conn) readLoop() {
	for {
		text, err := c.ws.ReadText(context.Background())
		if err != nil {
			c.end(&LostError{err}, false)
			return
		}
		p, err := engineio.Revision4.DecodePacket(text)
		if err != nil {
			c.end(&LostError{ErrProtocol}, false)
			return
		}
		if !c.receive(p) {
			return
		}
	}
}

// receive takes one packet; it reports false when it was the last.
func (c *Conn) receive(p engineio.Packet) bool {
	c.mu.Lock()
	beat, err := c.heartbeat.Received(p.Type, time.Now())
	c.mu.Unlock()
	if beat == engineio.BeatPong {
		c.send([]byte{'0' + byte(engineio.TypePong)})
	}
	switch {
	case err != nil:
		c.end(&LostError{ErrProtocol}, false)
		return false
	case p.Type == engineio.TypeClose:
		c.end(&LostError{&wsconn.CloseError{Code: 1000}}, false)
		return false
	case p.Type != engineio.TypeMessage:
		return true
	}
	packet, complete, err := c.decoder.Text(p.Data)
	if err != nil || packet.Namespace != socketio.Root {
		c.end(&LostError{ErrProtocol}, false)
		return false
	}
	return !complete || c.receivePacket(packet)
}

func (c *Conn) receivePacket(p socketio.Packet) bool {
	switch p.Type {
	case socketio.Event:
		if len(p.Args) == 0 {
			return true
		}
		name := p.Args[0].Text()
		c.events.put(func() { c.options.OnEvent(name, p.Args[1:]) })
		if c.events.len() > c.options.MaxInbox {
			c.end(&LostError{ErrOverload}, false)
			return false
		}
	case socketio.Ack:
		c.acks.Resolve(p.ID, p.Args)
	case socketio.Disconnect:
		c.end(ErrDisconnected, false)
		return false
	}
	return true
}

// writeLoop sends what is queued, and ends the connection when the server has been silent for too long.
func (c *Conn) writeLoop() {
	defer c.ws.Close()
	defer c.endWrite()
	timer := time.NewTimer(c.patience)
	defer timer.Stop()
	for {
		packets := c.takeQueue()
		for _, p := range packets {
			if err := c.write(p); err != nil {
				c.end(&LostError{err}, false)
				return
			}
		}
		select {
		case <-c.wake:
		case <-timer.C:
			if !c.alive(timer) {
				c.end(&LostError{ErrTimeout}, false)
				return
			}
		case <-c.ended:
			if c.flush { // set before ended was closed
				c.sendRest()
			}
			return
		}
	}
}

func (c *Conn) takeQueue() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil
	}
	packets := c.queue
	c.queue, c.bytes = nil, 0
	return packets
}

// alive reports whether the server is, and sets the timer to when to ask again.
func (c *Conn) alive(timer *time.Timer) bool {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.heartbeat.Tick(now) == engineio.BeatLost {
		return false
	}
	timer.Reset(c.heartbeat.Deadline().Sub(now))
	return true
}

// sendRest sends what is left after Close.
func (c *Conn) sendRest() {
	c.mu.Lock()
	packets := c.queue
	c.queue = nil
	c.mu.Unlock()
	for _, p := range packets {
		if c.write(p) != nil {
			return
		}
	}
}

func (c *Conn) write(packet []byte) error {
	ctx, cancel := context.WithTimeout(c.writing, c.patience)
	defer cancel()
	return c.ws.WriteText(ctx, packet)
}

// callLoop calls the application until the connection has ended and everything that arrived has been delivered.
func (c *Conn) callLoop() {
	defer close(c.done)
	for {
		call := c.events.take()
		if call == nil {
			return
		}
		call()
	}
}
