package jobs

import (
	"context"
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"portico/edge/sfu/feedback"
	"portico/shared/conference"
	"portico/shared/identity"
	"portico/shared/link"
	"portico/shared/relayproto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// waitFor waits until the condition holds, for what is told by no event.
func waitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	look, deadline := time.NewTicker(time.Millisecond), time.NewTimer(patience)
	defer look.Stop()
	defer deadline.Stop()
	for !condition() {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// fakeRelay obeys orders over a real link: it sends packets on the flows of the outputs, and notes what comes.
type fakeRelay struct {
	t        testing.TB
	id       *identity.Identity
	address  string
	listener *link.Listener
	stop     context.CancelFunc
	done     sync.WaitGroup

	mu      sync.Mutex
	refusal relayproto.Reason // of all calls; empty: none is refused
	cannot  string            // a codec: orders with an output in it are refused
	jobs    []*fakeJob
	packets map[uint64][][]byte // by flow id
}

// fakeJob is one call.
type fakeJob struct {
	relay  *fakeRelay
	link   *link.Link
	call   *link.Call
	orders []relayproto.Order
	ended  bool
	seqs   map[uint64]uint16
}

// cluster are the identities of a test's nodes.
func cluster(t testing.TB, relays int) []*identity.Identity {
	t.Helper()
	roles := append([]string{identity.Edge}, slices.Repeat([]string{identity.Relay}, relays)...)
	ids, err := identity.Ephemeral(roles...)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func newRelay(t testing.TB, id *identity.Identity) *fakeRelay {
	t.Helper()
	r := &fakeRelay{t: t, id: id, packets: make(map[uint64][][]byte)}
	r.begin("127.0.0.1:0")
	t.Cleanup(r.kill)
	return r
}

// begin takes links at an address.
func (r *fakeRelay) begin(address string) {
	r.t.Helper()
	conn, err := net.ListenPacket("udp4", address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.address = conn.LocalAddr().String()
	r.listener, err = link.Listen(conn, r.id, link.Options{Receive: r.receive, Roles: []string{identity.Edge}})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	listener := r.listener
	r.done.Go(func() {
		for {
			l, err := listener.Accept(ctx)
			if err != nil {
				return
			}
			r.done.Go(func() { r.serve(ctx, l) })
		}
	})
	r.done.Go(func() { r.produce(ctx) })
}

// kill ends it at once, as a crash of the node does.
func (r *fakeRelay) kill() {
	r.stop()
	r.listener.Close()
	r.done.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range r.jobs {
		j.ended = true
	}
}

func (r *fakeRelay) serve(ctx context.Context, l *link.Link) {
	for {
		call, err := l.Accept(ctx)
		if err != nil {
			return
		}
		r.done.Go(func() { r.run(ctx, l, call) })
	}
}

func (r *fakeRelay) run(ctx context.Context, l *link.Link, call *link.Call) {
	j := &fakeJob{relay: r, link: l, call: call, seqs: make(map[uint64]uint16)}
	defer call.Close()
	for first := true; ; first = false {
		raw, err := call.Receive(ctx)
		if err != nil {
			break
		}
		m, err := relayproto.Decode(raw)
		if m.Command != nil {
			j.say(relayproto.Message{Answer: append(append([]byte(`{"said":`), m.Command...), '}')})
			return
		}
		if err != nil || m.Order == nil {
			r.t.Errorf("no order: %v, %s", err, raw)
			break
		}
		r.mu.Lock()
		refusal := r.refusal
		for _, o := range m.Order.Outputs {
			if o.Format.Codec == r.cannot {
				refusal = relayproto.Unable
			}
		}
		if refusal == "" {
			j.orders = append(j.orders, *m.Order)
			if first {
				r.jobs = append(r.jobs, j)
			}
		}
		r.mu.Unlock()
		if refusal != "" {
			j.say(relayproto.Message{Refusal: &relayproto.Refusal{Reason: refusal}})
			return
		}
		j.say(relayproto.Message{Report: &relayproto.Report{Revision: m.Order.Revision, CPU: 1}})
	}
	r.mu.Lock()
	j.ended = true
	r.mu.Unlock()
}

func (j *fakeJob) say(m relayproto.Message) {
	raw, err := relayproto.Encode(m)
	if err != nil {
		j.relay.t.Error(err)
	}
	_ = j.call.Send(raw) // the edge may have gone
}

func (r *fakeRelay) receive(_ *link.Link, id uint64, packet []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.packets[id] = append(r.packets[id], slices.Clone(packet))
}

// produce sends a packet on each output's flow about every 10 ms; of video each tenth is a key frame.
func (r *fakeRelay) produce(ctx context.Context) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		r.mu.Lock()
		for _, j := range r.jobs {
			if !j.ended {
				for _, o := range j.order().Outputs {
					_ = j.link.Send(relayproto.RTP(o.Flow), j.packet(o))
				}
			}
		}
		r.mu.Unlock()
	}
}

func (j *fakeJob) order() *relayproto.Order { return &j.orders[len(j.orders)-1] }

// packet is the next of an output. Its SSRC is the flow's number.
func (j *fakeJob) packet(o relayproto.Output) []byte {
	n := j.seqs[o.Flow]
	j.seqs[o.Flow]++
	p := make([]byte, 12, 40)
	p[0], p[1] = 0x80, relayproto.PayloadType(o.Format.Codec)|0x80
	binary.BigEndian.PutUint16(p[2:], n)
	binary.BigEndian.PutUint32(p[4:], uint32(n)*900)
	binary.BigEndian.PutUint32(p[8:], uint32(o.Flow))
	switch {
	case o.Kind == conference.Audio:
		return append(p, 0x78, 1, 2, 3)
	case n%10 == 0:
		return append(p, 0x10, 0xd0, 0x09, 0x0d, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01, 0x00, 0x47, 0x08)
	}
	return append(p, 0x10, 0xd1, 0x09, 0x0d, 1, 2, 3)
}

// present are the calls that have not ended.
func (r *fakeRelay) present() (list []*fakeJob) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range r.jobs {
		if !j.ended {
			list = append(list, j)
		}
	}
	return list
}

// wait waits for a job that runs here whose last order fits, and gives that.
func (r *fakeRelay) wait(what string, fits func(o *relayproto.Order) bool) (*fakeJob, relayproto.Order) {
	r.t.Helper()
	var found *fakeJob
	var order relayproto.Order
	waitFor(r.t, what, func() bool {
		for _, j := range r.present() {
			r.mu.Lock()
			order = *j.order()
			r.mu.Unlock()
			if fits(&order) {
				found = j
				return true
			}
		}
		return false
	})
	return found, order
}

// controls are the RTCP packets that came about a flow and fit.
func (r *fakeRelay) controls(flow uint64, fits func(feedback.Packet) bool) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, compound := range r.packets[relayproto.RTCP(flow)] {
		for p, rest, ok := feedback.Next(compound); ok; p, rest, ok = feedback.Next(rest) {
			if fits(p) {
				n++
			}
		}
	}
	return n
}

// came are the RTP packets that came of a flow.
func (r *fakeRelay) came(flow uint64) [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.packets[relayproto.RTP(flow)])
}
