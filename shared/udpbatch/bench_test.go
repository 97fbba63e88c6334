package udpbatch

import (
	"net"
	"net/netip"
	"testing"
)

// packetSize is that of a typical video packet.
const packetSize = 1100

// sink is a socket that receives and forgets what is sent to it, by dropping it in the kernel: its buffer is the smallest.
func sink(b *testing.B) netip.AddrPort {
	b.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	_ = conn.SetReadBuffer(1)
	b.Cleanup(func() { _ = conn.Close() })
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func perPacket(b *testing.B, packets int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/1e3/float64(packets), "µs/packet")
}

// BenchmarkSend sends from one socket to many addresses, in runs as a frame of so many packets makes them.
func BenchmarkSend(b *testing.B) {
	const receivers = 64
	for _, v := range []struct {
		name string
		o    Options
		run  int
	}{
		{"single", Options{Plain: true}, 1},
		{"sendmmsg", Options{NoGSO: true}, 1},
		{"gso x1", Options{}, 1},
		{"gso x4", Options{}, 4},
		{"gso x16", Options{}, 16},
	} {
		b.Run(v.name, func(b *testing.B) {
			p, err := Listen("127.0.0.1:0", v.o)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = p.Close() }()
			var to [receivers]netip.AddrPort
			for i := range to {
				to[i] = sink(b)
			}
			batch, packets := p.NewBatch(0, Limits{}), 0
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				for range v.run {
					batch.Space()
					batch.Commit(packetSize, to[i%receivers])
					packets++
				}
				if i%16 == 15 {
					_, _ = batch.Flush()
				}
			}
			_, _ = batch.Flush()
			perPacket(b, packets)
		})
	}
}

// BenchmarkReceive reads bursts of 64 datagrams that wait already: from 8 senders, each in a run of 8, as a camera sends a frame.
func BenchmarkReceive(b *testing.B) {
	for _, v := range []struct {
		name string
		o    Options
	}{
		{"single", Options{Plain: true, Sockets: 1}},
		{"recvmmsg", Options{NoGRO: true, Sockets: 1}},
		{"gro", Options{Sockets: 1}},
	} {
		b.Run(v.name, func(b *testing.B) { benchmarkReceive(b, v.o) })
	}
}

func benchmarkReceive(b *testing.B, o Options) {
	const senders, run = 8, 8
	p, err := Listen("127.0.0.1:0", o)
	if err != nil {
		b.Fatal(err)
	}
	burst := func() {}
	for range senders {
		sender, err := Listen("127.0.0.1:0", Options{Sockets: 1})
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = sender.Close() }()
		batch, others := sender.NewBatch(0, Limits{}), burst
		burst = func() {
			others()
			for range run {
				batch.Space()
				batch.Commit(packetSize, p.Addr())
			}
			_, _ = batch.Flush()
		}
	}
	got, next, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		n := senders*run - 1 // the very first stops the reader
		_ = p.Read(0, func([]byte, netip.AddrPort) {
			if n++; n%(senders*run) == 0 { // the reader stands still while the next ones come
				got <- struct{}{}
				<-next
			}
		}, nil)
	}()
	_, _ = p.WriteTo([]byte{1}, p.Addr())
	<-got
	b.ReportAllocs()
	packets := 0
	for b.Loop() {
		b.StopTimer()
		burst()
		b.StartTimer()
		next <- struct{}{}
		<-got
		packets += senders * run
	}
	perPacket(b, packets)
	close(next)
	_ = p.Close()
	<-done
}
