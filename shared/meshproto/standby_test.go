package meshproto

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"portico/shared/roster"
)

func sampleStandby() []Standby {
	position := roster.Position{Epoch: epoch(3), Seq: 9}
	uses := &Uses{From: 2, To: 4, Oldest: 5, List: []roster.Use{{Token: "t", Request: "r", Created: 7}, {Token: "u"}}}
	return []Standby{
		{Hold: &Hold{Region: "west"}}, {Hold: &Hold{}}, {Release: &Release{}}, {Recall: &Recall{}}, {Recalled: &Recalled{Life: 4, Known: true}},
		{Held: &Held{Life: 4, Position: position, Uses: 3, Missing: true}}, {Held: &Held{Life: 4}}, {Uses: uses},
		{Delta: &roster.Delta{Epoch: epoch(3), From: 1, To: 2, Put: []roster.Entry{entry("p", 2)}}},
		{Delta: &roster.Delta{Epoch: epoch(3), Full: true}},
		{Hearsay: &roster.Hearsay{Position: position, Entries: []roster.Entry{entry("p", 3)}}},
	}
}

func TestStandby(t *testing.T) {
	var r StandbyReader
	for _, m := range sampleStandby() {
		m.Room, m.Epoch = "R", epoch(3)
		parts, err := EncodeStandby(m)
		if err != nil || len(parts) != 1 {
			t.Fatal(err, len(parts))
		}
		got, whole, err := r.Read(parts[0])
		if err != nil || !whole || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: %v %+v", parts[0], err, got)
		}
	}
	const at = `"room":"R","epoch":{"number":1,"home":{"id":"a","boot":1}}`
	for _, bad := range []string{
		``, `{}`, `{` + at + `}`, `{` + at + `,"hold":{},"release":{}}`, `{"room":"R","hold":{}}`,
		`{"epoch":{"number":1,"home":{"id":"a","boot":1}},"hold":{}}`,
		`{` + at + `,"hold":{"region":"` + strings.Repeat("r", MaxName+1) + `"}}`, `{` + at + `,"held":{}}`, `{` + at + `,"recalled":{}}`,
		`{` + at + `,"held":{"life":1,"position":{"epoch":{"number":1}}}}`, `{` + at + `,"uses":{"from":2,"to":1}}`,
		`{` + at + `,"uses":{"from":0,"to":1,"list":[{"request":"r"}]}}`,
		`{` + at + `,"uses":{"from":0,"to":1,"list":[` + strings.Repeat(`{"token":"t"},`, MaxUses) + `{"token":"t"}]}}`,
		`{` + at + `,"part":{}}`, `{` + at + `,"part":{"withdraw":{}}}`,
		`{` + at + `,"part":{"update":{"owner":"a","life":1,"from":0,"to":1,"full":true}}}`,
		`{` + at + `,"part":{"delta":{"from":0,"to":1}}}`,
	} {
		if m, _, err := new(StandbyReader).Read([]byte(bad)); !errors.Is(err, ErrMessage) {
			t.Errorf("%.200s: %v %+v", bad, err, m)
		}
	}
	if _, err := EncodeStandby(Standby{Room: "R", Epoch: epoch(1)}); !errors.Is(err, ErrMessage) {
		t.Error("a message that is none:", err)
	}
}

func TestStandbyInParts(t *testing.T) {
	d := &roster.Delta{Epoch: epoch(3), To: 40, Full: true}
	for i := range 40 {
		d.Put = append(d.Put, entry(fmt.Sprint("p", i), roster.MaxValue))
	}
	parts, err := EncodeStandby(Standby{Room: "R", Epoch: epoch(3), Delta: d})
	if err != nil || len(parts) < 4 {
		t.Fatal(err, len(parts))
	}
	var r StandbyReader
	for i, b := range parts {
		got, whole, err := r.Read(b)
		if err != nil || whole != (i == len(parts)-1) {
			t.Fatalf("part %d of %d: %t, %v", i, len(parts), whole, err)
		}
		if whole && !reflect.DeepEqual(got.Delta, d) {
			t.Error("it is another when it comes")
		}
	}
	// Nothing comes between the parts, of another room least of all.
	other, _ := EncodeStandby(Standby{Room: "S", Epoch: epoch(3), Delta: d})
	hold, _ := EncodeStandby(Standby{Room: "R", Epoch: epoch(3), Hold: &Hold{}})
	for _, between := range [][]byte{other[1], hold[0]} {
		r = StandbyReader{}
		if _, _, err := r.Read(parts[0]); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Read(between); !errors.Is(err, ErrMessage) {
			t.Error(err)
		}
	}
}

func FuzzStandby(f *testing.F) {
	for _, m := range sampleStandby() {
		m.Room, m.Epoch = "R", epoch(3)
		parts, _ := EncodeStandby(m)
		f.Add(parts[0], parts[0])
	}
	const epoch1 = `"epoch":{"number":1,"home":{"id":"a","boot":1}}`
	const mix = `{"kind":"mix","id":"m","owner":"a"}`
	f.Add([]byte(`{"room":"R",`+epoch1+`,"part":{"delta":{`+epoch1+`,"from":0,"to":9,"put":[`+mix+`]},"more":true}}`),
		[]byte(`{"room":"R",`+epoch1+`,"recall":{}}`))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var r StandbyReader
		var register roster.Register
		for _, b := range [][]byte{first, second} {
			m, whole, err := r.Read(b)
			if err != nil || !whole {
				continue
			}
			if _, err := EncodeStandby(m); err != nil && len(b) < MaxMessage/8 {
				t.Errorf("%+v: %v", m, err)
			}
			if m.Uses != nil {
				for _, u := range m.Uses.List {
					register.Add(u, m.Uses.Oldest)
				}
			}
		}
		if len(register.Since(0)) != register.Len() {
			t.Errorf("%d uses of %d", len(register.Since(0)), register.Len())
		}
	})
}
