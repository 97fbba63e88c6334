package rtc

import (
	"io"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"github.com/pion/transport/v5/packetio"
	"portico/edge/sfu"
	"portico/edge/sfu/feedback"
	"portico/shared/rtp/inspect"
)

// How often the client is told how its media arrives.
const (
	reportInterval = time.Second
	twccInterval   = 80 * time.Millisecond
	twccPackets    = 200 // sooner, when so many have come
)

// streams joins the packets of one transport to the forwarding core: incoming RTP finds its Encoding by SSRC, or by the mid and
// rid in the packet, incoming RTCP finds what it is about. The zero value is ready.
type streams struct {
	mu     sync.Mutex // guards the fields below; a packet takes it only until its SSRC is known
	routes map[string][]*route
	bySSRC map[uint32]*route
	resent map[uint32]*route // by the SSRC on which the client sends packets again
	outs   map[uint32]*sfu.Subscription
	count  int // buffers made

	version   atomic.Uint32 // counts changes of routes
	local     atomic.Uint32 // our SSRC in RTCP
	midID     atomic.Uint32 // ids of header extensions, 0 without
	ridID     atomic.Uint32
	repairID  atomic.Uint32
	twccID    atomic.Uint32
	unrouted  atomic.Uint64 // packets that belong to nothing
	overflown atomic.Bool

	// Only the reader of the transport's RTP touches these.
	recorder   *twcc.Recorder
	recorded   int
	twccSent   int64
	reportSent int64
	reports    []feedback.Report
	scratch    [sfu.MaxPacket + 2]byte // of ingestResent
}

// route is where the packets of one published track go.
type route struct {
	mid, rid    string
	payloadType uint8
	rtx         uint8 // payload type of packets that are sent again; 0: they come as they were
	encoding    *sfu.Encoding
	up          *upstream
}

// ssrc is the SSRC under which we send RTCP about the client's media.
func (s *streams) ssrc() uint32 {
	if n := s.local.Load(); n != 0 {
		return n
	}
	s.local.CompareAndSwap(0, 1+rand.Uint32N(1<<32-2))
	return s.local.Load()
}

// negotiated takes over what an offer says of the published m-lines and of header extensions, whose ids are the same in all
// sections of a transport.
func (s *streams) negotiated(o *offer, routings []routing) {
	for i := range o.sections {
		section := &o.sections[i]
		for _, x := range []struct {
			uri string
			id  *atomic.Uint32
		}{{extMid, &s.midID}, {extRid, &s.ridID}, {extRepairedRid, &s.repairID}} {
			if id := section.extensionID(x.uri); id != 0 && section.bundled {
				x.id.Store(uint32(id))
			}
		}
		if id := section.extensionID(extTransportSeq); id != 0 && section.bundled && section.kind == "video" {
			s.twccID.Store(uint32(id))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.routes == nil {
		s.routes, s.bySSRC, s.resent = make(map[string][]*route), make(map[uint32]*route), make(map[uint32]*route)
	}
	for _, r := range routings {
		s.forget(r.mid)
	}
	for _, r := range routings {
		s.enter(r)
	}
	s.version.Add(1)
}

// enter makes the routes of an m-line known. mu is held.
func (s *streams) enter(r routing) {
	s.routes[r.mid] = r.routes
	for i, ssrc := range r.ssrcs[:min(len(r.ssrcs), len(r.routes))] {
		s.bySSRC[ssrc] = r.routes[i]
		r.routes[i].up.ssrc.CompareAndSwap(0, ssrc)
	}
	for _, x := range r.repairs {
		if of := s.bySSRC[x.of]; of != nil && of.mid == r.mid && of.rtx != 0 {
			s.resent[x.ssrc] = of
		}
	}
}

// unroute forgets the m-line mid.
func (s *streams) unroute(mid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(mid)
	s.version.Add(1)
}

// forget is unroute with mu held.
func (s *streams) forget(mid string) {
	delete(s.routes, mid)
	for _, known := range []map[uint32]*route{s.bySSRC, s.resent} {
		maps.DeleteFunc(known, func(_ uint32, r *route) bool { return r.mid == mid })
	}
}

func (s *streams) addOut(ssrc uint32, out *sfu.Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outs == nil {
		s.outs = make(map[uint32]*sfu.Subscription)
	}
	s.outs[ssrc] = out
}

func (s *streams) removeOut(ssrc uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.outs, ssrc)
}

// find is the route of a packet, nil when it belongs to nothing.
func (s *streams) find(ssrc uint32, packet []byte, h *inspect.Header) *route {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.bySSRC[ssrc]; r != nil {
		return r
	}
	if r := s.resent[ssrc]; r != nil {
		return r
	}
	r := s.byName(packet, h)
	if r == nil {
		r = s.byPayloadType(h.PayloadType)
	}
	switch {
	case r == nil:
		return nil
	case h.PayloadType == r.payloadType:
		s.bySSRC[ssrc] = r
	case r.resends(h.PayloadType):
		s.resent[ssrc] = r
	default:
		return nil
	}
	return r
}

// resends tells whether packets of that type are others sent again.
func (r *route) resends(payloadType uint8) bool { return r.rtx != 0 && payloadType == r.rtx }

// byName finds the route by the mid, and the rid, in the packet.
func (s *streams) byName(packet []byte, h *inspect.Header) *route {
	mid, ok := h.Extension(packet, uint8(s.midID.Load()))
	if !ok {
		return nil
	}
	routes := s.routes[string(mid)]
	rid, ok := h.Extension(packet, uint8(s.ridID.Load()))
	if !ok {
		rid, ok = h.Extension(packet, uint8(s.repairID.Load()))
	}
	for _, r := range routes {
		if ok && r.rid == string(rid) || len(routes) == 1 && r.rid == "" {
			return r
		}
	}
	return nil
}

// byPayloadType finds the route when only one m-line takes the payload type.
func (s *streams) byPayloadType(payloadType uint8) *route {
	var found *route
	for _, routes := range s.routes {
		for _, r := range routes {
			if r.payloadType != payloadType && !r.resends(payloadType) {
				continue
			}
			if found != nil || r.rid != "" {
				return nil
			}
			found = r
		}
	}
	return found
}

// buffer makes the end of an incoming stream of RTP or RTCP about one SSRC. pion calls it for each SSRC it meets.
func (t *transport) buffer(kind packetio.BufferPacketType, ssrc uint32) io.ReadWriteCloser {
	s := &t.streams
	s.mu.Lock()
	s.count++
	full := s.count > maxStreams
	s.mu.Unlock()
	if full && !s.overflown.Swap(true) {
		t.log.Warn("client sends too many streams")
		_ = t.loop.Post(func() { t.fail(ReasonICE) })
	}
	if kind == packetio.RTCPBufferPacket {
		return &controlEnd{transport: t, ssrc: ssrc}
	}
	return &mediaEnd{transport: t, ssrc: ssrc}
}

// mediaEnd takes the RTP packets of one SSRC as they leave SRTP. pion calls Write, one call at a time for all of a transport.
type mediaEnd struct {
	end
	transport *transport
	ssrc      uint32
	route     *route
	version   uint32
}

// Write implements io.Writer.
func (m *mediaEnd) Write(packet []byte) (int, error) {
	t := m.transport
	s := &t.streams
	now := t.engine.now()
	h, ok := inspect.ParseHeader(packet)
	if !ok {
		s.unrouted.Add(1)
		return len(packet), nil
	}
	if seq, ok := h.Extension(packet, uint8(s.twccID.Load())); ok && len(seq) >= 2 {
		s.record(m.ssrc, uint16(seq[0])<<8|uint16(seq[1]), now)
	}
	if version := s.version.Load(); m.route == nil || m.version != version {
		m.route, m.version = s.find(m.ssrc, packet, &h), version
	}
	switch {
	case m.route == nil:
		s.unrouted.Add(1)
	case m.route.resends(h.PayloadType):
		s.ingestResent(m.route, packet, &h, now)
	default:
		m.route.up.ssrc.Store(m.ssrc)
		_ = m.route.encoding.Ingest(packet, now) // it counts what it refuses
	}
	t.feedBack(now)
	return len(packet), nil
}

// ingestResent restores a packet from the one that it was sent again in: the payload of that begins with its number (RFC 4588
// section 4). One without a payload only probes the network.
func (s *streams) ingestResent(r *route, packet []byte, h *inspect.Header, now int64) {
	if len(packet)-h.Size-h.Padding < 2 || len(packet) > len(s.scratch) {
		return
	}
	n := copy(s.scratch[:], packet[:h.Size])
	n += copy(s.scratch[n:], packet[h.Size+2:])
	s.scratch[1] = s.scratch[1]&0x80 | r.payloadType
	copy(s.scratch[2:4], packet[h.Size:])
	_ = r.encoding.IngestRepair(s.scratch[:n], now) // it counts what it refuses
}

// record notes when a packet with a transport-wide number came.
func (s *streams) record(ssrc uint32, seq uint16, now int64) {
	if s.recorder == nil {
		s.recorder = twcc.NewRecorder(s.ssrc())
	}
	s.recorder.Record(ssrc, seq, now/int64(time.Microsecond))
	s.recorded++
}

// feedBack sends the client what is due: when its packets came, and how much of them.
func (t *transport) feedBack(now int64) {
	s := &t.streams
	if s.recorded > 0 && (now-s.twccSent >= int64(twccInterval) || s.recorded >= twccPackets) {
		s.twccSent, s.recorded = now, 0
		if packets := s.recorder.BuildFeedbackPacket(); len(packets) > 0 {
			if raw, err := rtcp.Marshal(packets); err == nil {
				_ = t.WriteRTCP(raw) // the next one tells again
			}
		}
	}
	if now-s.reportSent < int64(reportInterval) {
		return
	}
	s.reportSent = now
	s.reports = s.reports[:0]
	s.mu.Lock()
	for _, routes := range s.routes {
		for _, r := range routes {
			if ssrc := r.up.ssrc.Load(); ssrc != 0 {
				if report, ok := r.encoding.Report(ssrc, now); ok {
					s.reports = append(s.reports, report)
				}
			}
		}
	}
	s.mu.Unlock()
	for list := s.reports; len(list) > 0; {
		n := min(len(list), feedback.MaxReports)
		_ = t.WriteRTCP(feedback.AppendReceiverReport(nil, s.ssrc(), list[:n])) // the next one tells again
		list = list[n:]
	}
}

// controlEnd takes the RTCP compounds that concern one SSRC: one of ours, or one of the client's. pion calls Write, one call at
// a time for all of a transport, and gives a compound to the end of each SSRC that is in it.
type controlEnd struct {
	end
	transport *transport
	ssrc      uint32
}

// Write implements io.Writer.
func (c *controlEnd) Write(compound []byte) (int, error) {
	s := &c.transport.streams
	now := c.transport.engine.now()
	s.mu.Lock()
	out, in := s.outs[c.ssrc], s.bySSRC[c.ssrc]
	s.mu.Unlock()
	switch {
	case out != nil:
		out.Receive(compound, now)
	case in != nil:
		for p, rest, ok := feedback.Next(compound); ok; p, rest, ok = feedback.Next(rest) {
			if sr, ok := p.SenderReport(); ok && sr.SSRC == c.ssrc {
				in.encoding.SenderReport(sr, now)
			}
		}
	}
	return len(compound), nil
}

// end is the other half of what pion wants of a buffer: nobody reads from it.
type end struct{}

// Read implements io.Reader.
func (end) Read([]byte) (int, error) { return 0, io.EOF }

// Close implements io.Closer.
func (end) Close() error { return nil }
