package engineio

import (
	"errors"
	"strconv"
	"time"

	"portico/shared/jsonvalue"
)

// Open is the content of the open packet, with which a server begins a session (portal protocol 1.3).
type Open struct {
	SID          string        // names the session in later requests; secret, since it is all that a request shows
	Upgrades     []string      // transports the client may move to: "websocket" after a handshake by polling, none otherwise
	PingInterval time.Duration // sent in whole milliseconds
	PingTimeout  time.Duration
	MaxPayload   int // bytes the server accepts in one message or one HTTP body; 0 when it did not say
}

// ErrOpen reports an open packet that does not hold what a client needs.
var ErrOpen = errors.New("engineio: malformed open packet")

// maxHeartbeat bounds what a client believes about intervals, so that they stay far from overflow.
const maxHeartbeat = 24 * time.Hour

// AppendPacket writes the open packet behind dst.
func (o Open) AppendPacket(dst []byte) []byte {
	content := jsonvalue.OfObject(
		jsonvalue.M("sid", jsonvalue.Of(o.SID)),
		jsonvalue.M("upgrades", jsonvalue.OfStrings(o.Upgrades)),
		jsonvalue.M("pingInterval", jsonvalue.OfInt(o.PingInterval.Milliseconds())),
		jsonvalue.M("pingTimeout", jsonvalue.OfInt(o.PingTimeout.Milliseconds())),
		jsonvalue.M("maxPayload", jsonvalue.OfInt(int64(o.MaxPayload))),
	)
	return content.Append(append(dst, '0'+byte(TypeOpen)))
}

// ParseOpen reads the data of an open packet. The error is ErrOpen.
func ParseOpen(data []byte) (Open, error) {
	v, err := jsonvalue.Parse(data, jsonvalue.Limits{})
	if err != nil {
		return Open{}, ErrOpen
	}
	o := Open{SID: v.Get("sid").Text()}
	upgrades := v.Get("upgrades")
	for i := range upgrades.Len() {
		o.Upgrades = append(o.Upgrades, upgrades.Index(i).Text())
	}
	interval, ok1 := v.Get("pingInterval").Int()
	timeout, ok2 := v.Get("pingTimeout").Int()
	limit := maxHeartbeat.Milliseconds()
	if o.SID == "" || !ok1 || !ok2 || interval <= 0 || timeout <= 0 || interval > limit || timeout > limit {
		return Open{}, ErrOpen
	}
	o.PingInterval = time.Duration(interval) * time.Millisecond
	o.PingTimeout = time.Duration(timeout) * time.Millisecond
	if n, ok := v.Get("maxPayload").Int(); ok && n > 0 && n < 1<<31 {
		o.MaxPayload = int(n)
	}
	return o, nil
}

func appendInt(dst []byte, n int) []byte { return strconv.AppendInt(dst, int64(n), 10) }
