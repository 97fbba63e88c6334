package sfu

import (
	"time"

	"portico/edge/sfu/feedback"
	"portico/shared/rtp/inspect"
	"portico/shared/rtp/red"
	"portico/shared/rtp/rewrite"
)

// outgoing is what a packet is besides its place. With rtx, a payload type, it goes out on the RTX stream.
type outgoing struct {
	marker bool
	empty  bool // without its payload
	rtx    uint8
}

// write puts the outgoing header before the payload of a packet, and its numbers into it, and sends it. What is there of the header
// it came with, or that another Subscription wrote, is written over.
func (s *Subscription) write(t *slot, at rewrite.Place, o outgoing) bool {
	f := &s.forwarding
	buf, begin, end := t.buf[:], headroom+int(t.payload), headroom+t.n-int(t.padding)
	payloadType, seq, ssrc := uint8(s.payloadType.Load()), at.Seq, s.config.SSRC
	switch redundant := uint8(s.redundant.Load()); {
	case o.empty:
		end = begin
	case t.primary == 0:
		patch(buf[begin:end], &t.packet, at)
	case redundant == 0 || t.alone:
		buf, begin, end = t.unpack()
	default:
		red.SetPayloadType(buf[begin:end], payloadType)
		payloadType = redundant
	}
	if o.rtx != 0 { // the payload begins with the packet's own number (RFC 4588 section 4)
		begin -= 2
		buf[begin], buf[begin+1] = byte(at.Seq>>8), byte(at.Seq)
		payloadType, seq, ssrc = o.rtx, f.rtxSeq, s.config.RTXSSRC
		f.rtxSeq++
	}
	x := s.choose(t, o)
	size := inspect.FixedHeader + x.size
	raw := buf[begin-size : end]
	raw[0], raw[1] = 0x80, payloadType
	if o.marker {
		raw[1] |= 0x80
	}
	raw[2], raw[3] = byte(seq>>8), byte(seq)
	putUint32(raw[4:], t.timestamp+at.Stamp)
	putUint32(raw[8:], ssrc)
	seqAt := 0
	if x.size != 0 {
		raw[0] |= 0x10
		seqAt = x.write(raw, t, at)
	}
	if err := s.config.Sink.WriteRTP(raw, seqAt); err != nil {
		s.drop(DropWriteFailed)
		return false
	}
	f.delivered.packets++
	f.delivered.bytes += uint64(len(raw))
	if o.rtx == 0 {
		f.delivered.media += uint64(len(raw))
		f.sent.packets++
		f.sent.octets += uint32(len(raw) - size)
	}
	return true
}

// patch writes the numbers that count on from picture to picture into the descriptor at the beginning of the payload.
func patch(payload []byte, p *packet, at rewrite.Place) {
	f := &p.frame
	if f.PictureAt != 0 {
		picture := f.Picture + at.Picture
		if f.Wide {
			payload[f.PictureAt], payload[f.PictureAt+1] = 0x80|byte(picture>>8), byte(picture)
		} else {
			payload[f.PictureAt] = byte(picture) & 0x7f
		}
	}
	if f.TL0At != 0 {
		payload[f.TL0At] = f.TL0 + at.TL0
	}
}

// elements are the header extensions of one packet (RFC 8285). size is that of the whole extension, 0 for none.
type elements struct {
	level, seq, descriptor uint8 // ids, 0 for those it has not
	long                   bool  // in the form with two bytes before each element
	size                   int
}

// choose finds out which extensions a packet gets.
func (s *Subscription) choose(t *slot, o outgoing) (x elements) {
	ids := s.forwarding.x
	n, content := 0, 0
	if t.hasLevel && ids.AudioLevel != 0 {
		x.level, n, content = ids.AudioLevel, n+1, content+1
	}
	if ids.TransportSeq != 0 {
		x.seq, n, content = ids.TransportSeq, n+1, content+2
	}
	if t.descriptorSize != 0 && ids.DependencyDescriptor != 0 && !o.empty {
		x.descriptor, n, content = ids.DependencyDescriptor, n+1, content+int(t.descriptorSize)
	}
	if n == 0 {
		return x
	}
	x.long = t.descriptorSize > 16 && x.descriptor != 0 || x.level > 14 || x.seq > 14 || x.descriptor > 14
	if x.long {
		n *= 2
	}
	x.size = 4 + (n+content+3)&^3
	return x
}

// write writes the extension behind the fixed header of raw. seqAt is where in raw the transport-wide number belongs.
func (x *elements) write(raw []byte, t *slot, place rewrite.Place) (seqAt int) {
	profile, at := uint32(inspect.OneByteProfile), inspect.FixedHeader+4
	if x.long {
		profile = inspect.TwoByteProfile
	}
	putUint32(raw[inspect.FixedHeader:], profile<<16|uint32(x.size-4)/4)
	if x.level != 0 {
		at = x.begin(raw, at, x.level, 1)
		raw[at] = t.level
		at++
	}
	if x.seq != 0 {
		at = x.begin(raw, at, x.seq, 2)
		raw[at], raw[at+1] = 0, 0
		seqAt = at
		at += 2
	}
	if x.descriptor != 0 {
		n := int(t.descriptorSize)
		at = x.begin(raw, at, x.descriptor, n)
		copy(raw[at:], t.descriptor[:n])
		if t.frame.Structure != nil {
			number := t.frame.Number + place.Frame
			raw[at+inspect.DescriptorNumberAt], raw[at+inspect.DescriptorNumberAt+1] = byte(number>>8), byte(number)
		}
		at += n
	}
	for end := inspect.FixedHeader + x.size; at < end; at++ {
		raw[at] = 0
	}
	return seqAt
}

// begin writes what stands before an element of n bytes.
func (x *elements) begin(raw []byte, at int, id uint8, n int) int {
	if x.long {
		raw[at], raw[at+1] = id, byte(n)
		return at + 2
	}
	raw[at] = id<<4 | byte(n-1)
	return at + 1
}

func putUint32(b []byte, v uint32) {
	b[0], b[1], b[2], b[3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
}

// resend answers the receiver's request for the packet with its number seq. Packets from before the last switch are of no use
// to it any more.
func (s *Subscription) resend(t *slot, seq uint16, now int64) {
	f := &s.forwarding
	index, at, ok := f.stream.Lookup(seq)
	if !ok {
		s.drop(DropNoPlace)
		return
	}
	t.entry = entry{index: index}
	if t.load(f.encoding); !t.ok {
		s.drop(DropGone)
		return
	}
	if f.answers == nil {
		f.answers = new(feedback.Answers)
	}
	if !f.answers.Allow(seq, t.n, s.repair(), now) {
		s.drop(DropTooOften)
		return
	}
	f.x = unpack(s.extensions.Load())
	o := s.outgoing(t, at)
	o.rtx = uint8(s.rtx.Load())
	if s.write(t, at, o) {
		s.resent.Add(1)
	}
	s.account(now)
}

// SetRepair bounds what is sent again because the receiver asks.
func (s *Subscription) SetRepair(r feedback.Repair) {
	s.repairRate.Store(int64(r.Rate))
	s.repairPause.Store(int64(r.Pause))
}

func (s *Subscription) repair() feedback.Repair {
	return feedback.Repair{Rate: int(s.repairRate.Load()), Pause: time.Duration(s.repairPause.Load())}
}

// pad sends padding on the RTX stream.
func (s *Subscription) pad(t *slot, bytes int) {
	f := &s.forwarding
	f.x = unpack(s.extensions.Load())
	const most = 255 // that one packet can have
	for bytes > 0 {
		n := min(max(bytes, 1), most)
		rtx := uint8(s.rtx.Load())
		if rtx == 0 {
			return
		}
		t.packet, t.ok, t.n = packet{padding: uint8(n)}, true, n
		x := s.choose(t, outgoing{empty: true})
		size := inspect.FixedHeader + x.size
		raw := t.buf[headroom-size : headroom+n]
		raw[0], raw[1] = 0xa0, rtx
		raw[2], raw[3] = byte(f.rtxSeq>>8), byte(f.rtxSeq)
		f.rtxSeq++
		putUint32(raw[4:], f.lastTS)
		putUint32(raw[8:], s.config.RTXSSRC)
		clear(raw[size:])
		raw[len(raw)-1] = byte(n)
		seqAt := 0
		if x.size != 0 {
			raw[0] |= 0x10
			seqAt = x.write(raw, t, rewrite.Place{})
		}
		if s.config.Sink.WriteRTP(raw, seqAt) != nil {
			s.drop(DropWriteFailed)
			return
		}
		bytes -= len(raw)
	}
}
