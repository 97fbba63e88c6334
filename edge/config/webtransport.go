package config

import (
	"net"
	"net/url"
	"strconv"
	"strings"
)

// WebTransport is the section of that name.
type WebTransport struct {
	Enabled        string `toml:"enabled" doc:"Data streams over WebTransport, on the UDP port: yes, no, or auto, which means yes when the edge has a certificate for HTTPS. OWT's SDK opens the connection before it joins, so a client that cannot, as behind a firewall, does not get in."`
	URL            string `toml:"url" doc:"Address that join tokens send clients to for data streams, when it is not the host of the tokens with the UDP port: https://data.example.org:8080/."`
	OwnCertificate bool   `toml:"own_certificate" doc:"Short-lived certificates made by the edge, whose hashes clients are told at login, in place of the one for HTTPS: needed where browsers do not know who signed that. Without HTTPS it is always so. OWT's SDK does not use the hashes by itself."`
	QueueBytes     int    `toml:"queue_bytes" doc:"Data that may wait for one subscription before that is ended because it does not keep up." unit:"bytes"`
}

// The values of WebTransport.Enabled.
const (
	webTransportAuto = "auto"
	webTransportYes  = "yes"
	webTransportNo   = "no"
)

func defaultWebTransport() WebTransport {
	return WebTransport{Enabled: webTransportNo, QueueBytes: 8 << 20}
}

// DataStreams says whether there are data streams over WebTransport. By default there are none, as with OWT's servers: a token
// that names them makes its client open a connection it may not be able to.
func (s *Settings) DataStreams() bool {
	if s.WebTransport.Enabled == webTransportAuto {
		_, secure := s.Certificate()
		return secure
	}
	return s.WebTransport.Enabled == webTransportYes
}

// DataURL is where clients find them: host is that of join tokens, port the UDP port that is listened on. The settings are valid.
func (s *Settings) DataURL(host string, port int) string {
	if s.WebTransport.URL != "" {
		return strings.TrimSuffix(s.WebTransport.URL, "/") + "/"
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return "https://" + net.JoinHostPort(unbracketed(host), strconv.Itoa(port)) + "/"
}

func (w *WebTransport) check(f *faults) {
	switch w.Enabled {
	case webTransportAuto, webTransportYes, webTransportNo:
	default:
		f.add("webtransport.enabled is %q: write auto, yes or no", w.Enabled)
	}
	if w.URL != "" {
		u, err := url.Parse(w.URL)
		if err != nil || u.Scheme != "https" || !isHost(u.Host) || strings.TrimSuffix(w.URL, "/") != "https://"+u.Host {
			f.add("webtransport.url: %q is no address of an edge: write it as https://data.example.org:8080/", w.URL)
		}
	}
	positive(f, "webtransport.queue_bytes", w.QueueBytes)
}
