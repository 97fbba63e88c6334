package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	shared "portico/shared/config"
	"portico/shared/logging"
)

// faults collects lines.
type faults []error

func (f *faults) add(format string, args ...any) { *f = append(*f, fmt.Errorf(format, args...)) }

// Validate gives every fault at once, a line each.
func (s *Settings) Validate() error {
	var f faults
	if s.DataDir == "" {
		f.add("data_dir is empty: name a folder, as data")
	}
	if err := shared.CheckListen("http.listen", s.HTTP.Listen); err != nil {
		f = append(f, err)
	}
	if s.HTTP.MediaListen != "" {
		if err := shared.CheckListen("http.media_listen", s.HTTP.MediaListen); err != nil {
			f = append(f, err)
		}
	}
	for _, text := range s.HTTP.PublicIPs {
		if ip, err := netip.ParseAddr(text); err != nil || ip.IsUnspecified() || ip.IsMulticast() || ip.Zone() != "" {
			f.add("http.public_ips: %q is no address that clients could reach: write IP addresses, as 192.0.2.7", text)
		}
	}
	for _, text := range s.HTTP.MetricsFrom {
		if p, err := netip.ParsePrefix(text); err != nil || p != p.Masked() {
			f.add("http.metrics_from: %q is no network: write it as 10.0.0.0/8, or one address as 10.1.2.3/32", text)
		}
	}
	s.Portal.check(&f, s.TLS.CertFile != "")
	if (s.TLS.CertFile == "") != (s.TLS.KeyFile == "") {
		f.add("tls.cert_file and tls.key_file belong together: set both, or neither for plain HTTP")
	}
	if s.Media.Path != PathAuto && s.Media.Path != PathPlain {
		f.add("media.path is %q: write auto or plain", s.Media.Path)
	}
	s.WebTransport.check(&f)
	s.checkStore(&f)
	s.TURN.check(&f, s.Gossips())
	s.checkRelays(&f)
	positive(&f, "limits.participants_per_room", s.Limits.RoomParticipants)
	positive(&f, "limits.sessions_per_participant", s.Limits.ParticipantSessions)
	positive(&f, "limits.pictures_per_participant", s.Limits.ParticipantPictures)
	positive(&f, "limits.queue_packets", s.Limits.QueuePackets)
	positive(&f, "limits.queue_bytes", s.Limits.QueueBytes)
	for _, line := range (logging.Options{Level: s.Log.Level, Format: s.Log.Format}).Check() {
		f.add("log.%s", line)
	}
	return errors.Join(f...)
}

func (s *Settings) checkStore(f *faults) {
	switch {
	case s.postgres():
		if u, err := url.Parse(s.Store.URL); err != nil || u.Host == "" && !u.Query().Has("host") || strings.Trim(u.Path, "/") == "" {
			f.add("store.url is no address of a PostgreSQL database: write it as postgres://USER:PASSWORD@HOST:5432/DATABASE")
		}
		if s.Store.KeyFile == "" && !s.Gossips() {
			f.add("store.key_file is empty: set it to a file with 64 hexadecimal digits, as openssl rand -hex 32 writes them")
		}
	case s.Store.URL != "" && !strings.HasPrefix(s.Store.URL, sqliteScheme):
		f.add("store.url: %q is no store that this version knows: write sqlite:, sqlite:FOLDER or postgres://…", redactURL(s.Store.URL))
	}
}

func positive(f *faults, name string, n int) {
	if n <= 0 {
		f.add("%s is %d: write a number from 1 up", name, n)
	}
}

func (t *TURN) check(f *faults, derived bool) {
	needsSecret := false
	for _, text := range t.URLs {
		scheme, ok := iceURL(text)
		if !ok {
			f.add("turn.urls: %q is no address of a relay: write it as turn:relay.example.org:3478?transport=udp", text)
		}
		needsSecret = needsSecret || scheme != "stun" && scheme != "stuns"
	}
	if needsSecret && t.Secret == "" && !derived {
		f.add("turn.secret is empty: set the text that turn.secret of the relays has, or no turn.urls")
	}
	if t.Lifetime < time.Minute {
		f.add("turn.credential_lifetime is %v: write a duration from 1m up, longer than the longest call", t.Lifetime)
	}
}

// checkRelays looks at the sections [relay] and [cluster]. The files are read when the edge starts.
func (s *Settings) checkRelays(f *faults) {
	seen := make(map[string]bool)
	for _, text := range s.Relay.Nodes {
		if _, _, err := net.SplitHostPort(text); err != nil || !isHost(text) {
			f.add("relay.nodes: %q is no address of a relay: write it as relay.example.org:8081", text)
		} else if seen[text] {
			f.add("relay.nodes: %s is there twice", text)
		}
		seen[text] = true
	}
	c := &s.Cluster
	*f = append(*f, c.Check(s.Secret != nil)...)
	if len(s.Relay.Nodes) > 0 && s.Identity == nil && c.None() {
		f.add("relay.nodes are set, but cluster.folder is not: make it with portico cluster, or set no relays")
	}
	if !s.Gossips() {
		return
	}
	if c.DrainTimeout < 0 || c.DrainTimeout > time.Hour {
		f.add("cluster.drain_timeout is %v: write a duration up to 1h, or 0 to stop at once", c.DrainTimeout)
	}
	if c.Grace < time.Second || c.Grace > time.Hour {
		f.add("cluster.grace is %v: write a duration from 1s to 1h", c.Grace)
	}
}

// Gossips tells whether the edge is one of a cluster that gossips.
func (s *Settings) Gossips() bool { return s.Secret != nil || s.Cluster.SecretFile() != "" }

// iceURL reads a STUN or TURN URI (RFC 7064, RFC 7065).
func iceURL(text string) (scheme string, ok bool) {
	scheme, rest, _ := strings.Cut(text, ":")
	host, query, hasQuery := strings.Cut(rest, "?")
	switch scheme {
	case "stun", "stuns":
		return scheme, !hasQuery && isHost(host)
	case "turn", "turns":
		return scheme, isHost(host) && (!hasQuery || query == "transport=udp" || query == "transport=tcp")
	}
	return scheme, false
}

// isHost knows a name or an address, an IPv6 one in brackets, with or without a port.
func isHost(text string) bool {
	host := text
	if h, port, err := net.SplitHostPort(text); err == nil {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return false
		}
		host = h
	} else if strings.HasPrefix(text, "[") {
		host = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	}
	if strings.Contains(host, ":") {
		ip, err := netip.ParseAddr(host)
		return err == nil && ip.Is6() && strings.HasPrefix(text, "[")
	}
	return host != "" && strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == ""
}

// redactURL leaves out a password.
func redactURL(text string) string {
	if u, err := url.Parse(text); err == nil {
		return u.Redacted()
	}
	return "the value"
}
