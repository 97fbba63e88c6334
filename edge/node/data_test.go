package node_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/webtransport-go"

	"portico/edge/config"
	"portico/shared/jsonvalue"
	"portico/shared/sioclient"
	"portico/shared/token"
)

const patience = 20 * time.Second

// person is a client with signalling and, once connected, data streams.
type person struct {
	t         *testing.T
	io        *sioclient.Conn
	told      chan string // events as "name json"
	login     jsonvalue.Value
	token     token.Token // the join token
	url       string      // where data streams are
	transport []byte
	session   *webtransport.Session
}

func join(t *testing.T, address, room string) *person {
	t.Helper()
	return joinAs(t, address, room, "Go")
}

// joinAs is join with a client of that kind.
func joinAs(t *testing.T, address, room, sdk string) *person {
	t.Helper()
	p := &person{t: t, told: make(chan string, 100)}
	p.io = connectWith(t, address, func(name string, args []jsonvalue.Value) {
		text := name
		for _, a := range args {
			text += " " + a.String()
		}
		p.told <- text
	}, func(error) {})
	text := demoToken(t, address, room)
	var err error
	if p.token, err = token.Decode(text); err != nil {
		t.Fatal(err)
	}
	ack, err := p.io.Request(t.Context(), "login", loginAs(text, sdk))
	if err != nil || ack[0].Text() != "ok" {
		t.Fatalf("login: %v, %v", ack, err)
	}
	p.login = ack[1]
	p.url = p.login.Get("webTransportUrl").Text()
	return p
}

// expect waits for an event, passing over others.
func (p *person) expect(want string) {
	p.t.Helper()
	var got []string
	for {
		select {
		case text := <-p.told:
			if text == want {
				return
			}
			got = append(got, text)
		case <-time.After(patience):
			p.t.Fatalf("not told %s but %s", want, got)
		}
	}
}

// ask makes a request and returns the answer as JSON.
func (p *person) ask(event, data string) jsonvalue.Value {
	p.t.Helper()
	v, err := jsonvalue.Parse([]byte(data), jsonvalue.Limits{})
	if err != nil {
		p.t.Fatal(err)
	}
	ack, err := p.io.Request(p.t.Context(), event, v)
	if err != nil {
		p.t.Fatal(err)
	}
	return jsonvalue.OfArray(ack...)
}

// open opens the data connection as a browser does: by the certificate's hash, with the page's origin.
func (p *person) open() {
	p.t.Helper()
	var hashes [][]byte
	list := p.login.Get("webTransportCertificateHashes")
	for i := range list.Len() {
		h, err := base64.StdEncoding.DecodeString(list.Index(i).Get("value").Text())
		if err != nil {
			p.t.Fatal(err)
		}
		hashes = append(hashes, h)
	}
	d := &webtransport.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			for _, h := range hashes {
				if sum := sha256.Sum256(raw[0]); bytes.Equal(sum[:], h) {
					return nil
				}
			}
			return errors.New("no certificate of that hash")
		}},
		QUICConfig: &quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true},
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, session, err := d.Dial(ctx, p.url, http.Header{"Origin": {"http://" + p.token.Host}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = session.CloseWithError(0, "") })
	p.session = session
	text := p.login.Get("webTransportToken").Text()
	read, err := token.DecodeWebTransport(text)
	if err != nil {
		p.t.Fatal(err)
	}
	if p.transport, err = hex.DecodeString(read.TransportID); err != nil {
		p.t.Fatal(err)
	}
	stream, err := session.OpenStream()
	if err != nil {
		p.t.Fatal(err)
	}
	_ = stream.SetDeadline(time.Now().Add(patience))
	head := binary.LittleEndian.AppendUint32(make([]byte, 16), uint32(len(text)))
	p.write(stream, append(head, text...))
	p.read(stream, make([]byte, 16))
}

func (p *person) write(w io.Writer, b []byte) {
	p.t.Helper()
	if _, err := w.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

func (p *person) read(r io.Reader, want []byte) {
	p.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, want) {
		p.t.Fatalf("read %x, %v; want %x", got, err, want)
	}
}

// send opens a stream of a publication.
func (p *person) send(session string) *webtransport.Stream {
	p.t.Helper()
	head, err := hex.DecodeString(session)
	if err != nil {
		p.t.Fatal(err)
	}
	stream, err := p.session.OpenStream()
	if err != nil {
		p.t.Fatal(err)
	}
	_ = stream.SetDeadline(time.Now().Add(patience))
	p.write(stream, head)
	p.read(stream, p.transport)
	return stream
}

// receive takes the next stream, which must be of the subscription.
func (p *person) receive(session string) *webtransport.Stream {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream, err := p.session.AcceptStream(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = stream.SetDeadline(time.Now().Add(patience))
	head, _ := hex.DecodeString(session)
	p.read(stream, head)
	return stream
}

func isHex32(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == 32 && strings.ToLower(s) == s
}

func dev(s *config.Settings) { s.Dev, s.WebTransport.Enabled = true, "yes" }

func TestT_43_WebTransportToken(t *testing.T) {
	address, _ := started(t, dev)
	before := time.Now().Add(-time.Second)
	p := join(t, address, "r")
	at, _ := url.Parse(address)
	if want := "https://127.0.0.1:" + at.Port() + "/"; p.token.WebTransportURL != want {
		t.Errorf("the token names %q, want %q", p.token.WebTransportURL, want)
	}
	if p.url != p.token.WebTransportURL {
		t.Errorf("the login says %q", p.url)
	}
	text := p.login.Get("webTransportToken").Text()
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonvalue.Parse(raw, jsonvalue.Limits{})
	if err != nil || v.Len() != 6 {
		t.Fatalf("%s, %v", raw, err)
	}
	got, err := token.DecodeWebTransport(text)
	if err != nil || !isHex32(got.TokenID) || !isHex32(got.TransportID) || got.ParticipantID != p.login.Get("id").Text() ||
		got.RoomID != p.login.Path("room", "id").Text() || got.IssueTime.Before(before) || got.IssueTime.After(time.Now()) {
		t.Errorf("%+v, %v", got, err)
	}
	// The key is the edge's own: that the signature is right shows by its being taken, and that it counts by its being refused.
	p.open()
	forged := got
	forged.Signature = token.Signature([]byte("another key"), "x")
	other := join(t, address, "r")
	other.login = other.login.With("webTransportToken", jsonvalue.Of(forged.Encode()))
	if other.refused() != "Authentication failed." {
		t.Error("a forged token was taken, or refused in other words")
	}
}

// refused opens the data connection with a token that is not good, and returns the words it is closed with.
func (p *person) refused() string {
	p.t.Helper()
	text := p.login.Get("webTransportToken").Text()
	d := &webtransport.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, session, err := d.Dial(ctx, p.token.WebTransportURL, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	stream, err := session.OpenStream()
	if err != nil {
		p.t.Fatal(err)
	}
	p.write(stream, append(binary.LittleEndian.AppendUint32(make([]byte, 16), uint32(len(text))), text...))
	_, err = session.AcceptStream(ctx)
	var closed *webtransport.SessionError
	if !errors.As(err, &closed) {
		p.t.Fatalf("ended with %v", err)
	}
	return closed.Message
}

func TestDataFromOneToAnother(t *testing.T) {
	address, _ := started(t, dev)
	a, b := join(t, address, "r"), join(t, address, "r")
	a.open()
	ack := a.ask("publish", `{"media":null,"data":true,"transport":{"type":"quic","id":"`+hex.EncodeToString(a.transport)+`"}}`)
	stream := ack.Index(1).Get("id").Text()
	if !isHex32(stream) || ack.Index(1).Get("transportId").Text() != hex.EncodeToString(a.transport) {
		t.Fatalf("ack %v", ack)
	}
	out := a.send(stream)
	info := `stream {"id":"` + stream + `","status":"add","data":{"id":"` + stream + `","type":"forward","media":{"tracks":[]},"data":true,` +
		`"info":{"owner":"` + a.login.Get("id").Text() + `","type":"quic","inViews":[]}}}`
	a.expect(`progress {"id":"` + stream + `","status":"ready"}`)
	b.expect(info)

	// The subscriber asks before it has connected.
	ack = b.ask("subscribe", `{"media":null,"data":{"from":"`+stream+`"},"transport":{"type":"quic"}}`)
	subscription := ack.Index(1).Get("id").Text()
	b.open()
	if ack.Index(1).Get("transportId").Text() != hex.EncodeToString(b.transport) {
		t.Fatalf("ack %v", ack)
	}
	in := b.receive(subscription)
	b.expect(`progress {"id":"` + subscription + `","status":"ready"}`)
	a.write(out, []byte("hello"))
	b.read(in, []byte("hello"))

	if ack := a.ask("unpublish", `{"id":"`+stream+`"}`); ack.String() != `["ok"]` {
		t.Errorf("unpublish: %v", ack)
	}
	b.expect(`progress {"id":"` + subscription + `","status":"error","data":"Source stream loss"}`)
	b.expect(`stream {"id":"` + stream + `","status":"remove"}`)
	if n, err := in.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the stream did not end: %d bytes, %v", n, err)
	}

	// Another participant's transport is not there for it.
	if ack := b.ask("publish", `{"media":null,"data":true,"transport":{"type":"quic","id":"`+hex.EncodeToString(a.transport)+`"}}`); ack.String() !=
		`["error","Transport `+hex.EncodeToString(a.transport)+` does NOT exist"]` {
		t.Errorf("on another's transport: %v", ack)
	}
	_, metrics := get(t, address+"/metrics")
	for _, line := range []string{"portico_data_connections 2", `portico_data_bytes_total{direction="in"} 5`, "portico_data_admitted_total 2"} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("metrics lack %s", line)
		}
	}
	if ack := a.ask("logout", "null"); ack.Index(0).Text() != "ok" {
		t.Errorf("logout: %v", ack)
	}
	select {
	case <-a.session.Context().Done():
	case <-time.After(patience):
		t.Error("the data connection outlives the participant")
	}
}

// Without data streams a token names no address, and what asks for them is refused.
func TestDataStreamsAreOff(t *testing.T) {
	address, _ := started(t, func(s *config.Settings) { s.Dev, s.WebTransport.Enabled = true, "no" })
	p := join(t, address, "r")
	if p.token.WebTransportURL != "" || p.login.Get("webTransportToken").Exists() {
		t.Errorf("%+v %v", p.token, p.login)
	}
	if ack := p.ask("publish", `{"media":null,"data":true,"transport":{"type":"quic","id":"x"}}`); ack.String() != `["error","Transport x does NOT exist"]` {
		t.Errorf("ack %v", ack)
	}
}
