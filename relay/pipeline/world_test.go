package pipeline

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"portico/relay/codec"
	"portico/shared/conference"
	"portico/shared/layout"
	"portico/shared/relayproto"
	"portico/shared/rtp/jitter"
)

// world is an edge with its clients, around one job, in simulated time: it sends what its sources make, over a network that loses and
// delays, and keeps what comes back.
type world struct {
	t       testing.TB
	codecs  codecs
	job     *Job
	rand    *rand.Rand
	order   relayproto.Order
	flow    uint64
	sources []source
	sinks   map[uint64]sink
	coming  []event // by time
	now     int64
	step    time.Duration // in which time goes by
	measure func(func())  // of the calls of Job.Packet

	mu      sync.Mutex // guards what the job's goroutines bring
	came    []event
	reports []relayproto.Report
}

type event struct {
	at     int64
	flow   uint64 // id
	packet []byte
}

type source interface {
	next() int64             // when it sends next
	send(w *world)           // what is due
	rtcp(w *world, b []byte) // from the job
}

type sink interface {
	rtp(b []byte, now int64)
	rtcp(b []byte, now int64)
}

func newWorld(t testing.TB, c codecs) *world {
	w := &world{t: t, codecs: c, rand: rand.New(rand.NewPCG(1, 2)), sinks: make(map[uint64]sink), step: time.Millisecond}
	w.now = time.Now().UnixNano()
	w.job = newJob(Options{Port: w, Now: func() int64 { return time.Now().UnixNano() }, Parallel: 2}, c)
	w.order = relayproto.Order{Job: "j", Room: "r", Kind: relayproto.Mix, View: &relayproto.View{}}
	return w
}

// Send implements Port.
func (w *world) Send(flowID uint64, packet []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.came = append(w.came, event{time.Now().UnixNano(), flowID, slices.Clone(packet)})
}

// Report implements Port.
func (w *world) Report(r relayproto.Report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reports = append(w.reports, r)
}

// newest is the newest report.
func (w *world) newest() relayproto.Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.reports) == 0 {
		return relayproto.Report{}
	}
	return w.reports[len(w.reports)-1]
}

func (w *world) inputReport(id string) relayproto.InputReport {
	for _, r := range w.newest().Inputs {
		if r.ID == id {
			return r
		}
	}
	return relayproto.InputReport{}
}

func (w *world) outputReport(id string) relayproto.OutputReport {
	for _, r := range w.newest().Outputs {
		if r.ID == id {
			return r
		}
	}
	return relayproto.OutputReport{}
}

// soundStats is how the sound of the first input comes in.
func (w *world) soundStats() jitter.Stats {
	a := w.job.inputs[0].audio
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.buf.Stats()
}

func (w *world) newFlow() uint64 { w.flow++; return w.flow }

// give gives the order.
func (w *world) give() {
	w.t.Helper()
	if err := w.try(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) try() error {
	w.order.Revision++
	o := w.order
	o.Inputs, o.Outputs = slices.Clone(o.Inputs), slices.Clone(o.Outputs)
	b, err := relayproto.Encode(relayproto.Message{Order: &o})
	if err != nil {
		return err
	}
	m, err := relayproto.Decode(b) // as it comes over a link
	if err != nil {
		return err
	}
	return w.job.Order(m.Order)
}

// run lets so much time go by.
func (w *world) run(d time.Duration) {
	for range d / w.step {
		w.now = time.Now().UnixNano()
		for _, s := range w.sources {
			for s.next() <= w.now {
				s.send(w)
			}
		}
		for len(w.coming) > 0 && w.coming[0].at <= w.now {
			e := w.coming[0]
			w.coming = w.coming[1:]
			w.packet(e)
		}
		time.Sleep(w.step)
		w.take()
	}
}

func (w *world) packet(e event) {
	if w.measure == nil {
		w.job.Packet(e.flow, e.packet)
		return
	}
	w.measure(func() { w.job.Packet(e.flow, e.packet) })
}

// take hands what came from the job to whom it concerns.
func (w *world) take() {
	w.mu.Lock()
	came := w.came
	w.came = nil
	w.mu.Unlock()
	for _, e := range came {
		flow, isRTCP := relayproto.Flow(e.flow)
		s := w.sinks[flow]
		switch {
		case s == nil:
			for _, from := range w.sources {
				if isRTCP && flowOf(from) == flow {
					from.rtcp(w, e.packet)
				}
			}
		case isRTCP:
			s.rtcp(e.packet, e.at)
		default:
			s.rtp(e.packet, e.at)
		}
	}
}

func flowOf(s source) uint64 {
	switch s := s.(type) {
	case *talker:
		return s.flow
	case *camera:
		return s.flow
	}
	return 0
}

// carry puts a packet on its way.
func (w *world) carry(flow uint64, packet []byte, n *network) {
	if w.rand.Float64() < n.loss {
		return
	}
	at := w.now + int64(n.delay)
	if n.jitter > 0 {
		at += w.rand.Int64N(int64(n.jitter))
	}
	e := event{at, flow, packet}
	i, _ := slices.BinarySearchFunc(w.coming, e, func(a, b event) int { return cmp.Compare(a.at, b.at+1) })
	w.coming = slices.Insert(w.coming, i, e)
}

func (w *world) close() {
	w.job.Close()
	w.take()
}

func (w *world) packets(codec string) packets {
	return packets{
		flow: w.newFlow(), pt: relayproto.PayloadType(codec), clock: int64(relayproto.ClockRate(codec)),
		seq: uint16(w.rand.Uint32()), ssrc: w.rand.Uint32(), offset: w.rand.Uint32(), net: network{delay: 20 * time.Millisecond},
	}
}

var opusFormat = conference.Format{Codec: "opus", SampleRate: 48000, ChannelNum: 2}

// talk adds an input with sound to the order.
func (w *world) talk(id, participant string, format conference.Format, hz, amplitude float64) *talker {
	w.t.Helper()
	e, err := w.codecs.AudioEncoder(codec.AudioConfig{Format: format})
	if err != nil {
		w.t.Fatal(err)
	}
	a := &talker{packets: w.packets(format.Codec), encoder: e, at: time.Now().UnixNano() + w.rand.Int64N(20*millisecond)}
	a.sound = tone(hz, amplitude, e.Rate())
	w.t.Cleanup(e.Close)
	w.sources = append(w.sources, a)
	in := w.input(id)
	in.Participant = participant
	in.Audio = &relayproto.InputTrack{Flow: a.flow, Format: format}
	return a
}

// film adds an input with pictures to the order.
func (w *world) film(id, name string, width, height int, rate float64) *camera {
	w.t.Helper()
	c := &camera{packets: w.packets(name), codec: name, width: width, height: height, rate: rate, at: time.Now().UnixNano()}
	c.sent = make(map[uint16][]byte)
	c.draw = colour(200, 100, 100)
	var err error
	if c.parts, err = w.codecs.Packetiser(name, 7); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if c.encoder != nil {
			c.encoder.Close()
		}
	})
	w.sources = append(w.sources, c)
	w.input(id).Video = &relayproto.InputTrack{Flow: c.flow, Format: conference.Format{Codec: name}}
	return c
}

// input is the order's input of that id.
func (w *world) input(id string) *relayproto.Input {
	for i := range w.order.Inputs {
		if w.order.Inputs[i].ID == id {
			return &w.order.Inputs[i]
		}
	}
	w.order.Inputs = append(w.order.Inputs, relayproto.Input{ID: id})
	return &w.order.Inputs[len(w.order.Inputs)-1]
}

func (w *world) drop(id string) {
	w.order.Inputs = slices.DeleteFunc(slices.Clone(w.order.Inputs), func(in relayproto.Input) bool { return in.ID == id })
}

func (w *world) silence(s source) {
	w.sources = slices.DeleteFunc(w.sources, func(other source) bool { return other == s })
}

// scene shows streams in the template of a base.
func (w *world) scene(base string, streams ...string) {
	w.t.Helper()
	a, err := layout.New(conference.Templates{Base: base}, 16)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range streams {
		a = a.Add(s)
	}
	w.order.Scene = []byte(a.Scene().Value().String())
}

func colour(y, u, v byte) func(*codec.Picture, int64) {
	return func(p *codec.Picture, _ int64) {
		for plane, value := range map[*[]byte]byte{&p.Y: y, &p.U: u, &p.V: v} {
			for i := range *plane {
				(*plane)[i] = value
			}
		}
	}
}

// strength is how strong a frequency is in one channel, in dB of a sine of full scale (Goertzel's sum under a Hann window).
func strength(pcm []int16, rate, channels int, hz float64) float64 {
	n := len(pcm) / channels
	var re, im, sum float64
	for i := range n {
		w := 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(n))
		x := w * float64(pcm[i*channels])
		sin, cos := math.Sincos(2 * math.Pi * hz * float64(i) / float64(rate))
		re, im, sum = re+x*cos, im+x*sin, sum+w
	}
	return 20 * math.Log10(max(2*math.Hypot(re, im)/max(sum, 1), 1e-9)/32767)
}

func (e *ear) hears(hz float64) float64 {
	return strength(e.pcm, e.decoder.Rate(), e.decoder.Channels(), hz)
}

func near(a, b [3]byte, most int) error {
	for i := range a {
		if d := int(a[i]) - int(b[i]); d > most || d < -most {
			return fmt.Errorf("%v is not %v", a, b)
		}
	}
	return nil
}
