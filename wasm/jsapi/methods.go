//go:build js && wasm

package jsapi

import (
	"context"
	"sync"
	"syscall/js"

	"portico/shared/client"
	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
	"portico/wasm/browser"
)

// The server keeps the place of a lost client only for those that can come back by themselves, and knows them by their type
// (portal protocol 2.1). By the version it knows that the client understands what version 1.2 says to one that comes back; 5.1 and before
// do not (5.7).
const (
	sdkType    = "JavaScript"
	sdkVersion = "6.0"
)

// participation is one client of the page in its conference.
type participation struct {
	conference *client.Conference
	listener   *listener

	mu       sync.Mutex // guards sessions
	sessions map[string]session
}

// session is what Publication and Subscription have in common.
type session interface {
	ID() string
	Stop(ctx context.Context) error
	Mute(ctx context.Context, kind conference.Kind) error
	Unmute(ctx context.Context, kind conference.Kind) error
}

func (p *participation) add(s session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions[s.ID()] = s
}

func (p *participation) remove(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sessions, id)
}

// rename takes the new id of a session that was restored.
func (p *participation) rename(old, id string) session {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sessions[old]
	if s != nil {
		delete(p.sessions, old)
		p.sessions[id] = s
	}
	return s
}

// session finds one; ended ones are gone.
func (p *participation) session(id string) (session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.sessions[id]; ok {
		return s, nil
	}
	return nil, client.ErrStopped
}

// do runs one method. later says that it is answered from elsewhere: by the event that comes with it.
func (a *api) do(ctx context.Context, c *call, method string, args jsonvalue.Value, object js.Value) (later bool, err error) {
	if method == "join" {
		return true, a.join(ctx, c, args, object)
	}
	p, err := a.participation(c.client)
	if err != nil {
		return false, err
	}
	switch method {
	case "publish":
		if args.Get("data").Bool() {
			return true, a.publishData(ctx, c, p, args)
		}
		return true, a.publish(ctx, c, p, args, object)
	case "subscribe":
		if from := args.Get("data"); from.Truthy() {
			return true, a.subscribeData(ctx, c, p, from.Text())
		}
		return true, a.subscribe(ctx, c, p, args)
	case "opendata":
		return true, a.openData(ctx, c, p)
	case "datalost":
		p.conference.DataLost()
		return false, nil
	case "send":
		return false, p.conference.Send(ctx, args.Get("message"), args.Get("to").Text())
	case "quality":
		return true, a.quality(ctx, c, p, args.Get("id").Text())
	case "stop", "mute", "unmute", "update", "replace":
		return false, a.control(ctx, p, method, args, object)
	case "mix", "unmix", "region", "setregion":
		return true, a.mix(ctx, c, p, method, args)
	case "network":
		p.conference.NetworkChanged()
		return false, nil
	case "check":
		p.conference.Check()
		return false, nil
	case "token":
		p.listener.tokenCame(args)
		return false, nil
	case "leave":
		a.leave(ctx, c, p)
		return false, nil
	}
	return false, &argumentError{"there is no method " + method}
}

func (a *api) participation(number int) (*participation, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p, ok := a.rooms[number]; ok {
		return p, nil
	}
	return nil, errNotJoined
}

// join enters a room and answers with it; only then the listener lets events through.
func (a *api) join(ctx context.Context, c *call, args jsonvalue.Value, rtc js.Value) error {
	l := &listener{
		api: a, client: c.client, joined: make(chan struct{}), self: &participation{sessions: map[string]session{}}, tokens: make(chan jsonvalue.Value, 1),
	}
	l.self.listener = l
	defer close(l.joined)
	created := func(pc js.Value) { a.tell(c.client, "peerconnection", jsonvalue.Value{}, pc) }
	options := client.Options{
		Peers: browser.NewFactory(browser.Config{RTC: rtc, Created: created}), Events: l, Dial: a.dial,
		SDKType: sdkType, SDKVersion: sdkVersion, RelayOnly: args.Get("relayOnly").Bool(),
		Thin: args.Get("thin").Bool(),
	}
	if args.Get("refreshes").Bool() {
		options.Token = l.token
	}
	conf, err := client.Join(ctx, args.Get("token").Text(), options)
	if err != nil {
		return err
	}
	l.self.conference = conf
	a.mu.Lock()
	a.rooms[c.client] = l.self
	a.mu.Unlock()
	a.answer(c.number, result{value: infoOf(conf.Info())}, nil)
	return nil
}

// publish answers from OnReady: the next event is that the stream is in the room. When OnReady does not come, the conference
// has ended, which answers whatever is open.
func (a *api) publish(ctx context.Context, c *call, p *participation, args jsonvalue.Value, locals js.Value) error {
	options := client.PublishOptions{OnReady: func(s *client.Publication) {
		p.add(s)
		a.answer(c.number, sessionResult(s.ID(), js.Undefined()), nil)
	}}
	if attributes := args.Get("attributes"); !attributes.IsNull() {
		options.Attributes = attributes
	}
	tracks := args.Get("tracks")
	for i := range tracks.Len() {
		t := tracks.Index(i)
		if locals.Type() != js.TypeObject || i >= locals.Length() {
			return &argumentError{"a track is missing"}
		}
		options.Tracks = append(options.Tracks, client.LocalTrack{
			Kind: conference.Kind(t.Get("kind").Text()), Source: t.Get("source").Text(), Local: locals.Index(i), Send: sendOptions(t),
		})
	}
	_, err := p.conference.Publish(ctx, options)
	return err
}

// subscribe answers from OnReady, as publish does; the object is the list of tracks.
func (a *api) subscribe(ctx context.Context, c *call, p *participation, args jsonvalue.Value) error {
	options := client.SubscribeOptions{
		Audio: subscribeTrack(args.Get("audio")), Video: subscribeTrack(args.Get("video")),
		OnReady: func(s *client.Subscription) {
			p.add(s)
			a.answer(c.number, sessionResult(s.ID(), tracksOf(s)), nil)
		},
	}
	_, err := p.conference.Subscribe(ctx, options)
	return err
}

func tracksOf(s *client.Subscription) js.Value {
	tracks := js.Global().Get("Array").New()
	for _, t := range s.Tracks() {
		if v, ok := t.Track.(js.Value); ok {
			tracks.Call("push", v)
		}
	}
	return tracks
}

// leave waits for the last event, so that nothing of the conference comes after its answer. The answer is that all is over, even
// when the server could not be told: the page has nothing to do about it.
func (a *api) leave(ctx context.Context, c *call, p *participation) {
	a.mu.Lock()
	c.client = 0 // not to be failed with the calls that the end of the conference takes by surprise
	a.mu.Unlock()
	_ = p.conference.Leave(ctx)
	<-p.conference.Done()
}

func sessionResult(id string, tracks js.Value) result {
	return result{value: jsonvalue.OfObject(jsonvalue.M("id", jsonvalue.Of(id))), object: tracks}
}

// control does what can be done with a session.
func (a *api) control(ctx context.Context, p *participation, method string, args jsonvalue.Value, object js.Value) error {
	s, err := p.session(args.Get("id").Text())
	if err != nil {
		return err
	}
	kind := conference.Kind(args.Get("kind").Text())
	if kind == "av" {
		kind = "" // both
	}
	switch method {
	case "mute":
		return s.Mute(ctx, kind)
	case "unmute":
		return s.Unmute(ctx, kind)
	case "update":
		if s, ok := s.(*client.Subscription); ok {
			return s.Update(ctx, client.SubscriptionUpdate{Wanted: wantedOf(args.Get("parameters"))})
		}
		return client.ErrArgument
	case "replace":
		if s, ok := s.(*client.Publication); ok {
			return s.Replace(kind, trackOf(object))
		}
		return client.ErrArgument
	}
	return s.Stop(ctx)
}

// quality answers with what the server says of a subscription.
func (a *api) quality(ctx context.Context, c *call, p *participation, id string) error {
	s, err := p.session(id)
	if err != nil {
		return err
	}
	subscription, ok := s.(*client.Subscription)
	if !ok {
		return client.ErrArgument
	}
	q, err := subscription.Quality(ctx)
	if err == nil {
		a.answer(c.number, result{value: q}, nil)
	}
	return err
}

// mix changes the place of a stream in a view, or answers with it.
func (a *api) mix(ctx context.Context, c *call, p *participation, method string, args jsonvalue.Value) (err error) {
	stream, view, region := args.Get("stream").Text(), args.Get("view").Text(), args.Get("region").Text()
	switch method {
	case "mix":
		err = p.conference.Mix(ctx, stream, view)
	case "unmix":
		err = p.conference.Unmix(ctx, stream, view)
	case "setregion":
		err = p.conference.SetRegion(ctx, stream, view, region)
	case "region":
		region, err = p.conference.Region(ctx, stream, view)
	}
	if err == nil {
		a.answer(c.number, result{value: jsonvalue.OfObject(jsonvalue.M("region", jsonvalue.Of(region)))}, nil)
	}
	return err
}

// trackOf is a track of the page as the client takes it: nil for none.
func trackOf(object js.Value) any {
	if object.IsUndefined() || object.IsNull() {
		return nil
	}
	return object
}

func sendOptions(t jsonvalue.Value) client.SendOptions {
	var options client.SendOptions
	encodings := t.Get("encodings")
	for i := range encodings.Len() {
		e := encodings.Index(i)
		bitrate, _ := e.Get("maxBitrate").Float()
		scale, _ := e.Get("scaleResolutionDownBy").Float()
		options.Encodings = append(options.Encodings, client.Encoding{
			RID: e.Get("rid").Text(), MaxBitrate: int(bitrate), ScaleResolutionDownBy: scale, ScalabilityMode: e.Get("scalabilityMode").Text(),
		})
	}
	options.Codecs = texts(t.Get("codecs"))
	return options
}

func subscribeTrack(v jsonvalue.Value) *client.SubscribeTrack {
	if v.IsNull() {
		return nil
	}
	return &client.SubscribeTrack{
		From: v.Get("from").Text(), Codecs: texts(v.Get("codecs")), Wanted: wantedOf(v.Get("parameters")),
	}
}

func wantedOf(v jsonvalue.Value) portalproto.Wanted {
	width, _ := v.Path("resolution", "width").Int()
	height, _ := v.Path("resolution", "height").Int()
	rate, _ := v.Get("framerate").Float()
	interval, _ := v.Get("keyFrameInterval").Float()
	return portalproto.Wanted{
		Resolution: conference.Resolution{Width: int(width), Height: int(height)}, Framerate: rate,
		Bitrate: v.Get("bitrate").Text(), KeyFrameInterval: interval,
	}
}

func texts(v jsonvalue.Value) []string {
	var list []string
	for i := range v.Len() {
		list = append(list, v.Index(i).Text())
	}
	return list
}
