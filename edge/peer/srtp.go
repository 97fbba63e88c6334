package peer

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"portico/shared/udpbatch"
)

// overhead is more than SRTP adds to a packet: a tag of 16 bytes, for RTCP an index of 4 too.
const overhead = 32

// incoming is the receiving half of SRTP.
type incoming struct {
	mu      sync.Mutex // guards the fields below; held while the Handler is called, so that packets come one at a time
	context *srtp.Context
	rtp     rtp.Header
	rtcp    rtcp.Header
	ssrcs   map[uint32]struct{} // that came with authentic packets: the context keeps something for each
	last    uint32              // the one of them that came last
	closed  bool
}

// maxSSRCs is how many SSRCs a client may send with.
const maxSSRCs = 2048

func (i *incoming) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
}

// outgoing is the sending half.
type outgoing struct {
	media atomic.Pointer[srtp.Context] // of the goroutine that has the Outlet

	mu      sync.Mutex // guards the fields below; a leaf
	control *srtp.Context
	header  rtcp.Header
	scratch []byte
}

// takeKeys makes the contexts of SRTP from the DTLS association (RFC 5764 section 4.2).
func (c *Conn) takeKeys(association *dtls.Conn) error {
	profile, ok := association.SelectedSRTPProtectionProfile()
	if !ok {
		return dtls.ErrConnClosed
	}
	state, ok := association.ConnectionState()
	if !ok {
		return dtls.ErrConnClosed
	}
	config := srtp.Config{Profile: srtp.ProtectionProfile(profile)}
	if err := config.ExtractSessionKeysFromDTLS(&state, !c.remote.Active); err != nil {
		return err
	}
	keys := config.Keys
	in, err := srtp.CreateContext(keys.RemoteMasterKey, keys.RemoteMasterSalt, config.Profile,
		srtp.SRTPReplayProtection(replayWindow), srtp.SRTCPReplayProtection(replayWindow))
	if err != nil {
		return err
	}
	media, err := srtp.CreateContext(keys.LocalMasterKey, keys.LocalMasterSalt, config.Profile)
	if err != nil {
		return err
	}
	control, err := srtp.CreateContext(keys.LocalMasterKey, keys.LocalMasterSalt, config.Profile)
	if err != nil {
		return err
	}
	c.in.mu.Lock()
	c.in.context, c.in.ssrcs = in, make(map[uint32]struct{})
	c.in.mu.Unlock()
	c.out.mu.Lock()
	c.out.control = control
	c.out.mu.Unlock()
	c.out.media.Store(media)
	return nil
}

// receive takes a datagram of SRTP, which it overwrites.
func (c *Conn) receive(b []byte, reader int, now int64) {
	in := &c.in
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.closed:
		return
	case in.context == nil || len(b) < 12:
		c.discards.Add(1)
		return
	}
	control := b[1] >= 192 && b[1] <= 223 // RFC 5761 section 4
	at := 8
	if control {
		at = 4
	}
	ssrc := binary.BigEndian.Uint32(b[at:])
	known := ssrc == in.last && len(in.ssrcs) > 0
	if !known {
		_, known = in.ssrcs[ssrc]
	}
	if !known && len(in.ssrcs) >= maxSSRCs {
		c.discards.Add(1)
		return
	}
	var plain []byte
	var err error
	if control {
		plain, err = in.context.DecryptRTCP(b, b, &in.rtcp)
	} else {
		plain, err = in.context.DecryptRTP(b, b, &in.rtp)
	}
	if err != nil {
		c.discards.Add(1)
		return
	}
	if !known {
		in.ssrcs[ssrc] = struct{}{}
		if len(in.ssrcs) == maxSSRCs {
			c.become(Failed)
		}
	}
	in.last = ssrc
	c.heard.Store(now)
	if control {
		c.config.Handler.RTCP(plain, reader)
	} else {
		c.config.Handler.RTP(plain, reader)
	}
}

// Outlet is the way out for one goroutine: it collects datagrams until Flush. Make it with NewOutlet.
type Outlet struct {
	batch  *udpbatch.Batch
	header rtp.Header
	sealed []byte // of the plain path
}

// NewOutlet makes an Outlet that sends through the Port's socket with that index.
func (p *Port) NewOutlet(socket int) *Outlet {
	o := &Outlet{sealed: make([]byte, maxDatagram)}
	if !p.plain {
		o.batch = p.sockets.NewBatch(socket, udpbatch.Limits{})
	}
	return o
}

// Flush sends what was collected. What the system refuses is lost, as on the network.
func (o *Outlet) Flush() {
	if o.batch != nil {
		_, _ = o.batch.Flush()
	}
}

// WriteRTP seals one packet and puts it into the Outlet, which is the caller's own. The bytes of packet are the caller's again when
// it returns. It fails with ErrNotConnected before the keys are known.
func (c *Conn) WriteRTP(o *Outlet, packet []byte) error {
	context := c.out.media.Load()
	if context == nil {
		return ErrNotConnected
	}
	to := c.fast.Load()
	if to == nil || o.batch == nil {
		sealed, err := context.EncryptRTP(o.sealed[:0], packet, &o.header)
		if err != nil {
			return err
		}
		return c.sendByStream(sealed)
	}
	sealed, err := context.EncryptRTP(o.batch.Space()[:0], packet, &o.header)
	if err != nil {
		return err
	}
	o.batch.Commit(len(sealed), *to)
	return nil
}

// WriteRTCP seals one compound and sends it at once. Any goroutine may call it; it does not wait for the network.
func (c *Conn) WriteRTCP(compound []byte) error {
	out := &c.out
	out.mu.Lock()
	defer out.mu.Unlock()
	if out.control == nil {
		return ErrNotConnected
	}
	if need := len(compound) + overhead; cap(out.scratch) < need {
		out.scratch = make([]byte, 0, need)
	}
	sealed, err := out.control.EncryptRTCP(out.scratch[:0], compound, &out.header)
	if err != nil {
		return err
	}
	if to := c.fast.Load(); to != nil {
		return c.send(sealed, *to)
	}
	return c.sendByStream(sealed)
}

func (c *Conn) send(sealed []byte, to netip.AddrPort) error {
	_, err := c.port.sockets.WriteTo(sealed, to)
	return err
}

// sendByStream sends through the connection of TCP in use, if there is one, or else through ICE.
func (c *Conn) sendByStream(sealed []byte) error {
	if s := c.stream.Load(); s != nil {
		return s.Write(sealed)
	}
	return c.sendByICE(sealed)
}

func (c *Conn) sendByICE(sealed []byte) error {
	conn := c.ice.Load()
	if conn == nil {
		return ErrNotConnected
	}
	_, err := conn.Write(sealed)
	return err
}
