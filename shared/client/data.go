package client

import (
	"cmp"
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// Data streams go over a WebTransport connection (portal protocol 8.12), which the program opens and the conference never sees: it
// gives what is needed for that, and does the signalling of the publications and subscriptions on it.
//
// On another edge there is another connection (Events.DataMoved). Publications and subscriptions go on there, but not the streams that
// were open: what was under way on them may be lost.

// DataGrant is what a connection for data streams is opened with; it is good for one.
type DataGrant struct {
	URL    string   // https://host[:port]/
	Token  string   // for the first stream; never logged
	Hashes []string // SHA-256 of the certificates to take, base64; none: those that are signed
}

// dataState is what the loop knows of the connection for data streams.
type dataState struct {
	grant     DataGrant // URL is empty when there are no data streams, Token when it was given out
	transport string    // the id of the connection that was opened last, or will be; empty: none
}

// maxDataURL bounds the address, in bytes.
const maxDataURL = 1000

// dataURL reads the address for data streams out of a join token; empty when it names none that a browser could open.
func dataURL(token string) string {
	v, err := parseToken(token)
	if err != nil {
		return ""
	}
	return usableURL(v.Get("webTransportUrl").Text())
}

func usableURL(url string) string {
	if len(url) <= maxDataURL && strings.HasPrefix(url, "https://") {
		return url
	}
	return ""
}

// dataURLAt is dataURL for a login on the edge at one address with a token that names another one: that is of no use then.
func dataURLAt(at, named, token string) string {
	if at != named {
		return ""
	}
	return dataURL(token)
}

// granted takes what a login has brought for data streams, on the loop. url is where they are if the edge does not say.
func (c *Conference) granted(url string, r *portalproto.LoginResult) {
	c.state.data = dataState{}
	url = cmp.Or(usableURL(r.WebTransportURL), url)
	if url != "" && transportOf(r.WebTransport) != "" {
		c.state.data.grant = DataGrant{URL: url, Token: r.WebTransport, Hashes: r.WebTransportHashes}
	}
}

// grantedAgain takes what a relogin has brought, on the loop: a token when the portal knows of no connection.
func (c *Conference) grantedAgain(token string, hashes []string) {
	if d := &c.state.data; d.grant.URL != "" && transportOf(token) != "" {
		d.grant.Token, d.grant.Hashes = token, hashes
	}
}

// transportOf is the id of the transport that a token for data streams opens; empty when it cannot be read.
func transportOf(token string) string {
	if len(token) > maxToken {
		return ""
	}
	text, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(token, "="))
	if err != nil {
		return ""
	}
	v, err := jsonvalue.Parse(text, jsonvalue.Limits{Depth: 4, Values: 64})
	if err != nil {
		return ""
	}
	return v.Get("transportId").Text()
}

// OpenData gives what the connection for data streams is to be opened with: the first, or after DataLost or Events.DataMoved another one.
// From then on data is published and subscribed to on that. ErrNoData says that the server has no data streams; other errors are those of
// a request.
func (c *Conference) OpenData(ctx context.Context) (grant DataGrant, err error) {
	if err := c.do(ctx, func() error {
		if c.state.data.grant.URL == "" {
			return ErrNoData
		}
		grant = c.takeGrant()
		return nil
	}); err != nil || grant.Token != "" {
		return grant, err
	}
	answer, err := c.wait(ctx, &request{name: portalproto.EventRefreshWebTransport, again: true})
	if err != nil {
		return DataGrant{}, err
	}
	fresh, ok := portalproto.DecodeWebTransportGrant(answer)
	if !ok || transportOf(fresh.Token) == "" {
		return DataGrant{}, ErrProtocol
	}
	err = c.do(ctx, func() error {
		c.grantedAgain(fresh.Token, fresh.Hashes)
		grant = c.takeGrant()
		return nil
	})
	return grant, err
}

// takeGrant uses up the token, on the loop.
func (c *Conference) takeGrant() DataGrant {
	d := &c.state.data
	grant := d.grant
	if grant.Token != "" {
		d.transport, d.grant.Token = transportOf(grant.Token), ""
		c.reopenData()
	}
	return grant
}

// DataLost tells that the connection for data streams has ended, or could not be opened: what was on it ends with ReasonData. If it turns
// out that the edge has gone, and the client goes to another one, it does not end: see Events.DataMoved.
func (c *Conference) DataLost() {
	c.post(func() {
		if c.state.over || c.state.data.transport == "" { // it was on an edge that the client has left
			return
		}
		c.state.data.transport = ""
		for _, s := range c.sessionList() {
			if s.data {
				s.lost = s.known()
			}
		}
		if c.state.ticket == "" || len(c.state.edges) == 0 {
			c.endLost(true)
			return
		}
		c.endLost(false)
		c.probe()
	})
}

// endLost ends the data sessions whose connection is lost, on the loop: all, or those that nobody was given yet.
func (c *Conference) endLost(all bool) {
	if c.state.over {
		return
	}
	for _, s := range c.sessionList() {
		if s.data && (s.lost && all || !s.known() && c.state.data.transport == "") {
			c.endSession(s, ErrData, ReasonData)
			c.tellEnd(s)
		}
	}
}

// moveData makes the data sessions go on as soon as there is a connection for them on this edge, on the loop. Those end that are on their
// way, and those whose stream is gone. had says that there was a connection on the edge before.
func (c *Conference) moveData(had bool) {
	for _, s := range c.sessionList() {
		if !s.data {
			continue
		}
		had = true
		if !s.known() || c.state.data.grant.URL == "" {
			c.endSession(s, errReplaced, ReasonGone)
			continue
		}
		resume := cmp.Or(s.id, s.resume)
		c.reset(s)
		s.waits = true
		c.expect(s)
		switch {
		case s.publication:
			s.resume = resume
		case !c.state.room.has(s.sources()):
			c.endSession(s, ErrStopped, portalproto.ReasonSourceLoss)
		}
	}
	if had {
		c.emit(func(e Events) { e.DataMoved() })
	}
}

// reopenData asks for the data sessions that wait for a connection, on the loop.
func (c *Conference) reopenData() {
	sessions := c.sessionList()
	slices.SortFunc(sessions, func(a, b *session) int { return a.number - b.number })
	for _, s := range sessions {
		if !s.waits {
			continue
		}
		s.waits = false
		if err := c.askData(s); err != nil {
			c.endSession(s, err, s.endReason(err))
		}
	}
}

// endData ends every data session, on the loop, without telling the server.
func (c *Conference) endData(err error, reason string) {
	for _, s := range c.sessionList() {
		if s.data {
			c.endSession(s, err, reason)
		}
	}
}

// PublishDataOptions say how to publish data.
type PublishDataOptions struct {
	Attributes jsonvalue.Value // an object that others see with the stream, or absent
	// OnOpen is called with the publication's id as soon as the server knows it, from the goroutine of the Events. The program then opens a
	// stream that begins with the id, without which the publication does not become ready. It is called again when the publication had to
	// become another one on another edge; that too needs a stream, be it one without data.
	OnOpen func(id string)
	// OnReady is as in PublishOptions.
	OnReady func(*Publication)
}

// PublishData publishes data and returns when the server has a stream of it. It takes a connection that was opened with the grant of
// OpenData. When ctx ends first, the publication is given up. Errors: ErrData when there is no connection, and those of Publish.
func (c *Conference) PublishData(ctx context.Context, options PublishDataOptions) (*Publication, error) {
	if options.Attributes.Exists() && options.Attributes.Kind() != jsonvalue.Object {
		return nil, ErrArgument
	}
	s := newSession(true)
	p := &Publication{handle{c, s}}
	if options.OnReady != nil {
		s.onLive = func(Events) { options.OnReady(p) }
	}
	opened := func(id string) {
		if options.OnOpen != nil {
			c.emit(func(Events) { options.OnOpen(id) })
		}
	}
	err := c.runData(ctx, s, func(transport portalproto.TransportRef) jsonvalue.Value {
		return portalproto.PublishRequest{Data: true, Attributes: options.Attributes, Transport: transport, Resume: s.resume}.Encode()
	}, opened)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// SubscribeData asks for the data of a stream and returns when the server has begun a stream with it, which begins with the subscription's
// id. onReady, if not nil, is as in SubscribeOptions. All else is as for PublishData.
func (c *Conference) SubscribeData(ctx context.Context, from string, onReady func(*Subscription)) (*Subscription, error) {
	if from == "" {
		return nil, ErrArgument
	}
	s := newSession(false)
	s.sources = func() []string { return []string{from} }
	sub := &Subscription{handle{c, s}}
	if onReady != nil {
		s.onLive = func(Events) { onReady(sub) }
	}
	err := c.runData(ctx, s, func(transport portalproto.TransportRef) jsonvalue.Value {
		return portalproto.SubscribeRequest{DataFrom: from, Transport: transport}.Encode()
	}, func(string) {})
	if err != nil {
		return nil, err
	}
	return sub, nil
}

// runData asks for a session and waits until it is live. There is no negotiation, so it does not wait for other sessions. opened is called
// on the loop when the session has its id.
func (c *Conference) runData(
	ctx context.Context, s *session, request func(portalproto.TransportRef) jsonvalue.Value, opened func(id string),
) error {
	s.data = true
	s.request = func(_ []string, transport string) jsonvalue.Value {
		return request(portalproto.TransportRef{Type: portalproto.TransportQUIC, ID: transport})
	}
	s.opened = opened
	return c.run(ctx, s, func() error { return c.askData(s) })
}

// askData sends the request of a session, on the loop.
func (c *Conference) askData(s *session) error {
	transport := c.state.data.transport
	if transport == "" {
		return ErrData
	}
	data := s.request(nil, transport)
	err := c.submit(&request{
		name: s.openRequest(), data: []jsonvalue.Value{data}, opens: true,
		late: func(answer jsonvalue.Value) {
			if ack, ok := portalproto.DecodeSessionAck(answer); ok {
				c.tell(s.endRequest(), portalproto.EncodeID(ack.ID))
			}
		},
		reply: func(answer jsonvalue.Value, err error) {
			if err == nil {
				err = c.openedData(s, transport, answer)
			}
			if err != nil {
				c.endSession(s, err, s.endReason(err))
			}
			c.openedOne(s)
		},
	})
	if err == nil {
		c.state.opening[s] = true
	}
	return err
}

// openedData takes the acknowledgement, on the loop. A session that nobody wants any more, or that makes no sense, is ended.
func (c *Conference) openedData(s *session, transport string, answer jsonvalue.Value) error {
	ack, ok := portalproto.DecodeSessionAck(answer)
	if !ok || c.state.byID[ack.ID] != nil {
		return ErrProtocol
	}
	if s.ended || ack.Transport != transport {
		c.tell(s.endRequest(), portalproto.EncodeID(ack.ID))
		return ErrProtocol // nobody waits for it when the session has ended
	}
	s.id = ack.ID
	c.state.byID[s.id] = s
	c.stop(s.timer)
	c.expect(s)
	if s.id != s.resume {
		s.opened(s.id)
	}
	return nil
}
