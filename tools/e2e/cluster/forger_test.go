//go:build linux

package cluster

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	gossip "portico/shared/cluster"
	"portico/tools/netlab"
)

// forger says by gossip what it likes. It has the key, and nothing else.
//
// A packet of memberlist is a byte 244, the label with its length in a byte, a version 1, a nonce of 12 bytes, and, sealed by AES-GCM with
// the label as additional data, a message: its kind in a byte and its fields in MessagePack, by their names.
type forger struct {
	*cluster
	home        *netlab.Namespace
	conn        *net.UDPConn
	key         []byte
	incarnation uint32
}

// Kinds of messages.
const (
	kindSuspect = 3
	kindAlive   = 4
	kindDead    = 5
)

func (f *forger) dead(name, from string) func(uint32) []byte {
	return func(incarnation uint32) []byte { return f.accuse(kindDead, name, from, incarnation) }
}

func (f *forger) suspect(name, from string) func(uint32) []byte {
	return func(incarnation uint32) []byte { return f.accuse(kindSuspect, name, from, incarnation) }
}

func (f *forger) accuse(kind byte, name, from string, incarnation uint32) []byte {
	m := fields(kind, 3)
	m.number("Incarnation", incarnation)
	m.text("Node", []byte(name))
	m.text("From", []byte(from))
	return f.seal(m)
}

// alive says that a node is there and what it is like.
func (f *forger) alive(is gossip.Meta, at netip.Addr) func(uint32) []byte {
	meta, err := is.Encode()
	f.must(err)
	return func(incarnation uint32) []byte {
		m := fields(kindAlive, 6)
		m.number("Incarnation", incarnation)
		m.text("Node", []byte(is.ID))
		m.text("Addr", at.AsSlice())
		m.number("Port", gossipPort)
		m.text("Meta", meta)
		m.text("Vsn", []byte{1, 5, 2, 0, 0, 0})
		return f.seal(m)
	}
}

// message is one in MessagePack, with its kind before it.
type message []byte

func fields(kind byte, n int) message { return message{kind, 0x80 | byte(n)} }

func (m *message) text(name string, value []byte) {
	*m = append(append(*m, 0xa0|byte(len(name))), name...)
	*m = append(binary.BigEndian.AppendUint16(append(*m, 0xda), uint16(len(value))), value...)
}

func (m *message) number(name string, value uint32) {
	*m = append(append(*m, 0xa0|byte(len(name))), name...)
	*m = binary.BigEndian.AppendUint32(append(*m, 0xce), value)
}

func (f *forger) seal(m message) []byte {
	block, err := aes.NewCipher(f.key)
	f.must(err)
	gcm, err := cipher.NewGCM(block)
	f.must(err)
	label := gossip.DefaultSettings().Label
	nonce := make([]byte, gcm.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	packet := append(append([]byte{244, byte(len(label))}, label...), 1)
	return gcm.Seal(append(packet, nonce...), nonce, m, []byte(label))
}

// record listens on the wires of some edges, and gives all packets of gossip that have passed until it is asked; it ends then.
func (c *cluster) record(edges ...*edge) func() [][]byte {
	c.t.Helper()
	var mu sync.Mutex
	var packets [][]byte
	var tasks sync.WaitGroup
	var taps []*os.File
	for _, e := range edges {
		c.must(e.home.Do(func() error {
			const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8 // in the order of the network
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, all)
			if err == nil {
				taps = append(taps, os.NewFile(uintptr(fd), "tap"))
			}
			return err
		}))
	}
	for _, tap := range taps {
		tasks.Go(func() {
			buffer := make([]byte, 1<<16)
			for {
				n, err := tap.Read(buffer)
				if err != nil {
					return // it is closed
				}
				if payload := payloadOf(buffer[:n]); payload != nil {
					mu.Lock()
					packets = append(packets, payload)
					mu.Unlock()
				}
			}
		})
	}
	end := sync.OnceFunc(func() {
		for _, tap := range taps {
			_ = tap.Close()
		}
		tasks.Wait()
	})
	c.t.Cleanup(end)
	return func() [][]byte {
		end()
		return packets
	}
}

// payloadOf is the content of a packet of IPv4 and UDP to gossip's port.
func payloadOf(packet []byte) []byte {
	const udp, header = 17, 8
	if len(packet) < 20 || packet[0]>>4 != 4 || packet[9] != udp {
		return nil
	}
	at := int(packet[0]&15) * 4
	if len(packet) < at+header || binary.BigEndian.Uint16(packet[at+2:]) != gossipPort {
		return nil
	}
	return append([]byte(nil), packet[at+header:]...)
}
