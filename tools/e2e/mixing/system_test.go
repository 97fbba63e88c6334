//go:build linux

package mixing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"portico/edge/store"
	"portico/shared/identity"
	"portico/shared/jsonvalue"
	"portico/tools/portico/manage"
	"portico/tools/proctest"
)

// patience is how long the tests wait for what has no limit of its own.
const patience = 30 * time.Second

// system is an edge, the relays it knows, and a room.
type system struct {
	t     *testing.T
	dir   string // of the programs' files
	cas   string // of the cluster's authority
	files string // of the programs
	options
	edge   *proctest.Process
	relays []*relay
	url    string // of the edge, as this process reaches it
	api    *manage.Client
	room   string
}

// options change how a system is started.
type options struct {
	race        bool
	environment []string
	host        string                                            // address of the programs; default: this machine's
	start       proctest.Starter                                  // default: here
	reach       func(t *testing.T, address string) (there string) // an address of the programs, as this process reaches it
	room        string                                            // options of the room, as JSON; empty: the default
	relays      [][]string                                        // further arguments of each; nil: one relay without
}

// relay is a relay that the edge knows, whether it runs or not.
type relay struct {
	*proctest.Process // nil: it was never started
	system            *system
	link              string // address
	admin             string
	turn              int
	extra             []string
	identity          identity.Files
}

// begin starts an edge and its relays.
func begin(t *testing.T, o options) *system {
	t.Helper()
	if o.host == "" {
		o.host = outward(t)
	}
	if o.start == nil {
		o.start = (*exec.Cmd).Start
	}
	if o.relays == nil {
		o.relays = [][]string{nil}
	}
	var flags []string
	if o.race {
		flags = append(flags, "-race")
	}
	files, err := programs.Get(flags...)
	if err != nil {
		t.Fatal(err)
	}
	s := &system{t: t, dir: t.TempDir(), files: files, options: o}
	s.cas = filepath.Join(s.dir, "ca")
	s.must(identity.Init(s.cas))
	var links []string
	for i, extra := range o.relays {
		r := &relay{system: s, link: s.address(), admin: s.address(), extra: extra}
		r.identity, err = identity.Issue(s.cas, "relay"+strconv.Itoa(i), identity.Relay, false)
		s.must(err)
		s.relays = append(s.relays, r)
		links = append(links, r.link)
	}
	s.startEdge(links)
	return s
}

func (s *system) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// outward is the address from which this machine would reach the internet. Nothing is sent. Edges offer no loopback address.
func outward(t *testing.T) string {
	t.Helper()
	conn, err := net.Dial("udp4", "192.0.2.1:9")
	if err != nil {
		t.Skip("this machine has no address but loopback, which an edge does not offer")
	}
	defer func() { _ = conn.Close() }()
	return conn.LocalAddr().(*net.UDPAddr).IP.String()
}

// address is a free one for a program. Those in a network of their own have all ports for themselves.
func (s *system) address() string {
	s.t.Helper()
	port, err := freePort("0.0.0.0")
	s.must(err)
	return net.JoinHostPort(s.host, strconv.Itoa(port))
}

// startEdge starts the edge and makes the room.
func (s *system) startEdge(links []string) {
	t := s.t
	t.Helper()
	id, err := identity.Issue(s.cas, "edge", identity.Edge, false)
	s.must(err)
	at, data := s.address(), filepath.Join(s.dir, "data")
	s.edge, err = proctest.Run("edge", s.start, filepath.Join(s.files, "edge"), s.environment,
		"-http.listen", at, "-http.public_ips", s.host, "-http.metrics_from", "0.0.0.0/0", "-data_dir", data, "-log.level", "info",
		"-relay.nodes", strings.Join(links, ","), "-cluster.ca_file", id.CA, "-cluster.cert_file", id.Cert, "-cluster.key_file", id.Key)
	s.must(err)
	t.Cleanup(func() { s.edge.Stop(t) })
	s.url = "http://" + s.there(at)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		if _, err := get(ctx, s.url+"/readyz"); err == nil {
			break
		}
		select {
		case <-s.edge.Ended:
			t.Fatalf("the edge has ended:\n%s", s.edge.Tail())
		case <-ctx.Done():
			t.Fatalf("the edge is not ready:\n%s", s.edge.Tail())
		case <-time.After(20 * time.Millisecond):
		}
	}
	db, err := store.OpenSQLite(ctx, data, store.Limits{})
	s.must(err)
	service, err := db.ServiceByName(ctx, store.SampleServiceName)
	s.must(errors.Join(err, db.Close()))
	s.api, err = manage.New(manage.Settings{URL: s.url, Service: service.ID, Key: service.Key})
	s.must(err)
	s.room = s.newRoom()
}

// newRoom makes a room with the system's options.
func (s *system) newRoom() string {
	s.t.Helper()
	var settings jsonvalue.Value
	if s.options.room != "" {
		var err error
		settings, err = jsonvalue.Parse([]byte(s.options.room), jsonvalue.Limits{})
		s.must(err)
	}
	created, err := s.api.CreateRoom(s.t.Context(), "mixing", settings)
	s.must(err)
	return created.Get("_id").Text()
}

// there is an address of the programs as this process reaches it.
func (s *system) there(address string) string {
	if s.reach == nil {
		return address
	}
	return s.reach(s.t, address)
}

// up starts the relay and returns when the edge can be connected to it. It is the same relay at the same address each time.
func (r *relay) up() {
	s := r.system
	s.t.Helper()
	var err error
	arguments := append([]string{
		"-turn.udp", net.JoinHostPort(s.host, "0"), "-turn.tcp", "", "-turn.tls", "", "-turn.public_ip", s.host, "-admin.listen", r.admin,
		"-link.listen", r.link, "-cluster.ca_file", r.identity.CA, "-cluster.cert_file", r.identity.Cert, "-cluster.key_file", r.identity.Key,
	}, r.extra...)
	environment := append([]string{"PORTICO_TURN_SECRET=of a relay that lives for one test"}, s.environment...)
	r.Process, err = proctest.Run("relay", s.start, filepath.Join(s.files, "relay"), environment, arguments...)
	s.must(err)
	p := r.Process
	s.t.Cleanup(func() { p.Stop(s.t) })
	r.await(0, "relay started")
}

// await waits until the relay has said something.
func (r *relay) await(from int, words ...string) string {
	r.system.t.Helper()
	return r.system.hear(r.Process, from, words...)
}

// hear waits until a program has said something.
func (s *system) hear(p *proctest.Process, from int, words ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	line, err := p.Said(ctx, from, words...)
	s.must(err)
	return line
}

// start starts a system whose relays run and are connected.
func start(t *testing.T, o options) *system {
	t.Helper()
	s := begin(t, o)
	for _, r := range s.relays {
		r.up()
	}
	s.connected(len(s.relays))
	return s
}

// connected waits until the edge is connected to so many relays.
func (s *system) connected(n int) {
	s.t.Helper()
	s.until("relays connected", func() bool { return int(s.metrics(s.url)[`portico_relays{state="connected"}`]) == n })
}

// until looks again and again: what it waits for is told by nobody.
func (s *system) until(what string, ok func() bool) {
	s.t.Helper()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-s.edge.Ended:
			s.t.Fatalf("the edge has ended:\n%s", s.edge.Tail())
		case <-deadline.C:
			s.t.Fatalf("never: %s", what)
		}
	}
}

// metrics reads a node's page, as far as series go whose labels have no spaces.
func (s *system) metrics(url string) map[string]float64 {
	s.t.Helper()
	text, err := get(s.t.Context(), url+"/metrics")
	s.must(err)
	values := map[string]float64{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			values[name] = n
		}
	}
	return values
}

func get(ctx context.Context, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, answer.Status)
	}
	return string(text), err
}

// workers is which of the relays does the job; there has to be one.
func (s *system) worker() *relay {
	s.t.Helper()
	var found *relay
	s.until("one relay has one job", func() bool {
		found = nil
		n := 0
		for _, r := range s.relays {
			if r.Process != nil && len(children(r.PID())) > 0 {
				found = r
				n += len(children(r.PID()))
			}
		}
		return n == 1
	})
	return found
}
