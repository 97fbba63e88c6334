// Package config holds the settings of portico-edge: what main loads from file, environment and flags, and what node is built from.
//
// edge.sample.toml beside it is made from Default by its test: go test ./edge/config -update.
package config

import (
	"crypto/rand"
	"encoding/base64"
	"path/filepath"
	"strings"
	"time"

	"portico/shared/cluster"
	"portico/shared/identity"
)

// About is the program in one sentence.
const About = "the signalling portal, the management API, the pages and the forwarding of media."

// Settings are everything that can be set.
type Settings struct {
	DataDir      string       `toml:"data_dir" doc:"Folder of everything that persists: the store, keys. It is made on the first start, readable by this user only."`
	HTTP         HTTP         `toml:"http" doc:"The one port of the edge."`
	Portal       Portal       `toml:"portal" doc:"The signalling door for clients. The section [portal] of OWT's portal.toml can be copied here as it is: names and meanings are the same, and the file names in it count from the folder the edge is started in."`
	TLS          TLS          `toml:"tls" doc:"Certificate for HTTPS and WSS from PEM files; portal.keystorePath takes one from a PKCS#12 key store. Without any the edge speaks plain HTTP: behind a proxy, or on one machine. Files are read again when they change, and open connections stay."`
	WebTransport WebTransport `toml:"webtransport" doc:"Data streams, which participants publish and subscribe to beside audio and video (portal protocol 8.12)."`
	Media        Media        `toml:"media" doc:"How media is forwarded."`
	Store        Store        `toml:"store" doc:"Where services, rooms and tokens are kept."`
	TURN         TURN         `toml:"turn" doc:"Relays, for clients that cannot reach the edge directly."`
	Relay        Relay        `toml:"relay" doc:"Relays, for mixed streams and for streams in other forms than they are published in."`
	Cluster      Cluster      `toml:"cluster" doc:"Who this edge is among the nodes of a cluster, and how it finds them: relays and rooms that span edges need it. portico cluster makes the files."`
	Limits       Limits       `toml:"limits" doc:"What one client and one room may use."`
	Log          Log          `toml:"log" doc:"The log, which goes to standard error."`
	// Dev is set by Dev only: the demo page hands out tokens to everybody, and loopback addresses count for media.
	Dev bool `toml:"-"`
	// Identity is used instead of Cluster when it is set, by whoever runs nodes in one process.
	Identity *identity.Identity `toml:"-"`
	Secret   identity.Secret    `toml:"-"` // as Identity, in place of cluster.secret_file
}

// HTTP is the section of that name.
type HTTP struct {
	Listen      string   `toml:"listen" doc:"Address to listen on: TCP for HTTP, Socket.IO, the management API and the pages, UDP with the same number for media. portal.port, when set, takes the place of the port."`
	MediaListen string   `toml:"media_listen" doc:"Address for media over UDP, when it is not the same as listen: behind a proxy for HTTP, say, as 0.0.0.0:8080. Empty: the same."`
	PublicIPs   []string `toml:"public_ips" doc:"IP addresses under which clients reach the UDP port, when they are not this machine's own, as behind a NAT or in a container. Empty offers the addresses of all interfaces."`
	MetricsFrom []string `toml:"metrics_from" doc:"Networks that may read /metrics; to everybody else the page does not exist."`
}

// TLS is the section of that name.
type TLS struct {
	CertFile string `toml:"cert_file" doc:"Certificate chain, PEM; empty means none."`
	KeyFile  string `toml:"key_file" doc:"Private key of the certificate, PEM without a password."`
}

// Media is the section of that name.
type Media struct {
	Path string `toml:"path" doc:"How packets go from and to the network: auto takes them in batches, as far as the system can; plain takes one at a time, for comparison and when in doubt about the system. The edge says at its start which way it uses, and why."`
	TCP  bool   `toml:"tcp" doc:"Media over TCP too (ICE-TCP), on the port of http.listen, for clients that UDP does not reach. Clients prefer UDP where it goes."`
}

// Values of Media.Path.
const (
	PathAuto  = "auto"
	PathPlain = "plain"
)

// Store is the section of that name.
type Store struct {
	URL     string `toml:"url" secret:"true" doc:"sqlite: keeps a database file in data_dir, sqlite:FOLDER in another folder. postgres://USER:PASSWORD@HOST/DATABASE is a database that all edges of a cluster share: there it has to be one, or a FOLDER that all edges on one machine have. Empty: sqlite:."`
	KeyFile string `toml:"key_file" doc:"File with the key that secrets in the database are sealed with, 64 hexadecimal digits, the same for all edges that share it. Empty: store.key beside an SQLite database, made there at the first start; for PostgreSQL a key that is derived from the cluster's secret."`
}

// TURN is the section of that name.
type TURN struct {
	Secret   string        `toml:"secret" secret:"true" doc:"What credentials for the relays are made with: the same text as turn.secret of the relays. Make one with: openssl rand -base64 32. In a cluster that gossips it is empty, here and there, and one is derived from the cluster's secret."`
	URLs     []string      `toml:"urls" doc:"Relays as clients should reach them, besides those that are found by gossip: turn:relay.example.org:3478?transport=udp, turn:relay.example.org:3478?transport=tcp, turns:relay.example.org:5349?transport=tcp, stun:relay.example.org:3478."`
	Lifetime time.Duration `toml:"credential_lifetime" doc:"How long a credential is valid. Relayed calls end with it, so it is longer than the longest call."`
}

// Relay is the section of that name.
type Relay struct {
	Nodes []string `toml:"nodes" doc:"Addresses of the link.listen of relays that are not found by gossip, as relay.example.org:8081. Without any relay there are no mixed streams, and streams are offered only as they are published."`
}

// Cluster is the section of that name.
type Cluster struct {
	cluster.Settings
	DrainTimeout time.Duration `toml:"drain_timeout" doc:"How long this edge, told to stop, gives its rooms and participants to go to other edges before it stops. 0 stops at once."`
	Grace        time.Duration `toml:"grace" doc:"How long the participants of an edge that is gone keep their places in their rooms, to come back by another."`
}

// Limits is the section of that name.
type Limits struct {
	RoomParticipants    int `toml:"participants_per_room" doc:"Participants of one room, whatever its own limit says."`
	ParticipantSessions int `toml:"sessions_per_participant" doc:"Publications and subscriptions of one participant at a time."`
	ParticipantPictures int `toml:"pictures_per_participant" doc:"Different pictures that relays make for one participant at a time: of mixes, and of streams in another form than they were published in."`
	QueuePackets        int `toml:"queue_packets" doc:"Messages that may wait to be sent to one client before it is cut off."`
	QueueBytes          int `toml:"queue_bytes" doc:"The same by size." unit:"bytes"`
}

// Log is the section of that name.
type Log struct {
	Level  string `toml:"level" doc:"Least level written: debug, info, warn or error."`
	Format string `toml:"format" doc:"Form of the lines: text or json."`
}

// Default is what the edge runs with when nothing is set: a whole system on one machine, but for relays.
func Default() *Settings {
	return &Settings{
		DataDir: "data",
		HTTP:    HTTP{Listen: "0.0.0.0:8080", PublicIPs: []string{}, MetricsFrom: []string{"127.0.0.0/8", "::1/128"}},
		Portal: Portal{
			ForceTLSv12: true, ReloginAck: "auto", CORS: []string{}, PingInterval: 25 * time.Second, PingTimeout: 20 * time.Second, LoginTimeout: 180 * time.Second,
			TicketLifetime: 600 * time.Second, ReconnectTime: 60 * time.Second, MaxConnections: 10_000, MaxPayload: 1_000_000,
		},
		WebTransport: defaultWebTransport(),
		Media:        Media{Path: PathAuto, TCP: true},
		Store:        Store{},
		TURN:         TURN{URLs: []string{}, Lifetime: 24 * time.Hour},
		Relay:        Relay{Nodes: []string{}},
		Cluster:      Cluster{Settings: cluster.DefaultSettings(), DrainTimeout: 20 * time.Second, Grace: 60 * time.Second},
		Limits:       Limits{RoomParticipants: 10_000, ParticipantSessions: 1000, ParticipantPictures: 16, QueuePackets: 4096, QueueBytes: 4 << 20},
		Log:          Log{Level: "info", Format: "text"},
	}
}

// Dev is the edge of a machine that is tried out, with a secret of its own for the relay beside it. Whoever starts the relay adds
// its URLs.
func Dev() *Settings {
	s := Default()
	s.Dev = true
	s.TURN.Secret = randomSecret()
	return s
}

func randomSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return base64.StdEncoding.EncodeToString(b)
}

const sqliteScheme = "sqlite:"

// postgres tells whether store.url is a PostgreSQL database.
func (s *Settings) postgres() bool {
	return strings.HasPrefix(s.Store.URL, "postgres://") || strings.HasPrefix(s.Store.URL, "postgresql://")
}

// StorePlace is the store as package store knows it: the URL of a PostgreSQL database, or a folder.
func (s *Settings) StorePlace() string {
	if s.postgres() {
		return s.Store.URL
	}
	return s.StoreDir()
}

// SharedStore tells whether the edges of a cluster can have the store in common. An SQLite database in a folder that is named is taken
// for one, of edges on one machine.
func (s *Settings) SharedStore() bool { return s.postgres() || s.StoreDir() != s.DataDir }

// StoreDir is the folder of the SQLite database that store.url names.
func (s *Settings) StoreDir() string {
	if dir := strings.TrimPrefix(s.Store.URL, sqliteScheme); dir != "" {
		return filepath.Clean(dir)
	}
	return s.DataDir
}
