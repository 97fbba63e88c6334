// Package jsonvalue holds JSON (RFC 8259) as immutable values, for messages whose shape has to be checked before it is trusted.
//
// Every signalling message passes through it twice: socketio parses the text into Values, portalproto checks their shape and
// builds answers from them. It exists beside encoding/json for four reasons: a Value tells absent from null (the portal's
// error texts depend on it); values are immutable, so one stream description can be sent to a thousand receivers and each
// protocol version can be derived from it without copies; depth and count are bounded while parsing; and it does without
// reflection, which keeps a third of a megabyte out of the browser build.
//
// The zero Value is "absent": reading a missing member gives it, and building an object with it leaves the member out.
// All functions are safe for concurrent use.
package jsonvalue

import (
	"math"
	"strconv"
)

// Kind is the JSON type of a Value.
type Kind uint8

// The kinds. Absent is not JSON: it stands for a member that is not there (JavaScript's undefined).
const (
	Absent Kind = iota
	Null
	Bool
	Number
	String
	Array
	Object
)

var kindNames = [...]string{"undefined", "null", "boolean", "number", "string", "array", "object"}

// String names the kind as JSON Schema does ("object", "string", …); Absent is "undefined".
func (k Kind) String() string { return kindNames[k] }

// Value is one immutable JSON value. Copying it is cheap; its contents are shared and never change.
type Value struct {
	kind Kind
	text string // String: the decoded text. Number: the literal. Bool: "true" or "false".
	list *list  // Array and Object
}

type list struct {
	names  []string // Object only, as long as values
	values []Value
}

// Member is one name and value of an object.
type Member struct {
	Name  string
	Value Value
}

// M makes a Member; with an absent value the member is left out of the object built from it.
func M(name string, v Value) Member { return Member{name, v} }

// NullValue is JSON null.
func NullValue() Value { return Value{kind: Null} }

// Of makes a JSON string. Text that is not UTF-8 is written with U+FFFD in place of the faulty bytes.
func Of(s string) Value { return Value{kind: String, text: s} }

// OfBool makes true or false.
func OfBool(b bool) Value { return Value{kind: Bool, text: strconv.FormatBool(b)} }

// OfInt makes an integer number.
func OfInt(n int64) Value { return Value{kind: Number, text: strconv.FormatInt(n, 10)} }

// OfFloat makes a number, written without an exponent where JavaScript would; NaN and infinities become null.
func OfFloat(f float64) Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return NullValue()
	}
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	return Value{kind: Number, text: strconv.FormatFloat(f, format, -1, 64)}
}

// OfArray makes an array of the given values; it keeps the slice. Absent elements are written as null.
func OfArray(values ...Value) Value { return Value{kind: Array, list: &list{values: values}} }

// OfStrings makes an array of strings.
func OfStrings(texts []string) Value {
	values := make([]Value, len(texts))
	for i, t := range texts {
		values[i] = Of(t)
	}
	return OfArray(values...)
}

// OfObject makes an object with its members in the given order, leaving out those whose value is absent. Names must differ.
func OfObject(members ...Member) Value {
	l := &list{names: make([]string, 0, len(members)), values: make([]Value, 0, len(members))}
	for _, m := range members {
		if m.Value.kind != Absent {
			l.names = append(l.names, m.Name)
			l.values = append(l.values, m.Value)
		}
	}
	return Value{kind: Object, list: l}
}

// Kind is the value's JSON type.
func (v Value) Kind() Kind { return v.kind }

// Exists is false for an absent value only; null exists.
func (v Value) Exists() bool { return v.kind != Absent }

// IsNull is true for null and for an absent value: the two ways of saying "nothing here".
func (v Value) IsNull() bool { return v.kind <= Null }

// Truthy follows JavaScript: absent, null, false, 0 and "" are false, all else is true.
func (v Value) Truthy() bool {
	switch v.kind {
	case Absent, Null:
		return false
	case Bool:
		return v.text == "true"
	case Number:
		f, _ := v.Float()
		return f != 0
	case String:
		return v.text != ""
	}
	return true
}

// Text is the string of a String value and "" for every other kind; Kind tells the two apart.
func (v Value) Text() string {
	if v.kind != String {
		return ""
	}
	return v.text
}

// Bool is true for the value true only.
func (v Value) Bool() bool { return v.kind == Bool && v.text == "true" }

// Float is the number, or false when the value is not one. Literals beyond float64 give ±Inf and true.
func (v Value) Float() (float64, bool) {
	if v.kind != Number {
		return 0, false
	}
	f, _ := strconv.ParseFloat(v.text, 64) // the literal was checked by the parser; only the range can fail
	return f, true
}

// Int is the number when it is a whole one that fits, also when written as 1.0 or 1e3; false otherwise.
func (v Value) Int() (int64, bool) {
	if v.kind != Number {
		return 0, false
	}
	if n, err := strconv.ParseInt(v.text, 10, 64); err == nil {
		return n, true
	}
	f, _ := v.Float()
	if f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// Len is the number of elements of an array or members of an object, 0 for every other kind.
func (v Value) Len() int {
	if v.list == nil {
		return 0
	}
	return len(v.list.values)
}

// Index is element i of an array; absent when there is none, or the value is not an array.
func (v Value) Index(i int) Value {
	if v.kind != Array || i < 0 || i >= len(v.list.values) {
		return Value{}
	}
	return v.list.values[i]
}

// Member is the i-th member of an object in its order, 0 <= i < Len; the zero Member when there is none.
func (v Value) Member(i int) Member {
	if v.kind != Object || i < 0 || i >= len(v.list.values) {
		return Member{}
	}
	return Member{v.list.names[i], v.list.values[i]}
}

// Get is the member of that name; absent when there is none, or the value is not an object.
func (v Value) Get(name string) Value {
	if v.kind != Object {
		return Value{}
	}
	for i, n := range v.list.names {
		if n == name {
			return v.list.values[i]
		}
	}
	return Value{}
}

// Path follows member names from v: v.Path("a", "b") is v.Get("a").Get("b").
func (v Value) Path(names ...string) Value {
	for _, n := range names {
		v = v.Get(n)
	}
	return v
}

// With is a copy of the object with that member set, in its place or at the end; an absent member value removes it.
// On anything that is not an object it starts from an empty one.
func (v Value) With(name string, member Value) Value {
	members := make([]Member, 0, v.Len()+1)
	found := false
	if v.kind == Object {
		for i, n := range v.list.names {
			m := Member{n, v.list.values[i]}
			if n == name {
				m.Value, found = member, true
			}
			members = append(members, m)
		}
	}
	if !found {
		members = append(members, Member{name, member})
	}
	return OfObject(members...)
}

// Without is a copy of the object without the named member.
func (v Value) Without(name string) Value { return v.With(name, Value{}) }

// Size is about how many bytes the value holds on to, for limits on what is kept: its texts and names plus a little each.
func (v Value) Size() int {
	const each = 32
	n := each + len(v.text)
	if v.list != nil {
		for i, e := range v.list.values {
			n += e.Size()
			if v.kind == Object {
				n += len(v.list.names[i])
			}
		}
	}
	return n
}

// Equal compares deeply: objects without regard to member order, numbers by value, absent only with absent.
func Equal(a, b Value) bool {
	if a.kind != b.kind || a.Len() != b.Len() {
		return false
	}
	switch a.kind {
	case Number:
		if a.text == b.text {
			return true
		}
		x, _ := a.Float()
		y, _ := b.Float()
		return x == y
	case Array:
		for i, e := range a.list.values {
			if !Equal(e, b.list.values[i]) {
				return false
			}
		}
		return true
	case Object:
		for i, n := range a.list.names {
			if !Equal(a.list.values[i], b.Get(n)) {
				return false
			}
		}
		return true
	}
	return a.text == b.text
}
