package jsonvalue

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestRoundTripMatchesEncodingJSON(t *testing.T) {
	for _, text := range []string{
		`null`, `true`, `false`, `0`, `-0.5e-3`, `1234567890`, `""`, `"a\"\\\/\b\f\n\r\tz"`, `"\u00e9\ud83d\ude00\ud800x"`,
		`[]`, `{}`, ` [ 1 , [ ] , { "a" : null } ] `, `{"a":1,"b":[true,false],"a":2}`, `"Zoë 你好"`, `{"__proto__":{"x":1}}`,
	} {
		v, err := Parse([]byte(text), Limits{})
		if err != nil {
			t.Fatalf("Parse(%s): %v", text, err)
		}
		var want, got any
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(v.Append(nil), &got); err != nil {
			t.Fatalf("%s wrote %s: %v", text, v, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		``, ` `, `{`, `[`, `[1,]`, `{"a"}`, `{"a":}`, `{a:1}`, `01`, `1.`, `.5`, `1e`, `-`, `+1`, `"`, `"\x"`, `"\u12"`, "\"\n\"",
		`tru`, `nul`, `[1 2]`, `1 2`, `'a'`, `NaN`, `{"a":1,}`, "\x00",
	} {
		_, err := Parse([]byte(text), Limits{})
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("Parse(%q) = %v, want a SyntaxError", text, err)
		}
	}
}

func TestLimits(t *testing.T) {
	deep := strings.Repeat("[", 10000) + strings.Repeat("]", 10000)
	if _, err := Parse([]byte(deep), Limits{}); err == nil {
		t.Error("10,000 levels were accepted")
	}
	if _, err := Parse([]byte("[[]]"), Limits{Depth: 2}); err != nil {
		t.Errorf("two levels with Depth 2: %v", err)
	}
	if _, err := Parse([]byte("[[]]"), Limits{Depth: 1}); err == nil {
		t.Error("two levels were accepted with Depth 1")
	}
	if _, err := Parse([]byte("[1,2,3]"), Limits{Values: 3}); err == nil {
		t.Error("four values were accepted with Values 3")
	}
}

func TestAbsentAndNullDiffer(t *testing.T) {
	v, err := Parse([]byte(`{"a":null,"n":1e2,"s":"x","l":[7]}`), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if v.Get("a").Kind() != Null || v.Get("b").Kind() != Absent || !v.Get("a").IsNull() || v.Get("b").Exists() {
		t.Error("null and absent were mixed up")
	}
	if n, ok := v.Get("n").Int(); !ok || n != 100 {
		t.Errorf("1e2 as an integer is %d, %v", n, ok)
	}
	if n, _ := v.Get("l").Index(0).Int(); n != 7 || v.Get("l").Index(1).Exists() || v.Get("s").Index(0).Exists() {
		t.Error("Index")
	}
	if got := v.With("s", Of("y")).Without("n").With("z", OfBool(true)).String(); got != `{"a":null,"s":"y","l":[7],"z":true}` {
		t.Errorf("With: %s", got)
	}
	if v.Get("s").Text() != "x" {
		t.Error("With changed its receiver")
	}
	if got := OfObject(M("a", Value{}), M("b", OfArray(Value{}))).String(); got != `{"b":[null]}` {
		t.Errorf("absent members: %s", got)
	}
}

func TestManyMembersKeepLast(t *testing.T) {
	var b strings.Builder
	b.WriteString("{")
	for i := range 100 {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString(`"k` + string(rune('a'+i%50)) + `":` + OfInt(int64(i)).String())
	}
	b.WriteString("}")
	v, err := Parse([]byte(b.String()), Limits{})
	if err != nil || v.Len() != 50 {
		t.Fatalf("%d members, %v", v.Len(), err)
	}
	if n, _ := v.Get("ka").Int(); n != 50 {
		t.Errorf("the last of equal names should count, got %d", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,"x\u0041",null,true]}`, `["login",{"token":"e30=","protocol":"1.2"}]`, `"\ud83d\ude00"`, `[[[[`, "\"\xff\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := Parse(data, Limits{})
		if err != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("accepted %q, which is not JSON", data)
		}
		again, err := Parse(v.Append(nil), Limits{})
		if err != nil || !Equal(v, again) {
			t.Fatalf("%q wrote %s, read back as %s, %v", data, v, again, err)
		}
	})
}
