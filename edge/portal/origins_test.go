package portal

import (
	"strconv"
	"testing"
)

func TestOrigins(t *testing.T) {
	var o Origins
	for _, url := range []string{"https://A.example.org:443", "http://b:8080", "https://[2001:db8::1]:8443", "https://[2001:db8::2]",
		"", "ftp://c", "x", "https://d/path", "https://"} {
		o.Add(url)
	}
	for origin, want := range map[string]bool{
		"https://a.example.org": true, "https://a.example.org:443": true, "http://a.example.org": false, "https://a.example.org:8443": false,
		"http://b:8080": true, "https://b:8080": false, "http://b": false, "https://[2001:db8::1]:8443": true, "https://[2001:db8::1]": false,
		"https://[2001:db8::2]": true, "": false, "null": false, "ftp://c": false, "x": false, "https://d": false, "https://": false,
		"https://evil@a.example.org": false, "https://a.example.org/x": false,
	} {
		if got := o.Allow(origin); got != want {
			t.Errorf("%q: %v", origin, got)
		}
	}
	for i := range maxOrigins {
		o.Add("http://b:8080") // it is still there
		o.Add("https://edge" + strconv.Itoa(i))
	}
	if o.Allow("https://a.example.org") || o.Allow("https://edge0") ||
		!o.Allow("http://b:8080") || !o.Allow("https://edge1023") || len(o.list) != maxOrigins {
		t.Errorf("%d are remembered", len(o.list))
	}
}
