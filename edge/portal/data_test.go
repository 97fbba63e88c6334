package portal

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/edge/room"
	"portico/edge/store"
	"portico/shared/jsonvalue"
	"portico/shared/token"
)

// fakeData gives out numbered transports, and none to those in connected.
type fakeData struct {
	noMedia
	mu        sync.Mutex
	n         int
	connected map[string]bool
	held      map[string]string // transports by participant
	asked     []string          // what the media layer was asked for
}

func (d *fakeData) Admit(_, participant string) DataGrant {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.connected[participant] {
		return DataGrant{}
	}
	d.n++
	d.held[participant] = fmt.Sprintf("transport-%d", d.n)
	return DataGrant{Token: "token of " + d.held[participant], Transport: d.held[participant], Hashes: []string{"aGFzaA=="}}
}

func (d *fakeData) Readmit(room, participant string) DataGrant {
	d.mu.Lock()
	delete(d.connected, participant)
	d.mu.Unlock()
	return d.Admit(room, participant)
}

func (d *fakeData) Revoke(participant string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.held, participant)
	delete(d.connected, participant)
}

func (d *fakeData) CloseParticipant(participant string) { d.Revoke(participant) }

func (d *fakeData) Publish(p room.MediaPublication) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, fmt.Sprintf("publish %v on %s", p.Data, p.Transport))
	return nil
}

func (d *fakeData) all() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string]string{}
	for k, v := range d.held {
		all[k] = v
	}
	return all
}

func newDataFixture(t *testing.T, change ...func(*Options)) (*fixture, *fakeData) {
	d := &fakeData{connected: map[string]bool{}, held: map[string]string{}}
	return newFixtureWith(t, d, append([]func(*Options){func(o *Options) { o.Data = d }}, change...)...), d
}

// dataToken issues a token that names an address for WebTransport.
func (f *fixture) dataToken(user string) string {
	id := fmt.Sprintf("%024x", 0xda7a000+len(f.tokens.records)+f.n*1000)
	const url = "https://portal.example.com:8080/"
	f.tokens.records[id] = store.TokenRecord{ID: id, User: user, Role: "presenter", Room: roomID, Created: time.Now(), WebTransportURL: url}
	return token.Mint([]byte(key), token.Token{TokenID: id, Host: "portal.example.com:8080", WebTransportURL: url}).Encode()
}

func parse(t *testing.T, text string) jsonvalue.Value {
	t.Helper()
	v, err := jsonvalue.Parse([]byte(text), jsonvalue.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestDataIsGrantedByTheToken(t *testing.T) {
	f, d := newDataFixture(t)
	c := f.connect()
	result := parse(t, c.request("login", login(f.dataToken("a")))).Index(1)
	want(t, "token", result.Get("webTransportToken").Text(), "token of transport-1")
	want(t, "hashes", result.Get("webTransportCertificateHashes").String(), `[{"algorithm":"sha-256","value":"aGFzaA=="}]`)
	other := f.connect()
	result = parse(t, other.request("login", login(f.token("b", "presenter", 0)))).Index(1)
	if result.Get("webTransportToken").Exists() || result.Get("webTransportCertificateHashes").Exists() {
		t.Errorf("granted without an address in the token: %v", result)
	}
	want(t, "given transport", c.request("publish", `{"media":null,"data":true,"transport":{"type":"quic","id":"mine"}}`),
		`["ok",{"id":"00000000000000000000000000000001","transportId":"mine"}]`)
	want(t, "own transport", c.request("publish", `{"media":null,"data":true,"transport":{"type":"quic"}}`),
		`["ok",{"id":"00000000000000000000000000000002","transportId":"transport-1"}]`)
	want(t, "no transport", other.request("publish", `{"media":null,"data":true,"transport":{"type":"quic"}}`), `["error","Bad publication request"]`)
	if !slices.Equal(d.asked, []string{"publish true on mine", "publish true on transport-1"}) {
		t.Errorf("%v", d.asked)
	}
	c.request("logout", "")
	if left := d.all(); len(left) != 0 {
		t.Errorf("after leaving: %v", left)
	}
}

func TestDataIsOff(t *testing.T) {
	f := newFixture(t)
	c := f.connect()
	if ack := c.request("login", login(f.dataToken("a"))); strings.Contains(ack, "webTransport") {
		t.Errorf("ack %s", ack)
	}
}

// Whoever is gone before the end of its login, or refused, holds nothing.
func TestDataOfAbandonedLogins(t *testing.T) {
	f, d := newDataFixture(t)
	f.rooms.gate = make(chan struct{})
	gone := f.connect()
	ack := gone.start("login", login(f.dataToken("a")))
	gone.h.Closed("gone")
	close(f.rooms.gate)
	if err := f.portal.group.Wait(t.Context()); err != nil { // the login
		t.Fatal(err)
	}
	select {
	case a := <-ack:
		t.Errorf("acknowledged: %s", a)
	default:
	}
	if left := d.all(); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDataOfRefusedLogins(t *testing.T) {
	f, d := newDataFixture(t)
	tok := f.dataToken("a")
	for id, r := range f.tokens.records {
		r.Role = "nobody"
		f.tokens.records[id] = r
	}
	c := f.connect()
	want(t, "login", c.request("login", login(tok)), `["error","Invalid role"]`)
	if left := d.all(); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A client that comes back gets a token for a new transport when its connection was lost, and nothing when that stands.
func TestDataAfterRelogin(t *testing.T) {
	f, d := newDataFixture(t, object)
	c := f.connect()
	result := parse(t, c.request("login", login(f.dataToken("a")))).Index(1)
	ticket := result.Get("reconnectionTicket").Text()
	c.h.Closed("transport lost")
	again := f.connect()
	result = parse(t, again.request("relogin", quoted(ticket))).Index(1)
	want(t, "token", result.Get("webTransportToken").Text(), "token of transport-2")
	want(t, "publish", again.request("publish", `{"media":null,"data":true,"transport":{"type":"quic"}}`),
		`["ok",{"id":"00000000000000000000000000000001","transportId":"transport-2"}]`)
	d.mu.Lock()
	d.connected[c.id] = true
	d.mu.Unlock()
	again.h.Closed("transport lost")
	third := f.connect()
	result = parse(t, third.request("relogin", quoted(result.Get("ticket").Text()))).Index(1)
	if result.Get("webTransportToken").Exists() {
		t.Errorf("a second token: %v", result)
	}
	want(t, "publish on the same", third.request("publish", `{"media":null,"data":true,"transport":{"type":"quic"}}`),
		`["ok",{"id":"00000000000000000000000000000002","transportId":"transport-2"}]`)
	f.rooms.Destroy(roomID)
	third.until(t, "41")
	if left := d.all(); len(left) != 0 {
		t.Errorf("after the room's end: %v", left)
	}
	want(t, "ticket of one that is gone", f.connect().request("relogin", quoted(result.Get("ticket").Text())), `["error","Client does NOT exist"]`)
	if left := d.all(); len(left) != 0 {
		t.Errorf("after a relogin that failed: %v", left)
	}
}

// A client that has lost its connection for data gets a token for another one, though the edge takes the old one for alive.
func TestDataIsGrantedAgain(t *testing.T) {
	f, d := newDataFixture(t)
	c := f.connect()
	want(t, "before the login", c.request("refreshWebTransportToken", ""), `["error","Illegal request"]`)
	c.request("login", login(f.dataToken("a")))
	d.mu.Lock()
	d.connected[c.id] = true
	d.mu.Unlock()
	const granted = `["ok",{"webTransportToken":"token of transport-2","webTransportCertificateHashes":[{"algorithm":"sha-256","value":"aGFzaA=="}]}]`
	want(t, "refresh", c.request("refreshWebTransportToken", ""), granted)
	want(t, "publish", c.request("publish", `{"media":null,"data":true,"transport":{"type":"quic"}}`),
		`["ok",{"id":"00000000000000000000000000000001","transportId":"transport-2"}]`)
	other := f.connect()
	other.request("login", login(f.token("b", "presenter", 0)))
	want(t, "without an address in the token", other.request("refreshWebTransportToken", ""), `["error","WebTransport is not enabled."]`)
	c.request("logout", "")
	if left := d.all(); len(left) != 0 {
		t.Errorf("after leaving: %v", left)
	}
}
