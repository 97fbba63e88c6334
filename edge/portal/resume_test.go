package portal

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/jsonvalue"
	"portico/shared/token"
)

// loggedIn is a client, and the ticket of its login.
func (f *fixture) loggedIn(user, sdk, version string) (*client, string) {
	f.t.Helper()
	c := f.connect()
	data := strings.Replace(login(f.token(user, "presenter", 0)), `"type":"JavaScript","version":"5.1"`, `"type":"`+sdk+`","version":"`+version+`"`, 1)
	ack, err := jsonvalue.Parse([]byte(c.request("login", data)), jsonvalue.Limits{})
	if err != nil {
		f.t.Fatal(err)
	}
	c.opened()
	return c, ack.Index(1).Get("reconnectionTicket").Text()
}

func quoted(s string) string { return jsonvalue.Of(s).String() }

func object(o *Options) { o.ReloginAck = ReloginObject }

func TestT_51_54_ReloginObject(t *testing.T) {
	f := newFixture(t, object)
	a, ticket := f.loggedIn("a", "JavaScript", "5.1")
	b := f.joined("b", "presenter")
	b.request("text", `{"to":"all","message":"m1"}`)
	a.h.Closed("transport lost")
	b.request("text", `{"to":"all","message":"m2"}`)
	b.take()
	n := f.connect()
	ack, err := jsonvalue.Parse([]byte(n.request("relogin", quoted(ticket))), jsonvalue.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	text := func(m, seq string) string {
		return `{"event":"text","data":{"from":"` + b.id + `","to":"all","message":"` + m + `"},"seq":` + seq + `}`
	}
	join := `{"event":"participant","data":{"action":"join","data":{"id":"` + b.id + `","user":"b","role":"presenter"}},"seq":2}`
	first := `{"event":"text","data":{"from":"` + a.id + `","to":"me","message":"open"},"seq":1}`
	want(t, "messages", ack.Index(1).Get("messages").String(), `[`+first+`,`+join+`,`+text("m1", "3")+`,`+text("m2", "4")+`]`)
	if tk, err := token.DecodeTicket(ack.Index(1).Get("ticket").Text()); err != nil || tk.ParticipantID != a.id || !tk.Verify([]byte(key)) {
		t.Errorf("new ticket %+v, %v", tk, err)
	}
	if got := n.until(t, "ack"); !slices.Equal(got, []string{"ack"}) {
		t.Errorf("missed messages were emitted as well: %v", got)
	}
	if got := b.take(); len(got) != 0 {
		t.Errorf("others noticed: %v", got)
	}
	b.request("text", `{"to":"all","message":"m3"}`)
	if got := n.take(); !slices.Equal(got, []string{`text {"from":"` + b.id + `","to":"all","message":"m3"}`}) {
		t.Errorf("T-54: %v", got)
	}
	n.request("text", `{"to":"`+b.id+`","message":"x"}`)
	if got := b.take(); !slices.Contains(got, `text {"from":"`+a.id+`","to":"me","message":"x"}`) {
		t.Errorf("T-54: the participant changed its id: %v", got)
	}
}

func TestT_53_ReloginString(t *testing.T) {
	f := newFixture(t)
	a, ticket := f.loggedIn("a", "JavaScript", "5.1")
	b := f.joined("b", "presenter")
	b.request("text", `{"to":"all","message":"m1"}`)
	a.h.Closed("transport lost")
	b.request("text", `{"to":"all","message":"m2"}`)
	n := f.connect()
	ack := n.request("relogin", quoted(ticket))
	if v, _ := jsonvalue.Parse([]byte(ack), jsonvalue.Limits{}); v.Index(1).Kind() != jsonvalue.String {
		t.Errorf("ack %s", ack)
	}
	if got := n.take(); !slices.Equal(got, []string{"ack", `text {"from":"` + b.id + `","to":"all","message":"m2"}`}) {
		t.Errorf("got %v", got)
	}
}

func TestT_52_ReloginOfOlderVersions(t *testing.T) {
	f := newFixture(t, object)
	b := f.joined("b", "presenter")
	for _, version := range []string{"1.0", "1.1"} {
		a := f.connect()
		data := strings.Replace(login(f.token("a", "presenter", 0)), `"protocol":"1.2"`, `"protocol":"`+version+`"`, 1)
		ack, err := jsonvalue.Parse([]byte(a.request("login", data)), jsonvalue.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		a.opened()
		b.request("text", `{"to":"all","message":"m1"}`)
		a.h.Closed("transport lost")
		b.request("text", `{"to":"all","message":"m2"}`)
		n := f.connect()
		reply, err := jsonvalue.Parse([]byte(n.request("relogin", quoted(ack.Index(1).Get("reconnectionTicket").Text()))), jsonvalue.Limits{})
		if err != nil || reply.Index(1).Kind() != jsonvalue.String {
			t.Errorf("%s: %s, %v", version, reply, err)
		}
		if got := n.until(t, `text {"from":"`+b.id+`","to":"all","message":"m2"}`); len(got) != 2 {
			t.Errorf("%s: %v", version, got)
		}
		if ack := n.request("publish", `{"media":{"audio":{"source":"mic"},"video":false}}`); !strings.HasPrefix(ack, `["ok",{"id":"`) {
			t.Errorf("T-74 in %s: %s", version, ack)
		}
	}
}

func TestReloginAutoChoosesTheForm(t *testing.T) {
	for _, c := range []struct{ sdk, version, kind string }{
		{"JavaScript", "5.1", "string"}, {"C++", "5.0", "string"}, {"Objective-C", "4.3.1", "string"}, {"Android", "5.0", "object"},
		{"JavaScript", "5.2", "object"}, {"JavaScript", "6.0", "object"}, {"JavaScript", "10.0.1", "object"}, {"C++", "x", "string"},
	} {
		f := newFixture(t)
		a, ticket := f.loggedIn("a", c.sdk, c.version)
		a.h.Closed("transport lost")
		ack, err := jsonvalue.Parse([]byte(f.connect().request("relogin", quoted(ticket))), jsonvalue.Limits{})
		if err != nil || ack.Index(1).Kind().String() != c.kind {
			t.Errorf("%s %s: %s, want %s", c.sdk, c.version, ack, c.kind)
		}
	}
}

func TestT_55_59_ReloginWhileConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		a, ticket := f.loggedIn("a", "JavaScript", "5.1")
		b := f.joined("b", "presenter")
		want(t, "T-59", a.request("relogin", quoted(ticket)), `["error","Connection is in service"]`)
		a.take()
		n := f.connect()
		if ack := n.request("relogin", quoted(ticket)); !strings.HasPrefix(ack, `["ok"`) {
			t.Fatal(ack)
		}
		if got := a.take(); !slices.Equal(got, []string{"41"}) {
			t.Errorf("first socket: %v", got)
		}
		a.h.Closed("disconnected")
		b.take()
		time.Sleep(2 * time.Minute) // synthetic time
		synctest.Wait()
		if got := b.take(); len(got) != 0 {
			t.Errorf("b noticed: %v", got)
		}
		want(t, "still there", n.request("text", `{"to":"all","message":"x"}`), `["ok"]`)
	})
}

func TestT_56_Timer100(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(o *Options) { o.ReconnectionTimeout = 2 * time.Second })
		a, ticket := f.loggedIn("a", "JavaScript", "5.1")
		b := f.joined("b", "presenter")
		b.take()
		a.h.Closed("transport lost")
		time.Sleep(1900 * time.Millisecond)
		synctest.Wait()
		if got := b.take(); len(got) != 0 {
			t.Errorf("early: %v", got)
		}
		time.Sleep(600 * time.Millisecond)
		synctest.Wait()
		if got := b.take(); !slices.Equal(got, []string{`participant {"action":"leave","data":"` + a.id + `"}`}) {
			t.Errorf("leave: %v", got)
		}
		n := f.connect()
		want(t, "relogin", n.request("relogin", quoted(ticket)), `["error","Client does NOT exist"]`)
		if got := n.take(); !slices.Equal(got, []string{"ack", "41"}) {
			t.Errorf("after the refusal: %v", got)
		}
	})
}

func TestT_57_BadTickets(t *testing.T) {
	f := newFixture(t)
	a, ticket := f.loggedIn("a", "JavaScript", "5.1")
	now := time.Now()
	past := token.MintTicket([]byte(key), token.Ticket{ParticipantID: a.id, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(-time.Minute)})
	forged, err := token.DecodeTicket(ticket)
	if err != nil {
		t.Fatal(err)
	}
	forged.NotAfter = forged.NotAfter.Add(time.Hour)
	for _, c := range []struct{ name, data, want string }{
		{"no base64", `"zzzz"`, ``},
		{"object", `{"ticket":"x"}`, ``},
		{"none", ``, ``},
		{"past", quoted(past.Encode()), `["error","Ticket is expired"]`},
		{"forged", quoted(forged.Encode()), `["error","Invalid reconnection ticket signature"]`},
	} {
		n := f.connect()
		got := n.request("relogin", c.data)
		if c.want == "" && !strings.HasPrefix(got, `["error","`) || c.want != "" && got != c.want {
			t.Errorf("%s: %s", c.name, got)
		}
		if sent := n.take(); !slices.Equal(sent, []string{"ack", "41"}) {
			t.Errorf("%s: %v", c.name, sent)
		}
	}
	want(t, "unaffected", a.request("text", `{"to":"all","message":"x"}`), `["ok"]`)
}

func TestT_58_60_OldTicketsAndLogout(t *testing.T) {
	f := newFixture(t)
	a, t0 := f.loggedIn("a", "JavaScript", "5.1")
	a.request("refreshReconnectionTicket", "")
	a.h.Closed("transport lost")
	n := f.connect()
	if ack := n.request("relogin", quoted(t0)); !strings.HasPrefix(ack, `["ok"`) {
		t.Errorf("T-58: %s", ack)
	}
	n.request("logout", "")
	want(t, "T-60", f.connect().request("relogin", quoted(t0)), `["error","Client does NOT exist"]`)
}

func TestMailboxOfAnAbsentIsBounded(t *testing.T) {
	f := newFixture(t)
	a, _ := f.loggedIn("a", "JavaScript", "5.1")
	b := f.joined("b", "presenter")
	a.h.Closed("transport lost")
	big := `{"to":"` + a.id + `","message":"` + strings.Repeat("x", 900_000) + `"}`
	b.take()
	for range 6 {
		b.request("text", big)
	}
	b.until(t, `participant {"action":"leave","data":"`+a.id+`"}`)
}

// What was told only in answers to relogin that were lost themselves is told again, however long ago it happened.
func TestReloginAnswersAreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, object)
		a, ticket := f.loggedIn("a", "JavaScript", "5.1")
		b := f.joined("b", "presenter")
		a.h.Closed("transport lost")
		b.request("text", `{"to":"all","message":"m1"}`)
		for range 2 {
			time.Sleep(45 * time.Second) // synthetic time, less than BufferTime and ReconnectionTimeout
			lost := f.connect()
			if ack := lost.request("relogin", quoted(ticket)); !strings.HasPrefix(ack, `["ok"`) {
				t.Fatal(ack)
			}
			lost.h.Closed("transport lost")
		}
		b.request("text", `{"to":"all","message":"m2"}`) // what is too old goes now
		ack := f.connect().request("relogin", quoted(ticket))
		if !strings.Contains(ack, `"message":"m1"`) || !strings.Contains(ack, `"message":"m2"`) {
			t.Errorf("missed: %s", ack)
		}
	})
}
