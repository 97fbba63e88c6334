package wt

import "github.com/quic-go/webtransport-go"

// RemoteSpec declares a publication of another edge.
type RemoteSpec struct {
	Session string
	// Wanted is told when the first subscription to it has come, and when the last has gone. Calls come one at a time and in order;
	// they must not block.
	Wanted func(on bool)
}

// Remote is a publication of another edge, which is subscribed to like those here. Its data come only while somebody wants them: who has
// opened it brings each stream by Begin. All methods are safe for concurrent use, and none waits.
type Remote struct {
	server *Server
	spec   RemoteSpec

	// The Server's mu guards these.
	source *source // nil: closed
	wanted bool
	ready  bool
	count  int // of inlets
}

// maxInlets bounds the streams of a Remote. Its edge has a bound of its own, which is lower.
const maxInlets = 1024

// OpenRemote makes a publication of another edge known, until Close. It may have been here before, or come here (Spec.Resumed): the
// subscriptions stay. It fails with ErrID or ErrClosed.
func (s *Server) OpenRemote(spec RemoteSpec) (*Remote, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := parseID(spec.Session)
	src := s.sources[spec.Session]
	switch {
	case s.closed:
		return nil, ErrClosed
	case !ok || s.subscriptions[spec.Session] != nil || src != nil && src.remote != nil:
		return nil, ErrID
	}
	r := &Remote{server: s, spec: spec, source: s.source(spec.Session)}
	r.source.remote = r
	s.want(r.source)
	return r, nil
}

// want tells whether a publication of another edge is of use. mu is held.
func (s *Server) want(src *source) {
	r, on := src.remote, len(src.subscriptions) > 0
	if r == nil || r.wanted == on {
		return
	}
	r.wanted, r.ready = on, false
	s.tell(func() { r.spec.Wanted(on) })
}

// Ready says that what is published from now on comes, as long as it is wanted: subscriptions wait for that.
func (r *Remote) Ready() {
	s := r.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.source != nil && r.wanted {
		r.ready = true
		s.flows(r.source)
	}
}

// Fail ends the subscriptions with a reason.
func (r *Remote) Fail(reason string) {
	s := r.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.source == nil {
		return
	}
	for sub := range r.source.subscriptions {
		s.endSubscription(sub, reason)
	}
}

// Close forgets the publication. Subscriptions end unless it is here now; then the streams that have begun go on until their Inlets end.
func (r *Remote) Close() {
	s := r.server
	s.mu.Lock()
	defer s.mu.Unlock()
	src := r.source
	if src == nil {
		return
	}
	r.source, src.remote = nil, nil
	if src.local != nil {
		s.flows(src)
		return
	}
	s.endSource(src)
	for in := range src.inlets {
		s.cut(src, in)
	}
}

// Inlet is one stream of a Remote. One goroutine at a time uses it.
type Inlet struct {
	server *Server
	source *source
	in     *inlet
	end    func()
}

// Begin gives all subscriptions another stream. It fails with ErrNoSource after Close, and with ErrTooMany.
func (r *Remote) Begin() (*Inlet, error) {
	s := r.server
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.source == nil:
		return nil, ErrNoSource
	case r.count >= maxInlets:
		return nil, ErrTooMany
	}
	r.count++
	in := &inlet{}
	s.join(r.source, in)
	return &Inlet{server: s, source: r.source, in: in, end: func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		r.count--
	}}, nil
}

// Write passes data on. They are the Server's from then on. Subscriptions that do not keep up are ended.
func (i *Inlet) Write(data []byte) {
	if len(data) > 0 {
		i.server.totals.bytesIn.Add(uint64(len(data)))
		i.server.spread(i.in, data, false)
	}
}

// End ends the stream in order. It is the last call, as Reset is.
func (i *Inlet) End() {
	for _, o := range i.server.detach(i.source, i.in) {
		o.finish(0)
	}
	i.end()
}

// Reset ends the stream at once, with the publisher's code.
func (i *Inlet) Reset(code uint32) {
	for _, o := range i.server.detach(i.source, i.in) {
		o.reset(webtransport.StreamErrorCode(code))
	}
	i.end()
}
