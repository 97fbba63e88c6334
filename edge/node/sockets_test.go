package node_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"portico/edge/config"
)

// TestICEOnThePortOfHTTP: a connection that begins as one of ICE is none of HTTP's, unless media over TCP is turned off.
func TestICEOnThePortOfHTTP(t *testing.T) {
	for _, tcp := range []bool{true, false} {
		url, _ := started(t, func(s *config.Settings) { s.Media.TCP = tcp })
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("\x00\x04none\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		answer, err := bufio.NewReader(c).ReadString('\n')
		if web := strings.HasPrefix(answer, "HTTP/1.1 400"); web == tcp || tcp && err != io.EOF {
			t.Errorf("tcp %v: %q, %v", tcp, answer, err)
		}
		_ = c.Close()
		if code, body := get(t, url+"/livez"); code != http.StatusOK {
			t.Errorf("%d %s", code, body)
		}
		_, metrics := get(t, url+"/metrics")
		if got := strings.Contains(metrics, `portico_ice_tcp_refused_total{reason="nobody's"} 1`); got != tcp {
			t.Errorf("tcp %v: metrics\n%s", tcp, metrics)
		}
	}
}
