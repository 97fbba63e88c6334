package turnserver

import "sync/atomic"

// Reason says why something was refused or dropped. Its text is a label in metrics.
type Reason uint8

// The reasons. Those of peers, from PeerInvalid to PeerReserved, follow the order of the classes.
const (
	passes Reason = iota
	PeerInvalid
	PeerUnspecified
	PeerLoopback
	PeerPrivate
	PeerLinkLocal
	PeerMulticast
	PeerBroadcast
	PeerDocumentation
	PeerTranslated
	PeerReserved
	PeerFamily       // an IPv6 peer: relayed addresses are IPv4
	PeerOwn          // a port of this machine that is no relayed port
	Credentials      // unknown, expired, or of another realm
	BadRequest       // answered with 400: wrong password, or attributes missing
	WrongUser        // a request on somebody else's allocation
	UserQuota        // the user has all allocations allowed to one
	ServerQuota      // the server has all allocations allowed
	PermissionQuota  // the allocation has all permissions allowed
	ChannelQuota     // the allocation has all channels allowed
	NoPort           // no relayed port could be opened
	Unsupported      // a TURN option that is not offered
	Malformed        // not a STUN message or ChannelData, or one that breaks its format
	Stray            // ChannelData or an indication without an allocation
	Expiring         // something asked of an allocation in its last second
	RequestRate      // too many requests of strangers from about one address
	BitRate          // above the allocation's bit rate
	TooLong          // a datagram longer than the buffers
	SendFailed       // the system refused to send
	ConnectionQuota  // too many TCP connections, in all or from one address
	ConnectionTiming // a TCP connection too slow with its handshake, its frame, or taking data
	reasonCount
)

var reasonNames = [reasonCount]string{"passes", "peer_invalid", "peer_unspecified", "peer_loopback", "peer_private", "peer_link_local",
	"peer_multicast", "peer_broadcast", "peer_documentation", "peer_translated", "peer_reserved", "peer_family", "peer_own",
	"credentials", "bad_request", "wrong_user", "user_quota", "server_quota", "permission_quota", "channel_quota", "no_port",
	"unsupported", "malformed", "stray", "expiring", "request_rate", "bit_rate", "too_long", "send_failed",
	"connection_quota", "connection_timing"}

// String is the reason as it stands in metrics ("peer_loopback").
func (r Reason) String() string { return reasonNames[r] }

func reasonOf(c Class) Reason { return PeerInvalid + Reason(c-Invalid) }

// Stats is a snapshot. Totals never fall.
type Stats struct {
	Allocations      int    // at present
	AllocationsTotal uint64 // made since the start
	Connections      int    // TCP and TLS, at present
	PacketsToPeers   uint64 // relayed from clients to peers
	PacketsFromPeers uint64 // relayed from peers to clients
	BytesToPeers     uint64 // payload, without TURN's or UDP's headers
	BytesFromPeers   uint64
	Refused          map[string]uint64 // by reason; every reason is there, so that metrics begin at 0
}

// counters are the live form of Stats.
type counters struct {
	made                   atomic.Uint64
	packetsTo, packetsFrom atomic.Uint64
	bytesTo, bytesFrom     atomic.Uint64
	refused                [reasonCount]atomic.Uint64
}

func (c *counters) refuse(r Reason) { c.refused[r].Add(1) }

func (c *counters) snapshot() Stats {
	s := Stats{
		AllocationsTotal: c.made.Load(),
		PacketsToPeers:   c.packetsTo.Load(), PacketsFromPeers: c.packetsFrom.Load(),
		BytesToPeers: c.bytesTo.Load(), BytesFromPeers: c.bytesFrom.Load(),
		Refused: make(map[string]uint64, reasonCount),
	}
	for r := passes + 1; r < reasonCount; r++ {
		s.Refused[r.String()] = c.refused[r].Load()
	}
	return s
}
