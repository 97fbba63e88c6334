package worker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"portico/shared/relayproto"
)

func TestQueueKeepsOrderAndLosesWhatHasNoRoom(t *testing.T) {
	q := newQueue(1000)
	taken := 0
	for q.push(uint64(taken), bytes.Repeat([]byte{byte(taken)}, 100)) {
		taken++
	}
	if q.push(1, make([]byte, MaxPacket+1)) || taken != 9 {
		t.Fatalf("%d packets of 100 bytes found room in 1000", taken)
	}
	if accepted, dropped := q.counts(); accepted != 9 || dropped != 2 {
		t.Errorf("%d accepted, %d dropped", accepted, dropped)
	}
	r, w := net.Pipe()
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() { q.drain(w, done); close(ended) }()
	got, all := 0, make(chan struct{})
	go func() {
		_ = readPackets(r, func(flowID uint64, packet []byte) {
			if flowID != uint64(got) || len(packet) != 100 && got < taken || len(packet) > 0 && packet[0] != byte(got) {
				t.Errorf("packet %d is of flow %d, %d bytes", got, flowID, len(packet))
			}
			if got++; got == taken+2 {
				close(all)
			}
		})
	}()
	// What was full is empty once the writer has taken it.
	for !q.push(uint64(taken), bytes.Repeat([]byte{byte(taken)}, 100)) {
	}
	for !q.push(uint64(taken+1), nil) {
	}
	<-all
	close(done)
	<-ended
	_ = w.Close()
}

func TestQueueDoesNotAllocate(t *testing.T) {
	q := newQueue(queueLimit)
	done := make(chan struct{})
	defer close(done)
	go q.drain(io.Discard, done)
	packet := make([]byte, 1200)
	for range 2000 { // the buffers grow once
		q.push(7, packet)
	}
	if n := testing.AllocsPerRun(1000, func() { q.push(7, packet) }); n != 0 {
		t.Errorf("%v allocations for a packet", n)
	}
}

func TestWriterThatFailsEndsTheQueue(t *testing.T) {
	q := newQueue(1000)
	r, w := net.Pipe()
	_ = r.Close()
	q.push(1, []byte("x"))
	q.drain(w, nil) // returns
}

func TestBadFrames(t *testing.T) {
	long := binary.AppendUvarint([]byte{1}, MaxPacket+1)
	for name, c := range map[string]struct {
		stream []byte
		want   error
	}{
		"end":         {nil, io.EOF},
		"no length":   {[]byte{1}, io.EOF},
		"half":        {[]byte{1, 5, 'a'}, io.EOF},
		"too long":    {append(long, make([]byte, MaxPacket+1)...), errFrame},
		"no integer":  {bytes.Repeat([]byte{0xff}, 20), nil},
		"no integer2": {append([]byte{1}, bytes.Repeat([]byte{0xff}, 20)...), nil},
	} {
		err := readPackets(bytes.NewReader(c.stream), func(uint64, []byte) { t.Errorf("%s: a packet", name) })
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := readMessage(strings.NewReader("\xff\xff\xff\xffx")); !errors.Is(err, errFrame) {
		t.Errorf("a long message: %v", err)
	}
	if err := writeMessage(io.Discard, make([]byte, relayproto.MaxMessage+1)); !errors.Is(err, errFrame) {
		t.Errorf("a long message was written: %v", err)
	}
}

func FuzzReadPackets(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 2, 'a', 'b', 3, 0})
	f.Add(binary.AppendUvarint([]byte{1}, MaxPacket+1))
	f.Add(bytes.Repeat([]byte{0xff}, 30))
	f.Fuzz(func(t *testing.T, stream []byte) {
		again := newQueue(queueLimit)
		err := readPackets(bytes.NewReader(stream), func(flowID uint64, packet []byte) {
			if len(packet) > MaxPacket {
				t.Fatal("too long")
			}
			again.push(flowID, packet)
		})
		if err == nil {
			t.Fatal("no end")
		}
		count := uint64(0)
		_ = readPackets(bytes.NewReader(again.waiting), func(uint64, []byte) { count++ })
		if n, _ := again.counts(); n != count {
			t.Fatalf("%d packets came back of %d", count, n)
		}
	})
}

func FuzzReadMessage(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, '{', '}'})
	f.Add([]byte{0xff, 0, 0, 0})
	f.Fuzz(func(t *testing.T, stream []byte) {
		text, err := readMessage(bytes.NewReader(stream))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := writeMessage(&out, text); err != nil || !bytes.HasPrefix(stream, out.Bytes()) {
			t.Fatalf("%v: %q came back as %q", err, stream, out.Bytes())
		}
	})
}
