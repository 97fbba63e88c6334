package worker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"portico/shared/relayproto"
)

// MaxPacket is the longest packet that goes to or from a job, in bytes: what UDP could carry.
const MaxPacket = 1 << 16

// errFrame is of a stream between worker and job that makes no sense; it is given up.
var errFrame = errors.New("worker: bad frame")

// queue takes packets for the other process. They wait in one buffer, already in the form in which they are written, while its writer
// is busy: so a writer that falls behind takes all that waits with one system call.
//
// Each packet is a flow id and a length, both variable-length integers (encoding/binary's), then the packet.
type queue struct {
	limit int
	wake  chan struct{} // one token: there is something to write

	mu      sync.Mutex // guards the fields below; leaf
	waiting []byte
	packets uint64 // accepted
	dropped uint64 // refused because limit bytes wait
}

// queueLimit is how much may wait for the other process, in bytes: a quarter of a second of sixteen pictures of 2 Mbit/s. What is older
// than that is of no use to a mix.
const queueLimit = 1 << 20

func newQueue(limit int) *queue { return &queue{limit: limit, wake: make(chan struct{}, 1)} }

// push copies the packet. It never blocks: what finds no room is counted and lost.
func (q *queue) push(flowID uint64, packet []byte) bool {
	if len(packet) > MaxPacket {
		q.mu.Lock()
		q.dropped++
		q.mu.Unlock()
		return false
	}
	q.mu.Lock()
	if len(q.waiting)+len(packet)+2*binary.MaxVarintLen64 > q.limit {
		q.dropped++
		q.mu.Unlock()
		return false
	}
	q.packets++
	q.waiting = binary.AppendUvarint(q.waiting, flowID)
	q.waiting = binary.AppendUvarint(q.waiting, uint64(len(packet)))
	q.waiting = append(q.waiting, packet...)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// counts are the packets accepted and refused so far.
func (q *queue) counts() (packets, dropped uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.packets, q.dropped
}

// drain writes what comes until the writer fails or done is closed.
func (q *queue) drain(w io.Writer, done <-chan struct{}) {
	var spare []byte
	for {
		select {
		case <-q.wake:
		case <-done:
			return
		}
		q.mu.Lock()
		batch := q.waiting
		q.waiting = spare[:0]
		q.mu.Unlock()
		if len(batch) > 0 { // else the batch before has taken it
			if _, err := w.Write(batch); err != nil {
				return
			}
		}
		spare = batch
	}
}

// readPackets hands every packet of a stream to take, which must not keep it, until the stream ends or makes no sense.
func readPackets(r io.Reader, take func(flowID uint64, packet []byte)) error {
	in := bufio.NewReaderSize(r, 2*MaxPacket)
	for {
		flowID, err := binary.ReadUvarint(in)
		if err != nil {
			return err
		}
		size, err := binary.ReadUvarint(in)
		if err != nil {
			return err
		}
		if size > MaxPacket {
			return errFrame
		}
		packet, err := in.Peek(int(size)) // no copy: the buffer holds two of the longest
		if err != nil {
			return err
		}
		take(flowID, packet)
		if _, err := in.Discard(int(size)); err != nil {
			return err
		}
	}
}

// writeMessage writes one control message: its length, 4 bytes with the highest first, and its text.
func writeMessage(w io.Writer, text []byte) error {
	if len(text) > relayproto.MaxMessage {
		return errFrame
	}
	_, err := w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(text)), uint32(len(text))), text...))
	return err
}

// readMessage reads one control message.
func readMessage(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > relayproto.MaxMessage {
		return nil, errFrame
	}
	text := make([]byte, size)
	_, err := io.ReadFull(r, text)
	return text, err
}
