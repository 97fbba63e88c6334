// Package feedback asks and answers for the media of one encoding: what of it was lost on the way in (NACK), when a key frame is
// needed (PLI, FIR), how well it arrives (receiver reports), which retransmission a subscriber gets.
//
// It is pure: no clock and no goroutine. Times come in as nanoseconds since the Unix epoch, rising. On the packet path it sits
// between the history and the two directions of RTCP, whose packets it reads and writes (RFC 3550 section 6.4, RFC 4585 section
// 6, RFC 5104 section 4.3.1):
//
//	0                   1                   2                   3
//	0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	|V=2|P| count/F |      type     |  length in words less 1       |
//	|              SSRC of the sender of this packet                |
//	|              SSRC of the media, in feedback (205, 206)        |
package feedback

import "encoding/binary"

// Types of RTCP packets.
const (
	TypeSenderReport   = 200
	TypeReceiverReport = 201
	TypeBye            = 203
	TypeTransport      = 205 // RTPFB
	TypePayload        = 206 // PSFB
)

// Formats of feedback packets.
const (
	FormatNACK = 1 // of TypeTransport
	FormatPLI  = 1 // of TypePayload
	FormatFIR  = 4 // of TypePayload
)

// Packet is one RTCP packet of a compound. Body is what follows the sender's SSRC, a part of the compound.
type Packet struct {
	Type   uint8
	Format uint8 // the feedback format, or the count of reports
	Sender uint32
	Body   []byte
}

// Next splits the first packet off a compound. ok is false at the end, and when the rest is no RTCP.
func Next(compound []byte) (p Packet, rest []byte, ok bool) {
	if len(compound) < 8 || compound[0]>>6 != 2 {
		return p, nil, false
	}
	n := 4 + 4*int(binary.BigEndian.Uint16(compound[2:]))
	if n < 8 || n > len(compound) {
		return p, nil, false
	}
	body := compound[8:n]
	if compound[0]&0x20 != 0 {
		padding := int(compound[n-1])
		if padding == 0 || padding > len(body) {
			return p, nil, false
		}
		body = body[:len(body)-padding]
	}
	p = Packet{Type: compound[1], Format: compound[0] & 0x1f, Sender: binary.BigEndian.Uint32(compound[4:]), Body: body}
	return p, compound[n:], true
}

// Media is the SSRC a feedback packet is about; ok is false when it has none.
func (p Packet) Media() (ssrc uint32, ok bool) {
	if len(p.Body) < 4 || p.Type != TypeTransport && p.Type != TypePayload {
		return 0, false
	}
	return binary.BigEndian.Uint32(p.Body), true
}

// MaxNACK is how many sequence numbers one NACK packet may ask for; more are ignored.
const MaxNACK = 512

// NACK calls each with the sequence numbers asked for, in the order of the packet.
func (p Packet) NACK(each func(seq uint16)) {
	if p.Type != TypeTransport || p.Format != FormatNACK || len(p.Body) < 4 {
		return
	}
	left := MaxNACK
	for b := p.Body[4:]; len(b) >= 4 && left > 0; b = b[4:] {
		first, mask := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		each(first)
		left--
		for i := uint16(0); mask != 0 && left > 0; i, mask = i+1, mask>>1 {
			if mask&1 != 0 {
				each(first + i + 1)
				left--
			}
		}
	}
}

// WantsKeyFrame tells whether the packet is a PLI or FIR about the media ssrc.
func (p Packet) WantsKeyFrame(ssrc uint32) bool {
	if p.Type != TypePayload || len(p.Body) < 4 {
		return false
	}
	switch p.Format {
	case FormatPLI:
		return binary.BigEndian.Uint32(p.Body) == ssrc
	case FormatFIR: // the media SSRC is 0; the targets follow, each with a number
		for b := p.Body[4:]; len(b) >= 8; b = b[8:] {
			if binary.BigEndian.Uint32(b) == ssrc {
				return true
			}
		}
	}
	return false
}

// SenderReport is the sender's part of an SR: the same moment on its wall clock and in its stream, and its counts so far.
type SenderReport struct {
	SSRC            uint32
	NTP             uint64 // seconds since 1900 in the upper, fractions in the lower half
	Timestamp       uint32
	Packets, Octets uint32
}

// SenderReport reads an SR.
func (p Packet) SenderReport() (sr SenderReport, ok bool) {
	if p.Type != TypeSenderReport || len(p.Body) < 20 {
		return sr, false
	}
	return SenderReport{
		SSRC: p.Sender, NTP: binary.BigEndian.Uint64(p.Body), Timestamp: binary.BigEndian.Uint32(p.Body[8:]),
		Packets: binary.BigEndian.Uint32(p.Body[12:]), Octets: binary.BigEndian.Uint32(p.Body[16:]),
	}, true
}

// Report is a report block of an SR or RR: how one stream arrives.
type Report struct {
	SSRC         uint32
	FractionLost uint8 // of 256, since the last report
	Lost         int32 // since the beginning; 24 bits on the wire
	Highest      uint32
	Jitter       uint32 // clock ticks
	LastSR       uint32 // the middle of the NTP time of the last SR, 0 without
	Delay        uint32 // since then, in 1/65536 seconds
}

// Reports calls each with the report blocks of an SR or RR.
func (p Packet) Reports(each func(Report)) {
	b := p.Body
	switch p.Type {
	case TypeSenderReport:
		if len(b) < 20 {
			return
		}
		b = b[20:]
	case TypeReceiverReport:
	default:
		return
	}
	for range p.Format {
		if len(b) < reportSize {
			return
		}
		word := func(i int) uint32 { return binary.BigEndian.Uint32(b[4*i:]) }
		each(Report{
			SSRC: word(0), FractionLost: b[4], Lost: int32(word(1)<<8) >> 8, Highest: word(2), Jitter: word(3),
			LastSR: word(4), Delay: word(5),
		})
		b = b[reportSize:]
	}
}

const reportSize = 24

// MaxReports is how many report blocks one packet can hold.
const MaxReports = 31

// AppendReceiverReport appends an RR with at most MaxReports blocks.
func AppendReceiverReport(dst []byte, sender uint32, reports []Report) []byte {
	reports = reports[:min(len(reports), MaxReports)]
	dst = appendHeader(dst, TypeReceiverReport, uint8(len(reports)), 1+6*len(reports), sender)
	for _, r := range reports {
		dst = binary.BigEndian.AppendUint32(dst, r.SSRC)
		dst = binary.BigEndian.AppendUint32(dst, uint32(r.FractionLost)<<24|uint32(clampLost(r.Lost))&0xff_ffff)
		dst = binary.BigEndian.AppendUint32(dst, r.Highest)
		dst = binary.BigEndian.AppendUint32(dst, r.Jitter)
		dst = binary.BigEndian.AppendUint32(dst, r.LastSR)
		dst = binary.BigEndian.AppendUint32(dst, r.Delay)
	}
	return dst
}

func clampLost(lost int32) int32 { return max(-1<<23, min(1<<23-1, lost)) }

// AppendSenderReport appends an SR without report blocks.
func AppendSenderReport(dst []byte, sr SenderReport) []byte {
	dst = appendHeader(dst, TypeSenderReport, 0, 6, sr.SSRC)
	dst = binary.BigEndian.AppendUint64(dst, sr.NTP)
	dst = binary.BigEndian.AppendUint32(dst, sr.Timestamp)
	dst = binary.BigEndian.AppendUint32(dst, sr.Packets)
	return binary.BigEndian.AppendUint32(dst, sr.Octets)
}

// AppendPLI appends a request for a key frame of media.
func AppendPLI(dst []byte, sender, media uint32) []byte {
	dst = appendHeader(dst, TypePayload, FormatPLI, 2, sender)
	return binary.BigEndian.AppendUint32(dst, media)
}

// AppendNACK appends a request for the packets of media with these sequence numbers, which rise.
func AppendNACK(dst []byte, sender, media uint32, seqs []uint16) []byte {
	start := len(dst)
	dst = appendHeader(dst, TypeTransport, FormatNACK, 2, sender)
	dst = binary.BigEndian.AppendUint32(dst, media)
	for i := 0; i < len(seqs); {
		first, mask := seqs[i], uint16(0)
		for i++; i < len(seqs) && seqs[i]-first <= 16 && seqs[i] != first; i++ {
			mask |= 1 << (seqs[i] - first - 1)
		}
		dst = binary.BigEndian.AppendUint16(dst, first)
		dst = binary.BigEndian.AppendUint16(dst, mask)
	}
	binary.BigEndian.PutUint16(dst[start+2:], uint16((len(dst)-start)/4-1))
	return dst
}

func appendHeader(dst []byte, kind, format uint8, words int, sender uint32) []byte {
	dst = append(dst, 0x80|format, kind, byte(words>>8), byte(words))
	return binary.BigEndian.AppendUint32(dst, sender)
}
