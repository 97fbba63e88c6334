package node_test

import (
	"crypto/sha256"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/webtransport-go"

	"portico/edge/config"
	"portico/shared/jsonvalue"
)

// subscribe asks for data and takes the stream that comes at once.
func (p *person) subscribe(stream string) (subscription string, in *webtransport.Stream) {
	p.t.Helper()
	ack := p.ask("subscribe", `{"media":null,"data":{"from":"`+stream+`"},"transport":{"type":"quic"}}`)
	if subscription = ack.Index(1).Get("id").Text(); !isHex32(subscription) {
		p.t.Fatalf("ack %v", ack)
	}
	in = p.receive(subscription)
	p.expect(`progress {"id":"` + subscription + `","status":"ready"}`)
	return subscription, in
}

// sees waits until a stream has come or gone.
func (p *person) sees(what, stream string) {
	p.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case text := <-p.told:
			if strings.HasPrefix(text, `stream {"id":"`+stream+`","status":"`+what+`"`) {
				return
			}
		case <-deadline.C:
			p.t.Fatal("does not see the stream")
		}
	}
}

// move takes a participant's place on another edge, as clients do, with the ticket of the one before.
func (p *person) move(to string) *person {
	p.t.Helper()
	q := &person{t: p.t, told: make(chan string, 100), token: p.token}
	q.io = connectWith(p.t, to, func(name string, args []jsonvalue.Value) {
		text := name
		for _, a := range args {
			text += " " + a.String()
		}
		q.told <- text
	}, func(error) {})
	answer := q.ask("relogin", `{"ticket":"`+p.login.Get("reconnectionTicket").Text()+`","restore":true}`)
	q.login = answer.Index(1).Get("moved")
	if q.login.Get("id").Text() != p.login.Get("id").Text() {
		p.t.Fatalf("not taken over: %v", answer)
	}
	q.url = q.login.Get("webTransportUrl").Text()
	return q
}

// TestDataAcrossEdges: data are published on one edge and subscribed to on another, and the publisher and a subscriber each go to another
// edge: the publication stays what it is, and nobody else's subscription ends.
func TestDataAcrossEdges(t *testing.T) {
	c := newTownOf(t, 3, func(s *config.Settings) {
		dev(s)
		s.Cluster.DrainTimeout = 0 // nobody is there to go anywhere when they stop
	})
	one, two, three := c.edges[0], c.edges[1], c.edges[2]
	a, b, z := joinAs(t, one.url, "r", "JavaScript"), joinAs(t, two.url, "r", "JavaScript"), joinAs(t, two.url, "r", "Go")
	a.open()
	stream := a.ask("publish", `{"media":null,"data":true,"transport":{"type":"quic"}}`).Index(1).Get("id").Text()
	out := a.send(stream)
	a.expect(`progress {"id":"` + stream + `","status":"ready"}`)
	b.sees("add", stream)
	b.open()
	z.open()
	_, atB := b.subscribe(stream)
	_, atZ := z.subscribe(stream)

	sent := make([]byte, 1<<20)
	for i := range sent {
		sent[i] = byte(i * i >> 3)
	}
	go func() {
		_, _ = out.Write(sent)
		_ = out.Close()
	}()
	for _, in := range []io.Reader{atB, atZ} {
		if got, err := io.ReadAll(in); err != nil || sha256.Sum256(got) != sha256.Sum256(sent) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	if _, metrics := get(t, two.url+"/metrics"); !strings.Contains(metrics, `portico_data_link_bytes_total{direction="in"} 1.048576e+06`+"\n") {
		t.Error("not one copy went between the edges")
	}

	// The publisher goes to the third edge. Until it has published there what is here goes on.
	last := a.send(stream)
	lastAtZ := z.receiveNext()
	there := a.move(three.url)
	there.open()
	ack := there.ask("publish", `{"media":null,"data":true,"transport":{"type":"quic"},"resume":"`+stream+`"}`)
	if ack.Index(1).Get("id").Text() != stream {
		t.Fatalf("ack %v", ack)
	}
	there.expect(`progress {"id":"` + stream + `","status":"ready"}`)
	a.write(last, []byte("under way"))
	z.read(lastAtZ, []byte("under way"))
	if err := a.session.CloseWithError(0, ""); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(lastAtZ); len(rest) != 0 || err != nil {
		t.Errorf("the stream of before ended with %q, %v", rest, err)
	}
	until(t, "it comes from the new edge", func() bool {
		_, metrics := get(t, three.url+"/metrics")
		return strings.Contains(metrics, `portico_data_pulls{direction="out"} 1`)
	})
	there.write(there.send(stream), []byte("here"))
	z.read(z.receiveNext(), []byte("here"))

	// A subscriber goes where the publisher is.
	here := b.move(three.url)
	here.open()
	here.subscribe(stream)
	there.write(there.send(stream), []byte("again"))
	here.read(here.receiveNext(), []byte("again"))
	z.read(z.receiveNext(), []byte("again"))
	select {
	case text := <-z.told:
		if strings.HasPrefix(text, "progress") || strings.Contains(text, `"remove"`) {
			t.Errorf("a subscriber was told %s", text)
		}
	default:
	}
	if ack := there.ask("unpublish", `{"id":"`+stream+`"}`); ack.String() != `["ok"]` {
		t.Errorf("unpublish: %v", ack)
	}
	z.sees("remove", stream)
}

// receiveNext takes the next stream of whatever subscription.
func (p *person) receiveNext() *webtransport.Stream {
	p.t.Helper()
	stream, err := p.session.AcceptStream(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	_ = stream.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(stream, make([]byte, 16)); err != nil {
		p.t.Fatal(err)
	}
	return stream
}
