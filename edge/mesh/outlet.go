package mesh

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"portico/edge/mesh/directory"
	"portico/shared/link"
	"portico/shared/meshproto"
	"portico/shared/placement"
)

// Bounds of what waits to be sent.
const (
	maxSaid    = 1 << 14         // messages of a call; more end it
	maxSeats   = 1 << 13         // messages of seats to one node; more push out the oldest
	openTime   = 5 * time.Second // to open a call
	idleSeats  = 30 * time.Second
	seatsBatch = 512
)

// outlet sends messages on a call, by a goroutine that lives only while there are some. It opens the call with the first one, unless
// it was given one.
type outlet struct {
	mesh *Mesh
	// send opens the call or sends on it, and gives the call; encode makes bytes of messages.
	open   func(ctx context.Context, first []byte) (call, error)
	encode func(batch []any) ([][]byte, error)
	failed func(err error) // the call is over; not after finish
	limit  int
	lasts  bool // it goes on after a failure with another call; what is too much pushes out the oldest

	mu      sync.Mutex // guards what follows
	queue   []any
	call    call
	writing bool
	closed  bool
	used    time.Time
}

// push queues a message; false when there are too many.
func (o *outlet) push(message any) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return true
	}
	if len(o.queue) >= o.limit {
		if !o.lasts {
			return false
		}
		o.mesh.counts.shed.Add(1)
		o.queue = o.queue[1:]
	}
	o.queue = append(o.queue, message)
	o.used = time.Now()
	o.start()
	return true
}

// start has the queue sent. The mu is held.
func (o *outlet) start() {
	if o.writing {
		return
	}
	o.mesh.writing.add(1)
	o.writing = o.mesh.tasks.Go(o.write) == nil
	if !o.writing {
		o.mesh.writing.add(-1)
	}
}

func (o *outlet) write(ctx context.Context) {
	defer o.mesh.writing.add(-1)
	for {
		o.mu.Lock()
		batch, c := o.queue, o.call
		if len(batch) == 0 {
			o.writing = false
			if o.closed && c != nil {
				o.call = nil
				o.mu.Unlock()
				c.Close()
				return
			}
			o.mu.Unlock()
			return
		}
		batch = batch[:min(len(batch), seatsBatch)]
		o.queue = o.queue[len(batch):]
		o.mu.Unlock()
		if err := o.send(ctx, c, batch); err != nil {
			o.fail(nil, err)
		}
	}
}

func (o *outlet) send(ctx context.Context, c call, batch []any) error {
	messages, err := o.encode(batch)
	if err != nil {
		return err
	}
	if len(messages) == 0 {
		return nil
	}
	if c == nil {
		opening, cancel := context.WithTimeout(ctx, openTime)
		c, err = o.open(opening, messages[0])
		cancel()
		if err != nil {
			return err
		}
		o.mu.Lock()
		o.call = c
		o.mu.Unlock()
		messages = messages[1:]
	}
	for _, m := range messages {
		if err := c.Send(m); err != nil {
			return err
		}
	}
	return nil
}

// fail ends the call with what was queued: c, or whichever there is.
func (o *outlet) fail(c call, err error) {
	o.mu.Lock()
	if c != nil && o.call != c {
		o.mu.Unlock()
		return
	}
	c = o.call
	told := o.closed
	o.call, o.queue = nil, nil
	o.closed = o.closed || !o.lasts
	o.mu.Unlock()
	if c != nil {
		c.Close()
	}
	if !told {
		o.failed(err)
	}
}

// finish closes the call when what is queued has been sent.
func (o *outlet) finish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.closed = true
		o.start()
	}
}

func (o *outlet) idle(now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.writing && now.Sub(o.used) > idleSeats
}

// encodeRoom is the encode of a room's call.
func encodeRoom(batch []any) ([][]byte, error) {
	var list [][]byte
	for _, m := range batch {
		parts, err := meshproto.EncodeRoom(m.(meshproto.RoomMessage))
		if err != nil {
			return nil, err
		}
		list = append(list, parts...)
	}
	return list, nil
}

// dialRoom makes the call of a follower to its home.
func (m *Mesh) dialRoom(r *room, session uint64, to string) *outlet {
	o := &outlet{mesh: m, encode: encodeRoom, limit: maxSaid}
	o.failed = func(error) { r.ended(session) }
	o.open = func(ctx context.Context, first []byte) (call, error) {
		c, err := m.net.Open(ctx, to, meshproto.ServiceRoom, first)
		if err != nil {
			return nil, err
		}
		if err := m.tasks.Go(func(ctx context.Context) {
			m.readRoom(ctx, r, session, to, c, nil)
			r.ended(session)
			c.Close()
		}); err != nil {
			c.Close()
			return nil, err
		}
		return c, nil
	}
	return o
}

// serveRoom takes the call of a follower.
func (m *Mesh) serveRoom(ctx context.Context, from string, c call, first []byte) {
	var reader meshproto.RoomReader
	message, whole, err := reader.Read(first)
	if err != nil || !whole || message.Enrol == nil {
		m.rubbish(from, errors.Join(meshproto.ErrMessage, err))
		return
	}
	session := 2 * m.sessions.Add(1)
	r, err := m.with(message.Enrol.Room, true, 0, func(r *room) {
		r.sessions[session] = &outlet{
			mesh: m, encode: encodeRoom, limit: maxSaid, call: c, failed: func(error) { r.ended(session) },
		}
		r.handle(directory.Called{Session: session, From: from})
		r.handle(directory.Heard{Session: session, Message: message})
	})
	if err != nil {
		return
	}
	m.readRoom(ctx, r, session, from, c, &reader)
	r.ended(session)
}

// readRoom reads a call to its end.
func (m *Mesh) readRoom(ctx context.Context, r *room, session uint64, peer string, c call, reader *meshproto.RoomReader) {
	if reader == nil {
		reader = &meshproto.RoomReader{}
	}
	for {
		b, err := c.Receive(ctx)
		if err == nil {
			var message meshproto.RoomMessage
			var whole bool
			if message, whole, err = reader.Read(b); err == nil {
				if whole && r.put(func() { r.handle(directory.Heard{Session: session, Message: message}) }, maxQueue) != nil {
					return
				}
				continue
			}
		}
		m.strange(peer, err)
		return
	}
}

// strange cuts a peer off when a call ended because of what it sent.
func (m *Mesh) strange(peer string, err error) {
	if errors.Is(err, meshproto.ErrMessage) || errors.Is(err, link.ErrTooLong) || errors.Is(err, link.ErrBadPeer) {
		m.rubbish(peer, err)
	}
}

func (m *Mesh) rubbish(peer string, err error) {
	m.counts.rubbish.Add(1)
	m.net.Cut(peer, err)
}

// sendSeat sends a message of a seat, which may get lost.
func (m *Mesh) sendSeat(to, room string, message placement.Message) {
	m.counts.seatsSent.Add(1)
	m.mu.Lock()
	o := m.seats[to]
	if o == nil {
		o = m.seatsTo(to)
		m.seats[to] = o
	}
	m.mu.Unlock()
	o.push(meshproto.SeatMessage{Room: room, Message: message})
}

func (m *Mesh) seatsTo(to string) *outlet {
	o := m.lasting(to, meshproto.ServiceSeats, maxSeats)
	o.encode = func(batch []any) ([][]byte, error) {
		s := meshproto.Seats{Boot: m.options.Self.Boot, Messages: make([]meshproto.SeatMessage, len(batch))}
		for i := range batch {
			s.Messages[i] = batch[i].(meshproto.SeatMessage)
		}
		b, err := meshproto.EncodeSeats(s)
		return [][]byte{b}, err
	}
	return o
}

// lasting makes an outlet to a service of a node on whose call nothing comes back. It goes on after failures.
func (m *Mesh) lasting(to, service string, limit int) *outlet {
	o := &outlet{mesh: m, limit: limit, lasts: true, failed: func(error) {}}
	o.open = func(ctx context.Context, first []byte) (call, error) {
		c, err := m.net.Open(ctx, to, service, first)
		if err != nil {
			return nil, err
		}
		// Nothing comes back but the end.
		if err := m.tasks.Go(func(ctx context.Context) {
			_, _ = c.Receive(ctx)
			o.fail(c, io.EOF)
			c.Close()
		}); err != nil {
			c.Close()
			return nil, err
		}
		return c, nil
	}
	return o
}

// serveSeats takes the messages of a peer's seats.
func (m *Mesh) serveSeats(ctx context.Context, from string, c call, message []byte) {
	for {
		s, err := meshproto.DecodeSeats(message)
		if err != nil {
			m.strange(from, err)
			return
		}
		m.counts.seatsReceived.Add(uint64(len(s.Messages)))
		name := placement.Name{ID: from, Boot: s.Boot}
		for _, one := range s.Messages {
			event := placement.Received{From: name, Message: one.Message}
			_, _ = m.with(one.Room, true, maxQueue, func(r *room) { r.handle(event) }) // it may get lost
		}
		if message, err = c.Receive(ctx); err != nil {
			m.strange(from, err)
			return
		}
	}
}
