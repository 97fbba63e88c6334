// Package config holds the settings of portico-relay: what main loads from file, environment and flags, and what node is built from.
//
// relay.sample.toml beside it is made from Default by its test: go test ./relay/config -update.
package config

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"portico/shared/cluster"
	shared "portico/shared/config"
	"portico/shared/identity"
	"portico/shared/logging"

	"portico/relay/turnserver"
)

// About is the program in one sentence.
const About = "STUN and TURN for clients that reach no edge directly, and mixing and transcoding for the edges."

// Settings are everything that can be set.
type Settings struct {
	TURN    TURN    `toml:"turn" doc:"STUN and TURN."`
	Limit   Limit   `toml:"limits" doc:"What one user and the whole relay may use; 0 means no limit."`
	Link    Link    `toml:"link" doc:"Links from the edges, by which mixing and transcoding are ordered. They are used when [cluster] is set."`
	Cluster Cluster `toml:"cluster" doc:"Who this relay is among the nodes of a cluster, and how it finds them. Without it there is no mixing and no transcoding; STUN and TURN need none."`
	Mixing  Mixing  `toml:"mixing" doc:"What mixing and transcoding may use. Each job is a process of its own."`
	Admin   Admin   `toml:"admin" doc:"The page for operators and their tools: /livez, /readyz, /metrics."`
	Log     Log     `toml:"log" doc:"The log, which goes to standard error."`
	// Dev is set by Dev only: the relay of a machine that is tried out.
	Dev bool `toml:"-"`
	// Identity is used instead of Cluster when it is set, by whoever runs nodes in one process.
	Identity *identity.Identity `toml:"-"`
	Secret   identity.Secret    `toml:"-"` // as Identity, in place of cluster.secret_file
}

// TURN is the section of that name.
type TURN struct {
	UDP        string   `toml:"udp" doc:"Address for STUN and TURN over UDP; empty turns it off."`
	TCP        string   `toml:"tcp" doc:"Address for STUN and TURN over TCP; empty turns it off."`
	TLS        string   `toml:"tls" doc:"Address for TURN over TLS, used when cert_file is set; empty turns it off."`
	CertFile   string   `toml:"cert_file" doc:"Certificate chain for TURN over TLS, PEM."`
	KeyFile    string   `toml:"key_file" doc:"Private key of the certificate, PEM without a password."`
	Realm      string   `toml:"realm" doc:"Realm of the credentials, any name."`
	Secret     string   `toml:"secret" secret:"true" doc:"What the credentials are made with: the same text as turn.secret of the edges, which hand out the credentials. Make one with: openssl rand -base64 32. In a cluster that gossips it is empty, here and there, and one is derived from the cluster's secret; else the relay does not start without."`
	PublicIP   string   `toml:"public_ip" doc:"IPv4 address under which everybody reaches the relayed ports, needed behind a NAT; empty takes the address of the interface that leads to the internet."`
	MinPort    uint16   `toml:"min_port" doc:"First relayed UDP port."`
	MaxPort    uint16   `toml:"max_port" doc:"Last relayed UDP port; min_port and max_port both 0 let the system choose."`
	AllowPeers []string `toml:"allow_peers" doc:"Peers to relay to although they are no public addresses or on this machine: addresses, prefixes, or addresses with a port, as 10.1.2.3, 10.1.2.0/24, 10.1.2.3:8080. List an edge that runs on this machine, or in the same private network, with its UDP port. Everything else that is loopback, private, link-local, multicast or reserved is refused."`
}

// Limit is the section limits.
type Limit struct {
	AllocationsPerUser       int   `toml:"allocations_per_user" doc:"Allocations that one user holds at a time."`
	Allocations              int   `toml:"allocations" doc:"Allocations in all."`
	PermissionsPerAllocation int   `toml:"permissions_per_allocation" doc:"Peer addresses that one allocation may exchange packets with."`
	ChannelsPerAllocation    int   `toml:"channels_per_allocation" doc:"Channels of one allocation."`
	Bitrate                  int64 `toml:"bitrate_per_allocation" doc:"Bit rate of one allocation in each direction." unit:"bit/s"`
	Connections              int   `toml:"connections" doc:"TCP and TLS connections in all."`
	ConnectionsPerAddress    int   `toml:"connections_per_address" doc:"TCP and TLS connections from one IP address."`
	RequestsPerSecond        int   `toml:"requests_per_second" doc:"Requests from about one IP address that has no allocation yet."`
}

// Link is the section of that name.
type Link struct {
	Listen string `toml:"listen" doc:"UDP address for the edges (QUIC)."`
}

// Cluster is the section of that name.
type Cluster struct {
	cluster.Settings
	DrainTimeout time.Duration `toml:"drain_timeout" doc:"How long this relay, told to stop, gives edges to take their jobs to other relays before it stops. 0 stops at once."`
}

// Mixing is the section of that name.
type Mixing struct {
	Cores  float64 `toml:"cores" doc:"Processor cores that all jobs together may use, as 2 or 1.5; 0 means all that this machine has. A relay that is nearly at this number sends edges to another one."`
	Jobs   int     `toml:"jobs" doc:"Jobs at a time; 0 means 16 for each core."`
	Memory int     `toml:"memory_per_job" doc:"Memory that one job may hold; a job with more is started anew." unit:"MB"`
}

// minMemory is what a job of one small picture needs to live, and some more.
const minMemory = 256

// Admin is the section of that name.
type Admin struct {
	Listen string `toml:"listen" doc:"Address of the page; empty turns it off. It has no password: keep it away from the public."`
}

// Log is the section of that name.
type Log struct {
	Level  string `toml:"level" doc:"Least level written: debug, info, warn or error."`
	Format string `toml:"format" doc:"Form of the lines: text or json."`
}

// Default is what the relay runs with when nothing is set, but for the secret.
func Default() *Settings {
	return &Settings{
		TURN: TURN{UDP: "0.0.0.0:3478", TCP: "0.0.0.0:3478", TLS: "0.0.0.0:5349", Realm: "portico", MinPort: 49152, MaxPort: 65535, AllowPeers: []string{}},
		Limit: Limit{AllocationsPerUser: 20, Allocations: 2000, PermissionsPerAllocation: 100, ChannelsPerAllocation: 100,
			Bitrate: 50_000_000, Connections: 4000, ConnectionsPerAddress: 200, RequestsPerSecond: 100},
		Link: Link{Listen: "0.0.0.0:8081"}, Mixing: Mixing{Memory: 2048},
		Cluster: Cluster{Settings: cluster.DefaultSettings(), DrainTimeout: 5 * time.Second},
		Admin:   Admin{Listen: "127.0.0.1:8082"},
		Log:     Log{Level: "info", Format: "text"},
	}
}

// Dev is the relay of a machine that is tried out, beside an edge that receives media at the given addresses, one at least: it
// shares the secret with that edge, advertises the first address's IP and relays to these addresses and to nothing else.
func Dev(secret string, edge ...netip.AddrPort) *Settings {
	s := Default()
	s.Dev = true
	s.TURN.Secret = secret
	s.TURN.MinPort, s.TURN.MaxPort = 0, 0
	for i, a := range edge {
		a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		if i == 0 {
			s.TURN.PublicIP = a.Addr().String()
		}
		s.TURN.AllowPeers = append(s.TURN.AllowPeers, a.String())
	}
	return s
}

// minSecret is the length from which a secret is taken seriously, in bytes.
const minSecret = 16

// Validate gives every fault at once, a line each.
func (s *Settings) Validate() error {
	faults := s.checkAddresses()
	fail := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	t := s.TURN
	switch {
	case s.Dev, t.Secret == "" && s.Gossips():
	case t.Secret == "":
		fail("turn.secret is empty: make one with `openssl rand -base64 32` and set it here and in the edges (or PORTICO_TURN_SECRET for all of them)")
	case len(t.Secret) < minSecret:
		fail("turn.secret has fewer than %d characters: make a longer one with `openssl rand -base64 32`, here and in the edges", minSecret)
	}
	if t.Realm == "" {
		fail("turn.realm is empty: write any name, as portico")
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		fail("turn.cert_file and turn.key_file belong together: set both, or neither for no TLS")
	}
	if t.MinPort > t.MaxPort || t.MinPort == 0 && t.MaxPort != 0 {
		fail("turn.min_port %d and turn.max_port %d are no range: write a first and a last port, as 49152 and 65535", t.MinPort, t.MaxPort)
	}
	if _, err := s.Allowed(); err != nil {
		faults = append(faults, err)
	}
	for _, l := range s.limits() {
		if l.value < 0 {
			fail("limits.%s is negative: write 0 for no limit, or a number", l.name)
		}
	}
	faults = append(faults, s.checkMixing()...)
	for _, line := range (logging.Options{Level: s.Log.Level, Format: s.Log.Format}).Check() {
		fail("log.%s", line)
	}
	return errors.Join(faults...)
}

func (s *Settings) checkAddresses() (faults []error) {
	t := s.TURN
	for _, a := range []struct{ setting, addr string }{{"turn.udp", t.UDP}, {"turn.tcp", t.TCP}, {"turn.tls", t.TLS}, {"link.listen", s.Link.Listen}, {"admin.listen", s.Admin.Listen}} {
		if a.addr != "" || a.setting == "link.listen" && s.Mixes() {
			if err := shared.CheckListen(a.setting, a.addr); err != nil {
				faults = append(faults, err)
			}
		}
	}
	if t.UDP == "" && t.TCP == "" && (t.TLS == "" || t.CertFile == "") {
		faults = append(faults, errors.New("turn.udp, turn.tcp and turn.tls are all off: set one of them, as turn.udp = \"0.0.0.0:3478\""))
	}
	if t.PublicIP != "" {
		if ip, err := netip.ParseAddr(t.PublicIP); err != nil || !ip.Is4() || ip.IsUnspecified() {
			faults = append(faults, fmt.Errorf("turn.public_ip: %q is no IPv4 address that others could reach: write one, or leave it empty", t.PublicIP))
		}
	}
	return faults
}

// checkMixing looks at what mixing needs. Whether the files of [cluster] can be read is seen when they are.
func (s *Settings) checkMixing() (faults []error) {
	fail := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	faults = append(faults, s.Cluster.Check(s.Secret != nil)...)
	if d := s.Cluster.DrainTimeout; s.Gossips() && (d < 0 || d > time.Hour) {
		fail("cluster.drain_timeout is %v: write a duration up to 1h, or 0 to stop at once", d)
	}
	switch m := s.Mixing; {
	case !(m.Cores >= 0):
		fail("mixing.cores is %v: write 0 for all that the machine has, or a number", m.Cores)
	case m.Jobs < 0:
		fail("mixing.jobs is negative: write 0 for as many as the cores do, or a number")
	case m.Memory < minMemory:
		fail("mixing.memory_per_job is %d: write %d or more", m.Memory, minMemory)
	}
	return faults
}

// Mixes tells whether the relay takes jobs.
func (s *Settings) Mixes() bool { return s.Identity != nil || !s.Cluster.None() }

// Gossips tells whether the relay is one of a cluster that gossips.
func (s *Settings) Gossips() bool { return s.Secret != nil || s.Cluster.SecretFile() != "" }

// Allowed is allow_peers, parsed.
func (s *Settings) Allowed() ([]turnserver.Allowed, error) {
	var out []turnserver.Allowed
	var faults []error
	for _, text := range s.TURN.AllowPeers {
		a, err := turnserver.ParseAllowed(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("turn.allow_peers: %w", err))
		}
		out = append(out, a)
	}
	return out, errors.Join(faults...)
}

type limit struct {
	name  string
	value int64
}

func (s *Settings) limits() []limit {
	l := s.Limit
	return []limit{{"allocations_per_user", int64(l.AllocationsPerUser)}, {"allocations", int64(l.Allocations)},
		{"permissions_per_allocation", int64(l.PermissionsPerAllocation)}, {"channels_per_allocation", int64(l.ChannelsPerAllocation)},
		{"bitrate_per_allocation", l.Bitrate}, {"connections", int64(l.Connections)},
		{"connections_per_address", int64(l.ConnectionsPerAddress)}, {"requests_per_second", int64(l.RequestsPerSecond)}}
}
