//go:build unix

package codecs

import (
	"net"
	"net/netip"
	"sync"
	"testing"
)

// lossEvery is how many packets of pictures come to one that is lost, in each direction.
const lossEvery = 20

// lossy passes datagrams on to a UDP port of this machine and back, and loses some of those that carry pictures. It returns its
// own port.
func lossy(t *testing.T, port int) int {
	t.Helper()
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	l := &lossyLine{t: t, front: front, port: port, backs: map[netip.AddrPort]*net.UDPConn{}, forthEnded: make(chan struct{})}
	go l.forth()
	t.Cleanup(l.close)
	return front.LocalAddr().(*net.UDPAddr).Port
}

type lossyLine struct {
	t          *testing.T
	front      *net.UDPConn
	port       int
	backs      map[netip.AddrPort]*net.UDPConn // by the client's address; forth owns it until it has ended
	running    sync.WaitGroup                  // what carries their answers
	forthEnded chan struct{}
}

// forth carries what clients send.
func (l *lossyLine) forth() {
	defer close(l.forthEnded)
	buffer := make([]byte, 2048)
	count := 0
	for {
		n, from, err := l.front.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		back := l.backs[from]
		if back == nil {
			if back, err = net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: l.port}); err != nil {
				l.t.Error(err)
				return
			}
			l.backs[from] = back
			l.running.Go(func() { l.back(back, from) })
		}
		if !loses(buffer[:n], &count) {
			_, _ = back.Write(buffer[:n]) // like any datagram it may get lost
		}
	}
}

// back carries what the edge answers to one of them.
func (l *lossyLine) back(conn *net.UDPConn, to netip.AddrPort) {
	buffer := make([]byte, 2048)
	count := 0
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if !loses(buffer[:n], &count) {
			_, _ = l.front.WriteToUDPAddrPort(buffer[:n], to)
		}
	}
}

// loses tells whether to lose a datagram: RTP that is too long to be sound, now and then.
func loses(datagram []byte, count *int) bool {
	const longerThanSound = 300
	if len(datagram) < longerThanSound || datagram[0]>>6 != 2 || datagram[1] >= 192 && datagram[1] <= 223 {
		return false
	}
	*count++
	return *count%lossEvery == 0
}

func (l *lossyLine) close() {
	l.front.Close()
	<-l.forthEnded
	for _, back := range l.backs {
		back.Close()
	}
	l.running.Wait()
}
