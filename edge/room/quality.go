package room

import (
	"context"
	"maps"
	"slices"

	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// SubscriptionQuality tells a participant what it gets by a subscription of its own, and why: see Media.Quality.
func (d *Directory) SubscriptionQuality(ctx context.Context, room, participant, session string) (q jsonvalue.Value, err error) {
	err = d.in(room, func(c *controller) error {
		if err := c.run(ctx, func() error { return c.machine.mayLook(participant, session) }); err != nil {
			return err
		}
		found := false
		if q, found = c.media.Quality(session); !found { // of data, or it ends just now
			return portalproto.ErrNoSubscription
		}
		return nil
	})
	return q, err
}

// mayLook checks that a subscription is the participant's own. Unlike control of it, looking is for nobody else: what is told names the
// network addresses of whoever owns it.
func (m *machine) mayLook(participant, session string) error {
	if m.local(participant) == nil {
		return portalproto.ErrNotJoinedRoom
	}
	s := m.subs[session]
	if s == nil {
		return portalproto.ErrNoSubscription
	}
	if s.owner != participant {
		return portalproto.ErrUnauthorized
	}
	return nil
}

// StreamQuality is what becomes of a forward stream of media in an active room, or of one participant's subscriptions to it: what
// Options.Quality says on the edge where it is published, with the subscriptions of all others. ok is false without such a stream.
func (d *Directory) StreamQuality(ctx context.Context, room, stream, participant string) (q jsonvalue.Value, ok bool) {
	if len(stream) > maxID || len(participant) > maxID {
		return q, false
	}
	r, err := d.operate(ctx, room, command{op: opQuality, stream: stream, participant: participant})
	return r.quality, err == nil && r.quality.Exists()
}

// Bounds of a quality. An edge says no more of it than goes into one answer, and the rest is counted as omitted.
const (
	maxQuality = 384 << 10 // bytes that one edge says
	maxShown   = 200       // subscriptions, as of one edge
	maxLooked  = 64        // edges that are asked: what is only on others is not told of
)

// audience is the users behind the participants, by participant id, and where a forward stream of media is published.
func (m *machine) audience(stream string) (users map[string]string, edge string, err error) {
	p := m.publication(stream)
	if p == nil || !p.ready || p.stream.Data {
		return nil, "", portalproto.ErrNoStream
	}
	users = make(map[string]string, len(m.members))
	for id, who := range m.members {
		users[id] = who.participant.User
	}
	return users, p.edge, nil
}

// quality gathers what all edges know of a stream.
func (c *controller) quality(ctx context.Context, cmd command) (r reply, err error) {
	var users map[string]string
	var edge string // of the stream
	var edges map[string]elsewhere
	if err := c.run(ctx, func() (err error) {
		if users, edge, err = c.machine.audience(cmd.stream); err == nil && !cmd.here && c.membership != nil {
			edges = c.lookers(&cmd, edge)
		}
		return err
	}); err != nil {
		return r, err
	}
	own, known := jsonvalue.Value{}, false
	if c.look != nil {
		own, known = c.look(ctx, cmd.stream, cmd.participant, users)
	}
	if !known {
		own = jsonvalue.Value{}
	}
	if cmd.here || c.membership == nil {
		if !own.Exists() {
			return r, portalproto.ErrNoStream
		}
		r.quality = own
		return r, nil
	}
	names := slices.Sorted(maps.Keys(edges))
	if at := slices.Index(names, edge); at > 0 { // what it says of the stream itself counts
		names = slices.Insert(slices.Delete(names, at, at+1), 0, edge)
	}
	parts, list := make([]jsonvalue.Value, len(names), len(names)+1), make([]elsewhere, len(names))
	for i, name := range names {
		list[i] = edges[name]
	}
	ctx, cancel := context.WithTimeout(ctx, patience) // less than who asks waits: an edge that is silent does not keep the others' word back
	defer cancel()
	c.askEach(ctx, list, command{op: opQuality, stream: cmd.stream, participant: cmd.participant}, func(i int, r reply, err error) bool {
		if err == nil {
			parts[i] = r.quality
		}
		return false
	})
	if edge == "" {
		parts = slices.Insert(parts, 0, own)
	} else {
		parts = append(parts, own)
	}
	r.quality = mergeQuality(parts)
	if !r.quality.Exists() {
		return r, portalproto.ErrNoStream
	}
	return r, nil
}

// lookers are the edges that know something of a stream: where it is published, the home, which mixes it, and those with participants who
// may have it. It is called on the Loop.
func (c *controller) lookers(cmd *command, edge string) map[string]elsewhere {
	all := c.machine.afar()
	edges := map[string]elsewhere{}
	if edge != "" && edge != nowhere {
		edges[edge] = elsewhere{Key{StreamEntry, cmd.stream}}
	}
	if home := c.membership.HomeEdge(); !c.machine.leads && home != "" && edges[home] == (elsewhere{}) {
		edges[home] = elsewhere{}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		who := c.machine.members[cmd.participant]
		if _, known := edges[name]; known || len(edges) >= maxLooked || cmd.participant != "" && (who == nil || who.edge != name) {
			continue
		}
		edges[name] = all[name]
	}
	return edges
}

// mergeQuality makes one of what edges say: the first counts, and of all the others the lists of what is only there.
func mergeQuality(parts []jsonvalue.Value) jsonvalue.Value {
	parts = slices.DeleteFunc(parts, func(q jsonvalue.Value) bool { return !q.Exists() })
	switch len(parts) {
	case 0:
		return jsonvalue.Value{}
	case 1:
		return parts[0]
	}
	q, omitted := parts[0], int64(0)
	for _, name := range []string{"notMixed", "subscriptions", "ended"} {
		var list []jsonvalue.Value
		for _, part := range parts {
			for i := range part.Get(name).Len() {
				list = append(list, part.Get(name).Index(i))
			}
		}
		if more := len(list) - maxShown; more > 0 {
			list = list[:maxShown]
			if name == "subscriptions" {
				omitted += int64(more)
			}
		}
		q = q.With(name, jsonvalue.OfArray(list...))
	}
	for _, part := range parts {
		n, _ := count(part.Get("omitted"))
		omitted += int64(min(n, 1<<32))
	}
	return q.With("omitted", jsonvalue.OfInt(omitted))
}

// fitQuality leaves out as many subscriptions as has to be for a quality to go into an answer, and after them what happened, and what is not
// mixed.
func fitQuality(q jsonvalue.Value) jsonvalue.Value {
	over := len(q.Append(nil)) - maxQuality
	if over <= 0 {
		return q
	}
	subscriptions := q.Get("subscriptions")
	n := subscriptions.Len()
	for ; n > 0 && over > 0; n-- {
		over -= len(subscriptions.Index(n - 1).Append(nil))
	}
	list := make([]jsonvalue.Value, n)
	for i := range list {
		list[i] = subscriptions.Index(i)
	}
	omitted, _ := count(q.Get("omitted"))
	q = q.With("subscriptions", jsonvalue.OfArray(list...)).With("omitted", jsonvalue.OfInt(int64(omitted)+int64(subscriptions.Len()-n)))
	for _, name := range []string{"ended", "events", "notMixed"} {
		if over > 0 {
			over -= len(q.Get(name).Append(nil))
			q = q.Without(name)
		}
	}
	return q
}
