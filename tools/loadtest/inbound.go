package loadtest

import (
	"math/rand/v2"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"portico/shared/conference"
)

// inbound is what a peer receives. The mu of its poller guards it.
type inbound struct {
	streams map[uint32]*stream
	last    *stream // that a packet came of
	lastOf  uint32
	counts  Counts // what is not of one stream's numbers
	meter   *meter
	sample  int // one in so many packets is decrypted; 0: none
	skip    int // packets until the next one is
	plain   []byte
	header  rtp.Header

	ssrc                   uint32 // of our RTCP
	recorder               *twcc.Recorder
	recorded               int
	reportDue, feedbackDue int64

	flowing int    // streams that something has come of
	flowed  func() // told when there is one more; must not block
	first   int64  // clock of the first media packet
	keys    uint64 // key frames that the edge asked for
	nacks   uint64 // packets that the edge asked for again
}

// stream is one SSRC from the edge.
type stream struct {
	sequence
	kind     conference.Kind
	repair   bool
	extended uint8 // id of the transport-wide number's extension

	// From the sample: how far the numbers of the source are ahead of ours. It grows when the edge leaves packets out.
	source  uint32
	offset  int64
	leftOut uint64

	bytes      uint64
	reported   Counts // at the last receiver report
	lastSR     uint32 // middle of the last sender report's time
	lastSRCame int64
}

func newInbound(sample int, flowed func()) inbound {
	in := inbound{streams: map[uint32]*stream{}, sample: sample, flowed: flowed, ssrc: rand.Uint32() | 1}
	in.recorder = twcc.NewRecorder(in.ssrc)
	in.skip = in.nextSkip()
	return in
}

// nextSkip is random, so that what is sampled has nothing to do with the rhythm of frames.
func (in *inbound) nextSkip() int {
	if in.sample <= 1 {
		return 0
	}
	return rand.IntN(2*in.sample - 1)
}

// expect makes the streams of an answered m-line known; fresh is false when they were.
func (in *inbound) expect(kind conference.Kind, l answerLine) (fresh bool) {
	for i, ssrc := range append(l.ssrcs[:1:1], l.repairs...) {
		if in.streams[ssrc] == nil {
			in.streams[ssrc] = &stream{kind: kind, repair: i > 0, extended: l.sequence}
			fresh = true
		}
	}
	in.last = nil
	return fresh
}

// media takes an SRTP packet.
func (in *inbound) media(t *transport, b []byte, now int64) {
	h, ok := parseRTP(b)
	if !ok {
		in.counts.Unknown++
		return
	}
	s := in.last
	if s == nil || in.lastOf != h.ssrc {
		s = in.streams[h.ssrc]
		in.last, in.lastOf = s, h.ssrc
	}
	if s == nil {
		in.counts.Unknown++
		return
	}
	if s.extended != 0 {
		if number := h.extension(s.extended); len(number) >= 2 {
			in.recorder.Record(h.ssrc, uint16(number[0])<<8|uint16(number[1]), now/int64(time.Microsecond))
			in.recorded++
		}
	}
	if s.repair {
		in.counts.Repairs++
		return
	}
	if !s.started {
		in.flowing++
		if in.first == 0 {
			in.first = now
		}
		in.flowed()
	}
	before := s.received
	index := s.packet(h.seq)
	if s.received != before {
		s.bytes += uint64(len(b))
	}
	if in.sample == 0 {
		return
	}
	if in.skip--; in.skip < 0 {
		in.skip = in.nextSkip()
		in.look(t, s, b, index, now)
	}
}

// look decrypts a packet of the sample.
func (in *inbound) look(t *transport, s *stream, b []byte, index, now int64) {
	in.counts.Sampled++
	plain, err := t.rtpIn.DecryptRTP(in.plain[:0], b, &in.header)
	if err != nil {
		in.counts.Unreadable++
		return
	}
	in.plain = plain
	mark, ok := readTrailer(plain)
	if !ok {
		in.counts.Unreadable++
		return
	}
	latency := time.Duration(now - mark.sent)
	in.meter.latency.record(latency)
	in.meter.recent.record(latency)
	offset := int64(mark.number) - index
	if s.source == mark.source && offset > s.offset {
		s.leftOut += uint64(offset - s.offset)
	}
	s.source, s.offset = mark.source, offset
}

// total is what has come so far.
func (in *inbound) total() Counts {
	c := in.counts
	for _, s := range in.streams {
		if !s.repair {
			c.add(s.total())
		}
	}
	return c
}

func (s *stream) total() Counts {
	return Counts{
		Delivered: s.received, Bytes: s.bytes, Lost: s.missing(), LeftOut: s.leftOut, Duplicates: s.duplicates, Late: s.late + s.stale,
	}
}

// sendFeedback tells the edge when its packets came.
func (in *inbound) sendFeedback(t *transport) {
	if in.recorded == 0 {
		return
	}
	in.recorded = 0
	if raw, err := rtcp.Marshal(in.recorder.BuildFeedbackPacket()); err == nil && len(raw) > 0 {
		t.writeRTCP(raw)
	}
}

// reports are the blocks of a receiver report, one for each stream that has begun.
func (in *inbound) reports(now int64) []rtcp.ReceptionReport {
	const most = 31
	var list []rtcp.ReceptionReport
	for ssrc, s := range in.streams {
		if !s.started || s.repair || len(list) == most {
			continue
		}
		total := s.total()
		since := total.since(s.reported)
		s.reported = total
		r := rtcp.ReceptionReport{
			SSRC: ssrc, TotalLost: uint32(min(total.Lost, 0x7fffff)), LastSequenceNumber: uint32(s.highest), LastSenderReport: s.lastSR,
			FractionLost: uint8(min(since.Lost*256/max(since.Lost+since.Delivered, 1), 255)),
		}
		if s.lastSR != 0 {
			r.Delay = uint32((now - s.lastSRCame) * 65536 / int64(time.Second))
		}
		list = append(list, r)
	}
	return list
}
