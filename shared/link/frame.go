package link

import (
	"encoding/binary"
	"errors"
	"io"
)

// Bounds of what is sent.
const (
	// MaxFlowID is the greatest flow id: a QUIC variable-length integer (RFC 9000 section 16).
	MaxFlowID = 1<<62 - 1
	// MaxPacket is the length of the longest packet in bytes: with its flow id it fits into a frame of a stream.
	MaxPacket = maxFrame - maxVarint

	maxFrame    = 1<<16 - 1
	maxVarint   = 8
	maxDatagram = 1500 // more than any datagram that QUIC sends
)

// varintLen is how many bytes an integer takes.
func varintLen(v uint64) int {
	switch {
	case v < 1<<6:
		return 1
	case v < 1<<14:
		return 2
	case v < 1<<30:
		return 4
	}
	return 8
}

// appendVarint appends an integer of at most MaxFlowID in its shortest form.
func appendVarint(b []byte, v uint64) []byte {
	switch varintLen(v) {
	case 1:
		return append(b, byte(v))
	case 2:
		return binary.BigEndian.AppendUint16(b, uint16(v)|1<<14)
	case 4:
		return binary.BigEndian.AppendUint32(b, uint32(v)|2<<30)
	}
	return binary.BigEndian.AppendUint64(b, v|3<<62)
}

// cutVarint reads an integer from the front, in whatever form.
func cutVarint(b []byte) (v uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	n := 1 << (b[0] >> 6)
	if len(b) < n {
		return 0, nil, false
	}
	v = uint64(b[0] & 0x3f)
	for _, c := range b[1:n] {
		v = v<<8 | uint64(c)
	}
	return v, b[n:], true
}

// errFrame is of a frame that has no flow id.
var errFrame = errors.New("a packet without a flow id")

// readFrame reads one packet from the stream of long ones, into a buffer that it may replace by a longer one.
func readFrame(r io.Reader, buf []byte) (flowID uint64, packet, newBuf []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, buf, err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(r, buf); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, buf, err
	}
	flowID, packet, ok := cutVarint(buf)
	if !ok {
		return 0, nil, buf, errFrame
	}
	return flowID, packet, buf, nil
}
