//go:build js && wasm

package jsapi

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"

	"portico/shared/client"
	"portico/shared/jsonvalue"
)

// token names the host "h"; the signature is for a real portal to check.
const token = "eyJob3N0IjoiaCJ9"

const (
	stream1 = `{"id":"s1","type":"forward","media":{"tracks":[{"id":"t-0","type":"audio","source":"mic","format":{"codec":"opus"},"optional":{},"status":"active","mid":"0"}]},"info":{"owner":"p2","type":"webrtc","inViews":[]}}`
	login   = `{"id":"p1","user":"ana","role":"presenter","permission":{"publish":{"audio":true,"video":true},"subscribe":{"audio":true,"video":true}},
		"room":{"id":"r1","views":["common"],"participants":[{"id":"p1","user":"ana","role":"presenter"},{"id":"p2","user":"bo","role":"viewer"}],"streams":[` + stream1 + `]}}`
)

// portal is a server that says yes. It is a client.Socket.
type portal struct {
	options  client.DialOptions
	requests chan request
	closed   chan struct{}
	// refuse gives the answer to a request instead of the usual one, or nil.
	refuse func(name string) []jsonvalue.Value
	// before is called with the name of each request before it is answered.
	before func(name string)

	login string // what it answers to that

	mu          sync.Mutex // guards what follows
	sessions    int
	first       string // session, and transport of all
	last        string // session whose offer is to come
	publication bool   // is what it is
}

type request struct {
	name string
	data jsonvalue.Value
}

func newPortal() *portal {
	return &portal{requests: make(chan request, 100), closed: make(chan struct{}), login: login, first: "session1"}
}

func (p *portal) dial(_ context.Context, options client.DialOptions) (client.Socket, error) {
	p.options = options
	return p, nil
}

func parse(text string) jsonvalue.Value {
	v, err := jsonvalue.Parse([]byte(text), jsonvalue.Limits{})
	if err != nil {
		panic(err)
	}
	return v
}

func ok(data ...jsonvalue.Value) []jsonvalue.Value {
	return append([]jsonvalue.Value{jsonvalue.Of("ok")}, data...)
}

func refusal(text string) []jsonvalue.Value {
	return []jsonvalue.Value{jsonvalue.Of("error"), jsonvalue.Of(text)}
}

// Ask answers from a goroutine of its own.
func (p *portal) Ask(name string, done func([]jsonvalue.Value, error), args ...jsonvalue.Value) {
	if p.before != nil {
		p.before(name)
	}
	go func() { done(p.request(name, args...)) }()
}

func (p *portal) request(name string, args ...jsonvalue.Value) ([]jsonvalue.Value, error) {
	var data jsonvalue.Value
	if len(args) > 0 {
		data = args[0]
	}
	p.requests <- request{name, data}
	if p.refuse != nil {
		if answer := p.refuse(name); answer != nil {
			return answer, nil
		}
	}
	switch name {
	case "login":
		return ok(parse(p.login)), nil
	case "relogin":
		return ok(parse(`{"ticket":"e30=","messages":[{"event":"text","data":{"from":"p2","to":"all","message":"missed"},"seq":1}]}`)), nil
	case "publish", "subscribe":
		return ok(p.newSession(name == "publish")), nil
	case "soac":
		if data.Path("signaling", "type").Text() == "offer" {
			p.negotiate(data.Path("signaling", "sdp").Text())
		}
	case "subscription-quality":
		return ok(parse(`{"id":"` + data.Get("id").Text() + `","tracks":[{"reason":"bandwidth"}]}`)), nil
	case "text":
		if data.Get("message").Text() == "hang" {
			<-p.closed
			return nil, errors.New("closed")
		}
	}
	return ok(), nil
}

func (p *portal) newSession(publication bool) jsonvalue.Value {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.publication = publication
	p.sessions++
	p.last = "session" + strconv.Itoa(p.sessions)
	return parse(`{"id":"` + p.last + `","transportId":"` + p.first + `"}`)
}

// negotiate answers an offer by turning its directions around; the session is ready at once, a publication listed right after.
func (p *portal) negotiate(offer string) {
	p.mu.Lock()
	transport, id, publication := p.first, p.last, p.publication
	p.mu.Unlock()
	answer := strings.NewReplacer("sendonly", "recvonly", "recvonly", "sendonly").Replace(offer)
	p.say("progress", jsonvalue.OfObject(jsonvalue.M("id", jsonvalue.Of(transport)), jsonvalue.M("status", jsonvalue.Of("soac")), jsonvalue.M("data",
		jsonvalue.OfObject(jsonvalue.M("type", jsonvalue.Of("answer")), jsonvalue.M("sdp", jsonvalue.Of(answer))))))
	p.say("progress", parse(`{"id":"`+transport+`","sessionId":"`+id+`","status":"ready"}`))
	if publication {
		p.say("stream", parse(`{"id":"`+id+`","status":"add","data":`+strings.Replace(stream1, `"s1"`, `"`+id+`"`, 1)+`}`))
	}
}

func (p *portal) say(name string, data jsonvalue.Value) {
	p.options.OnEvent(name, []jsonvalue.Value{data})
}

// lose ends the connection as a broken network does.
func (p *portal) lose() { p.options.OnClose(errors.New("reset")) }

func (p *portal) Emit(string, ...jsonvalue.Value) error { return nil }

func (p *portal) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

// next is the next request but candidates.
func (p *portal) next() request {
	for {
		if r := <-p.requests; r.name != "soac" {
			return r
		}
	}
}
