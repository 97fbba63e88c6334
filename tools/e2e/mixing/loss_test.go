//go:build linux

package mixing

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"

	"portico/shared/client"
	"portico/shared/sioclient"
	"portico/shared/wsconn"
	"portico/tools/netlab"
	"portico/tools/pionpeer"
)

// usual is a line at its best: fast, and 20 ms there and back.
var usual = netlab.Shape{Delay: 10 * time.Millisecond}

// far is a network of its own for a participant, with a line to the programs'.
type far struct {
	home *netlab.Namespace
	line *netlab.Link
}

// joinFrom has a participant join from a network of its own.
func (s *system) joinFrom(name string, lab *netlab.TestLab, programs *netlab.Namespace) (*seat, *netlab.Link) {
	s.t.Helper()
	f := &far{home: lab.Namespace(name)}
	f.line = lab.Link(f.home, programs, usual, usual)
	socket, err := f.home.ListenUDP(0)
	s.must(err)
	silent := &logging.DefaultLoggerFactory{Writer: io.Discard} // lost packets are to be expected
	mux := webrtc.NewICEUDPMux(silent.NewLogger("ice"), socket)
	s.t.Cleanup(func() { _ = mux.Close() })
	peers, err := pionpeer.New(pionpeer.Options{
		Settings: func(x *webrtc.SettingEngine) {
			x.SetICEUDPMux(mux)
			x.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
		},
		Log: silent,
	})
	s.must(err)
	p, err := s.enter(name, client.Options{Peers: peers, Dial: f.dial})
	s.must(err)
	s.t.Cleanup(func() {
		f.line.SetBoth(netlab.Shape{})
		p.leave()
	})
	return p, f.line
}

// dial connects to the portal from within the network.
func (f *far) dial(ctx context.Context, o client.DialOptions) (client.Socket, error) {
	conn, err := sioclient.Dial(ctx, sioclient.Options{
		URL: o.URL, OnEvent: o.OnEvent, OnClose: o.OnClose,
		Dialer: func(ctx context.Context, url string) (wsconn.Conn, error) {
			return wsconn.Dial(ctx, url, wsconn.DialOptions{Platform: wsconn.Platform{
				DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
					return f.home.DialContext(ctx, network, address)
				},
			}})
		},
	})
	if err != nil {
		return nil, err
	}
	return socketIO{conn}, nil
}

// socketIO is a sioclient.Conn as a client.Socket.
type socketIO struct{ *sioclient.Conn }

// Close implements client.Socket.
func (s socketIO) Close() error {
	err := s.Conn.Close()
	<-s.Done()
	return err
}

// long tells whether tests may take their time.
func long() bool { return os.Getenv("PORTICO_TEST_LONG") != "" }

// TestLoss: one of those in the mix loses every tenth packet on the way to the edge, and the mix does not stop, for anybody. Afterwards all
// is as before.
func TestLoss(t *testing.T) {
	length := 8 * time.Second
	if long() {
		length = 30 * time.Second
	}
	lab := netlab.ForTest(t, 1)
	programs := lab.Namespace("programs")
	s := start(t, options{
		host: programs.Addr().String(), start: programs.Start,
		reach: func(t *testing.T, address string) string {
			there, err := programs.Expose(netip.MustParseAddrPort(address))
			if err != nil {
				t.Fatal(err)
			}
			return there.String()
		},
	})
	ann, line := s.joinFrom("Ann", lab, programs)
	bob, _ := s.joinFrom("Bob", lab, programs)
	cid, _ := s.joinFrom("Cid", lab, programs)
	ann.show(red)
	bob.show(green)
	v := cid.watch()
	v.playing()
	v.sees(red, green)
	lets(t, 3*time.Second) // the buffers are full, and the processes as large as they get
	job := children(s.relays[0].PID())[0]
	before := [2]int64{resident(s.relays[0].PID()), resident(job)}

	counts := line.Counts(netlab.Forth)
	line.Set(netlab.Forth, netlab.Shape{Delay: usual.Delay, Loss: .1})
	from := time.Now()
	lets(t, length)
	to := time.Now()
	line.Set(netlab.Forth, usual)
	lost := line.Counts(netlab.Forth).Since(counts)
	video, audio := v.gaps(from, to)
	t.Logf("%d of %d packets of an input lost in %v: the longest gap of the mix is %v of video, %v of audio", lost.Lost, lost.Packets, length,
		video.Round(time.Millisecond), audio.Round(time.Millisecond))
	if lost.Lost == 0 {
		t.Error("the line lost nothing")
	}
	if video > 500*time.Millisecond || audio > 400*time.Millisecond {
		t.Error("the mix stops")
	}

	lets(t, time.Second)
	v.sees(red, green)
	from = time.Now()
	const after = 2 * time.Second
	lets(t, after)
	for i, level := range v.volumes(from, from.Add(after), red.tone, green.tone) {
		if level < -40 {
			t.Errorf("tone %d is heard at %.0f dB after the loss", i, level)
		}
	}
	v.continuous()
	for i, pid := range []int{s.relays[0].PID(), job} {
		now := resident(pid)
		what := fmt.Sprintf("%s: %d MB of memory, and %d MB before", []string{"relay", "job"}[i], now>>20, before[i]>>20)
		t.Log(what)
		if now > before[i]+before[i]/5+8<<20 {
			t.Error(what)
		}
	}
}
