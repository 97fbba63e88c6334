package rtc

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"
	"portico/edge/tcpdoor"
	"portico/shared/conference"
)

// newDoor is a TCP port with an HTTP server on it.
func newDoor(t *testing.T) (*tcpdoor.Door, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := tcpdoor.Over(l)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a page") }))
	_ = s.Listener.Close()
	s.Listener = d.Web()
	s.Start()
	t.Cleanup(func() {
		s.Close()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, s.URL
}

// TestMediaByTCP: a client that UDP does not reach publishes and subscribes through the port of HTTP, which goes on.
func TestMediaByTCP(t *testing.T) {
	door, url := newDoor(t)
	e := newEngine(t, func(c *Config) { c.TCP = door })
	alice := newSourceOf(newClientBy(t, e, "alice", webrtc.NetworkTypeTCP4, nil))
	alice.start()
	bob := newClientBy(t, e, "bob", webrtc.NetworkTypeTCP4, nil)
	bob.receive(conference.Audio)
	bob.receive(conference.Video)
	bob.subscribe("bob", SubTrack{Kind: conference.Audio, Mid: "0", From: "alice-pub-0"}, SubTrack{Kind: conference.Video, Mid: "1", From: "alice-pub-1"})
	answer := bob.negotiate()
	bob.up()
	for range 2 {
		track := bob.arrived().track
		for range 20 {
			bob.read(track)
		}
	}
	udp, tcp := strings.Index(answer, "a=candidate:1 1 udp "), strings.Index(answer, "typ host tcptype passive\r\n")
	if udp < 0 || tcp < udp {
		t.Errorf("candidates of the answer\n%s", answer)
	}
	q, _ := e.Quality("alice-pub", "")
	if len(q.Subscriptions) != 1 || !strings.HasPrefix(q.Path.Local, "host tcp4 ") || !strings.HasPrefix(q.Subscriptions[0].Path.Remote, "prflx tcp4 ") {
		t.Errorf("%+v", q)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	if body, err := io.ReadAll(r.Body); err != nil || string(body) != "a page" {
		t.Errorf("%q, %v", body, err)
	}
	if s := door.Stats(); s.Open < 2 || s.Unknown != 0 {
		t.Errorf("%+v", s)
	}
}

// TestCandidatesOfTCP: public addresses stand in for those of TCP too, after all of UDP.
func TestCandidatesOfTCP(t *testing.T) {
	gathered := []string{
		"candidate:1 1 udp 2130706431 10.0.0.1 8080 typ host", "candidate:2 1 udp 2130706175 127.0.0.1 8080 typ host",
		"candidate:101 1 tcp 1671430143 10.0.0.1 8081 typ host tcptype passive", "candidate:102 1 tcp 1671429887 127.0.0.1 8081 typ host tcptype passive",
	}
	var got []string
	for _, c := range localCandidates(gathered, []string{"192.0.2.1", "2001:db8::1"}, 8080, 8081) {
		f := strings.Fields(c)
		got = append(got, strings.Join(f[2:3], "")+" "+f[4]+" "+f[5])
	}
	if want := "udp 192.0.2.1 8080, udp 2001:db8::1 8080, tcp 192.0.2.1 8081, tcp 2001:db8::1 8081, udp 127.0.0.1 8080, tcp 127.0.0.1 8081"; strings.Join(got, ", ") != want {
		t.Errorf("%q", got)
	}
	if got := localCandidates(gathered[:1], nil, 8080, 0); len(got) != 1 || got[0] != gathered[0] {
		t.Errorf("%q", got)
	}
	last := uint64(1 << 32)
	for _, c := range localCandidates(nil, []string{"192.0.2.1", "192.0.2.2"}, 8080, 8081) {
		priority, err := strconv.ParseUint(strings.Fields(c)[3], 10, 32)
		if err != nil || priority >= last {
			t.Errorf("%s: %v", c, err)
		}
		last = priority
	}
}
