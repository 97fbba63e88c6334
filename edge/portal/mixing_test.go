package portal

import (
	"strings"
	"testing"

	"portico/edge/room"
	"portico/shared/conference"
)

// readyMedia has every publication ready at once.
type readyMedia struct{ noMedia }

func (readyMedia) Publish(p room.MediaPublication) error {
	p.Events.SessionReady(p.Transport, p.Session, []conference.Track{
		{ID: p.Session + "-0", Kind: conference.Audio, Mid: "0", Format: conference.Format{Codec: "opus", SampleRate: 48000, ChannelNum: 2}},
		{ID: p.Session + "-1", Kind: conference.Video, Mid: "1", Format: conference.Format{Codec: "vp8"}},
	})
	return nil
}

type noMixers struct{}

func (noMixers) OpenMixer(room.MixerSpec) room.Mixer { return noMixers{} }
func (noMixers) Update(room.Mix)                     {}
func (noMixers) Follow(string)                       {}
func (noMixers) Ready() error                        { return nil }
func (noMixers) Close()                              {}

// published publishes sound and picture and waits until everyone knows; it returns the stream's id.
func (c *client) published() string {
	c.t.Helper()
	ack := c.request("publish", `{"media":{"tracks":[{"type":"audio","mid":"0"},{"type":"video","mid":"1"}]},"transport":{"type":"webrtc"}}`)
	id, _, _ := strings.Cut(strings.TrimPrefix(ack, `["ok",{"id":"`), `"`)
	c.until(c.t, `progress {"id":"`+id+`","sessionId":"`+id+`","status":"ready"}`)
	return id
}

func TestT_91_140_Mixing(t *testing.T) {
	f := newMixedFixture(t, readyMedia{}, noMixers{})
	a, b := f.joined("alice", "presenter"), f.joined("bob", "presenter")
	viewer := f.joined("carol", "viewer")
	for _, c := range []*client{a, b, viewer} {
		c.opened()
	}
	s := b.published()
	control := func(c *client, operation, data string) string {
		return c.request("stream-control", `{"id":"`+s+`","operation":"`+operation+`","data":`+data+`}`)
	}
	want(t, "mix by another", control(a, "mix", `"common"`), `["error","unauthorized"]`)
	want(t, "mix", control(b, "mix", `"common"`), `["ok","ok"]`)
	const whole = `{"id":"1","shape":"rectangle","area":{"left":"0/1","top":"0/1","width":"1/1","height":"1/1"}}`
	layout := func(stream string) string {
		return `stream {"id":"` + roomID + `-common","status":"update","data":{"field":"video.layout","value":[{` + stream + `"region":` + whole + `}]}}`
	}
	for _, c := range []*client{a, b, viewer} { // T-140
		c.until(t, layout(`"stream":"`+s+`",`))
	}
	want(t, "T-91", control(b, "get-region", `"common"`), `["ok",{"region":"1"}]`)
	want(t, "move", control(b, "set-region", `{"view":"common","region":"1"}`), `["ok","ok"]`)
	want(t, "move away", control(b, "set-region", `{"view":"common","region":"2"}`), `["error","Invalid region_id."]`)
	want(t, "unmix", control(b, "unmix", `"common"`), `["ok","ok"]`)
	viewer.until(t, layout(""))
	want(t, "not mixed", control(b, "get-region", `"common"`), `["error","Invalid input stream_id."]`)
}

// TestMixedStreamAtLogin: who comes later finds the mix as it is, in its own version.
func TestMixedStreamAtLogin(t *testing.T) {
	f := newMixedFixture(t, readyMedia{}, noMixers{})
	b := f.joined("bob", "presenter")
	s := b.published()
	want(t, "mix", b.request("stream-control", `{"id":"`+s+`","operation":"mix","data":"common"}`), `["ok","ok"]`)
	for _, version := range []string{"1.0", "1.1", "1.2"} {
		late := f.connect()
		ack := late.request("login", strings.Replace(login(f.token("late", "viewer", 0)), `"protocol":"1.2"`, `"protocol":"`+version+`"`, 1))
		for _, part := range []string{`"layout":[{"stream":"` + s + `","region":{"id":"1"`, `"inViews":["common"]`} {
			if !strings.Contains(ack, part) {
				t.Errorf("login of %s without %s: %s", version, part, ack)
			}
		}
	}
	viewer := f.joined("carol", "viewer")
	ack := viewer.request("subscribe", `{"media":{"tracks":[{"type":"audio","mid":"0","from":"`+roomID+`-common"},{"type":"video","mid":"1","from":"`+
		roomID+`-common"}]},"transport":{"type":"webrtc"}}`)
	if !strings.HasPrefix(ack, `["ok",{"id":`) {
		t.Errorf("subscribe: %s", ack)
	}
}
