package loadtest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v2"

	"portico/shared/token"
)

// TURNLoad is what a relay has to carry, half of it in each direction, in ChannelData on one side (RFC 8656 section 12).
type TURNLoad struct {
	Packet int // bytes of payload
	Rate   int // packets a second
}

// turnLoads are those that are measured.
var turnLoads = []TURNLoad{{1200, 10_000}, {1200, 30_000}, {160, 20_000}}

// turnPairs is how many allocations share a load.
const turnPairs = 16

// TURNResult is what a load cost the relay.
type TURNResult struct {
	TURNLoad
	Sent            uint64  `json:"sent"`
	Delivered       uint64  `json:"delivered"`
	PerSecond       float64 `json:"packetsPerSecond"` // delivered
	CPU             float64 `json:"cpu"`              // of one core
	MicrosPerPacket float64 `json:"microsPerPacket"`
	RSS             int64   `json:"rss"` // bytes
}

// turn measures the relay.
func (l *load) turn(ctx context.Context) ([]TURNResult, error) {
	relay, err := startRelay(ctx, l.o.Relay, l.core)
	if err != nil {
		return nil, err
	}
	defer relay.stop()
	pairs, err := relay.pairs(turnPairs)
	if err != nil {
		return nil, fmt.Errorf("the relay gives no allocation: %w\n%s", err, relay.output)
	}
	defer pairs.close()
	var results []TURNResult
	for _, t := range turnLoads {
		l.say("turn: %d packets of %d bytes a second, %d allocations", t.Rate, t.Packet, turnPairs)
		if err := pairs.send(ctx, t, l.o.WarmUp/2); err != nil {
			return results, err
		}
		before, begin := pairs.count(), clock()
		used, err := processUsage(relay.pid)
		if err != nil {
			return results, fmt.Errorf("the relay has ended while it was measured:\n%s", relay.output)
		}
		err = pairs.send(ctx, t, l.o.Duration/2)
		passed, after := float64(clock()-begin)/1e9, pairs.count()
		now, gone := processUsage(relay.pid)
		if gone != nil {
			return results, fmt.Errorf("the relay has ended while it was measured:\n%s", relay.output)
		}
		r := TURNResult{TURNLoad: t, Sent: after.sent - before.sent, Delivered: after.received - before.received, RSS: now.rss}
		cpu := (now.cpu - used.cpu).Seconds()
		r.CPU, r.PerSecond = cpu/passed, float64(r.Delivered)/passed
		if r.Delivered > 0 {
			r.MicrosPerPacket = cpu * 1e6 / float64(r.Delivered)
		}
		results = append(results, r)
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

// relay is a portico-relay of our own.
type relay struct {
	server // its process and what it says
	secret string
	at     netip.AddrPort
}

const turnSecret = "of a relay that lives for a minute and for this machine alone"

func startRelay(ctx context.Context, p Program, core int) (*relay, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	r := &relay{server: server{output: &tail{}, ended: make(chan struct{})}, secret: turnSecret}
	r.at = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
	if r.dir, err = os.MkdirTemp("", "portico-load"); err != nil {
		return nil, err
	}
	r.process = exec.Command(p.File, append([]string{
		"-turn.udp", r.at.String(), "-turn.tcp", "", "-turn.tls", "", "-turn.public_ip", "127.0.0.1", "-turn.min_port", "0", "-turn.max_port", "0",
		"-turn.allow_peers", "127.0.0.1/32", "-admin.listen", "", "-log.level", "warn",
		"-limits.bitrate_per_allocation", "0", "-limits.allocations_per_user", "0",
	}, p.Arguments...)...)
	r.process.Env = append(withoutSettings(os.Environ()), "PORTICO_TURN_SECRET="+r.secret)
	r.process.Stdout, r.process.Stderr = r.output, r.output
	if err := startOn(core, r.process); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start a relay: %w", err), os.RemoveAll(r.dir))
	}
	r.pid = r.process.Process.Pid
	go func() {
		defer close(r.ended)
		_ = r.process.Wait() // its output says what was wrong
	}()
	if err := r.await(ctx); err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

// await waits until the relay answers a binding request.
func (r *relay) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errors.New("it has not started within 20 s"))
	defer cancel()
	for {
		conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(r.at))
		if err != nil {
			return err
		}
		_, err = exchange(conn, 100*time.Millisecond, stun.BindingRequest) // refused at once while nobody is there
		_ = conn.Close()
		if err == nil {
			return nil
		}
		select {
		case <-r.ended:
			return fmt.Errorf("the relay has ended at once:\n%s", r.output)
		case <-ctx.Done():
			return fmt.Errorf("the relay does not start: %w\n%s", context.Cause(ctx), r.output)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// exchange sends a request and waits for its answer.
func exchange(conn *net.UDPConn, patience time.Duration, setters ...stun.Setter) (*stun.Message, error) {
	request, err := stun.Build(append([]stun.Setter{stun.TransactionID}, setters...)...)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(request.Raw); err != nil {
		return nil, err
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	defer func() { _ = conn.SetReadDeadline(time.Time{}) }()
	b := make([]byte, 1500)
	for {
		n, err := conn.Read(b)
		if err != nil {
			return nil, err
		}
		answer := &stun.Message{Raw: append([]byte(nil), b[:n]...)}
		if answer.Decode() == nil && answer.TransactionID == request.TransactionID {
			return answer, nil
		}
	}
}

// pairs are clients with an allocation, each with a peer.
type pairs struct {
	list     []*pair
	sent     uint64 // by send's goroutine alone
	received atomic.Uint64
	readers  sync.WaitGroup
}

type pair struct {
	client, peer *net.UDPConn
	relayed      netip.AddrPort
}

// turnChannel is the number of every allocation's only channel.
const turnChannel = 0x4000

// turnPatience is how long an answer to a request of TURN may take.
const turnPatience = 2 * time.Second

func (r *relay) pairs(n int) (*pairs, error) {
	all := &pairs{}
	for i := range n {
		p, err := r.pair("load" + strconv.Itoa(i))
		if err != nil {
			all.close()
			return nil, err
		}
		all.list = append(all.list, p)
		for _, conn := range []*net.UDPConn{p.client, p.peer} {
			_ = conn.SetReadBuffer(socketBuffer)
			all.readers.Add(1)
			go all.read(conn)
		}
	}
	return all, nil
}

// pair makes an allocation and binds its channel to a peer.
func (r *relay) pair(user string) (*pair, error) {
	client, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(r.at))
	if err != nil {
		return nil, err
	}
	peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	p := &pair{client: client, peer: peer}
	if err := p.allocate(r.secret, user); err != nil {
		return nil, errors.Join(err, client.Close(), peer.Close())
	}
	return p, nil
}

// allocate is RFC 8656 sections 7.2 and 12.1.
func (p *pair) allocate(secret, user string) error {
	udp := stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}}
	allocate := stun.NewType(stun.MethodAllocate, stun.ClassRequest)
	challenge, err := exchange(p.client, turnPatience, allocate, udp)
	if err != nil {
		return err
	}
	var realm stun.Realm
	var nonce stun.Nonce
	if err := errors.Join(realm.GetFrom(challenge), nonce.GetFrom(challenge)); err != nil {
		return err
	}
	name, password := token.TURNCredential(secret, user, time.Now().Add(time.Hour))
	credential := []stun.Setter{stun.NewUsername(name), realm, nonce, stun.NewLongTermIntegrity(name, realm.String(), password)}
	answer, err := exchange(p.client, turnPatience, append([]stun.Setter{allocate, udp}, credential...)...)
	if err != nil {
		return err
	}
	var relayed stun.XORMappedAddress
	if err := relayed.GetFromAs(answer, stun.AttrXORRelayedAddress); err != nil {
		return fmt.Errorf("%s: %w", answer.Type, err)
	}
	ip, _ := netip.AddrFromSlice(relayed.IP.To4())
	p.relayed = netip.AddrPortFrom(ip, uint16(relayed.Port))
	at := p.peer.LocalAddr().(*net.UDPAddr)
	answer, err = exchange(p.client, turnPatience, append([]stun.Setter{
		stun.NewType(stun.MethodChannelBind, stun.ClassRequest),
		stun.RawAttribute{Type: stun.AttrChannelNumber, Value: binary.BigEndian.AppendUint32(nil, turnChannel<<16)},
		peerAddress{IP: at.IP, Port: at.Port},
	}, credential...)...)
	if err == nil && answer.Type.Class != stun.ClassSuccessResponse {
		err = fmt.Errorf("channel refused: %s", answer)
	}
	return err
}

// peerAddress is XOR-PEER-ADDRESS.
type peerAddress stun.XORMappedAddress

// AddTo implements stun.Setter.
func (a peerAddress) AddTo(m *stun.Message) error {
	return stun.XORMappedAddress(a).AddToAs(m, stun.AttrXORPeerAddress)
}

// read counts what comes to a socket until it is closed.
func (p *pairs) read(conn *net.UDPConn) {
	defer p.readers.Done()
	b := make([]byte, 2048)
	for {
		if _, err := conn.Read(b); errors.Is(err, net.ErrClosed) {
			return
		} else if err == nil {
			p.received.Add(1)
		}
	}
}

type turnCount struct{ sent, received uint64 }

func (p *pairs) count() turnCount { return turnCount{p.sent, p.received.Load()} }

// turnStep is how often packets are sent: those that are due go together.
const turnStep = 2 * time.Millisecond

// send sends the load for a while, and returns when what was sent has come, or does not come any more.
func (p *pairs) send(ctx context.Context, t TURNLoad, duration time.Duration) error {
	channel := make([]byte, 4+t.Packet)
	binary.BigEndian.PutUint16(channel, turnChannel)
	binary.BigEndian.PutUint16(channel[2:], uint16(t.Packet))
	ticker := time.NewTicker(turnStep)
	defer ticker.Stop()
	before, begin := p.count(), time.Now()
	for due, done := 0, 0; done < int(duration.Seconds()*float64(t.Rate)); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		due = int(min(time.Since(begin), duration).Seconds() * float64(t.Rate))
		for ; done < due; done++ {
			x := p.list[done/2%len(p.list)]
			var err error
			if done%2 == 0 {
				_, err = x.client.Write(channel)
			} else {
				_, err = x.peer.WriteToUDPAddrPort(channel[4:], x.relayed)
			}
			if err != nil {
				return err
			}
			p.sent++
		}
	}
	for patience := time.Now().Add(time.Second); time.Now().Before(patience); {
		if now := p.count(); now.received-before.received >= now.sent-before.sent {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}

func (p *pairs) close() {
	for _, x := range p.list {
		_, _ = x.client.Close(), x.peer.Close()
	}
	p.readers.Wait()
}

// writeTURN adds the loads to a report for people.
func (r *Report) writeTURN(b *strings.Builder) {
	if len(r.TURN) == 0 {
		return
	}
	b.WriteString("\nTURN over UDP, ChannelData, the relay's CPU:\n")
	for _, x := range r.TURN {
		fmt.Fprintf(b, "  %4d bytes, %5d a second: %s µs a packet, %.0f delivered a second, %s lost, %d MB\n", x.Packet, x.Rate, number(x.MicrosPerPacket),
			x.PerSecond, percent(1-float64(x.Delivered)/float64(max(x.Sent, 1))), x.RSS>>20)
	}
}
