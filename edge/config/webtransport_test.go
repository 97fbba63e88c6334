package config

import "testing"

func TestDataStreams(t *testing.T) {
	for _, c := range []struct {
		enabled  string
		tls, dev bool
		want     bool
	}{
		{"auto", false, false, false}, {"auto", true, false, true}, {"auto", false, true, false},
		{"yes", false, false, true}, {"no", true, true, false},
	} {
		s := Default()
		s.WebTransport.Enabled, s.Dev = c.enabled, c.dev
		if c.tls {
			s.TLS.CertFile, s.TLS.KeyFile = "c", "k"
		}
		if got := s.DataStreams(); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestDataURL(t *testing.T) {
	for _, c := range []struct{ url, host, want string }{
		{"", "meet.example.org:443", "https://meet.example.org:8080/"},
		{"", "meet.example.org", "https://meet.example.org:8080/"},
		{"", "[2001:db8::1]:443", "https://[2001:db8::1]:8080/"},
		{"https://data.example.org:7000", "meet.example.org", "https://data.example.org:7000/"},
		{"https://data.example.org/", "meet.example.org", "https://data.example.org/"},
	} {
		s := Default()
		s.WebTransport.URL = c.url
		if err := s.Validate(); err != nil {
			t.Error(err)
		}
		if got := s.DataURL(c.host, 8080); got != c.want {
			t.Errorf("%q, %q: %s, want %s", c.url, c.host, got, c.want)
		}
	}
	for _, url := range []string{"data.example.org", "https://x/path", "https://x?q", "https://", "https://u@x"} {
		s := Default()
		s.WebTransport.URL = url
		if s.Validate() == nil {
			t.Errorf("%q is valid", url)
		}
	}
}
