package bitrate

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
)

func TestHistory(t *testing.T) {
	var h history
	first := h.add(65_500, packet{at: 1})
	for i := range 1000 {
		if index := h.add(uint16(65_501+i), packet{at: int64(i) * millisecond}); index != first+1+int64(i) {
			t.Fatalf("index %d", index)
		}
	}
	if len(h.slots) != 1024 {
		t.Errorf("room for %d packets after 1001 unheard ones within remember", len(h.slots))
	}
	if p, index := h.find(65_500); p == nil || index != first {
		t.Error("the first one is lost")
	}
	if p, _ := h.find(965); p != nil {
		t.Error("found a packet that was never sent")
	}
	h.add(975, packet{at: second}) // ten numbers left out
	if p, _ := h.find(970); p != nil {
		t.Error("found a number that was left out")
	}
	for i := range 100_000 {
		h.add(uint16(976+i), packet{at: second})
	}
	if len(h.slots) != maxSlots {
		t.Errorf("room for %d packets", len(h.slots))
	}
}

func TestHistoryStaysSmall(t *testing.T) {
	var h history
	for i := range 10_000 {
		h.add(uint16(i), packet{at: int64(i) * 3 * millisecond})
		if i >= 100 {
			p, _ := h.find(uint16(i - 100))
			p.flags |= received
		}
	}
	if len(h.slots) != firstSlots {
		t.Errorf("room for %d packets", len(h.slots))
	}
}

func TestMeter(t *testing.T) {
	var m meter
	if _, known := m.rate(longWindow); known {
		t.Error("a rate of nothing")
	}
	for at := -second; at < 3*second; at += 10 * millisecond {
		m.add(at, 1250)
	}
	if r, known := m.rate(longWindow); !known || r < 950_000 || r > 1_050_000 {
		t.Errorf("%d of 1,000,000", r)
	}
	m.add(2*second, 1e6) // older than the window: left out
	if r, _ := m.rate(longWindow); r > 1_050_000 {
		t.Errorf("%d with a packet that is too old", r)
	}
	m.advance(10 * second)
	if r, known := m.rate(longWindow); !known || r != 0 {
		t.Errorf("%d after silence", r)
	}
}

func TestUnwrapReference(t *testing.T) {
	for _, c := range []struct{ last, reference, want int64 }{
		{10, 11, 11}, {10, 9, 9}, {1<<24 - 1, 0, 1 << 24}, {1 << 24, 1<<24 - 1, 1<<24 - 1}, {5 << 24, 100, 5<<24 + 100},
	} {
		if got := unwrapReference(c.last, uint32(c.reference)); got != c.want {
			t.Errorf("%d after %d is %d, want %d", c.reference, c.last, got, c.want)
		}
	}
}

// TestPaddingIsNotLoss loses all of the padding and nothing else.
func TestPaddingIsNotLoss(t *testing.T) {
	e, now := New(Config{}, 0), int64(0)
	recorder := twcc.NewRecorder(1)
	for i := range 2000 {
		now += 5 * millisecond
		if i%4 == 0 {
			e.SentPadding(uint16(i), 250, now)
		} else {
			e.Sent(uint16(i), 1000, now)
			recorder.Record(2, uint16(i), (now+20*millisecond)/1000)
		}
		if i%20 == 19 {
			reportTo(t, e, recorder, now+30*millisecond)
		}
	}
	if s := e.Snapshot(); s.Loss != 0 || s.ByLoss != 0 {
		t.Errorf("lost padding counts: loss %.3f, bound %d", s.Loss, s.ByLoss)
	}
	if e.losses.all.total < 50 {
		t.Errorf("only %.0f packets were counted", e.losses.all.total)
	}
}

func reportTo(t testing.TB, e *Estimator, recorder *twcc.Recorder, now int64) {
	t.Helper()
	for _, message := range recorder.BuildFeedbackPacket() {
		raw, err := message.(*rtcp.TransportLayerCC).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Feedback(raw[12:], now); err != nil {
			t.Fatal(err)
		}
	}
}

func TestREMB(t *testing.T) {
	e := New(Config{}, 0)
	sendPlain := func(from, to int64, rate float64) {
		for at := from; at < to; at += 10 * millisecond {
			e.SentPlain(int(rate/800), at)
		}
	}
	if b := e.Budget(); !b.Starting || b.Rate != DefaultStart {
		t.Errorf("at the start: %+v", b)
	}
	sendPlain(0, second, 1_000_000)
	e.REMB(800_000, second)
	if e.Estimate() != 800_000 || e.Snapshot().By != ByREMB {
		t.Errorf("%d by %s", e.Estimate(), e.Snapshot().By)
	}
	// Less is sent, and the REMB leaves room: the estimate grows as far as it is wanted.
	e.Want(2_000_000)
	for i := range 20 {
		at := second + int64(i)*second
		sendPlain(at, at+second, 400_000)
		e.REMB(700_000, at+second)
	}
	if rate := e.Estimate(); rate < 1_900_000 || rate > 2_500_000 {
		t.Errorf("%d after a REMB that left room", rate)
	}
	sendPlain(21*second, 22*second, 400_000)
	for _, c := range []struct {
		bps  uint64
		want Bitrate
	}{{0, DefaultMin}, {1, DefaultMin}} {
		e.REMB(c.bps, 22*second)
		if e.Estimate() != c.want {
			t.Errorf("REMB %d gives %d", c.bps, e.Estimate())
		}
	}
	for _, bps := range []uint64{1 << 63, math.MaxUint64} {
		e.REMB(bps, 23*second)
		if rate := e.Estimate(); rate > DefaultMax {
			t.Errorf("REMB %d gives %d", bps, rate)
		}
	}
}

func TestREMBBoundsTWCC(t *testing.T) {
	w := newWorld(t, plain(), simulcast)
	w.run(5 * second)
	w.est.REMB(600_000, w.now)
	if e := w.est.Estimate(); e != 600_000 {
		t.Errorf("the estimate is %d", e)
	}
	w.run(rembFresh + 2*second)
	if e := w.est.Estimate(); e < 1_500_000 {
		t.Errorf("an old REMB still bounds: %d", e)
	}
}

func TestReports(t *testing.T) {
	e, now := New(Config{}, 0), int64(0)
	e.Want(5_000_000)
	report := func(seconds int, lost uint8, rtt time.Duration, rate float64) {
		for range seconds {
			for range 100 {
				now += 10 * millisecond
				e.SentPlain(int(rate/800), now)
			}
			e.Report(lost, rtt, now)
		}
	}
	report(5, 0, 50*time.Millisecond, 1_000_000)
	good := e.Estimate()
	if good < 1_200_000 || good > 2_000_000 || e.Snapshot().By != ByReports {
		t.Errorf("%d by %s after 1 Mbit/s got there", good, e.Snapshot().By)
	}
	report(4, 80, 50*time.Millisecond, 1_000_000)
	bad := e.Estimate()
	if bad > 900_000 {
		t.Errorf("%d with 31 %% loss", bad)
	}
	report(10, 0, 50*time.Millisecond, 600_000)
	if e.Estimate() <= bad {
		t.Errorf("%d after the loss was over, %d before", e.Estimate(), bad)
	}
	before := e.Estimate()
	report(4, 0, 900*time.Millisecond, 600_000)
	if e.Estimate() >= before {
		t.Errorf("%d with a round trip of 900 ms, %d before", e.Estimate(), before)
	}
}

// TestNeverHeard has packets go out and nothing ever come back.
func TestNeverHeard(t *testing.T) {
	e := New(Config{}, 0)
	for i := range 100 {
		e.Sent(uint16(i), 1000, int64(i)*100*millisecond)
		e.Update(int64(i) * 100 * millisecond)
	}
	if !e.Stalled() || e.Estimate() != DefaultMin {
		t.Errorf("stalled %v, estimate %d", e.Stalled(), e.Estimate())
	}
	e.Report(0, 50*time.Millisecond, 11*second) // one without TWCC after all
	if e.Stalled() || e.Estimate() < DefaultStart {
		t.Errorf("after a report: stalled %v, estimate %d", e.Stalled(), e.Estimate())
	}
}

// TestIdle sends nothing for a long time: that is not the receiver's silence.
func TestIdle(t *testing.T) {
	w := newWorld(t, plain(), simulcast)
	w.run(5 * second)
	before := w.est.Estimate()
	w.noAudio, w.feeds, w.demands, w.grants = true, nil, nil, nil
	w.run(60 * second)
	if e := w.est.Estimate(); e < before*8/10 || w.est.Stalled() {
		t.Errorf("%d, %d before; stalled %v", e, before, w.est.Stalled())
	}
}

// TestHostile feeds messages with right numbers and wild times.
func TestHostile(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	e, now := New(Config{}, 0), int64(0)
	e.Want(10_000_000)
	for i := range 50_000 {
		now += millisecond
		e.Sent(uint16(i), 1000, now)
		if i%10 != 9 {
			continue
		}
		fci := []byte{byte((i - 9) >> 8), byte(i - 9), 0, 10, byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32()), 0,
			0x40, 10}
		for range 20 {
			fci = append(fci, byte(random.Uint32()))
		}
		if err := e.Feedback(fci, now); err != nil {
			t.Fatal(err)
		}
		if rate := e.Estimate(); rate < DefaultMin || rate > DefaultMax {
			t.Fatalf("the estimate is %d", rate)
		}
		e.Probe(now)
	}
	if len(e.history.slots) > maxSlots {
		t.Error("memory grew")
	}
}

// traffic is a steady run of packets and the feedback on them, for benchmarks.
type traffic struct {
	e     *Estimator
	now   int64
	seq   uint16
	batch []byte
}

const batchPackets = 20

func newTraffic() *traffic {
	t := &traffic{e: New(Config{}, 0)}
	t.e.Want(10_000_000)
	t.batch = []byte{0, 0, 0, batchPackets, 0, 0, 0, 0, 0x20, batchPackets}
	for range batchPackets {
		t.batch = append(t.batch, 12) // 3 ms
	}
	for range 200 {
		t.send()
		t.feed()
	}
	return t
}

func (t *traffic) send() {
	for range batchPackets {
		t.now += 3 * millisecond
		t.e.Sent(t.seq, 1100, t.now)
		t.seq++
	}
}

func (t *traffic) feed() {
	base := t.seq - batchPackets
	t.batch[0], t.batch[1] = byte(base>>8), byte(base)
	reference := (t.now - batchPackets*3*millisecond) / referenceUnit
	t.batch[4], t.batch[5], t.batch[6] = byte(reference>>16), byte(reference>>8), byte(reference)
	if t.e.Feedback(t.batch, t.now+20*millisecond) != nil {
		panic("feedback was refused")
	}
}

func TestAllocs(t *testing.T) {
	run := newTraffic()
	if n := testing.AllocsPerRun(200, run.send); n != 0 {
		t.Errorf("Sent allocates %.1f times in %d packets", n, batchPackets)
	}
	both := func() { run.send(); run.feed(); run.e.Update(run.now); run.e.Probe(run.now) }
	if n := testing.AllocsPerRun(200, both); n != 0 {
		t.Errorf("a round allocates %.1f times", n)
	}
}

func BenchmarkSent(b *testing.B) {
	run := newTraffic()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		run.now += 100_000
		run.e.Sent(uint16(i), 1100, run.now)
	}
}

// BenchmarkFeedback is one message on 20 packets, with the sending of them.
func BenchmarkFeedback(b *testing.B) {
	run := newTraffic()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		run.send()
		run.feed()
	}
}

// TestProbeSentSlowly: a cluster that got through as it was sent, but was not sent as fast as planned, says nothing about the network:
// it is repeated soon, a few times. One that arrived more slowly than it was sent shows the capacity.
func TestProbeSentSlowly(t *testing.T) {
	const rtt = 20 * millisecond
	try := func(p *prober, spread int64) (Bitrate, outcome, int64) {
		now := p.next + second
		p.plan(1_000_000, now)
		for i := range 15 { // a packet each 10 ms; the last brings what is left of the 15 kB at once
			size := 500
			if i == 14 {
				size = p.budget - p.bytes
			}
			at := now + int64(i)*10*millisecond
			p.sent(size, true, at)
			p.arrival(p.id, size, now+rtt+int64(i)*spread)
		}
		now += 150*millisecond + rtt
		rate, out := p.result(rtt, 0, now)
		p.close(out, now)
		return rate, out, p.next - now
	}
	var p prober
	for range repeatMost {
		if rate, out, wait := try(&p, 10*millisecond); out != slow || rate < 350_000 || rate > 450_000 || wait != probeSpace || p.failures != 0 {
			t.Fatalf("sent slowly: outcome %d, %d bit/s, next after %d ms", out, rate, wait/millisecond)
		}
	}
	if _, out, wait := try(&p, 10*millisecond); out != slow || wait != probeBackoff0 || p.failures != 1 {
		t.Errorf("again and again: outcome %d, next after %d ms", out, wait/millisecond)
	}
	p = prober{}
	if rate, out, wait := try(&p, 40*millisecond); out != partly || rate > 250_000 || wait != probeBackoff0 {
		t.Errorf("arrived slowly: outcome %d, %d bit/s, next after %d ms", out, rate, wait/millisecond)
	}
}
