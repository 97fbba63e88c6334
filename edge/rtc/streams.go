package rtc

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"portico/edge/sfu"
	"portico/edge/sfu/feedback"
	"portico/shared/rtp/inspect"
)

// How often the client is told how its media arrives.
const (
	reportInterval = time.Second
	twccInterval   = 100 * time.Millisecond
	twccPackets    = 200 // sooner, when so many have come
)

// streams joins the packets of one transport to the forwarding core: incoming RTP finds its Encoding by SSRC, or by the mid and
// rid in the packet, incoming RTCP finds what it is about. The zero value is ready.
type streams struct {
	mu     sync.Mutex // guards the fields below; a packet takes it only until its SSRC is known
	routes map[string][]*route
	bySSRC map[uint32]*route
	resent map[uint32]*route // by the SSRC on which the client sends packets again
	outs   map[uint32]*mline

	version  atomic.Uint32 // counts changes of routes
	local    atomic.Uint32 // our SSRC in RTCP
	midID    atomic.Uint32 // ids of header extensions, 0 without
	ridID    atomic.Uint32
	repairID atomic.Uint32
	twccID   atomic.Uint32
	unrouted atomic.Uint64 // packets that belong to nothing

	// Only the reader of the transport's packets touches these: peer.Handler's calls come one at a time.
	known      map[uint32]found
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
	redundant   uint8 // and of those with audio from before them too; 0: there are none
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
	media, resent := learnt(s.bySSRC, routings), learnt(s.resent, routings)
	for _, r := range routings {
		s.forget(r.mid)
	}
	for _, r := range routings {
		s.enter(r)
	}
	keep(s.bySSRC, media)
	keep(s.resent, resent)
	s.version.Add(1)
}

// learnt is what the SSRCs mean from now on that were once heard of by a rid: the layer with the same one. Clients name a layer in its
// first packets only, so what is forgotten of it comes to light no more.
func learnt(known map[uint32]*route, routings []routing) map[uint32]*route {
	found := make(map[uint32]*route)
	for ssrc, old := range known {
		for _, r := range routings {
			if old.rid == "" || old.mid != r.mid || len(r.ssrcs) > 0 {
				continue
			}
			if i := slices.IndexFunc(r.routes, func(to *route) bool { return to.rid == old.rid }); i >= 0 {
				found[ssrc] = r.routes[i]
			}
		}
	}
	return found
}

// keep adds what was learnt, where an offer says nothing else.
func keep(known, learnt map[uint32]*route) {
	for ssrc, r := range learnt {
		if known[ssrc] == nil {
			known[ssrc] = r
		}
	}
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

func (s *streams) addOut(l *mline) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outs == nil {
		s.outs = make(map[uint32]*mline)
	}
	s.outs[l.ssrc] = l
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
	case r.carries(h.PayloadType):
		s.bySSRC[ssrc] = r
	case r.resends(h.PayloadType):
		s.resent[ssrc] = r
	default:
		return nil
	}
	return r
}

// carries tells whether packets of that type are the track itself.
func (r *route) carries(payloadType uint8) bool {
	return payloadType == r.payloadType || r.redundant != 0 && payloadType == r.redundant
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
			if !r.carries(payloadType) && !r.resends(payloadType) {
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

// found is a route as the reader of a transport's packets remembers it, by the SSRC.
type found struct {
	route   *route
	version uint32 // of the routes then
}

// receive takes an RTP packet as it left SRTP. reader says whose batch it is in. See peer.Handler.
func (t *transport) receive(packet []byte, reader int) {
	s := &t.streams
	now := t.engine.now()
	h, ok := inspect.ParseHeader(packet)
	if !ok {
		s.unrouted.Add(1)
		return
	}
	ssrc := binary.BigEndian.Uint32(packet[8:])
	if seq, ok := h.Extension(packet, uint8(s.twccID.Load())); ok && len(seq) >= 2 {
		s.record(ssrc, uint16(seq[0])<<8|uint16(seq[1]), now)
	}
	r := s.routeOf(ssrc, packet, &h)
	switch {
	case r == nil:
		s.unrouted.Add(1)
	case r.resends(h.PayloadType):
		s.ingestResent(r, packet, &h, now, t.engine.wake(reader))
	default:
		r.up.ssrc.Store(ssrc)
		_ = r.encoding.Ingest(packet, now, t.engine.wake(reader)) // it counts what it refuses
	}
	t.feedBack(now)
}

// routeOf is where a packet belongs, nil for nowhere. The connection bounds how many SSRCs there are.
func (s *streams) routeOf(ssrc uint32, packet []byte, h *inspect.Header) *route {
	version := s.version.Load()
	if f, ok := s.known[ssrc]; ok && f.version == version && f.route != nil {
		return f.route
	}
	r := s.find(ssrc, packet, h)
	if s.known == nil {
		s.known = make(map[uint32]found)
	}
	s.known[ssrc] = found{r, version}
	return r
}

// ingestResent restores a packet from the one that it was sent again in: the payload of that begins with its number (RFC 4588
// section 4). One without a payload only probes the network.
func (s *streams) ingestResent(r *route, packet []byte, h *inspect.Header, now int64, wake *sfu.Wake) {
	if len(packet)-h.Size-h.Padding < 2 || len(packet) > len(s.scratch) {
		return
	}
	n := copy(s.scratch[:], packet[:h.Size])
	n += copy(s.scratch[n:], packet[h.Size+2:])
	s.scratch[1] = s.scratch[1]&0x80 | r.payloadType
	copy(s.scratch[2:4], packet[h.Size:])
	_ = r.encoding.IngestRepair(s.scratch[:n], now, wake) // it counts what it refuses
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
					r.up.reported(report, now)
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

// receiveControl takes an RTCP compound as it left SRTP. Each packet in it goes to the streams of ours that it is about, and sender
// reports to the stream they are of. See peer.Handler.
func (t *transport) receiveControl(compound []byte, _ int) {
	now := t.engine.now()
	for rest := compound; ; {
		p, after, ok := feedback.Next(rest)
		if !ok {
			return
		}
		raw := rest[:len(rest)-len(after)]
		rest = after
		if sr, ok := p.SenderReport(); ok {
			if r := t.streams.incoming(sr.SSRC); r != nil {
				r.encoding.SenderReport(sr, now)
			}
		}
		t.estimator.receive(p, now)
		t.streams.concerned(p, func(l *mline) {
			l.out.Receive(raw, now)
			l.heard(p, now)
		})
	}
}

// incoming is the route of the client's stream with that SSRC, nil when there is none.
func (s *streams) incoming(ssrc uint32) *route {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bySSRC[ssrc]
}

// concerned calls f for each stream of ours that an RTCP packet is about.
func (s *streams) concerned(p feedback.Packet, f func(*mline)) {
	call := func(ssrc uint32) {
		s.mu.Lock()
		l := s.outs[ssrc]
		s.mu.Unlock()
		if l != nil {
			f(l)
		}
	}
	media, about := p.Media()
	switch {
	case !about:
		p.Reports(func(r feedback.Report) { call(r.SSRC) })
	case p.Type == feedback.TypePayload && p.Format == feedback.FormatFIR: // it names its media one by one
		for b := p.Body[4:]; len(b) >= 8; b = b[8:] {
			call(binary.BigEndian.Uint32(b))
		}
	default:
		call(media)
	}
}
