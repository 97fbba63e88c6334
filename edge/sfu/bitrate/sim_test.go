package bitrate

import (
	"math/rand/v2"
	"testing"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
)

// pipe is the bottleneck, which several worlds may share.
type pipe struct {
	waiting []parcel
	queued  int
	tokens  float64
}

// network is the way to the receiver and back, in virtual time.
type network struct {
	rate          func(at int64) float64 // bit/s of the bottleneck
	queue         int                    // bytes that wait at most
	delay         int64                  // each way
	jitter        int64                  // at most, for each packet
	loss          float64                // at random
	reorder       float64                // share of packets delayed by 10 ms more
	feedback      int64                  // time between feedback messages
	feedbackLoss  float64
	feedbackTwice float64
	mute          func(at int64) bool // the receiver sends nothing
	clock         func(at int64) int64
	depth         int64                  // bytes of a token bucket that pass at once
	others        func(at int64) float64 // bit/s of other traffic through the bottleneck
}

// parcel is one packet under way.
type parcel struct {
	seq     uint16
	size    int
	bits    float64 // left to send
	kind    byte    // 'a' audio, 'v' video, 'p' padding, 'o' of others
	sent    int64
	arrives int64
	owner   *world
}

// reply is one feedback message under way.
type reply struct {
	fci []byte
	at  int64
}

// world is a transport with its network, receiver and publishers.
type world struct {
	t       *testing.T
	net     network
	now     int64
	random  *rand.Rand
	est     *Estimator
	alloc   Allocator
	demands []Demand
	grants  []Grant
	feeds   []*feed
	noAudio bool
	noPad   bool
	harsh   bool // key frames come unpaced, as from a cache

	seq      uint16
	pipe     *pipe
	flying   []parcel
	replies  []reply
	recorder *twcc.Recorder
	other    float64

	audioSent, audioGot int
	videoGot, padSent   int
	longestDelay        int64
	audioGap, lastAudio int64
	resends             []parcel
	events              []event
}

// event is a change of the layer really sent.
type event struct {
	at     int64
	sub    int
	layer  int
	reason Reason
}

// feed is a publisher's video as it is forwarded to the receiver.
type feed struct {
	rates   []float64
	current int   // layer sent; -1: none
	wants   int   // layer granted
	keyAt   int64 // when the key frame for wants comes
	next    int64
	burst   []parcel // key frame still being sent
}

const startAt = 1000 * second

func newWorld(t *testing.T, net network, feeds ...[]float64) *world {
	w := &world{t: t, net: net, now: startAt, random: rand.New(rand.NewPCG(1, 2)), recorder: twcc.NewRecorder(1), seq: 65000}
	w.est = New(Config{}, w.now)
	if w.net.feedback == 0 {
		w.net.feedback = 100 * millisecond
	}
	if w.net.clock == nil {
		w.net.clock = func(at int64) int64 { return at + at/20_000 + 3600*second } // 50 ppm fast
	}
	w.lastAudio, w.pipe = w.now, &pipe{}
	for _, rates := range feeds {
		w.add(Demand{Kind: Video}, rates)
	}
	return w
}

// sizes of simulcast layers, smallest first.
var sizes = [][2]int{{320, 180}, {640, 360}, {1280, 720}}

func (w *world) add(d Demand, rates []float64) {
	for i, r := range rates {
		s := sizes[i+len(sizes)-len(rates)]
		d.Layers = append(d.Layers, Layer{Encoding: int8(i), Width: s[0], Height: s[1], FrameRate: 30, Bitrate: Bitrate(r)})
	}
	w.demands = append(w.demands, d)
	w.grants = append(w.grants, Grant{})
	w.feeds = append(w.feeds, &feed{rates: rates, current: -1, wants: -1, next: w.now + int64(len(w.feeds))*7*millisecond})
}

// run lets time pass, a millisecond at a time.
func (w *world) run(time int64) { together(time, w) }

// together runs worlds that share the first one's bottleneck.
func together(time int64, worlds ...*world) {
	first := worlds[0]
	for _, w := range worlds {
		w.pipe = first.pipe
	}
	for end := first.now + time; first.now < end; {
		for _, w := range worlds {
			w.offer()
		}
		first.bottleneck()
		for _, w := range worlds {
			w.answer()
			w.now += millisecond
		}
	}
}

// offer sends what is due in this millisecond.
func (w *world) offer() {
	tick := (w.now - startAt) / millisecond
	if tick%20 == 0 && !w.noAudio {
		w.audioSent++
		w.send('a', 100)
	}
	for i, f := range w.feeds {
		w.video(i, f)
	}
	w.resend()
	if w.net.others != nil {
		for w.other += w.net.others(w.now) / 8000; w.other > 1000; w.other -= 1000 {
			w.send('o', 1000)
		}
	}
}

// answer is the receiver's part, and what the sender does then.
func (w *world) answer() {
	tick := (w.now - startAt) / millisecond
	w.deliver()
	if tick%(w.net.feedback/millisecond) == 0 {
		w.report()
	}
	w.receive()
	if tick%100 == 0 {
		w.allocate()
	}
	if tick%10 == 0 {
		w.probe()
	}
}

// send puts a packet into the bottleneck.
func (w *world) send(kind byte, size int) {
	p := parcel{seq: w.seq, size: size, bits: float64(size+40) * 8, kind: kind, sent: w.now, owner: w}
	switch kind {
	case 'p':
		w.padSent += size
		w.est.SentPadding(p.seq, size, w.now)
	case 'o':
	default:
		w.est.Sent(p.seq, size, w.now)
	}
	if kind != 'o' {
		w.seq++
	}
	w.push(p)
}

func (w *world) push(p parcel) {
	lost := w.random.Float64() < w.net.loss && p.kind != 'o'
	if lost || w.pipe.queued+p.size > w.net.queue {
		if p.kind == 'v' {
			p.arrives = w.now + 2*w.net.delay + 60*millisecond
			w.resends = append(w.resends, p)
		}
		return
	}
	w.pipe.queued += p.size
	w.pipe.waiting = append(w.pipe.waiting, p)
}

// resend answers NACKs, once for each packet.
func (w *world) resend() {
	for len(w.resends) > 0 && w.resends[0].arrives <= w.now {
		p := w.resends[0]
		w.resends = w.resends[1:]
		w.send('r', p.size)
	}
}

// video forwards the frames of the layer that is sent.
func (w *world) video(i int, f *feed) {
	paced := 3 // packets a millisecond
	if !w.harsh && w.now/millisecond%2 == 0 {
		paced = 1 // publishers pace their key frames: 4 Mbit/s
	} else if !w.harsh {
		paced = 0
	}
	for range min(len(f.burst), paced) {
		w.send('v', f.burst[0].size)
		f.burst = f.burst[1:]
	}
	if w.now < f.next {
		return
	}
	f.next += 33 * millisecond
	key := false
	if f.wants != f.current && (f.wants < 0 || w.now >= f.keyAt) {
		f.current, key = f.wants, true
		w.events = append(w.events, event{w.now, i, f.current, w.grants[i].Reason})
	}
	if f.current < 0 {
		return
	}
	size := f.rates[f.current] / 8 * 0.033 * (0.6 + 0.8*w.random.Float64())
	if key {
		size *= 6
	}
	for ; size > 0; size -= 1100 {
		f.burst = append(f.burst, parcel{size: max(min(int(size), 1100), 50)})
	}
	if !key {
		for _, p := range f.burst {
			w.send('v', p.size)
		}
		f.burst = f.burst[:0]
	}
}

// bottleneck passes a millisecond's worth of bits.
func (w *world) bottleneck() {
	q, rate := w.pipe, w.net.rate(w.now)
	q.tokens = min(q.tokens+rate/1000, max(float64(w.net.depth)*8, rate/1000))
	for len(q.waiting) > 0 && q.tokens > 0 {
		p := &q.waiting[0]
		part := min(p.bits, q.tokens)
		p.bits -= part
		q.tokens -= part
		if p.bits > 0 {
			return
		}
		q.queued -= p.size
		jitter := int64(0)
		if w.net.jitter > 0 {
			jitter = w.random.Int64N(w.net.jitter)
		}
		if w.random.Float64() < w.net.reorder {
			jitter += 10 * millisecond
		}
		p.arrives = w.now + w.net.delay + jitter - int64(q.tokens/rate*1e9)%millisecond
		p.owner.flying = append(p.owner.flying, *p)
		q.waiting = q.waiting[1:]
	}
}

// deliver gives the receiver what has arrived.
func (w *world) deliver() {
	kept := w.flying[:0]
	for _, p := range w.flying {
		if p.arrives > w.now {
			kept = append(kept, p)
			continue
		}
		w.got(p)
	}
	w.flying = kept
}

func (w *world) got(p parcel) {
	delay := p.arrives - p.sent
	switch p.kind {
	case 'a':
		w.audioGot++
		w.audioGap = max(w.audioGap, p.arrives-w.lastAudio)
		w.lastAudio = p.arrives
		w.longestDelay = max(w.longestDelay, delay)
	case 'v':
		w.videoGot++
	case 'o':
		return
	}
	w.recorder.Record(2, p.seq, w.net.clock(p.arrives)/1000)
}

// report sends the receiver's feedback.
func (w *world) report() {
	if w.net.mute != nil && w.net.mute(w.now) {
		return
	}
	for _, message := range w.recorder.BuildFeedbackPacket() {
		raw, err := message.(*rtcp.TransportLayerCC).Marshal()
		if err != nil {
			w.t.Fatal(err)
		}
		if w.random.Float64() < w.net.feedbackLoss {
			continue
		}
		w.replies = append(w.replies, reply{raw[12:], w.now + w.net.delay})
		if w.random.Float64() < w.net.feedbackTwice {
			w.replies = append(w.replies, reply{raw[12:], w.now + w.net.delay + 30*millisecond})
		}
	}
}

// receive gives the Estimator the feedback that has come.
func (w *world) receive() {
	kept := w.replies[:0]
	for _, r := range w.replies {
		if r.at > w.now {
			kept = append(kept, r)
			continue
		}
		if err := w.est.Feedback(r.fci, w.now); err != nil {
			w.t.Fatalf("feedback at %d ms: %v", (w.now-startAt)/millisecond, err)
		}
	}
	w.replies = kept
}

// allocate is what the glue does every 100 ms.
func (w *world) allocate() {
	w.est.Update(w.now)
	for i := range w.demands {
		for j := range w.demands[i].Layers {
			w.demands[i].Layers[j].Bitrate = Bitrate(w.feeds[i].rates[j] * (0.85 + 0.3*w.random.Float64()))
		}
	}
	budget := w.est.Budget()
	if !w.noAudio {
		budget.Rate -= 45_000
	}
	w.alloc.Allocate(w.now, budget, w.demands, w.grants)
	w.est.Want(w.alloc.Wanted() + 45_000)
	for i, g := range w.grants {
		if f := w.feeds[i]; g.Layer != f.wants {
			f.wants = g.Layer
			f.keyAt = w.now + 120*millisecond
		}
	}
}

// probe is what the glue does at every batch.
func (w *world) probe() {
	_, bytes, ok := w.est.Probe(w.now)
	for ; ok && !w.noPad && bytes > 0; bytes -= 1000 {
		w.send('p', max(min(bytes, 1000), 60))
	}
}

// since tells how long after at subscription sub was first sent what ok accepts, and kept; -1 when never.
func (w *world) since(sub int, at int64, ok func(layer int) bool) int64 {
	for _, e := range w.events {
		if e.sub == sub && e.at >= at && ok(e.layer) {
			return e.at - at
		}
	}
	return -1
}

// layerAt is the layer of sub sent at a time.
func (w *world) layerAt(sub int, at int64) int {
	layer := -1
	for _, e := range w.events {
		if e.sub == sub && e.at <= at {
			layer = e.layer
		}
	}
	return layer
}

func constant(rate float64) func(int64) float64 { return func(int64) float64 { return rate } }

var simulcast = []float64{150_000, 500_000, 1_500_000}
