package mesh

import (
	"context"
	"time"

	"portico/edge/mesh/directory"
	"portico/shared/meshproto"
	"portico/shared/roster"
)

// maxPosts bounds the messages of homes and standbys to one node that wait; more push out the oldest, and are sent again.
const maxPosts = 1 << 16

// post sends a message of a room's home, or to it, to a node that keeps what the home knows. It may get lost.
func (m *Mesh) post(to string, message meshproto.Standby) {
	m.counts.posts.Add(1)
	m.mu.Lock()
	o := m.posts[to]
	if o == nil {
		o = m.lasting(to, meshproto.ServiceStandby, maxPosts)
		o.encode = encodePosts
		m.posts[to] = o
	}
	m.mu.Unlock()
	o.push(message)
}

func encodePosts(batch []any) ([][]byte, error) {
	var list [][]byte
	for _, m := range batch {
		parts, err := meshproto.EncodeStandby(m.(meshproto.Standby))
		if err != nil {
			return nil, err
		}
		list = append(list, parts...)
	}
	return list, nil
}

// serveStandby takes the messages of a peer's homes and standbys.
func (m *Mesh) serveStandby(ctx context.Context, from string, c call, first []byte) {
	var reader meshproto.StandbyReader
	for b := first; ; {
		message, whole, err := reader.Read(b)
		if err == nil && whole {
			m.posted(from, message)
		}
		if err == nil {
			b, err = c.Receive(ctx)
		}
		if err != nil {
			m.strange(from, err)
			return
		}
	}
}

func (m *Mesh) posted(from string, message meshproto.Standby) {
	_, err := m.with(message.Room, message.Hold != nil, maxQueue, func(r *room) {
		r.handle(directory.Posted{From: from, Message: message})
	})
	if err == ErrNoRoom {
		if answer, ok := directory.Stranger(m.options.Self, message); ok {
			m.post(from, answer)
		}
	}
}

// used notes at the home that a token was used, for the next home.
func (r *room) used(a *roster.Admission) {
	m := r.mesh
	oldest := m.options.Now().Add(-2 * m.options.TokenLife).Unix()
	r.carry(r.core.Use(roster.Use{Token: a.Token, Request: a.Request, Created: a.Created}, oldest, m.now()))
}

// learn takes tokens that were used elsewhere.
func (t *tokens) learn(uses []roster.Use, now time.Time) {
	for _, u := range uses {
		t.use(u.Token, u.Request, time.Unix(u.Created, 0), now)
	}
}
