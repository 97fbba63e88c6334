package loadtest

import (
	"time"

	"github.com/pion/rtcp"
)

// control takes an SRTCP compound: what the edge says of the media both ways.
func (p *peer) control(t *transport, b []byte) {
	plain, err := t.rtcpIn.DecryptRTCP(p.plain[:0], b, nil)
	if err != nil {
		return
	}
	p.plain = plain
	packets, err := rtcp.Unmarshal(plain)
	if err != nil {
		return
	}
	for _, packet := range packets {
		switch packet := packet.(type) {
		case *rtcp.PictureLossIndication:
			p.keyFrame(packet.MediaSSRC)
		case *rtcp.FullIntraRequest:
			for _, f := range packet.FIR {
				p.keyFrame(f.SSRC)
			}
		case *rtcp.TransportLayerNack:
			for _, pair := range packet.Nacks {
				p.nacks += uint64(len(pair.PacketList()))
			}
		case *rtcp.SenderReport:
			if s := p.streams[packet.SSRC]; s != nil {
				s.lastSR, s.lastSRCame = uint32(packet.NTPTime>>16), clock()
			}
		}
	}
}

// keyFrame has the next frame of an encoding be a key frame.
func (p *peer) keyFrame(ssrc uint32) {
	for _, t := range p.tracks {
		for _, e := range t.encodings {
			if e.ssrc == ssrc {
				p.keys++
				e.wantKey.Store(true)
			}
		}
	}
}

// sendReports sends sender reports for what is published and a receiver report for what comes.
func (p *peer) sendReports(t *transport, now int64) {
	var packets []rtcp.Packet
	for _, track := range p.tracks {
		for _, e := range track.encodings {
			if sent := e.sent.Load(); sent > 0 {
				packets = append(packets, &rtcp.SenderReport{
					SSRC: e.ssrc, NTPTime: ntp(started.Add(time.Duration(now))), RTPTime: track.timestamp(now),
					PacketCount: uint32(sent), OctetCount: uint32(e.octets.Load()),
				})
			}
		}
	}
	if reports := p.reports(now); len(reports) > 0 || len(packets) == 0 {
		packets = append(packets, &rtcp.ReceiverReport{SSRC: p.ssrc, Reports: reports})
	}
	if raw, err := rtcp.Marshal(packets); err == nil {
		t.writeRTCP(raw)
	}
}

// ntp is a time in 1/2^32 seconds since 1900 (RFC 3550 section 4).
func ntp(t time.Time) uint64 {
	const until1970 = 2208988800
	return uint64(t.Unix()+until1970)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}
