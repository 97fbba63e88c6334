package pipeline

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/pion/rtcp"

	"portico/relay/codec"
	"portico/shared/conference"
	"portico/shared/relayproto"
)

// network is the way of one encoding to the job.
type network struct {
	delay, jitter time.Duration
	loss          float64
}

// packets makes RTP packets.
type packets struct {
	flow   uint64
	pt     uint8
	clock  int64
	seq    uint16
	ssrc   uint32
	offset uint32
	count  uint32
	net    network
	sent   map[uint16][]byte // to be sent again
	skew   time.Duration     // of the clock that the sender reports tell
}

func (p *packets) timestamp(at int64) uint32 {
	return p.offset + uint32(at/second*p.clock+at%second*p.clock/second)
}

func (p *packets) packet(w *world, b []byte, marker bool, at int64) {
	out := []byte{0x80, p.pt, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if marker {
		out[1] |= 0x80
	}
	binary.BigEndian.PutUint16(out[2:], p.seq)
	binary.BigEndian.PutUint32(out[4:], p.timestamp(at))
	binary.BigEndian.PutUint32(out[8:], p.ssrc)
	out = append(out, b...)
	if p.sent != nil {
		p.sent[p.seq] = out
		delete(p.sent, p.seq-1000)
	}
	p.seq++
	p.count++
	w.carry(relayproto.RTP(p.flow), out, &p.net)
}

func (p *packets) report(w *world, at int64) {
	sr := rtcp.SenderReport{SSRC: p.ssrc, NTPTime: toNTP(at + int64(p.skew)), RTPTime: p.timestamp(at), PacketCount: p.count}
	b, err := sr.Marshal()
	if err != nil {
		w.t.Fatal(err)
	}
	n := p.net
	n.loss = 0
	w.carry(relayproto.RTCP(p.flow), b, &n)
}

// answer resends what is asked for, and tells whether a key frame is.
func (p *packets) answer(w *world, b []byte) (key bool, nacks int) {
	list, err := rtcp.Unmarshal(b)
	if err != nil {
		w.t.Errorf("RTCP of the job: %v", err)
	}
	for _, r := range list {
		switch r := r.(type) {
		case *rtcp.PictureLossIndication:
			key = true
		case *rtcp.TransportLayerNack:
			for _, n := range r.Nacks {
				for _, number := range n.PacketList() {
					nacks++
					if again := p.sent[number]; again != nil {
						w.carry(relayproto.RTP(p.flow), again, &p.net)
					}
				}
			}
		}
	}
	return key, nacks
}

// talker sends sound in packets of 20 ms.
type talker struct {
	packets
	encoder codec.AudioEncoder
	sound   func(at int64, i int) float64 // sample i of those from the time at on
	at      int64
	n       int
	drift   float64 // of its clock, in millionths
}

func (a *talker) next() int64 { return a.at }

func (a *talker) send(w *world) {
	pcm := make([]int16, 0, 4096)
	each := a.encoder.Rate() / 50
	for i := range each {
		v := int16(math.Round(min(max(a.sound(a.at, a.n*each+i), -32768), 32767)))
		for range a.encoder.Channels() {
			pcm = append(pcm, v)
		}
	}
	b, err := a.encoder.Encode(nil, pcm)
	if err != nil {
		w.t.Fatal(err)
	}
	media := a.at
	if a.drift != 0 {
		media = int64(a.n) * 20 * millisecond // its own clock
	}
	a.packet(w, b, a.n == 0, media)
	if a.n%50 == 5 {
		a.report(w, media)
	}
	a.n++
	a.at += int64(20e6 / (1 + a.drift/1e6))
}

func (a *talker) rtcp(*world, []byte) {}

// tone is a sine.
func tone(hz, amplitude float64, rate int) func(int64, int) float64 {
	return func(_ int64, i int) float64 { return amplitude * math.Sin(2*math.Pi*hz*float64(i)/float64(rate)) }
}

// camera sends pictures.
type camera struct {
	packets
	codec         string
	encoder       codec.VideoEncoder
	parts         packetiser
	width, height int
	draw          func(p *codec.Picture, at int64)
	rate          float64
	at            int64
	n             int
	key           bool
	keys, nacks   int // asked for
	spoil         func(frame []byte) []byte
	deaf          bool // to requests for key frames
}

func (c *camera) next() int64 { return c.at }

func (c *camera) send(w *world) {
	if c.encoder == nil {
		var err error
		c.encoder, err = w.codecs.VideoEncoder(codec.VideoConfig{
			Format: conference.Format{Codec: c.codec}, Width: c.width, Height: c.height, Framerate: c.rate, Bitrate: 800_000,
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	p := codec.NewPicture(c.width, c.height)
	c.draw(p, c.at)
	frame, _, err := c.encoder.Encode(p, c.at*9/100_000, c.key)
	if err != nil {
		w.t.Fatal(err)
	}
	c.key = false
	if c.spoil != nil {
		frame = c.spoil(slices.Clone(frame))
	}
	if len(frame) > 0 {
		list, err := c.parts.Split(frame)
		if err != nil && c.spoil == nil {
			w.t.Fatal(err)
		}
		for i, b := range list {
			c.packet(w, b, i == len(list)-1, c.at)
		}
	}
	if c.n%int(c.rate) == 3 {
		c.report(w, c.at)
	}
	c.n++
	c.at += int64(float64(second) / c.rate)
}

func (c *camera) rtcp(w *world, b []byte) {
	key, nacks := c.answer(w, b)
	c.nacks += nacks
	if key {
		c.keys++
		c.key = !c.deaf
	}
}

// resize goes on in another size.
func (c *camera) resize(width, height int) {
	c.encoder.Close()
	c.encoder, c.width, c.height = nil, width, height
}
