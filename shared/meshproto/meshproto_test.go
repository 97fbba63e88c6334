package meshproto

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"portico/shared/placement"
	"portico/shared/roster"
)

func epoch(n uint64) placement.Epoch {
	return placement.Epoch{Number: n, Home: placement.Name{ID: "edge-1", Boot: 7}}
}

func participant(id string) roster.Key { return roster.Key{Kind: roster.Participant, ID: id} }

func sampleSeats() Seats {
	var s Seats
	s.Boot = 3
	for _, m := range []placement.Message{
		placement.Ask{}, placement.Ask{Standing: epoch(1)}, placement.Told{Standing: epoch(1), Alive: true, Busy: true},
		placement.Summon{Standing: epoch(2), Insist: true}, placement.Declined{Standing: epoch(2)},
		placement.Claim{Epoch: epoch(3), Over: epoch(2), Insist: true}, placement.Claimed{Epoch: epoch(3)},
		placement.Refused{Epoch: epoch(3), Standing: epoch(4), Promised: epoch(5)}, placement.Heartbeat{Epoch: epoch(3), Ended: true},
		placement.Enrol{Epoch: epoch(3), Off: true}, placement.Moved{Epoch: epoch(3)}, placement.HandOver{Epoch: epoch(3)},
	} {
		s.Messages = append(s.Messages, SeatMessage{Room: "R", Message: m})
	}
	return s
}

func TestSeats(t *testing.T) {
	b, err := EncodeSeats(sampleSeats())
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeSeats(b)
	if err != nil || !reflect.DeepEqual(got, sampleSeats()) {
		t.Errorf("%v %+v", err, got)
	}
	if s, err := DecodeSeats([]byte(`{"boot":1,"messages":[{"room":"R","kind":"news"}]}`)); err != nil || len(s.Messages) != 0 {
		t.Errorf("an unknown kind: %v %+v", err, s)
	}
	for _, bad := range []string{
		``, `[]`, `{}`, `{"boot":0}`, `{"boot":1,"messages":[{"room":"","kind":"ask"}]}`, `{"boot":1} {}`, "{\"boot\":1,\"x\":\"\xff\"}",
		`{"boot":1,"messages":[{"room":"` + strings.Repeat("r", MaxName+1) + `","kind":"ask"}]}`,
		`{"boot":1,"messages":[{"room":"R","kind":"ask","standing":{"number":0,"home":{"id":"a","boot":1}}}]}`,
		`{"boot":1,"messages":[{"room":"R","kind":"moved","epoch":{"number":1,"home":{"id":"","boot":1}}}]}`,
		`{"boot":1,"messages":[` + strings.Repeat(`{"room":"R","kind":"ask"},`, MaxSeats) + `{"room":"R","kind":"ask"}]}`,
	} {
		if s, err := DecodeSeats([]byte(bad)); !errors.Is(err, ErrMessage) {
			t.Errorf("%.80s: %v %+v", bad, err, s)
		}
	}
	if _, err := EncodeSeats(Seats{Messages: []SeatMessage{{}}}); !errors.Is(err, ErrMessage) {
		t.Error("a message that is none:", err)
	}
}

func entry(id string, value int) roster.Entry {
	return roster.Entry{Key: participant(id), Owner: "edge-2", Life: 4, Generation: 2, Value: bytes.Repeat([]byte{'v'}, value)}
}

func sampleRoom() []RoomMessage {
	gone := roster.Gone{Key: roster.Key{Kind: roster.Mix, ID: "m"}, Owner: "edge-2", Life: 4, Generation: 3}
	return []RoomMessage{
		{Enrol: &Enrol{Room: "R", Epoch: epoch(3), Life: 4, Position: roster.Position{Epoch: epoch(2), Seq: 9}}},
		{Enrolled: &Enrolled{Hearsay: true}},
		{Hearsay: &roster.Hearsay{
			Position: roster.Position{Epoch: epoch(2), Seq: 9}, Entries: []roster.Entry{entry("p", 3)}, Gone: []roster.Gone{gone},
		}},
		{Update: &roster.Update{Owner: "edge-2", Life: 4, To: 5, Full: true, Put: []roster.Entry{entry("p", 3), entry("q", 1)}}},
		{Update: &roster.Update{Owner: "edge-2", Life: 4, From: 5, To: 7, Put: []roster.Entry{entry("p", 2)}, Removed: []roster.Gone{gone}}},
		{Delta: &roster.Delta{Epoch: epoch(3), From: 5, To: 7, Put: []roster.Entry{entry("p", 2)}, Removed: []roster.Gone{gone}}},
		{Delta: &roster.Delta{Epoch: epoch(3), Full: true}},
		{Delta: &roster.Delta{Epoch: epoch(3), To: 9, Full: true, Put: []roster.Entry{entry("p", 2)}, Removed: []roster.Gone{gone}}},
		{Outdone: []roster.Gone{gone}}, {NeedFull: &NeedFull{}}, {Stale: &Stale{Standing: epoch(4)}}, {Stale: &Stale{}}, {Withdraw: &Withdraw{}},
		{Note: &Note{Origin: "edge-2", Life: 4, Number: 1, To: "p", Body: []byte("hello")}},
		{Noted: &Noted{Origin: "edge-2", Life: 4, Number: 1}},
	}
}

func TestRoom(t *testing.T) {
	var r RoomReader
	for _, m := range sampleRoom() {
		parts, err := EncodeRoom(m)
		if err != nil || len(parts) != 1 {
			t.Fatal(err, len(parts))
		}
		got, whole, err := r.Read(parts[0])
		if err != nil || !whole || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: %v %+v", parts[0], err, got)
		}
	}
	for _, bad := range []string{
		`{}`, `{"enrol":{"room":"R","epoch":{"number":1,"home":{"id":"a","boot":1}},"life":0}}`,
		`{"enrol":{"room":"","epoch":{"number":1,"home":{"id":"a","boot":1}},"life":1}}`, `{"enrol":{"room":"R","life":1}}`,
		`{"update":{"owner":"","life":1,"from":0,"to":1,"full":true}}`, `{"update":{"owner":"a","life":1,"from":2,"to":1}}`,
		`{"update":{"owner":"a","life":1,"from":0,"to":1,"full":true,"removed":[{"kind":"mix","id":"m","generation":1}]}}`,
		`{"update":{"owner":"a","life":1,"from":0,"to":1,"put":[{"kind":"mix","id":"m","owner":"b","generation":1}]}}`,
		`{"update":{"owner":"a","life":1,"from":0,"to":1,"put":[{"kind":"","id":"m","generation":1}]}}`,
		`{"update":{"owner":"a","life":1,"from":0,"to":1,"put":[{"kind":"mix","id":"","generation":1}]}}`,
		`{"update":{"owner":"a","life":1,"from":0,"to":1,"put":[{"id":"m","generation":1}]}}`,
		`{"update":{"owner":"a","life":1,"from":0,"to":1,"put":null,"removed":[{"kind":"stream"}]}}`,
		`{"hearsay":{"entries":[{"kind":"mix","id":"m","generation":1}]}}`,
		`{"hearsay":{"position":{"epoch":{"number":1}}}}`,
		`{"delta":{"from":0,"to":1}}`, `{"delta":{"epoch":{"number":1,"home":{"id":"a"}},"from":2,"to":1}}`,
		`{"delta":{"epoch":{"number":1,"home":{"id":"a"}},"from":1,"to":1,"full":true}}`,
		`{"outdone":[{"kind":"mix","id":"m","generation":1}]}`, `{"stale":{"standing":{"number":1}}}`,
		`{"note":{"origin":"a","life":1,"number":0}}`, `{"note":{"origin":"","life":1,"number":1}}`, `{"noted":{"origin":"a"}}`,
		`{"withdraw":{},"needFull":{}}`, `{"withdraw":{},"more":true}`,
		`{"delta":{"epoch":{"number":1,"home":{"id":"a"}},"from":0,"to":0},"more":true}`,
	} {
		if m, _, err := new(RoomReader).Read([]byte(bad)); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v %+v", bad, err, m)
		}
	}
}

func TestParts(t *testing.T) {
	d := &roster.Delta{Epoch: epoch(3), Full: true, To: 20_000}
	for i := range 20 {
		d.Put = append(d.Put, entry(fmt.Sprint("large-", i), roster.MaxValue))
	}
	for i := range 5000 {
		d.Put = append(d.Put, entry(fmt.Sprint(i), 100))
	}
	parts, err := EncodeRoom(RoomMessage{Delta: d})
	if err != nil || len(parts) < 5 {
		t.Fatal(err, len(parts))
	}
	var r RoomReader
	for i, p := range parts {
		m, whole, err := r.Read(p)
		if err != nil || whole != (i == len(parts)-1) {
			t.Fatal(i, whole, err)
		}
		if whole && !reflect.DeepEqual(m.Delta, d) {
			t.Errorf("%d entries of %d came", len(m.Delta.Put), len(d.Put))
		}
	}
	gone := &roster.Hearsay{}
	for i := range 10_000 {
		gone.Gone = append(gone.Gone, roster.Gone{Key: participant(strings.Repeat("g", 100) + fmt.Sprint(i)), Owner: "a"})
	}
	parts, err = EncodeRoom(RoomMessage{Hearsay: gone})
	if err != nil || len(parts) < 2 {
		t.Fatal(err, len(parts))
	}
	// The parts of two, and something in between.
	other, _ := EncodeRoom(RoomMessage{Delta: &roster.Delta{Epoch: epoch(3), To: 1, Put: []roster.Entry{entry("p", 1)}}})
	note, _ := EncodeRoom(RoomMessage{NeedFull: &NeedFull{}})
	for name, next := range map[string][]byte{"another": other[0], "between": note[0]} {
		r = RoomReader{}
		if _, whole, err := r.Read(parts[0]); err != nil || whole {
			t.Fatal(whole, err)
		}
		if _, _, err := r.Read(next); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Without an end.
	r = RoomReader{}
	for n := 0; ; n++ {
		if _, _, err := r.Read(parts[0]); err != nil {
			if !errors.Is(err, ErrMessage) || n < 2 {
				t.Error(n, err)
			}
			break
		}
		if n > 1000 {
			t.Fatal("no bound")
		}
	}
}

func sampleCommands() []Command {
	key := participant("p")
	return []Command{
		{Number: 1, Room: "R", Epoch: epoch(2), Target: &key, Body: []byte("{}")}, {Number: 2, Room: "R", Find: true},
		{Number: 3, Room: "R", Epoch: epoch(2), Admission: &roster.Admission{
			Participant: "p", Owner: "edge-2", Request: "x", Generation: 2, Resume: true, Token: "t", Created: 9,
		}},
	}
}

func TestCommands(t *testing.T) {
	for _, c := range sampleCommands() {
		b, err := EncodeCommand(c)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeCommand(b); err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%s: %v %+v", b, err, got)
		}
	}
	key := roster.Key{Kind: roster.Mix}
	for _, c := range []Command{
		{}, {Room: "R", Target: &key}, {Room: "R", Find: true, Body: []byte("x")}, {Room: "R", Body: make([]byte, MaxBody+1)},
		{Room: "R", Admission: &roster.Admission{Owner: "a"}}, {Room: "R", Admission: &roster.Admission{Participant: "p"}},
		{Room: "R", Admission: &roster.Admission{Participant: "p", Owner: "a"}, Find: true}, {Room: "R", Epoch: placement.Epoch{Number: 1}},
		{Room: "R", Admission: &roster.Admission{Participant: "p", Owner: "a", Token: strings.Repeat("t", MaxName+1)}},
	} {
		if _, err := EncodeCommand(c); !errors.Is(err, ErrMessage) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, r := range []Reply{
		{Number: 1, Body: []byte("x")}, {Number: 1, Admitted: &roster.Admitted{Before: "edge-1"}},
		{Number: 1, Refusal: RefusedStale, Standing: epoch(3)},
		{Number: 1, Refusal: RefusedFailed, Text: "no"},
	} {
		b, err := EncodeReply(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeReply(b); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%s: %v %+v", b, err, got)
		}
	}
	if r, err := DecodeReply([]byte(`{"number":1,"refusal":"a new one"}`)); err != nil || r.Refusal != RefusedFailed {
		t.Error(r, err)
	}
	long := strings.Repeat("b", MaxName+1)
	for _, bad := range []string{
		`{"refusal":"full","body":"eA=="}`, `{"standing":{"number":1}}`, `{"admitted":{"before":"` + long + `"}}`, `x`,
	} {
		if r, err := DecodeReply([]byte(bad)); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v %+v", bad, err, r)
		}
	}
	if b, err := EncodeReply(Reply{Refusal: RefusedFailed, Text: "x" + strings.Repeat("ä", MaxText)}); err != nil {
		t.Error(err)
	} else if _, err := DecodeReply(b); err != nil {
		t.Error("a long text:", err)
	}
}

func TestHello(t *testing.T) {
	if h, err := DecodeHello(EncodeHello(ServiceRoom)); err != nil || h != (Hello{ServiceRoom, Version}) {
		t.Error(h, err)
	}
	long := strings.Repeat("s", MaxName+1)
	for _, bad := range []string{`{}`, `{"service":"room"}`, `{"service":"","version":1}`, `{"service":"` + long + `","version":1}`} {
		if h, err := DecodeHello([]byte(bad)); !errors.Is(err, ErrMessage) {
			t.Error(bad, h, err)
		}
	}
	if _, err := DecodeHello(make([]byte, MaxMessage+1)); !errors.Is(err, ErrMessage) {
		t.Error(err)
	}
}
