package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"portico/shared/identity"
)

// Protocol is the version of what nodes say to each other. Nodes of different versions do not see each other.
const Protocol = 1

// MaxMeta is the most bytes that Meta may take: memberlist's limit.
const MaxMeta = 512

// Bounds of what Meta holds.
const (
	maxRegion    = 32
	maxAddresses = 8
	maxAddress   = 128
	maxCodecs    = 24
	maxCodec     = 16
	maxCapacity  = 1<<16 - 1
)

// MaxLoad is the coarse load of a node that is full.
const MaxLoad = 7

// Roles are what a node does.
type Roles uint8

// The roles of identity, as bits.
const (
	Edge Roles = 1 << iota
	Relay
)

// RoleOf gives the bit of a role of identity; 0 for one that there is not.
func RoleOf(role string) Roles {
	switch role {
	case identity.Edge:
		return Edge
	case identity.Relay:
		return Relay
	}
	return 0
}

// State is whether a node takes new work.
type State uint8

// The states of a node.
const (
	Active   State = iota
	Draining       // it gives away what it has
	Leaving        // it is about to stop: its end is no failure
)

// String is the state's word.
func (s State) String() string {
	switch s {
	case Active:
		return "active"
	case Draining:
		return "draining"
	case Leaving:
		return "leaving"
	}
	return "unknown"
}

// Use is what an address is for.
type Use uint8

// Uses of addresses. Others, of later versions, are kept and ignored.
const (
	ForLinks   Use = 1 + iota // node links, host:port, QUIC
	ForClients                // the portal, host:port, HTTP
	ForSecure                 // the portal, host:port, HTTPS
	ForSTUN                   // host:port, UDP, TURN too
	ForTURNS                  // host:port, TURN over TLS
	ForTURN                   // host:port, TURN over TCP
	ForData                   // the portal's data streams, a URL
)

// Address is one address of a node.
type Address struct {
	Use  Use
	Text string
}

// Meta is what a node says of itself. It encodes to:
//
//	format      1 byte, 1
//	protocol    1 byte; these two stay where they are in all versions
//	state       1 byte
//	load        1 byte, 0 to 7
//	roles       1 byte, bits
//	boot        8 bytes, big endian
//	capacity    2 bytes, big endian
//	fingerprint 32 bytes
//	id, region  each 1 byte of length and the text
//	addresses   1 byte of count; each 1 byte of use, 1 byte of length, the text
//	codecs      1 byte of count; each 1 byte of length, the text
//
// What follows is of later versions and ignored.
type Meta struct {
	ID          string
	Boot        uint64 // greater with each start of the node: its clock in milliseconds then
	Region      string
	Roles       Roles
	State       State
	Load        int      // coarse, 0 to MaxLoad
	Capacity    int      // from 1; what a node can do relative to others
	Fingerprint [32]byte // SHA-256 of its certificate; zero: not told
	Protocol    uint8    // 0 encodes as Protocol
	Addresses   []Address
	Codecs      []string // of a relay: what its jobs can do
}

// Address gives the first address of a use, or the empty text.
func (m *Meta) Address(use Use) string {
	for _, a := range m.Addresses {
		if a.Use == use {
			return a.Text
		}
	}
	return ""
}

// Errors of Encode and DecodeMeta.
var (
	ErrMeta    = errors.New("its description cannot be read")
	ErrTooLong = fmt.Errorf("a node's description takes more than %d bytes: give it fewer or shorter addresses", MaxMeta)
)

// VersionError tells that a node speaks another protocol.
type VersionError struct{ Theirs, Ours uint8 }

// Error says what to do.
func (e *VersionError) Error() string {
	return fmt.Sprintf("it speaks version %d of the protocol between nodes and this one version %d: run one version of the program on all",
		e.Theirs, e.Ours)
}

const metaFormat = 1

// Encode writes the description, or fails when it cannot be read again.
func (m *Meta) Encode() ([]byte, error) {
	protocol := m.Protocol
	if protocol == 0 {
		protocol = Protocol
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	b := []byte{metaFormat, protocol, byte(m.State), byte(m.Load), byte(m.Roles)}
	b = binary.BigEndian.AppendUint64(b, m.Boot)
	b = binary.BigEndian.AppendUint16(b, uint16(m.Capacity))
	b = append(b, m.Fingerprint[:]...)
	text := func(s string) {
		b = append(b, byte(len(s)))
		b = append(b, s...)
	}
	text(m.ID)
	text(m.Region)
	b = append(b, byte(len(m.Addresses)))
	for _, a := range m.Addresses {
		b = append(b, byte(a.Use))
		text(a.Text)
	}
	b = append(b, byte(len(m.Codecs)))
	for _, c := range m.Codecs {
		text(c)
	}
	if len(b) > MaxMeta {
		return nil, ErrTooLong
	}
	return b, nil
}

// check tells what is wrong with a description, in the words of whoever made it.
func (m *Meta) check() error {
	switch {
	case !identity.ValidName(m.ID):
		return fmt.Errorf("a node cannot be called %q", m.ID)
	case !word(m.Region, 0, maxRegion):
		return fmt.Errorf("a region cannot be called %q: take letters, digits, dots and hyphens, %d at most", m.Region, maxRegion)
	case m.Roles == 0:
		return errors.New("a node needs a role")
	case m.State > Leaving, m.Load < 0 || m.Load > MaxLoad:
		return fmt.Errorf("state %d and load %d are out of bounds", m.State, m.Load)
	case m.Capacity < 1 || m.Capacity > maxCapacity:
		return fmt.Errorf("the capacity %d is not from 1 to %d", m.Capacity, maxCapacity)
	case len(m.Addresses) > maxAddresses, len(m.Codecs) > maxCodecs:
		return ErrTooLong
	}
	for _, a := range m.Addresses {
		if !printable(a.Text) || a.Use == 0 {
			return fmt.Errorf("%q is not an address for use %d", a.Text, a.Use)
		}
	}
	for _, c := range m.Codecs {
		if !word(c, 1, maxCodec) {
			return fmt.Errorf("%q is not a codec", c)
		}
	}
	return nil
}

// DecodeMeta reads a description of another node. It fails with ErrMeta, or with a *VersionError when it is of another protocol than
// ours.
func DecodeMeta(data []byte, ours uint8) (Meta, error) {
	r := reader{data: data}
	format, protocol := r.byte(), r.byte()
	if r.failed || len(data) > MaxMeta {
		return Meta{}, ErrMeta
	}
	if protocol != ours {
		return Meta{}, &VersionError{Theirs: protocol, Ours: ours}
	}
	m := Meta{Protocol: protocol, State: State(r.byte()), Load: int(r.byte()), Roles: Roles(r.byte())}
	if b := r.bytes(8); b != nil {
		m.Boot = binary.BigEndian.Uint64(b)
	}
	if b := r.bytes(2); b != nil {
		m.Capacity = int(binary.BigEndian.Uint16(b))
	}
	copy(m.Fingerprint[:], r.bytes(32))
	m.ID, m.Region = r.text(), r.text()
	for range min(int(r.byte()), maxAddresses+1) {
		m.Addresses = append(m.Addresses, Address{Use: Use(r.byte()), Text: r.text()})
	}
	for range min(int(r.byte()), maxCodecs+1) {
		m.Codecs = append(m.Codecs, r.text())
	}
	if r.failed || format != metaFormat || m.check() != nil {
		return Meta{}, ErrMeta
	}
	return m, nil
}

// reader takes a description apart; once something is missing it gives nothing more.
type reader struct {
	data   []byte
	failed bool
}

func (r *reader) bytes(n int) []byte {
	if r.failed || len(r.data) < n {
		r.failed = true
		return nil
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) text() string { return string(r.bytes(int(r.byte()))) }

func word(s string, least, most int) bool {
	if len(s) < least || len(s) > most {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_') {
			return false
		}
	}
	return true
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxAddress
}

// same tells that nothing differs that would have to be told.
func (m *Meta) same(o *Meta) bool {
	return m.ID == o.ID && m.Boot == o.Boot && m.Region == o.Region && m.Roles == o.Roles && m.State == o.State && m.Load == o.Load &&
		m.Capacity == o.Capacity && m.Fingerprint == o.Fingerprint && slices.Equal(m.Addresses, o.Addresses) && slices.Equal(m.Codecs, o.Codecs)
}
