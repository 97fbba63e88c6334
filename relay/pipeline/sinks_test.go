package pipeline

import (
	"errors"
	"slices"
	"testing"

	"github.com/pion/rtcp"

	"portico/relay/codec"
	"portico/relay/payload"
	"portico/shared/conference"
	"portico/shared/relayproto"
	"portico/shared/rtp/inspect"
)

// received checks what all flows have in common.
type received struct {
	t       testing.TB
	name    string
	pt      uint8
	count   int
	last    uint16
	ssrc    uint32
	reports []rtcp.SenderReport
	bytes   int
}

func (r *received) take(b []byte) (h inspect.Header, fresh bool) {
	h, ok := inspect.ParseHeader(b)
	if !ok || h.PayloadType != r.pt {
		r.t.Fatalf("%s: packet of payload type %d", r.name, h.PayloadType)
	}
	if r.count > 0 && h.SSRC != r.ssrc {
		r.t.Errorf("%s: another SSRC", r.name)
	}
	if r.count > 0 && h.Sequence != r.last+1 {
		return h, false
	}
	r.count++
	r.bytes += len(b)
	r.last, r.ssrc = h.Sequence, h.SSRC
	return h, true
}

func (r *received) rtcp(b []byte, _ int64) {
	list, err := rtcp.Unmarshal(b)
	if err != nil {
		r.t.Errorf("%s: %v", r.name, err)
	}
	for _, p := range list {
		if sr, ok := p.(*rtcp.SenderReport); ok {
			r.reports = append(r.reports, *sr)
		}
	}
}

// moment is when the sender's reports say a timestamp was, in nanoseconds.
func (r *received) moment(timestamp uint32, clock int) int64 {
	if len(r.reports) == 0 {
		r.t.Fatalf("%s: no sender report", r.name)
	}
	sr := r.reports[len(r.reports)-1]
	return fromNTP(sr.NTPTime) + int64(int32(timestamp-sr.RTPTime))*second/int64(clock)
}

// ear hears an output.
type ear struct {
	received
	decoder codec.AudioDecoder
	pcm     []int16
	stamps  []uint32 // of packets
	payload [][]byte
	levels  []byte
}

func (e *ear) rtp(b []byte, _ int64) {
	h, fresh := e.take(b)
	if !fresh {
		return
	}
	if len(e.stamps) > 0 {
		if d, want := h.Timestamp-e.stamps[len(e.stamps)-1], uint32(relayproto.ClockRate("opus")/50); e.pt == 111 && d != want {
			e.t.Errorf("%s: %d ticks to the next packet", e.name, d)
		}
	}
	level, ok := h.Extension(b, relayproto.ExtAudioLevel)
	if !ok || len(level) != 1 {
		e.t.Fatalf("%s: no audio level", e.name)
	}
	e.stamps, e.levels = append(e.stamps, h.Timestamp), append(e.levels, level[0])
	e.payload = append(e.payload, slices.Clone(h.Payload(b)))
	var err error
	if e.pcm, err = e.decoder.Decode(e.pcm, h.Payload(b)); err != nil {
		e.t.Errorf("%s: %v", e.name, err)
	}
}

func (e *ear) forget() {
	e.pcm, e.payload, e.levels, e.stamps = nil, nil, nil, e.stamps[len(e.stamps)-1:]
}

// listen adds an output with sound to the order.
func (w *world) listen(id, participant string, format conference.Format) *ear {
	w.t.Helper()
	d, err := w.codecs.AudioDecoder(format)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(d.Close)
	e := &ear{received: received{t: w.t, name: id, pt: relayproto.PayloadType(format.Codec)}, decoder: d}
	out := relayproto.Output{ID: id, Flow: w.newFlow(), Kind: conference.Audio, Format: format, Participant: participant}
	w.order.Outputs = append(w.order.Outputs, out)
	w.sinks[out.Flow] = e
	return e
}

// eye sees an output.
type eye struct {
	received
	codec    string
	decoder  codec.VideoDecoder
	parts    depacketiser
	frames   int
	keys     int
	keyTimes []int64
	picture  *codec.Picture
	seen     func(p *codec.Picture, timestamp uint32, now int64)
	stamps   []uint32
	times    []int64
	flow     uint64
}

func (e *eye) rtp(b []byte, now int64) {
	h, fresh := e.take(b)
	if !fresh {
		return
	}
	f, err := e.parts.Push(payload.Packet{Timestamp: h.Timestamp, Marker: h.Marker, Payload: h.Payload(b)})
	if err != nil {
		e.t.Errorf("%s: %v", e.name, err)
	}
	if f.Data == nil {
		return
	}
	e.frames++
	if f.Key {
		e.keys++
		e.keyTimes = append(e.keyTimes, now)
	}
	e.stamps, e.times = append(e.stamps, h.Timestamp), append(e.times, now)
	p, err := e.decoder.Decode(f.Data)
	switch {
	case errors.Is(err, codec.ErrCorrupt) || err != nil:
		e.t.Errorf("%s: frame %d: %v", e.name, e.frames, err)
	case p != nil:
		e.picture = clonePicture(p)
		if e.seen != nil {
			e.seen(e.picture, h.Timestamp, now)
		}
	}
}

func clonePicture(p *codec.Picture) *codec.Picture {
	c := codec.NewPicture(p.Width, p.Height)
	for y := range p.Height {
		copy(c.Y[y*c.StrideY:], p.Y[y*p.StrideY:][:p.Width])
	}
	for y := range (p.Height + 1) / 2 {
		n := (p.Width + 1) / 2
		copy(c.U[y*c.StrideUV:], p.U[y*p.StrideUV:][:n])
		copy(c.V[y*c.StrideUV:], p.V[y*p.StrideUV:][:n])
	}
	return c
}

// at is the colour at a place of the last picture.
func (e *eye) at(x, y int) [3]byte {
	if e.picture == nil {
		return [3]byte{}
	}
	p := e.picture
	return [3]byte{p.Y[y*p.StrideY+x], p.U[y/2*p.StrideUV+x/2], p.V[y/2*p.StrideUV+x/2]}
}

// watch adds an output with pictures to the order.
func (w *world) watch(spec relayproto.Output) *eye {
	w.t.Helper()
	spec.Flow, spec.Kind = w.newFlow(), conference.Video
	name := spec.Format.Codec
	d, err := w.codecs.VideoDecoder(name)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(d.Close)
	e := &eye{received: received{t: w.t, name: spec.ID, pt: relayproto.PayloadType(name)}, codec: name, decoder: d, flow: spec.Flow}
	if e.parts, err = w.codecs.Depacketiser(name); err != nil {
		w.t.Fatal(err)
	}
	if spec.Bitrate == 0 && w.order.Kind == relayproto.Mix {
		spec.Bitrate = 1000
	}
	w.order.Outputs = append(w.order.Outputs, spec)
	w.sinks[spec.Flow] = e
	return e
}

// ask sends RTCP about an output.
func (w *world) ask(flow uint64, list ...rtcp.Packet) {
	b, err := rtcp.Marshal(list)
	if err != nil {
		w.t.Fatal(err)
	}
	w.job.Packet(relayproto.RTCP(flow), b)
}
