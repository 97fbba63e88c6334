package socketio

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"portico/shared/jsonvalue"
)

func show(p Packet) string {
	var args []string
	for _, a := range p.Args {
		args = append(args, a.String())
	}
	s := fmt.Sprintf("%v %s %d [%s]", p.Type, p.Namespace, p.ID, strings.Join(args, " "))
	if p.Data.Exists() {
		s += " " + p.Data.String()
	}
	return s
}

func TestDecode(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`0`, `connect / -1 []`},
		{`0{"sid":"x"}`, `connect / -1 [] {"sid":"x"}`},
		{`0/admin,`, `connect /admin -1 []`},
		{`0/admin`, `connect /admin -1 []`},
		{`0/admin?a=1,{"t":1}`, `connect /admin?a=1 -1 [] {"t":1}`},
		{`1`, `disconnect / -1 []`},
		{`2["drop",null]`, `event / -1 ["drop" null]`},
		{`212["login",{"a":1}]`, `event / 12 ["login" {"a":1}]`},
		{`2/n,3["a"]`, `event /n 3 ["a"]`},
		{`2[1,{}]`, `event / -1 [1 {}]`},
		{`2`, `event / -1 []`},
		{`20["refreshReconnectionTicket"]`, `event / 0 ["refreshReconnectionTicket"]`},
		{`30["ok"]`, `ack / 0 ["ok"]`},
		{`3[]`, `ack / -1 []`},
		{`4{"message":"Invalid namespace"}`, `connect error / -1 [] {"message":"Invalid namespace"}`},
		{`4/n,"no"`, `connect error /n -1 [] "no"`},
		{`2["__proto__",{"__proto__":1}]`, `event / -1 ["__proto__" {"__proto__":1}]`},
		{`2["a",{"_placeholder":true,"num":7}]`, `event / -1 ["a" {"_placeholder":true,"num":7}]`}, // nothing special here
	} {
		p, attachments, err := Decode([]byte(c.text), Limits{})
		if err != nil || attachments != 0 || show(p) != c.want {
			t.Errorf("%s: got %s, %d, %v; want %s", c.text, show(p), attachments, err, c.want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for text, want := range map[string]error{
		``: ErrType, `7`: ErrType, `x`: ErrType, `-1`: ErrType,
		`2["x`: ErrContent, `2{}`: ErrContent, `2[]`: ErrContent, `2null`: ErrContent, `2"a"`: ErrContent, `2[null]`: ErrContent, `2[{}]`: ErrContent,
		`2["connect"]`: ErrContent, `2["disconnect"]`: ErrContent, `2["newListener"]`: ErrContent,
		`0[]`: ErrContent, `0"a"`: ErrContent, `0null`: ErrContent, `1{}`: ErrContent, `3{}`: ErrContent, `4[]`: ErrContent,
		`21234567890123456["a"]`: ErrHeader, `5["a"]`: ErrHeader, `5-["a"]`: ErrHeader, `50-["a"]`: ErrHeader, `5-1-["a"]`: ErrHeader, `51.5-["a"]`: ErrHeader,
		`511-["a"]`:                                                          ErrLimit,
		`51-["a",{"_placeholder":true,"num":1}]`:                             ErrAttachment,
		`51-["a",{"_placeholder":true,"num":-1}]`:                            ErrAttachment,
		`51-["a",{"_placeholder":true,"num":"0"}]`:                           ErrAttachment,
		`51-["a",[{"b":{"_placeholder":true}}]]`:                             ErrAttachment,
		`0/` + strings.Repeat("n", 300) + `,`:                                ErrLimit,
		`2["a",` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `]`: ErrContent,
	} {
		if p, _, err := Decode([]byte(text), Limits{}); !errors.Is(err, want) {
			t.Errorf("%s: got %s, %v; want %v", text, show(p), err, want)
		}
	}
	if _, _, err := Decode([]byte(`51-["a"]`), Limits{Attachments: -1}); !errors.Is(err, ErrLimit) {
		t.Errorf("a binary packet where none are wanted: %v", err)
	}
}

func TestAppend(t *testing.T) {
	v := jsonvalue.Of
	for want, p := range map[string]Packet{
		`0`:                             {Type: Connect, ID: NoID},
		`0{"sid":"x"}`:                  {Type: Connect, ID: NoID, Data: jsonvalue.OfObject(jsonvalue.M("sid", v("x")))},
		`1`:                             {Type: Disconnect, Namespace: Root, ID: NoID},
		`1/n,`:                          {Type: Disconnect, Namespace: "/n", ID: NoID},
		`2["drop",null]`:                {Type: Event, ID: NoID, Args: []jsonvalue.Value{v("drop"), {}}},
		`2/n,7["a"]`:                    {Type: Event, Namespace: "/n", ID: 7, Args: []jsonvalue.Value{v("a")}},
		`30["ok"]`:                      {Type: Ack, ID: 0, Args: []jsonvalue.Value{v("ok")}},
		`4/admin,{"message":"Invalid"}`: {Type: ConnectError, Namespace: "/admin", ID: NoID, Data: jsonvalue.OfObject(jsonvalue.M("message", v("Invalid")))},
		`51-["a",{"_placeholder":true,"num":0}]`: {Type: Event, ID: NoID, Args: []jsonvalue.Value{v("a"), Placeholder(0)},
			Attachments: [][]byte{{1}}},
		`62-3[]`: {Type: BinaryAck, ID: 3, Attachments: [][]byte{{1}, {2}}},
	} {
		if got := string(p.Append(nil)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := string(AppendEvent(nil, 5, "a", []jsonvalue.Value{v("x"), v("y")})); got != `25["a","x","y"]` {
		t.Error(got)
	}
	if got := string(AppendEvent([]byte("4"), NoID, "logout", nil)); got != `42["logout"]` {
		t.Error(got)
	}
	if got := string(AppendAck(nil, 0, []jsonvalue.Value{v("error"), v("Illegal request")})); got != `30["error","Illegal request"]` {
		t.Error(got)
	}
}

func TestAttachments(t *testing.T) {
	d := NewDecoder(Limits{AttachmentBytes: 6})
	p, complete, err := d.Text([]byte(`52-1["up",{"a":{"_placeholder":true,"num":1},"b":[{"_placeholder":true,"num":0}]}]`))
	if complete || err != nil {
		t.Fatal(complete, err)
	}
	if _, complete, err = d.Binary([]byte{1, 2, 3}); complete || err != nil {
		t.Fatal(complete, err)
	}
	p, complete, err = d.Binary([]byte{4, 5, 6})
	if !complete || err != nil || p.Type != BinaryEvent || p.ID != 1 || len(p.Attachments) != 2 || p.Attachments[1][0] != 4 {
		t.Fatalf("%+v %v %v", p, complete, err)
	}
	if AttachmentIndex(p.Args[1].Get("a")) != 1 || AttachmentIndex(p.Args[1].Get("b").Index(0)) != 0 || AttachmentIndex(p.Args[0]) != -1 {
		t.Error("placeholders")
	}
	if _, _, err := d.Binary([]byte{1}); !errors.Is(err, ErrAttachment) {
		t.Errorf("an attachment nobody announced: %v", err)
	}
	d = NewDecoder(Limits{AttachmentBytes: 6})
	d.Text([]byte(`51-["up"]`))
	if _, _, err := d.Text([]byte(`2["a"]`)); !errors.Is(err, ErrAttachment) {
		t.Errorf("text in place of an attachment: %v", err)
	}
	d = NewDecoder(Limits{AttachmentBytes: 6})
	d.Text([]byte(`52-["up"]`))
	d.Binary(make([]byte, 5))
	if _, _, err := d.Binary(make([]byte, 2)); !errors.Is(err, ErrLimit) {
		t.Errorf("too many bytes: %v", err)
	}
}

func TestAckTable(t *testing.T) {
	var table AckTable
	var got []string
	note := func(name string) AckFunc {
		return func(args []jsonvalue.Value, err error) { got = append(got, fmt.Sprintf("%s%v%v", name, args, err)) }
	}
	a, b, c := table.Add(note("a")), table.Add(note("b")), table.Add(note("c"))
	if a == b || b == c || table.Len() != 3 {
		t.Fatal(a, b, c, table.Len())
	}
	if !table.Resolve(b, []jsonvalue.Value{jsonvalue.Of("ok")}) || table.Resolve(b, nil) || table.Resolve(99, nil) || table.Resolve(NoID, nil) {
		t.Error("Resolve")
	}
	if !table.Remove(a) || table.Remove(a) {
		t.Error("Remove")
	}
	lost := errors.New("lost")
	table.FailAll(lost)
	if id := table.Add(note("d")); id != NoID || table.Len() != 0 {
		t.Error("Add after FailAll", id)
	}
	if want := `[b["ok"]<nil> c[]lost d[]lost]`; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAckTableFromManyGoroutines(t *testing.T) {
	var table AckTable
	var called sync.WaitGroup
	var wg sync.WaitGroup
	for range 8 {
		called.Add(100)
		wg.Go(func() {
			for range 100 {
				id := table.Add(func([]jsonvalue.Value, error) { called.Done() })
				if id%2 == 0 {
					table.Resolve(id, nil)
				}
			}
		})
	}
	wg.Wait()
	table.FailAll(errors.New("lost"))
	called.Wait() // hangs when a function was not called, panics when one was called twice
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`0{"sid":"x"}`, `0/admin?a=1,`, `1`, `212["login",{"a":1}]`, `43[]`, `52-1["up",{"_placeholder":true,"num":1}]`, `61-0[{"_placeholder":true,"num":0}]`,
		`4/n,"no"`, `2["\u0000"]`, `2/,["a"]`, `2/n`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, attachments, err := Decode(text, Limits{})
		if err != nil {
			return
		}
		p.Attachments = make([][]byte, attachments)
		if len(p.Args) == 0 && p.Type != Connect && p.Type != Disconnect && p.Type != ConnectError {
			return // written as [], which an event cannot be
		}
		again, n, err := Decode(p.Append(nil), Limits{})
		switch p.Type {
		case Connect, Disconnect, ConnectError:
			p.ID = NoID // not written: it means nothing there
		}
		if err != nil || n != attachments || show(again) != show(p) {
			t.Fatalf("%q was read as %s and came back as %s, %v", text, show(p), show(again), err)
		}
	})
}

const sample = `242["publish",{"media":{"tracks":[{"type":"audio","source":"mic","mid":"0"},{"type":"video","source":"camera","mid":"1"}]},"transport":{"type":"webrtc"}}]`

func BenchmarkDecode(b *testing.B) {
	b.SetBytes(int64(len(sample)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Decode([]byte(sample), Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendEvent(b *testing.B) {
	p, _, err := Decode([]byte(sample), Limits{})
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 1024)
	b.SetBytes(int64(len(sample)))
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendEvent(dst[:0], 42, "publish", p.Args[1:])
	}
}
