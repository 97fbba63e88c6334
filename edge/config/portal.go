package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/shared/certs"
)

// Portal is the section of that name: OWT's settings under OWT's names, spelling included (portal protocol 1.9), and ours.
type Portal struct {
	Port             int           `toml:"port" doc:"Port to listen on, in place of the one in http.listen. 0 leaves that as it is."`
	SSL              bool          `toml:"ssl" doc:"HTTPS and WSS with the certificate of keystorePath or of [tls]. A certificate in [tls] counts without it too, one in keystorePath only with it."`
	KeystorePath     string        `toml:"keystorePath" doc:"Certificate, those that lead to its root, and its key as a PKCS#12 file (.p12, .pfx); used when ssl is true."`
	PassphraseFile   string        `toml:"keystore_passphrase_file" doc:"File with the passphrase of the key store in its first line, or a .owt.keystore. Empty looks for OWT's .owt.keystore beside the key store; without that the passphrase is empty."`
	Passphrase       string        `toml:"keystore_passphrase" secret:"true" doc:"The passphrase itself, in place of the file; better given as a variable of the environment than here."`
	ForceTLSv12      bool          `toml:"force_tls_v12" doc:"TLS 1.2 or newer. It always is, and false changes nothing: OWT's servers refuse the older ones too on the Node.js that they need."`
	Hostname         string        `toml:"hostname" doc:"Host that join tokens send clients to, with a port when it is not the listening one: meet.example.org, meet.example.org:443. Empty takes ip_address."`
	IPAddress        string        `toml:"ip_address" doc:"IP address that join tokens send clients to. Empty takes networkInterface."`
	NetworkInterface string        `toml:"networkInterface" doc:"Network interface whose address join tokens send clients to, as eth1. Empty takes the address of the interface that leads to the internet."`
	ViaHost          string        `toml:"via_host" doc:"Address of a proxy in front of this edge, which join tokens send clients to before all else: https://meet.example.org. https tells them to use TLS, which the proxy then has to do. OWT reads it from the variable owt_via_host."`
	CORS             []string      `toml:"cors" doc:"Origins of other sites whose pages may connect, as https://app.example.org; * lets all. Pages of this edge and clients that are no pages always may."`
	PingInterval     time.Duration `toml:"ping_interval" doc:"Time between heartbeats."`
	PingTimeout      time.Duration `toml:"ping_timeout" doc:"How long a heartbeat may stay unanswered."`
	LoginTimeout     time.Duration `toml:"login_timeout" doc:"How long a connection may stay without a login."`
	TicketLifetime   time.Duration `toml:"reconnection_ticket_lifetime" doc:"How long the ticket is valid with which a client comes back after its connection was lost."`
	ReconnectTime    time.Duration `toml:"reconnection_timeout" doc:"How long a participant stays in its room after its connection was lost."`
	ReloginAck       string        `toml:"relogin_ack" doc:"Answer to a client of protocol 1.2 that comes back: object is what the protocol says, string what version 1.1 says, auto gives the string to OWT's SDKs up to 5.1, which fail on the object."`
	MaxConnections   int           `toml:"max_connections" doc:"Connections at a time; further ones are refused."`
	MaxPayload       int           `toml:"max_payload" doc:"Largest message from a client." unit:"bytes"`
}

// ListenAddress is the TCP address to listen on: http.listen, with portal.port when that is set.
func (s *Settings) ListenAddress() string { return s.withPort(s.HTTP.Listen) }

// MediaAddress is the UDP address to listen on: http.media_listen, or the same as ListenAddress.
func (s *Settings) MediaAddress() string {
	if s.HTTP.MediaListen != "" {
		return s.HTTP.MediaListen
	}
	return s.ListenAddress()
}

func (s *Settings) withPort(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil || s.Portal.Port == 0 {
		return address
	}
	return net.JoinHostPort(host, strconv.Itoa(s.Portal.Port))
}

// ListenSetting is the setting that the port to listen on comes from, for faults.
func (s *Settings) ListenSetting() string {
	if s.Portal.Port != 0 {
		return "portal.port"
	}
	return "http.listen"
}

// Certificate says where the certificate for HTTPS and WSS is; ok is false for plain HTTP. The settings are valid.
func (s *Settings) Certificate() (files certs.Files, ok bool) {
	files.Settings = certs.Names{
		Cert: "tls.cert_file", Key: "tls.key_file", KeyStore: "portal.keystorePath", Passphrase: "portal.keystore_passphrase_file",
	}
	p := s.Portal
	switch {
	case s.TLS.CertFile != "":
		files.Cert, files.Key = s.TLS.CertFile, s.TLS.KeyFile
	case p.SSL:
		files.KeyStore, files.PassphraseFile, files.Passphrase = p.KeystorePath, p.PassphraseFile, p.Passphrase
		if p.Passphrase != "" {
			files.Settings.Passphrase = "portal.keystore_passphrase"
		}
	default:
		return files, false
	}
	return files, true
}

// Advertised is where clients find the edge, as join tokens tell them: a host with its port, and whether to use TLS. port is
// the one that is listened on; outward gives this machine's address when no setting does. The error is one line
// that says what to do.
func (s *Settings) Advertised(port int, outward func() netip.Addr) (host string, secure bool, err error) {
	_, secure = s.Certificate()
	p := s.Portal
	number := strconv.Itoa(port)
	switch {
	case p.ViaHost != "":
		host, secure, _ = viaHost(p.ViaHost) // checked by Validate
		return host, secure, nil
	case p.Hostname != "":
		if _, _, err := net.SplitHostPort(p.Hostname); err == nil {
			return p.Hostname, secure, nil
		}
		return net.JoinHostPort(unbracketed(p.Hostname), number), secure, nil
	case p.IPAddress != "":
		return net.JoinHostPort(unbracketed(p.IPAddress), number), secure, nil
	case p.NetworkInterface != "":
		ip, err := interfaceAddress(p.NetworkInterface)
		if err != nil {
			return "", false, err
		}
		return net.JoinHostPort(ip.String(), number), secure, nil
	}
	return net.JoinHostPort(outward().String(), number), secure, nil
}

// viaHost reads the address of a proxy.
func viaHost(text string) (host string, secure, ok bool) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || strings.TrimSuffix(text, "/") != u.Scheme+"://"+u.Host || !isHost(u.Host) {
		return "", false, false
	}
	return u.Host, u.Scheme == "https", true
}

func unbracketed(host string) string { return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]") }

// interfaceAddress is the address of a network interface: the first of IPv4, or else of IPv6.
func interfaceAddress(name string) (netip.Addr, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		all, _ := net.Interfaces() // none: the list is empty
		var names []string
		for _, i := range all {
			names = append(names, i.Name)
		}
		return netip.Addr{}, fmt.Errorf("portal.networkInterface: this machine has no interface %q: name one of %s", name, strings.Join(names, ", "))
	}
	addrs, err := i.Addrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("portal.networkInterface: the addresses of %s cannot be read (%w): set portal.hostname or portal.ip_address instead", name, err)
	}
	var list []netip.Addr
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLinkLocalUnicast() {
			list = append(list, p.Addr().Unmap())
		}
	}
	if len(list) == 0 {
		return netip.Addr{}, fmt.Errorf("portal.networkInterface: %s has no address that clients could reach: name another, or set portal.hostname or portal.ip_address", name)
	}
	if v4 := slices.IndexFunc(list, netip.Addr.Is4); v4 >= 0 {
		return list[v4], nil
	}
	return list[0], nil
}

// Warnings are settings that are valid and do nothing, a line each, for the log at start.
func (s *Settings) Warnings() (lines []string) {
	p := s.Portal
	if p.KeystorePath != "" && !p.SSL {
		lines = append(lines, "portal.keystorePath is not used, because portal.ssl is false: set that to true for HTTPS, or leave keystorePath empty")
	}
	if p.KeystorePath == "" && (p.PassphraseFile != "" || p.Passphrase != "") {
		lines = append(lines, "portal.keystore_passphrase and portal.keystore_passphrase_file are not used, because portal.keystorePath is empty")
	}
	if !p.ForceTLSv12 {
		lines = append(lines, "portal.force_tls_v12 = false changes nothing: TLS 1.0 and 1.1 are not offered")
	}
	return lines
}

// minPayload leaves room for an SDP with many tracks (portal protocol 8).
const minPayload = 64 << 10

func (p *Portal) check(f *faults, hasPEM bool) {
	if p.Port < 0 || p.Port > 65535 {
		f.add("portal.port is %d: write a number from 1 to 65535, or 0 for the port of http.listen", p.Port)
	}
	p.checkCertificate(f, hasPEM)
	p.checkHost(f)
	for _, origin := range p.CORS {
		if u, err := url.Parse(origin); origin != "*" && (err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != origin) {
			f.add("portal.cors: %q is no origin: write scheme and host without a path, as https://app.example.org, or *", origin)
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"ping_interval", p.PingInterval}, {"ping_timeout", p.PingTimeout}, {"login_timeout", p.LoginTimeout},
		{"reconnection_ticket_lifetime", p.TicketLifetime}, {"reconnection_timeout", p.ReconnectTime}} {
		if d.value < time.Second || d.value > 24*time.Hour {
			f.add("portal.%s is %v: write a duration from 1s to 24h", d.name, d.value)
		}
	}
	if !slices.Contains([]string{"auto", "object", "string"}, p.ReloginAck) {
		f.add("portal.relogin_ack is %q: write auto, object or string", p.ReloginAck)
	}
	positive(f, "portal.max_connections", p.MaxConnections)
	if p.MaxPayload < minPayload {
		f.add("portal.max_payload is %d: write %d bytes or more, so that session descriptions fit", p.MaxPayload, minPayload)
	}
}

func (p *Portal) checkCertificate(f *faults, hasPEM bool) {
	switch {
	case p.SSL && p.KeystorePath == "" && !hasPEM:
		f.add("portal.ssl is true, and there is no certificate: set portal.keystorePath to a PKCS#12 file, or tls.cert_file and tls.key_file to PEM files, or portal.ssl to false for plain HTTP")
	case p.SSL && p.KeystorePath != "" && hasPEM:
		f.add("portal.keystorePath and tls.cert_file are two certificates: leave one of them empty")
	}
	if p.PassphraseFile != "" && p.Passphrase != "" {
		f.add("portal.keystore_passphrase and portal.keystore_passphrase_file are both set: leave one of them empty")
	}
}

func (p *Portal) checkHost(f *faults) {
	if p.ViaHost != "" {
		if _, _, ok := viaHost(p.ViaHost); !ok {
			f.add("portal.via_host: %q is no address of a proxy: write it as https://meet.example.org, with a port if it needs one and without a path", redactURL(p.ViaHost))
		}
	}
	for _, a := range []struct{ name, value string }{{"hostname", p.Hostname}, {"ip_address", p.IPAddress}} {
		ip, err := netip.ParseAddr(unbracketed(a.value))
		switch {
		case a.value == "":
		case strings.HasPrefix(a.value, "$"): // OWT's way to name a variable
			f.add("portal.%s: %q is no value: variables are not read here; start the edge with PORTICO_PORTAL_%s=%s", a.name, a.value, strings.ToUpper(a.name), a.value)
		case a.name == "hostname" && !isHost(a.value):
			f.add("portal.hostname: %q is no host: write a name or address, with a port if it needs one and without http://", a.value)
		case a.name == "ip_address" && (err != nil || ip.IsUnspecified() || ip.IsMulticast() || ip.Zone() != ""):
			f.add("portal.ip_address: %q is no address that clients could reach: write an IP address, as 192.0.2.7, or set portal.hostname to a name", a.value)
		}
	}
}
