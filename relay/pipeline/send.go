package pipeline

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"

	"portico/shared/relayproto"
	"portico/shared/rtp/history"
)

// maxPayload is the longest RTP payload that is sent, in bytes.
const maxPayload = 1150

// sender makes one encoding's frames into the packets of a flow. One goroutine at a time sends; the rest is safe beside it.
type sender struct {
	port   Port
	flow   uint64
	pt     uint8
	clock  int64
	ssrc   uint32
	offset uint32 // of timestamps
	epoch  int64
	ring   *history.Ring[struct{}]
	next   int64 // index of the next packet; its low 16 bits are the sequence number
	buf    []byte

	newest  atomic.Int64 // index
	packets atomic.Uint32
	octets  atomic.Uint32 // of payload
	bytes   atomic.Uint64 // all of it
	loss    atomic.Uint32 // in 256ths, as the receiver said last
}

func newSender(j *Job, out *relayproto.Output) *sender {
	config := history.Config{Packets: 64, Blocks: 4, Keep: 500 * time.Millisecond}
	if out.Kind == "video" {
		config = history.Config{Packets: 2048, Blocks: 256, Keep: time.Second}
	}
	return &sender{
		port: j.options.Port, flow: out.Flow, pt: relayproto.PayloadType(out.Format.Codec),
		clock: int64(relayproto.ClockRate(out.Format.Codec)), ssrc: rand.Uint32(), offset: rand.Uint32(), epoch: j.epoch,
		ring: history.New[struct{}](config), next: 1<<16 + int64(rand.Uint32N(1<<15)),
	}
}

// timestamp is that of what is shown or heard at a time.
func (s *sender) timestamp(at int64) uint32 {
	d := at - s.epoch
	return s.offset + uint32(d/second*s.clock+d%second*s.clock/second)
}

const noLevel = -1

// send sends one packet of what is shown or heard at the time at. level is that of sound (RFC 6464: 127 to 0, with 128 when there is
// voice), or noLevel.
func (s *sender) send(payload []byte, marker bool, at int64, level int, now int64) {
	b := append(s.buf[:0], 0x80, s.pt, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	if marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], uint16(s.next))
	binary.BigEndian.PutUint32(b[4:], s.timestamp(at))
	binary.BigEndian.PutUint32(b[8:], s.ssrc)
	if level != noLevel {
		b[0] |= 0x10
		b = append(b, 0xBE, 0xDE, 0, 1, relayproto.ExtAudioLevel<<4, byte(level), 0, 0)
	}
	b = append(b, payload...)
	s.buf = b
	s.ring.Put(s.next, b, struct{}{}, now)
	s.newest.Store(s.next)
	s.next++
	s.packets.Add(1)
	s.octets.Add(uint32(len(payload)))
	s.bytes.Add(uint64(len(b)))
	s.port.Send(relayproto.RTP(s.flow), b)
}

// report sends a sender report.
func (s *sender) report(now int64) {
	if s.newest.Load() == 0 {
		return
	}
	sr := rtcp.SenderReport{
		SSRC: s.ssrc, NTPTime: toNTP(now), RTPTime: s.timestamp(now), PacketCount: s.packets.Load(), OctetCount: s.octets.Load(),
	}
	if b, err := sr.Marshal(); err == nil {
		s.port.Send(relayproto.RTCP(s.flow), b)
	}
}

// maxResend is how many packets one RTCP packet can have sent again.
const maxResend = 256

// feedback answers what the receiver of the flow says, and tells whether it wants a key frame.
func (s *sender) feedback(packet []byte) (key bool) {
	packets, err := rtcp.Unmarshal(packet)
	if err != nil {
		return false
	}
	left := maxResend
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
			key = true
		case *rtcp.TransportLayerNack:
			for _, pair := range p.Nacks {
				pair.Range(func(number uint16) bool {
					left--
					s.again(number)
					return left > 0
				})
				if left <= 0 {
					break
				}
			}
		case *rtcp.ReceiverReport:
			for _, r := range p.Reports {
				s.loss.Store(uint32(r.FractionLost))
			}
		}
	}
	return key
}

// again sends a packet once more.
func (s *sender) again(number uint16) {
	newest := s.newest.Load()
	index := newest - int64(uint16(newest)-number)
	var b [2048]byte
	if n, _, ok := s.ring.Get(index, b[:]); ok {
		s.bytes.Add(uint64(n))
		s.port.Send(relayproto.RTP(s.flow), b[:n])
	}
}

func (s *sender) close() { s.ring.Release() }
