package cascade

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"portico/edge/sfu"
	"portico/edge/sfu/feedback"
	"portico/shared/meshproto"
	"portico/shared/relayproto"
)

// fetch is an encoding of something that is made at one edge, a mix or the loudest voice, and pulled from there. It implements puller. The
// Loop owns it.
type fetch struct {
	cascade  *Cascade
	owner    fetcher
	video    bool
	codec    string
	edge     func() string // where it is made; empty: here, or nobody knows
	timeline func(n *neighbour) *feedback.Timeline

	pull     *pull
	before   *pull         // goes on until what is pulled now comes
	live     *sfu.Encoding // by which it comes, nil before
	coming   *fetched      // of the last attempt
	failures int
	turn     int // counts the pauses
	closed   bool
}

// fetcher is whose it is.
type fetcher interface {
	asks() meshproto.Pull
	// arrived says that it comes by live now.
	arrived()
	heard(m *meshproto.PullMessage)
	trouble(why string)
	ticks(p *pull)
}

// fetched is a flow of it. It is the encoding's upstream.
type fetched struct {
	fetch    *fetch
	n        *neighbour
	flow     uint64
	ssrc     uint32
	encoding *sfu.Encoding
	came     atomic.Bool
	strange  atomic.Uint64
}

// look pulls it from where it is made, if it does not come from there.
func (k *fetch) look() {
	edge := k.edge()
	if k.closed || edge == "" || k.pull != nil && k.pull.n.name == edge {
		return
	}
	if k.pull != nil {
		if k.before != nil {
			k.before.n.drop(k.before)
		}
		k.before = k.pull
	}
	k.turn++
	k.pull = &pull{n: k.cascade.neighbour(edge), owner: k, ask: k.owner.asks()}
	k.pull.n.add(k.pull)
}

// begin implements puller.
func (k *fetch) begin(p *pull, ssrc uint32) receiver {
	if p == k.before { // it was to go on, and has ended
		k.before = nil
	}
	if p != k.pull {
		return nil
	}
	f := &fetched{fetch: k, n: p.n, flow: p.flow, ssrc: ssrc}
	f.encoding = sfu.NewEncoding(sfu.EncodingConfig{
		Video: k.video, Codec: k.codec, ClockRate: relayproto.ClockRate(k.codec), PayloadType: relayproto.PayloadType(k.codec), NACK: true,
		Extensions: extensions, Upstream: f, Timeline: k.timeline(p.n),
	})
	f.encoding.SetRedundant(meshproto.PayloadRedundant)
	if k.coming != nil && k.coming.encoding != k.live {
		k.coming.encoding.Close()
	}
	k.coming = f
	return f
}

func (f *fetched) rtp(packet []byte) {
	c := f.fetch.cascade
	if len(packet) < 12 || binary.BigEndian.Uint32(packet[8:]) != f.ssrc {
		f.strange.Add(1)
		return
	}
	if f.encoding.Ingest(packet, c.options.Media.Now(), nil) == nil && !f.came.Load() && f.encoding.Stats().Packets > 0 {
		f.came.Store(true)
		c.post(func() { f.fetch.comes(f) })
	}
}

func (f *fetched) rtcp(compound []byte) {
	for p, rest, ok := feedback.Next(compound); ok; p, rest, ok = feedback.Next(rest) {
		if sr, ok := p.SenderReport(); ok && sr.SSRC == f.ssrc {
			f.encoding.SenderReport(sr, f.fetch.cascade.options.Media.Now())
		}
	}
}

// sender is our SSRC in RTCP on links: the flow says what it is about.
const sender = 1

// RequestPackets implements sfu.Upstream.
func (f *fetched) RequestPackets(seqs []uint16) {
	f.n.control(f.flow, feedback.AppendNACK(nil, sender, f.ssrc, seqs))
}

// RequestKeyFrame implements sfu.Upstream.
func (f *fetched) RequestKeyFrame() { f.n.control(f.flow, feedback.AppendPLI(nil, sender, f.ssrc)) }

// comes takes note of the first packet.
func (k *fetch) comes(f *fetched) {
	if k.closed || k.coming != f {
		return
	}
	old := k.live
	k.live, k.failures = f.encoding, 0
	k.owner.arrived()
	if old != nil {
		old.Close()
	}
	if k.before != nil {
		k.before.n.drop(k.before)
		k.before = nil
	}
}

// said implements puller.
func (k *fetch) said(_ *pull, m *meshproto.PullMessage) { k.owner.heard(m) }

// ended implements puller: it is asked for again.
func (k *fetch) ended(p *pull, why meshproto.PullReason, detail string) {
	if p == k.before {
		k.before = nil
		return
	}
	if p != k.pull || k.closed {
		return
	}
	if k.failures++; k.failures == 3 || k.failures%64 == 0 {
		k.owner.trouble("it does not come from its edge: " + string(why) + " " + detail)
	}
	if why == unreachable { // it is asked for again as soon as the edge is back
		return
	}
	k.pull = nil
	k.turn++
	turn := k.turn
	time.AfterFunc(min(leastPause<<min(k.failures-1, 8), mostPause), func() {
		k.cascade.post(func() {
			if k.turn == turn {
				k.look()
			}
		})
	})
}

// tick implements puller: it tells how the stream arrives.
func (k *fetch) tick(p *pull) {
	f := k.coming
	if p != k.pull || f == nil {
		return
	}
	if b, ok := f.encoding.Report(f.ssrc, k.cascade.options.Media.Now()); ok {
		f.n.control(f.flow, feedback.AppendReceiverReport(nil, sender, []feedback.Report{b}))
	}
	k.owner.ticks(p)
}

// count implements puller.
func (k *fetch) count(x *Stat) {
	if f := k.coming; f != nil {
		s := f.encoding.Stats()
		x.Packets, x.Bytes, x.Requested = s.Packets, s.Bytes, s.PacketsRequested
	}
}

// close lets go of it.
func (k *fetch) close() {
	k.closed = true
	for _, p := range []*pull{k.pull, k.before} {
		if p != nil {
			p.n.drop(p)
		}
	}
	if k.coming != nil {
		k.coming.encoding.Close()
	}
	if k.live != nil {
		k.live.Close()
	}
}
