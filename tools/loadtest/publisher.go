package loadtest

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"portico/shared/conference"
)

// What a publisher sends.
const (
	frameRate   = 30   // per second
	videoPacket = 1050 // bytes at most, with RTP header
	audioPacket = 90   // bytes, likewise
	audioTime   = 20 * time.Millisecond
)

// Media says what a publisher sends.
type Media struct {
	Video     int  // kbit/s of RTP; 0: none
	Audio     bool // 50 packets of 90 bytes a second
	Simulcast bool // three layers: Video is the largest one's
}

// DefaultVideo is 120 packets of 1,050 bytes a second.
const DefaultVideo = 4 * videoPacket * 8 * frameRate / 1000

// track is one that is published.
type track struct {
	kind       conference.Kind
	mid        string
	clockRate  int64
	base       uint32 // timestamp at clock 0
	encodings  []*encoding
	sequenceID atomic.Uint32 // of the header extension, once negotiated; 0 without
	stopped    atomic.Bool
}

// encoding is one SSRC that is sent.
type encoding struct {
	ssrc          uint32
	rid           string // of a simulcast
	packets, size int    // of a frame: number and bytes each
	width, height uint16
	wantKey       atomic.Bool
	sent, octets  atomic.Uint64
	seq, picture  uint16 // the publisher's
}

func (m Media) tracks() []*track {
	var list []*track
	fresh := func() *encoding {
		return &encoding{ssrc: rand.Uint32() | 1, seq: uint16(rand.Uint32()), picture: uint16(rand.Uint32())}
	}
	if m.Audio {
		e := fresh()
		e.packets, e.size = 1, audioPacket
		list = append(list, &track{kind: conference.Audio, clockRate: 48000, base: rand.Uint32(), encodings: []*encoding{e}})
	}
	if m.Video == 0 {
		return list
	}
	t := &track{kind: conference.Video, clockRate: 90000, base: rand.Uint32()}
	layers := []struct {
		rid           string
		share         float64
		width, height uint16
	}{{"q", .1, 320, 180}, {"h", .3, 640, 360}, {"f", 1, 1280, 720}}
	if !m.Simulcast {
		layers = layers[2:]
		layers[0].rid = ""
	}
	for _, l := range layers {
		e := fresh()
		e.rid, e.width, e.height = l.rid, l.width, l.height
		frame := float64(m.Video) * l.share * 1000 / 8 / frameRate
		e.packets = max(1, int(frame/videoPacket+.999))
		e.size = min(max(int(frame)/e.packets, minPacket), videoPacket)
		e.wantKey.Store(true)
		t.encodings = append(t.encodings, e)
	}
	return append(list, t)
}

// minPacket holds header, extensions, VP8 and trailer.
const minPacket = 80

// timestamp is that of a clock.
func (t *track) timestamp(now int64) uint32 {
	return t.base + uint32(uint64(now)/uint64(time.Second)*uint64(t.clockRate)+uint64(now)%uint64(time.Second)*uint64(t.clockRate)/uint64(time.Second))
}

// publisher sends the tracks of one peer at their pace.
type publisher struct {
	transport *transport
	tracks    []*track
	rate      *atomic.Uint64 // video in percent of what it is by default
	sequence  uint16         // transport-wide
	plain     []byte
	sealed    []byte
	header    rtp.Header
	lateness  *lateness
}

// run sends until ctx ends.
func (p *publisher) run(ctx context.Context) {
	select {
	case <-p.transport.ready:
	case <-ctx.Done():
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	begin := clock() + rand.Int64N(int64(time.Second)/frameRate) // not all at the same moment
	var frames, sounds int64
	for {
		frame, sound := begin+frames*int64(time.Second)/frameRate, begin+sounds*int64(audioTime)
		due := min(frame, sound)
		timer.Reset(time.Duration(due - clock()))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		now := clock()
		p.lateness.record(now - due)
		if now-due > int64(time.Second) { // the machine stood still: nothing is made up for
			begin += now - due
		}
		if frame == due {
			frames++
			p.send(conference.Video, due)
		}
		if sound == due {
			sounds++
			p.send(conference.Audio, due)
		}
	}
}

// send sends one frame of every track of a kind.
func (p *publisher) send(kind conference.Kind, now int64) {
	for _, t := range p.tracks {
		if t.kind != kind || t.stopped.Load() {
			continue
		}
		for _, e := range t.encodings {
			p.sendFrame(t, e, t.timestamp(now))
		}
	}
}

func (p *publisher) sendFrame(t *track, e *encoding, timestamp uint32) {
	packets := e.packets
	if t.kind == conference.Video {
		packets = max(1, (packets*int(p.rate.Load())+50)/100)
		e.picture++
	}
	key := t.kind == conference.Video && e.wantKey.Swap(false)
	for i := range packets {
		plain := p.packet(t, e, timestamp, i == 0, i == packets-1, key)
		sealed, err := p.transport.rtpOut.EncryptRTP(p.sealed[:0], plain, &p.header)
		if err != nil {
			return
		}
		p.sealed = sealed
		_ = p.transport.write(sealed) // as lost as on a network
		e.seq++
		e.sent.Add(1)
		e.octets.Add(uint64(len(plain)))
	}
}

// packet makes one packet, of e.size bytes.
func (p *publisher) packet(t *track, e *encoding, timestamp uint32, first, last, key bool) []byte {
	b := append(p.plain[:0], 0x90, opusType)
	if t.kind == conference.Video {
		b[1] = vp8Type
		if last {
			b[1] |= 0x80
		}
	}
	b = binary.BigEndian.AppendUint16(b, e.seq)
	b = binary.BigEndian.AppendUint32(b, timestamp)
	b = binary.BigEndian.AppendUint32(b, e.ssrc)
	b = p.extensions(b, t, e)
	header := len(b)
	b = append(b, make([]byte, e.size-header)...)
	payload := b[header:]
	clear(payload)
	if t.kind == conference.Video {
		putVP8(payload, picture{key: key, first: first, id: e.picture, width: e.width, height: e.height})
	} else {
		payload[0] = 0x78 // CELT, 20 ms, one frame (RFC 6716 section 3.1)
	}
	trailer{e.ssrc, e.sent.Load(), clock()}.put(payload)
	p.plain = b
	return b
}

// extensions appends the header extensions, or takes the bit that announces them away.
func (p *publisher) extensions(b []byte, t *track, e *encoding) []byte {
	start := len(b)
	b = append(b, 0xbe, 0xde, 0, 0)
	if t.kind == conference.Audio {
		b = putExtension(b, levelID, 30) // -30 dBov
	}
	if id := t.sequenceID.Load(); id != 0 {
		b = putExtension(b, uint8(id), uint8(p.sequence>>8), uint8(p.sequence))
		p.sequence++
	}
	if e.rid != "" {
		b = putExtension(b, midID, []byte(t.mid)...)
		b = putExtension(b, ridID, []byte(e.rid)...)
	}
	if len(b) == start+4 {
		b[0] &^= 0x10
		return b[:start]
	}
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16((len(b)-start-4)/4))
	return b
}
