package restapi

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"portico/edge/store"
	"portico/shared/conference"
	"portico/shared/token"
)

const forbidden = `{"error":{"code":1102,"message":"Permission denied"}}`

func TestC_56_ListServices(t *testing.T) {
	f := newFixture(t)
	room := f.createRoom("{}")
	f.wantJSON(f.asService("GET", "/services", ""), 403, forbidden)
	list := f.json(f.asSuper("GET", "/services", ""), 200)
	if list.Len() != 4 { // super, sample, demo, other
		t.Fatalf("services %s", list)
	}
	for i := range list.Len() {
		s := list.Index(i)
		rooms := `[]`
		if s.Get("_id").Text() == f.service.ID {
			rooms = fmt.Sprintf(`[%q]`, room)
		}
		if s.Len() != 6 || s.Get("rooms").String() != rooms || !s.Get("encrypted").Bool() || s.Get("__v").String() != "0" || s.Get("name").Text() == "" {
			t.Errorf("service %s", s)
		}
	}
	for _, s := range []store.Service{f.super, f.service, f.other} {
		if strings.Contains(list.String(), s.Key) {
			t.Errorf("the key of %s is shown", s.Name)
		}
	}
}

func TestC_57_CreateService(t *testing.T) {
	f := newFixture(t)
	for _, body := range []string{`{"name":1,"key":"k"}`, `{"name":"n"}`, `{}`} {
		f.wantJSON(f.asSuper("POST", "/services", body), 400, `{"error":{"code":1201,"message":"Service name and key do not have string type"}}`)
	}
	f.wantJSON(f.asService("POST", "/services", `{"name":"n","key":"k"}`), 403, forbidden)
	made := f.json(f.asSuper("POST", "/services", `{"name":"n","key":"the usable key"}`), 200)
	id := made.Get("_id").Text()
	if !store.IsID(id) || made.Get("name").Text() != "n" || made.Get("rooms").String() != "[]" || strings.Contains(made.String(), "usable") {
		t.Errorf("service %s", made)
	}
	f.wantJSON(f.do("GET", "/v1/rooms", sign(store.Service{ID: id, Key: "the usable key"}), ""), 200, `[]`)
	f.wantJSON(f.do("GET", "/services/"+id, sign(store.Service{ID: id, Key: "the usable key"}), ""), 200, made.String())
	f.wantJSON(f.asSuper("POST", "/services", `{"name":"n","key":"k"}`), 500,
		`{"error":{"code":2001,"message":"MongoServerError E11000 duplicate key error collection: owtdb.services"}}`)
	for _, body := range []string{`{"name":"","key":"k"}`, `{"name":"x","key":""}`, `{"name":"` + strings.Repeat("x", 300) + `","key":"k"}`} {
		if r := f.asSuper("POST", "/services", body); r.status == 200 {
			t.Errorf("%.40s: created", body)
		}
	}
}

func TestC_58_DeleteService(t *testing.T) {
	f := newFixture(t)
	f.wantText(f.asSuper("DELETE", "/services/"+f.super.ID, ""), 401, "Super service not permitted to be deleted")
	f.wantJSON(f.asService("DELETE", "/services/"+f.other.ID, ""), 403, forbidden)
	f.wantJSON(f.asSuper("DELETE", "/services/zzz", ""), 403, forbidden)
	f.wantJSON(f.asSuper("DELETE", "/services/"+store.NewID(), ""), 404, `{"error":{"code":1002,"message":"Service not found"}}`)
	f.wantText(f.asSuper("DELETE", "/services/"+f.other.ID, ""), 200, "Service deleted")
	f.wantJSON(f.do("GET", "/v1/rooms", sign(f.other), ""), 401, unauthorized)
}

func TestGetService(t *testing.T) {
	f := newFixture(t)
	const missing = `{"error":{"code":1002,"message":"Service not found"}}`
	f.wantJSON(f.asService("GET", "/services/"+f.other.ID, ""), 403, forbidden)
	f.wantJSON(f.asSuper("GET", "/services/"+store.NewID(), ""), 404, missing)
	f.wantJSON(f.asSuper("GET", "/services/zzz", ""), 404, missing)
	own := f.json(f.asService("GET", "/services/"+f.service.ID, ""), 200)
	if own.Get("name").Text() != "demo" || own.Get("key").Text() == f.service.Key {
		t.Errorf("own service %s", own)
	}
	f.wantJSON(f.asSuper("GET", "/Services/"+f.service.ID+"/", ""), 200, own.String())
	f.wantJSON(f.do("GET", "/services/"+f.service.ID, "", ""), 401, unauthorized)
	f.wantJSON(f.asSuper("PUT", "/services/"+f.service.ID, "{}"), 404, noPath)
}

const badRole = `{"error":{"code":1201,"message":"Name or role not valid"}}`

func TestC_22_RefusedTokens(t *testing.T) {
	f := newFixture(t)
	path := "/v1/rooms/" + f.createRoom("{}") + "/tokens"
	for _, body := range []string{
		`{"user":"u","role":"nope"}`, `{"role":"presenter"}`, `{"user":"","role":"presenter"}`, `{"user":0,"role":"presenter"}`, `{"user":"u"}`, ``,
		`{"user":{},"role":"presenter"}`, `{"user":"` + strings.Repeat("x", 2000) + `","role":"presenter"}`, `{"user":"u","role":{}}`,
	} {
		f.wantJSON(f.asService("POST", path, body), 400, badRole)
	}
	f.portal = PortalAddress{}
	f.wantJSON(f.asService("POST", path, `{"user":"u","role":"presenter"}`), 500, `{"error":{"code":1301,"message":"Failed to get portal"}}`)
}

func TestC_23_Token(t *testing.T) {
	f := newFixture(t)
	room := f.createRoom("{}")
	r := f.asService("POST", "/v1/rooms/"+room+"/tokens", `{"user":"u","role":"presenter"}`)
	json, err := base64.StdEncoding.DecodeString(r.body)
	if err != nil {
		t.Fatalf("%q: %v", r.body, err)
	}
	f.wantText(r, 200, r.body)
	v := parse(t, string(json))
	if v.Len() != 4 || v.Get("host").Text() != "conf.example.com:8080" || !v.Get("secure").Bool() || !store.IsID(v.Get("tokenId").Text()) || len(v.Get("signature").Text()) != 88 {
		t.Errorf("token %s", v)
	}
	tok, err := token.Decode(r.body)
	if err != nil || !tok.Verify([]byte(tokenKey)) {
		t.Errorf("token %+v %v", tok, err)
	}
	record, err := f.store.ConsumeToken(t.Context(), tok.TokenID)
	if err != nil || time.Since(record.Created) > time.Minute || record.Code == "" {
		t.Errorf("record %+v %v", record, err)
	}
	want := store.TokenRecord{ID: tok.TokenID, User: "u", Role: "presenter", Room: room, Service: f.service.ID, Created: record.Created,
		Origin: conference.Origin{ISP: "isp", Region: "region"}, Code: record.Code, Host: tok.Host, Secure: true}
	if record != want {
		t.Errorf("record %+v, want %+v", record, want)
	}
}

func TestTokenVariants(t *testing.T) {
	f := newFixture(t)
	f.portal = PortalAddress{Host: "h:1", WebTransportURL: "https://h:7700/"}
	path := "/v1.1/rooms/" + f.createRoom("{}") + "/tokens"
	issue := func(authorization, body string) store.TokenRecord {
		t.Helper()
		r := f.do("POST", path, authorization, body)
		tok, err := token.Decode(r.body)
		if err != nil || !tok.Verify([]byte(tokenKey)) || tok.WebTransportURL != "https://h:7700/" || tok.Secure {
			t.Fatalf("%d %q %+v %v", r.status, r.body, tok, err)
		}
		record, err := f.store.ConsumeToken(t.Context(), tok.TokenID)
		if err != nil {
			t.Fatal(err)
		}
		return record
	}
	// The header's user and role win over the body's.
	header := token.MAuth{ServiceID: f.service.ID, Nonce: "1", Timestamp: "2"}.WithUser("Zoë", "viewer").Sign(f.service.Key).Header()
	if got := issue(header, `{"user":"u","role":"presenter"}`); got.User != "Zoë" || got.Role != "viewer" {
		t.Errorf("record %+v", got)
	}
	got := issue(sign(f.service), `{"user":5,"role":"presenter","preference":{"isp":"i","region":"`+strings.Repeat("r", 500)+`"},"domain":"d"}`)
	if got.User != "5" || got.Origin != (conference.Origin{ISP: "i", Region: "region"}) || got.WebTransportURL != "https://h:7700/" {
		t.Errorf("record %+v", got)
	}
	// New roles count at once.
	f.json(f.asService("PUT", strings.TrimSuffix(path, "/tokens"), `{"roles":[{"role":"guest"}]}`), 200)
	f.wantJSON(f.asService("POST", path, `{"user":"u","role":"presenter"}`), 400, badRole)
	if got := issue(sign(f.service), `{"user":"u","role":"guest"}`); got.Role != "guest" {
		t.Errorf("record %+v", got)
	}
}
