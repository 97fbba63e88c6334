package portalproto

import (
	"reflect"
	"strings"
	"testing"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
)

func TestWebTransportOfLogin(t *testing.T) {
	r := LoginResult{
		Participant: conference.Participant{ID: "p"}, RoomID: "r", WebTransport: "token", WebTransportHashes: []string{"YQ==", "Yg=="},
		WebTransportURL: "https://h/",
	}
	v := r.Encode(Receiver{Version: V12})
	const want = `[{"algorithm":"sha-256","value":"YQ=="},{"algorithm":"sha-256","value":"Yg=="}]`
	if got := v.Get("webTransportCertificateHashes").String(); got != want || v.Get("webTransportToken").Text() != "token" {
		t.Errorf("%v", v)
	}
	if back, ok := DecodeLoginResult(v); !ok || back.WebTransport != "token" || back.WebTransportURL != "https://h/" || !reflect.DeepEqual(back.WebTransportHashes, r.WebTransportHashes) {
		t.Errorf("back as %+v", back)
	}
	back := ReloginResult{Ticket: "t", WebTransport: "token", WebTransportHashes: r.WebTransportHashes}
	if got, ok := DecodeReloginResult(back.Encode()); !ok || got.WebTransport != "token" || !reflect.DeepEqual(got.WebTransportHashes, r.WebTransportHashes) {
		t.Errorf("relogin back as %+v", got)
	}
	grant := WebTransportGrant{Token: "token", Hashes: r.WebTransportHashes}
	if got, ok := DecodeWebTransportGrant(grant.Encode()); !ok || !reflect.DeepEqual(got, grant) {
		t.Errorf("grant back as %+v", got)
	}
	if _, ok := DecodeWebTransportGrant(jsonvalue.Of("token")); ok {
		t.Error("a grant without a token")
	}
	r.WebTransport, r.WebTransportHashes, r.WebTransportURL = "", nil, ""
	if text := r.Encode(Receiver{Version: V12}).String(); strings.Contains(text, "webTransport") {
		t.Errorf("nothing is written as %s", text)
	}
	if text := (ReloginResult{Ticket: "t"}).Encode().String(); text != `{"ticket":"t","messages":[]}` {
		t.Errorf("nothing is written as %s", text)
	}
}

func TestAdaptsOfLogin(t *testing.T) {
	for _, on := range []bool{true, false} {
		r := LoginResult{Participant: conference.Participant{ID: "p"}, RoomID: "r", Adapts: on}
		v := r.Encode(Receiver{Version: V12})
		if v.Get("enableBandwidthAdaptation").Exists() != on {
			t.Errorf("%v is written as %v", on, v)
		}
		if back, ok := DecodeLoginResult(v); !ok || back.Adapts != on {
			t.Errorf("%v back as %+v", on, back)
		}
	}
}

func TestHashesOfOthers(t *testing.T) {
	v, err := jsonvalue.Parse([]byte(`[{"algorithm":"md5","value":"YQ=="},{"algorithm":"sha-256"},7,{"algorithm":"sha-256","value":"YQ=="}]`), jsonvalue.Limits{})
	if got := decodeHashes(v); err != nil || !reflect.DeepEqual(got, []string{"YQ=="}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestDataRequests(t *testing.T) {
	parse := func(text string) jsonvalue.Value {
		v, err := jsonvalue.Parse([]byte(text), jsonvalue.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	p, err := DecodePublish(parse(`{"media":null,"data":true,"transport":{"type":"quic","id":"t"}}`), V12)
	if err != nil || !p.Data || p.Tracks != nil || p.Transport != (TransportRef{Type: TransportQUIC, ID: "t"}) {
		t.Errorf("%+v, %v", p, err)
	}
	if got := p.Encode().String(); got != `{"media":null,"data":true,"transport":{"type":"quic","id":"t"}}` {
		t.Errorf("written as %s", got)
	}
	s, err := DecodeSubscribe(parse(`{"media":null,"data":{"from":"s"},"transport":{"type":"quic","id":"t"}}`), V12)
	if err != nil || s.DataFrom != "s" || s.Tracks != nil || s.Transport != p.Transport {
		t.Errorf("%+v, %v", s, err)
	}
}

// What the owner of a data session is told names the session alone, and has one name in all versions (portal protocol 7.3).
func TestDataProgress(t *testing.T) {
	for _, version := range []Version{V10, V11, V12} {
		event, data := Progress{Transport: "s", Status: ProgressReady}.Encode(Receiver{Version: version})
		if event != EventProgress || data.String() != `{"id":"s","status":"ready"}` {
			t.Errorf("%v: %s %v", version, event, data)
		}
	}
}
