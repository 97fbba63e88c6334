package jobs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"portico/edge/sfu"
	"portico/edge/sfu/feedback"
	"portico/shared/conference"
	"portico/shared/relayproto"
)

// run is a job on one relay. The job's Loop owns what is not said to be otherwise.
type run struct {
	job        *job
	port       *port
	id         string // of the job, as the relay knows it
	timeline   feedback.Timeline
	inputs     map[inputKey]*input
	left       map[inputKey]*relayproto.InputTrack // what stands in an order for pictures that are left out
	dirty      chan struct{}                       // one token: the order has changed
	last       []byte                              // the order as sent last, but for its revision
	complaints map[string]complaint
	over       bool
}

// complaint is what is wrong with an input, since when, and when that was logged last.
type complaint struct {
	why   string // empty: nothing any more
	since time.Time
	at    time.Time
}

// complaintPause is how long nothing more is logged of an input, however its troubles change.
const complaintPause = 10 * time.Second

// begins makes the run the job's.
func (r *run) begins(ctx context.Context) {
	x := r.job
	if ctx.Err() != nil { // it was stopped meanwhile
		r.over = true
		return
	}
	x.run = r
	for _, o := range x.outputs {
		r.begin(o)
	}
	r.sync()
}

// end lets go of the relay. What its outputs have given stays with the subscribers until there is more.
func (r *run) end() {
	if r.over {
		return
	}
	r.over = true
	for k, in := range r.inputs {
		r.drop(k, in)
	}
	for _, o := range r.job.outputs {
		if s := o.coming; s != nil && s.run == r {
			o.coming = nil
			s.port.drop(s.flow)
			if o.live != s {
				s.encoding.Close()
			}
		}
	}
	if r.job.run == r {
		r.job.run = nil
	}
}

// detach ends the present run.
func (x *job) detach() {
	if x.run != nil {
		x.run.end()
	}
}

// begin makes the stream by which an output comes from the relay.
func (r *run) begin(o *output) {
	s := &stream{run: r, port: r.port, output: o, flow: r.port.number()}
	codec := o.key.format.Codec
	s.encoding = sfu.NewEncoding(sfu.EncodingConfig{
		Video: o.key.kind == conference.Video, Codec: codec, ClockRate: relayproto.ClockRate(codec), PayloadType: relayproto.PayloadType(codec),
		NACK: true, Extensions: extensions, Upstream: s, Timeline: &r.timeline,
	})
	r.port.enter(s.flow, s)
	o.coming = s
	o.ceiling = r.job.ceiling(o)
}

// extensions are those of the RTP header on a link.
var extensions = sfu.Extensions{AudioLevel: relayproto.ExtAudioLevel, DependencyDescriptor: relayproto.ExtDependencyDescriptor}

// sync takes what the job needs, and has the order sent.
func (r *run) sync() {
	if r.over {
		return
	}
	r.take()
	select {
	case r.dirty <- struct{}{}:
	default:
	}
}

// ceilingChange is by how many per cent a ceiling has to change to be worth telling.
const ceilingChange = 15

// tick is what is done once a second: the relay is told how its outputs arrive and what the subscribers' networks carry, and inputs that
// could not be had are tried again.
func (r *run) tick() {
	x := r.job
	if r.over {
		return
	}
	now := x.jobs.media.Now()
	for _, o := range x.outputs {
		if s := o.coming; s != nil {
			s.report(now)
		}
		is := x.ceiling(o)
		if change := max(is-o.ceiling, o.ceiling-is); change > 0 && 100*change >= ceilingChange*o.ceiling {
			o.ceiling = is
		}
	}
	r.sync()
}

// order is what to send to the relay, nil when that has it already.
func (r *run) order() []byte {
	x := r.job
	if r.over {
		return nil
	}
	o := relayproto.Order{Job: r.id, Room: x.room(), Kind: relayproto.Mix, Epoch: x.jobs.epochOf(x.room()), Inputs: r.listInputs(), Outputs: x.listOutputs()}
	o.Resets = uint64(x.mix.Resets)
	if x.spec == nil {
		o.Kind = relayproto.Transcode
	} else {
		o.View = x.view()
		if o.View.Width > 0 {
			o.Scene = []byte(x.mix.Scene.Value().String())
		}
	}
	raw, err := relayproto.Encode(relayproto.Message{Order: &o})
	if err != nil {
		x.jobs.log.Error("order cannot be written", "room", x.room(), "err", err)
		return nil
	}
	if bytes.Equal(raw, r.last) {
		return nil
	}
	r.last = raw
	x.revision++
	if x.mix.Resets != x.resets {
		x.resets, x.since = x.mix.Resets, x.revision
	}
	for _, out := range x.outputs {
		if out.ordered == 0 && out.coming != nil && out.refused == "" {
			out.ordered = x.revision
		}
	}
	o.Revision = x.revision
	raw, _ = relayproto.Encode(relayproto.Message{Order: &o}) // it could be written just now
	return raw
}

// view is how a mix looks and sounds.
func (x *job) view() *relayproto.View {
	v := &relayproto.View{VAD: x.vad()}
	if video := x.spec.View.Video; video != nil {
		p := video.Parameters
		v.Width, v.Height, v.Framerate = p.Resolution.Width, p.Resolution.Height, p.Framerate
		v.Background, v.Crop = video.BgColor, x.crops()
	}
	return v
}

func (x *job) listOutputs() []relayproto.Output {
	list := make([]relayproto.Output, 0, len(x.outputs))
	for _, o := range x.outputs {
		if o.coming != nil && o.refused == "" {
			list = append(list, relayproto.Output{
				ID: strconv.Itoa(o.number), Flow: o.coming.flow, Kind: o.key.kind, Format: o.key.format, Participant: o.key.group, Width: o.key.width,
				Height: o.key.height, Framerate: o.key.rate, Bitrate: o.key.kbps, Ceiling: o.ceiling, KeyFrameInterval: o.key.interval,
			})
		}
	}
	slices.SortFunc(list, func(a, b relayproto.Output) int { return cmp.Compare(a.Flow, b.Flow) }) // equal orders look alike
	return list
}

// reported takes a relay's report.
func (r *run) reported(report *relayproto.Report) {
	x := r.job
	if r.over || x.run != r {
		return
	}
	x.say(nil)
	for _, o := range x.outputs {
		o.proven = o.proven || o.ordered > 0 && o.ordered <= report.Revision && !troubled(report, o)
	}
	r.complain(report.Inputs)
	for i := range report.Outputs {
		x.said(&report.Outputs[i])
	}
	if report.Active != "" && report.Active != x.active && x.vad() && x.resets == x.mix.Resets && report.Revision >= x.since {
		x.active = report.Active
		x.spec.Active(report.Active)
	}
}

// troubled tells whether a report says that something is wrong with an output.
func troubled(report *relayproto.Report, o *output) bool {
	id := strconv.Itoa(o.number)
	return slices.ContainsFunc(report.Outputs, func(out relayproto.OutputReport) bool { return out.ID == id && out.Trouble != "" })
}

// complain logs what is wrong with inputs: they are their publishers' affair, and the mix goes on without them.
func (r *run) complain(reports []relayproto.InputReport) {
	complaints := make(map[string]complaint, len(reports))
	for i := range reports {
		in := &reports[i]
		f := r.complaints[in.ID]
		if f.why == "" {
			f.since = time.Now()
		}
		if in.Trouble != "" && in.Trouble != f.why && time.Since(f.at) > complaintPause {
			f.at = time.Now()
			r.job.jobs.log.Warn("input is not in the mix", "room", r.job.room(), "stream", in.ID, "why", in.Trouble)
		}
		f.why = in.Trouble
		complaints[in.ID] = f
	}
	r.complaints = complaints // of inputs that are gone nothing is kept
}

// said takes what a relay reports of an output, and tells those who have it when that is bad news.
func (x *job) said(report *relayproto.OutputReport) {
	for _, o := range x.outputs {
		if strconv.Itoa(o.number) != report.ID || o.trouble == report.Trouble {
			continue
		}
		if o.trouble = report.Trouble; o.trouble == "" {
			continue
		}
		for h := range x.handles {
			if h.out == o || h.next == o {
				h.wish.Trouble(o.trouble)
			}
		}
	}
}

// stream is an output as it comes from one relay. It implements receiver for the link, and sfu.Upstream for its encoding.
type stream struct {
	run      *run
	port     *port
	output   *output
	flow     uint64
	encoding *sfu.Encoding
	ssrc     atomic.Uint32 // 0 before the first packet
}

// sender is our SSRC in RTCP on links: the flow says what it is about.
const sender = 1

func (s *stream) rtp(packet []byte) {
	x := s.run.job
	if len(packet) < 12 || s.encoding.Ingest(packet, x.jobs.media.Now(), nil) != nil {
		return
	}
	if s.ssrc.Swap(max(1, binary.BigEndian.Uint32(packet[8:]))) == 0 {
		x.post(func() { x.arrived(s) })
	}
}

func (s *stream) rtcp(compound []byte) {
	for p, rest, ok := feedback.Next(compound); ok; p, rest, ok = feedback.Next(rest) {
		if sr, ok := p.SenderReport(); ok {
			s.encoding.SenderReport(sr, s.run.job.jobs.media.Now())
		}
	}
}

// RequestPackets implements sfu.Upstream.
func (s *stream) RequestPackets(seqs []uint16) {
	s.control(feedback.AppendNACK(nil, sender, s.ssrc.Load(), seqs))
}

// RequestKeyFrame implements sfu.Upstream.
func (s *stream) RequestKeyFrame() { s.control(feedback.AppendPLI(nil, sender, s.ssrc.Load())) }

// report tells the relay how the stream arrives.
func (s *stream) report(now int64) {
	if ssrc := s.ssrc.Load(); ssrc != 0 {
		if b, ok := s.encoding.Report(ssrc, now); ok {
			s.control(feedback.AppendReceiverReport(nil, sender, []feedback.Report{b}))
		}
	}
}

func (s *stream) control(compound []byte) {
	_ = s.port.link.Send(relayproto.RTCP(s.flow), compound) // asked for again later, or the link has ended
}

func (s *stream) end() {
	s.port.drop(s.flow)
	s.encoding.Close()
}
