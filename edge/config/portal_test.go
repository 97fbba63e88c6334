package config

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/shared/certs"
	shared "portico/shared/config"
)

// owtPortal is the section [portal] as OWT 5.1 has it, each key in use.
const owtPortal = `
[portal]
keystorePath = "./cert/certificate.pfx"
hostname = "meet.example.org" #default: ""
ip_address = "" #default: ""
port = 8443 #default: 8080
ssl = true #default: true
force_tls_v12 = false
networkInterface = "eth1"
ping_interval = 25
ping_timeout = 60
reconnection_ticket_lifetime = 600
reconnection_timeout = 90
cors = ["*"]
via_host = ""
`

// owtRest are the other sections of its file, which are not ours.
const owtRest = `
[cluster]
name = "owt-cluster"
join_retry = 60
[capacity]
isps = []
[rabbit]
host = "localhost"
[mongo]
dataBaseURL = "localhost/owtdb"
`

func load(t *testing.T, file string, env []string, args ...string) (*Settings, error) {
	t.Helper()
	if file != "" {
		name := filepath.Join(t.TempDir(), "portal.toml")
		if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"-config", name}, args...)
	}
	s := Default()
	return s, shared.Load(s, shared.Source{Args: args, Env: env, Output: &bytes.Buffer{}})
}

func TestOWTPortal(t *testing.T) {
	s, err := load(t, owtPortal, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := s.Portal
	if p.PingInterval != 25*time.Second || p.PingTimeout != time.Minute || p.TicketLifetime != 10*time.Minute ||
		p.ReconnectTime != 90*time.Second || len(p.CORS) != 1 || p.CORS[0] != "*" || p.NetworkInterface != "eth1" {
		t.Errorf("%+v", p)
	}
	if s.ListenAddress() != "0.0.0.0:8443" || s.MediaAddress() != "0.0.0.0:8443" || s.ListenSetting() != "portal.port" {
		t.Errorf("%s, %s, %s", s.ListenAddress(), s.MediaAddress(), s.ListenSetting())
	}
	files, ok := s.Certificate()
	if !ok || files.KeyStore != "./cert/certificate.pfx" || files.Cert != "" || files.Settings.KeyStore != "portal.keystorePath" {
		t.Errorf("%+v, %v", files, ok)
	}
	host, secure, err := s.Advertised(8443, nil)
	if host != "meet.example.org:8443" || !secure || err != nil {
		t.Errorf("%s, %v, %v", host, secure, err)
	}
	if w := s.Warnings(); len(w) != 1 || !strings.Contains(w[0], "portal.force_tls_v12 = false changes nothing") {
		t.Errorf("%q", w)
	}
}

// Whoever takes the whole file is told what to leave out.
func TestOWTOtherSections(t *testing.T) {
	_, err := load(t, owtPortal+owtRest, nil)
	if err == nil {
		t.Fatal("loaded")
	}
	got := strings.Split(err.Error(), "\n")
	want := []string{"[capacity]: no such section", "cluster.join_retry: no such setting", "cluster.name: no such setting", "[mongo]: no such section", "[rabbit]: no such section"}
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for i, w := range want {
		if !strings.Contains(got[i], w) {
			t.Errorf("%q, want %q", got[i], w)
		}
	}
}

// OWT's spelling holds in flags, and as everywhere in capitals in the environment.
func TestOWTNamesElsewhere(t *testing.T) {
	s, err := load(t, "", []string{"PORTICO_PORTAL_KEYSTOREPATH=a.pfx", "PORTICO_PORTAL_NETWORKINTERFACE=eth0", "PORTICO_PORTAL_PORT=443",
		"PORTICO_PORTAL_KEYSTORE_PASSPHRASE=hush"}, "-portal.ssl", "-portal.keystorePath=b.pfx", "-portal.ping_interval=60", "-portal.cors=*")
	if err != nil {
		t.Fatal(err)
	}
	p := s.Portal
	if p.KeystorePath != "b.pfx" || p.NetworkInterface != "eth0" || p.Port != 443 || p.Passphrase != "hush" || p.PingInterval != time.Minute || p.CORS[0] != "*" {
		t.Errorf("%+v", p)
	}
	_, err = load(t, "[portal]\nkeystorepath = \"x\"\n", nil)
	if err == nil || !strings.Contains(err.Error(), "portal.keystorepath: no such setting; did you mean portal.keystorePath?") {
		t.Errorf("%v", err)
	}
	// Kubernetes sets this one for a Service named portico-portal.
	if s, err := load(t, "", []string{"PORTICO_PORTAL_PORT=tcp://10.0.0.7:8080"}); err != nil || s.Portal.Port != 0 {
		t.Errorf("%v", err)
	}
}

func TestPassphraseIsNotShown(t *testing.T) {
	s := Default()
	out := &bytes.Buffer{}
	err := shared.Load(s, shared.Source{Env: []string{"PORTICO_PORTAL_KEYSTORE_PASSPHRASE=hush"}, Args: []string{"-print-config"}, Output: out})
	if err != shared.ErrAnswered || strings.Contains(out.String(), "hush") || !strings.Contains(out.String(), "keystore_passphrase is set") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestPortReplacesThatOfListen(t *testing.T) {
	for _, c := range []struct {
		listen, media string
		port          int
		tcp, udp      string
	}{
		{"0.0.0.0:8080", "", 0, "0.0.0.0:8080", "0.0.0.0:8080"},
		{"[::1]:8080", "", 443, "[::1]:443", "[::1]:443"},
		{":0", "0.0.0.0:9000", 443, ":443", "0.0.0.0:9000"},
	} {
		s := Default()
		s.HTTP.Listen, s.HTTP.MediaListen, s.Portal.Port = c.listen, c.media, c.port
		if s.ListenAddress() != c.tcp || s.MediaAddress() != c.udp {
			t.Errorf("%+v: %s, %s", c, s.ListenAddress(), s.MediaAddress())
		}
	}
	if Default().ListenSetting() != "http.listen" {
		t.Error("faults name the setting that is used")
	}
}

func TestWhichCertificate(t *testing.T) {
	names := certs.Names{Cert: "tls.cert_file", Key: "tls.key_file", KeyStore: "portal.keystorePath", Passphrase: "portal.keystore_passphrase_file"}
	inline := names
	inline.Passphrase = "portal.keystore_passphrase"
	for name, c := range map[string]struct {
		portal Portal
		tls    TLS
		want   certs.Files
		ok     bool
		fault  string
	}{
		"nothing":   {want: certs.Files{Settings: names}},
		"PEM":       {tls: TLS{"c", "k"}, want: certs.Files{Cert: "c", Key: "k", Settings: names}, ok: true},
		"PEM, ssl":  {portal: Portal{SSL: true}, tls: TLS{"c", "k"}, want: certs.Files{Cert: "c", Key: "k", Settings: names}, ok: true},
		"key store": {portal: Portal{SSL: true, KeystorePath: "s", PassphraseFile: "p"}, want: certs.Files{KeyStore: "s", PassphraseFile: "p", Settings: names}, ok: true},
		"with passphrase": {portal: Portal{SSL: true, KeystorePath: "s", Passphrase: "x"},
			want: certs.Files{KeyStore: "s", Passphrase: "x", Settings: inline}, ok: true},
		"key store without ssl":      {portal: Portal{KeystorePath: "s"}, want: certs.Files{Settings: names}},
		"key store without ssl, PEM": {portal: Portal{KeystorePath: "s"}, tls: TLS{"c", "k"}, want: certs.Files{Cert: "c", Key: "k", Settings: names}, ok: true},
		"ssl alone":                  {portal: Portal{SSL: true}, fault: "portal.ssl is true, and there is no certificate: set portal.keystorePath to a PKCS#12 file, or tls.cert_file"},
		"both":                       {portal: Portal{SSL: true, KeystorePath: "s"}, tls: TLS{"c", "k"}, fault: "portal.keystorePath and tls.cert_file are two certificates"},
		"passphrase twice": {portal: Portal{SSL: true, KeystorePath: "s", Passphrase: "x", PassphraseFile: "p"},
			fault: "portal.keystore_passphrase and portal.keystore_passphrase_file are both set"},
	} {
		s := Default()
		s.TLS = c.tls
		s.Portal.SSL, s.Portal.KeystorePath, s.Portal.Passphrase, s.Portal.PassphraseFile = c.portal.SSL, c.portal.KeystorePath, c.portal.Passphrase, c.portal.PassphraseFile
		err := s.Validate()
		if c.fault != "" {
			if err == nil || !strings.HasPrefix(err.Error(), c.fault) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if files, ok := s.Certificate(); err != nil || files != c.want || ok != c.ok {
			t.Errorf("%s: %+v, %v, %v", name, files, ok, err)
		}
	}
}

func TestAdvertised(t *testing.T) {
	outward := func() netip.Addr { return netip.MustParseAddr("2001:db8::7") }
	for _, c := range []struct {
		portal Portal
		pem    bool
		host   string
		secure bool
	}{
		{Portal{}, false, "[2001:db8::7]:8080", false},
		{Portal{IPAddress: "192.0.2.7"}, true, "192.0.2.7:8080", true},
		{Portal{IPAddress: "[2001:db8::8]"}, false, "[2001:db8::8]:8080", false},
		{Portal{IPAddress: "2001:db8::8"}, false, "[2001:db8::8]:8080", false},
		{Portal{IPAddress: "192.0.2.7", Hostname: "meet.example.org"}, false, "meet.example.org:8080", false},
		{Portal{Hostname: "meet.example.org:443"}, true, "meet.example.org:443", true},
		{Portal{Hostname: "[2001:db8::9]"}, false, "[2001:db8::9]:8080", false},
		{Portal{Hostname: "x", ViaHost: "https://meet.example.org"}, false, "meet.example.org", true},
		{Portal{ViaHost: "http://meet.example.org:81/"}, true, "meet.example.org:81", false},
	} {
		s := Default()
		s.Portal.Hostname, s.Portal.IPAddress, s.Portal.ViaHost = c.portal.Hostname, c.portal.IPAddress, c.portal.ViaHost
		if c.pem {
			s.TLS = TLS{"c", "k"}
		}
		if err := s.Validate(); err != nil {
			t.Errorf("%+v: %v", c.portal, err)
		}
		if host, secure, err := s.Advertised(8080, outward); host != c.host || secure != c.secure || err != nil {
			t.Errorf("%s, %v, %v: want %s, %v", host, secure, err, c.host, c.secure)
		}
	}
}

func TestAdvertisedInterface(t *testing.T) {
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	s := Default()
	for _, i := range all {
		if i.Flags&net.FlagLoopback == 0 {
			continue
		}
		s.Portal.NetworkInterface = i.Name
		if host, _, err := s.Advertised(8080, nil); host != "127.0.0.1:8080" && host != "[::1]:8080" || err != nil {
			t.Errorf("%s: %s, %v", i.Name, host, err)
		}
	}
	s.Portal.NetworkInterface = "none7"
	_, _, err = s.Advertised(8080, nil)
	if err == nil || !strings.HasPrefix(err.Error(), `portal.networkInterface: this machine has no interface "none7": name one of `) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
}

func TestPortalFaults(t *testing.T) {
	for want, change := range map[string]func(*Portal){
		"portal.port is 70000: ":                                           func(p *Portal) { p.Port = 70000 },
		`portal.hostname: "$HOST" is no value`:                             func(p *Portal) { p.Hostname = "$HOST" },
		`portal.ip_address: "$IP" is no value: variables are not`:          func(p *Portal) { p.IPAddress = "$IP" },
		`portal.ip_address: "meet.example.org" is no address that clients`: func(p *Portal) { p.IPAddress = "meet.example.org" },
		`portal.ip_address: "0.0.0.0" is no address`:                       func(p *Portal) { p.IPAddress = "0.0.0.0" },
		`portal.via_host: "meet.example.org" is no address of a proxy`:     func(p *Portal) { p.ViaHost = "meet.example.org" },
		`portal.via_host: "https://x/path" is no`:                          func(p *Portal) { p.ViaHost = "https://x/path" },
		`portal.via_host: "https://u:xxxxx@x" is no`:                       func(p *Portal) { p.ViaHost = "https://u:hush@x" },
		`portal.relogin_ack is "yes": write auto, object or string`:        func(p *Portal) { p.ReloginAck = "yes" },
	} {
		s := Default()
		change(&s.Portal)
		if err := s.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestWarnings(t *testing.T) {
	if w := Default().Warnings(); w != nil {
		t.Errorf("%q", w)
	}
	s := Default()
	s.Portal.KeystorePath = "x.pfx"
	if w := s.Warnings(); len(w) != 1 || !strings.Contains(w[0], "portal.ssl is false") {
		t.Errorf("%q", w)
	}
	s.Portal.KeystorePath, s.Portal.PassphraseFile = "", "x"
	if w := s.Warnings(); len(w) != 1 || !strings.Contains(w[0], "portal.keystorePath is empty") {
		t.Errorf("%q", w)
	}
}
