package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"portico/shared/identity"
)

// Settings are the section cluster of a node's settings.
type Settings struct {
	identity.Files
	Label     string   `toml:"label" doc:"Name of the cluster, the same on all nodes; it keeps clusters apart that can reach each other."`
	Region    string   `toml:"region" doc:"Where this node is, in a word that all nodes there have: clients, rooms and relays are brought together by it."`
	Listen    string   `toml:"listen" doc:"Address for gossip, TCP and UDP."`
	Advertise string   `toml:"advertise" doc:"IP address at which other nodes reach this one, for gossip and for links; with a port when gossip's is another than that of listen. Empty: the address that is listened on, or this machine's own."`
	Seeds     []string `toml:"seeds" doc:"Nodes to begin with, as host or host:port of their gossip: one or two that are usually there, the same on all nodes. Empty: the others have this one among theirs."`
	KeysFile  string   `toml:"gossip_keys_file" doc:"File in which the node keeps the keys of gossip when they are replaced, and which it has to be able to write then. Empty: gossip-keys, beside this node's key."`
	Profile   string   `toml:"profile" doc:"How patient gossip is, the same on all nodes: local for one machine, lan for networks and good lines between them, wan for bad ones."`
	Capacity  int      `toml:"capacity" doc:"How much this node can do, relative to others; 0 means 100 for each processor core."`
}

// DefaultPort is that of gossip.
const DefaultPort = "7946"

// DefaultSettings are those of a node that is in no cluster yet.
func DefaultSettings() Settings {
	return Settings{Label: "portico", Listen: "0.0.0.0:" + DefaultPort, Seeds: []string{}, Profile: string(LAN)}
}

// Check gives every fault, a line each. secret tells that the cluster's secret comes from elsewhere.
func (s *Settings) Check(secret bool) (faults []error) {
	fail := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !secret && !s.None() && !s.Whole() {
		fail("cluster.ca_file, cluster.cert_file and cluster.key_file belong together: set all three, or cluster.folder (portico cluster issue makes it), or none")
	}
	if !secret && s.SecretFile() == "" {
		if len(s.Seeds) > 0 {
			fail("cluster.seeds are set, but no cluster.secret_file: set cluster.folder, which has it, or no seeds")
		}
		return faults
	}
	if !word(s.Label, 1, 64) {
		fail("cluster.label is %q: take letters, digits, dots and hyphens, 64 at most", s.Label)
	}
	if !word(s.Region, 0, maxRegion) {
		fail("cluster.region is %q: take letters, digits, dots and hyphens, %d at most", s.Region, maxRegion)
	}
	if host, port, err := hostPort(s.Listen); err != nil || host == "" || port < 0 {
		fail("cluster.listen: %q is no address to listen on: write an IP address and a port, as 0.0.0.0:%s", s.Listen, DefaultPort)
	}
	if _, _, err := s.advertised(0); s.Advertise != "" && err != nil {
		fail("cluster.advertise: %q is no address that others could reach: write an IP address, with a port if it is another one, as 192.0.2.7", s.Advertise)
	}
	for _, seed := range s.Seeds {
		if !isSeed(seed) {
			fail("cluster.seeds: %q is no node: write it as edge-1.example.org or 192.0.2.7:%s", seed, DefaultPort)
		}
	}
	if p := Profile(s.Profile); !p.Valid() || p == "" {
		fail("cluster.profile is %q: write %s, %s or %s", s.Profile, Local, LAN, WAN)
	}
	if s.Capacity < 0 || s.Capacity > maxCapacity {
		fail("cluster.capacity is %d: write a number from 1 to %d, or 0 for 100 for each core", s.Capacity, maxCapacity)
	}
	return faults
}

func isSeed(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = strings.Trim(text, "[]"), DefaultPort
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 1 || n > 65535 {
		return false
	}
	_, err = netip.ParseAddr(host)
	return err == nil || word(host, 1, 253)
}

// advertised is the address that others use, as the setting says it; port is the one when it names none.
func (s *Settings) advertised(port int) (netip.Addr, int, error) {
	host := strings.Trim(s.Advertise, "[]")
	if h, p, err := net.SplitHostPort(s.Advertise); err == nil {
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 || n > 65535 {
			return netip.Addr{}, 0, errors.New("no port")
		}
		host, port = h, n
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.IsUnspecified() || ip.IsMulticast() || ip.Zone() != "" {
		return netip.Addr{}, 0, errors.New("no address")
	}
	return ip.Unmap(), port, nil
}

// Where finds out where other nodes reach this one's gossip; own is this machine's address where no setting says it. Without a port
// of its own, that is 0, New takes that of its socket.
func (s *Settings) Where(own func() netip.Addr) netip.AddrPort {
	host, port, _ := hostPort(s.Listen) // checked
	if ip, p, err := s.advertised(port); err == nil {
		return netip.AddrPortFrom(ip, uint16(p))
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.IsUnspecified() {
		ip = own()
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(port))
}

// OwnAddress is an address of this machine for others: the one that leads to the internet, or else the first that is not loopback.
// Nothing is sent.
func OwnAddress() netip.Addr {
	if conn, err := net.Dial("udp4", "192.0.2.1:9"); err == nil {
		defer func() { _ = conn.Close() }()
		if ip := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(); !ip.IsLoopback() {
			return ip
		}
	}
	found := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	addrs, _ := net.InterfaceAddrs() // none: loopback
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil || prefix.Addr().IsLinkLocalUnicast() || prefix.Addr().IsLoopback() {
			continue
		}
		if ip := prefix.Addr().Unmap(); ip.Is4() {
			return ip
		} else if found.IsLoopback() {
			found = ip
		}
	}
	return found
}

// Keys gives the ring to begin with: that of the file, if there is one, or else the key that is derived from the secret.
func (s *Settings) Keys(secret identity.Secret) ([][]byte, error) {
	file := s.keysFile()
	if file != "" {
		data, err := os.ReadFile(file)
		switch {
		case err == nil:
			keys, err := ParseKeys(string(data))
			if err != nil {
				return nil, fmt.Errorf("the gossip keys in %s: %w", file, err)
			}
			return keys, nil
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("the gossip keys cannot be read: %w", err)
		}
	}
	return [][]byte{secret.Derive("gossip key", KeySize)}, nil
}

// SaveKeys keeps a ring for the next start. Without a file to keep it in, of a node whose identity is not in files, it does nothing.
func (s *Settings) SaveKeys(keys [][]byte) error {
	file := s.keysFile()
	if file == "" {
		return nil
	}
	if err := identity.WriteFile(file, FormatKeys(keys)); err != nil {
		return fmt.Errorf("the gossip keys cannot be kept (let the node write the file, or set cluster.gossip_keys_file to one that it can): %w", err)
	}
	return nil
}

func (s *Settings) keysFile() string {
	switch {
	case s.KeysFile != "":
		return s.KeysFile
	case s.None():
		return ""
	}
	return s.GossipKeysFile()
}

// FormatKeys writes a ring as a file holds it, a key in base64 in each line, the one in use first.
func FormatKeys(keys [][]byte) []byte {
	var b []byte
	for _, k := range keys {
		b = append(append(b, FormatKey(k)...), '\n')
	}
	return b
}

// ParseKeys reads what FormatKeys wrote.
func ParseKeys(text string) (keys [][]byte, err error) {
	for _, line := range strings.Fields(text) {
		key, err := ParseKey(line)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || len(keys) > maxKeys {
		return nil, fmt.Errorf("there are %d keys, and not one or two", len(keys))
	}
	return keys, nil
}
