package meshproto

import "encoding/binary"

// # Data streams
//
// An edge opens one call of the service data for each publication of data that it gets from another edge, however many want it there. Its
// first message, a DataAsk, is the only one that it sends; what comes back is in bytes, for speed, numbers big-endian:
//
//	1 from here on      what is published comes; it is the first message, unless that is the last
//	2 begin             uint32 number of the publisher's stream, from 1 on, each higher than the one before
//	3 bytes             uint32 number, 1 to MaxDataBytes bytes
//	4 end               uint32 number: in order
//	5 reset             uint32 number, uint32 code: at once
//	6 over              a byte, DataReason: the last message
//
// Either side ends it by closing the call. Streams that are open then come to their end.

// MaxDataBytes bounds the bytes of one message.
const MaxDataBytes = 64 << 10

// DataAsk asks for a publication of data.
type DataAsk struct {
	Room   string `json:"room"`
	Stream string `json:"stream"`
}

// EncodeDataAsk writes it.
func EncodeDataAsk(a DataAsk) ([]byte, error) { return write(a) }

// DecodeDataAsk reads it. It fails with ErrMessage.
func DecodeDataAsk(b []byte) (DataAsk, error) {
	var a DataAsk
	if err := read(b, &a); err != nil {
		return DataAsk{}, err
	}
	if !nameFits(a.Room) || !nameFits(a.Stream) {
		return DataAsk{}, bad("data: no room or no stream")
	}
	return a, nil
}

// DataKind is what a DataMessage is.
type DataKind uint8

// The kinds.
const (
	DataFromHere DataKind = iota + 1
	DataBegin
	DataBytes
	DataEnd
	DataReset
	DataOver
)

// DataReason is why nothing more comes.
type DataReason uint8

// The reasons.
const (
	DataEnded   DataReason = iota + 1 // the publication has ended
	DataUnknown                       // there is none of that id in that room
	DataSlow                          // the link does not carry it: some of it is lost
	DataFull                          // this edge gets too many
)

// DataMessage is what the edge that has the publication says.
type DataMessage struct {
	Kind   DataKind
	Stream uint32 // all but DataFromHere and DataOver
	Bytes  []byte // DataBytes
	Code   uint32 // DataReset
	Reason DataReason
}

// AppendData writes a message behind b.
func AppendData(b []byte, m DataMessage) []byte {
	b = append(b, byte(m.Kind))
	switch m.Kind {
	case DataFromHere:
	case DataOver:
		b = append(b, byte(m.Reason))
	default:
		b = binary.BigEndian.AppendUint32(b, m.Stream)
		if m.Kind == DataReset {
			b = binary.BigEndian.AppendUint32(b, m.Code)
		}
		b = append(b, m.Bytes...)
	}
	return b
}

// DecodeData reads a message, whose Bytes are a part of b. It fails with ErrMessage.
func DecodeData(b []byte) (m DataMessage, err error) {
	if len(b) == 0 {
		return m, bad("data: empty")
	}
	m.Kind, b = DataKind(b[0]), b[1:]
	switch m.Kind {
	case DataFromHere:
	case DataOver:
		if len(b) == 1 {
			m.Reason, b = DataReason(b[0]), nil
		}
		if m.Reason < DataEnded || m.Reason > DataFull {
			return m, bad("data: over for no reason")
		}
	case DataBegin, DataBytes, DataEnd, DataReset:
		if len(b) >= 4 {
			m.Stream, b = binary.BigEndian.Uint32(b), b[4:]
		}
		if m.Stream == 0 {
			return m, bad("data: of no stream")
		}
		switch {
		case m.Kind == DataBytes && len(b) > 0 && len(b) <= MaxDataBytes:
			m.Bytes, b = b, nil
		case m.Kind == DataReset && len(b) == 4:
			m.Code, b = binary.BigEndian.Uint32(b), nil
		case m.Kind == DataBytes || m.Kind == DataReset:
			return m, bad("data: %d bytes", len(b))
		}
	default:
		return m, bad("data: kind %d", m.Kind)
	}
	if len(b) > 0 {
		return m, bad("data: %d bytes too many", len(b))
	}
	return m, nil
}
