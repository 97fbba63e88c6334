package conference

import (
	"math"
	"strconv"
	"strings"

	"portico/shared/jsonvalue"
)

// A caster turns what a caller sent into a document of the schema: members converted to their types, unknown ones dropped,
// missing ones filled in. It collects what is wrong in the words of management API 5.5.
type caster struct {
	faults []string
	fill   bool // give missing members their defaults; elements of documents always get them
}

const (
	maxFaults    = 16  // reported at once
	maxFaultText = 100 // bytes of a caller's value repeated in a fault
)

// place is where a value stands. path counts from the room ("views.0.video.maxInput"), local from the innermost document
// in an array ("video.maxInput"): the error texts name both.
type place struct{ path, local string }

func (p place) member(name string) place {
	if p.path == "" {
		return place{name, name}
	}
	if p.local == "" {
		return place{p.path + "." + name, name}
	}
	return place{p.path + "." + name, p.local + "." + name}
}

func (p place) element(i int) place { return place{p.path + "." + strconv.Itoa(i), ""} }

func (c *caster) fault(at place, text string) {
	if len(c.faults) < maxFaults {
		c.faults = append(c.faults, at.path+": "+text)
	}
}

func (c *caster) wrongType(at place, kind string, v jsonvalue.Value) {
	c.fault(at, "Cast to "+kind+" failed for value "+inspect(v)+` at path "`+at.local+`"`)
}

// value casts one value; def is what the default document has in its place.
func (c *caster) value(r *rule, v jsonvalue.Value, at place, def jsonvalue.Value) jsonvalue.Value {
	switch r.kind {
	case objectRule:
		return c.object(r, v, at, def)
	case documentsRule:
		return c.documents(r, v, at, def)
	case verbatimRule:
		return c.verbatim(v)
	case numberRule:
		v = c.number(r, v, at)
	case booleanRule:
		v = c.boolean(v, at)
	case textRule:
		return c.text(r, v, at, def)
	}
	if !v.Exists() && c.fill {
		return def
	}
	return v
}

func (c *caster) object(r *rule, v jsonvalue.Value, at place, def jsonvalue.Value) jsonvalue.Value {
	if r.mayBeOff && v.Kind() == jsonvalue.Bool && !v.Bool() {
		return v
	}
	switch {
	case !v.Exists() && !c.fill:
		return v
	case !v.Exists() && r.whole:
		return def
	case v.Exists() && v.Kind() != jsonvalue.Object:
		kind := "primitive"
		if v.Kind() == jsonvalue.Array {
			kind = "array"
		}
		c.fault(at, "Tried to set nested object field `"+at.local+"` to "+kind+" value `"+clip(plain(v))+"`")
		return jsonvalue.Value{}
	}
	if r.whole {
		def = jsonvalue.Value{}
	}
	return c.members(r.fields, v, at, def)
}

// members casts the known members of an object; one without any is absent, as in the reference server's database.
func (c *caster) members(fields []field, v jsonvalue.Value, at place, def jsonvalue.Value) jsonvalue.Value {
	members := make([]jsonvalue.Member, 0, len(fields))
	for _, f := range fields {
		members = append(members, jsonvalue.M(f.name, c.value(f.rule, v.Get(f.name), at.member(f.name), def.Get(f.name))))
	}
	if o := jsonvalue.OfObject(members...); o.Len() > 0 {
		return o
	}
	return jsonvalue.Value{}
}

// documents casts an array of objects; anything else stands for an array of one.
func (c *caster) documents(r *rule, v jsonvalue.Value, at place, def jsonvalue.Value) jsonvalue.Value {
	elements, ok := c.elements(v)
	if !ok {
		return jsonvalue.Value{}
	}
	if r.mostItems > 0 && len(elements) > r.mostItems {
		c.fault(at, "Too many elements ("+strconv.Itoa(len(elements))+"), at most "+strconv.Itoa(r.mostItems)+" are allowed.")
		return jsonvalue.OfArray()
	}
	inner := *c
	inner.fill = true
	cast := make([]jsonvalue.Value, 0, len(elements))
	for i, e := range elements {
		if e.Kind() != jsonvalue.Object {
			inner.wrongType(at, "Embedded", e)
			continue
		}
		cast = append(cast, inner.members(r.fields, e, at.element(i), def.Index(0)))
	}
	c.faults = inner.faults
	return jsonvalue.OfArray(cast...)
}

func (c *caster) verbatim(v jsonvalue.Value) jsonvalue.Value {
	elements, ok := c.elements(v)
	if !ok {
		return jsonvalue.Value{}
	}
	return jsonvalue.OfArray(elements...)
}

// elements lists what an array member holds; not ok means that it stays absent.
func (c *caster) elements(v jsonvalue.Value) ([]jsonvalue.Value, bool) {
	switch v.Kind() {
	case jsonvalue.Absent:
		return nil, c.fill
	case jsonvalue.Array:
		elements := make([]jsonvalue.Value, v.Len())
		for i := range elements {
			elements[i] = v.Index(i)
		}
		return elements, true
	}
	return []jsonvalue.Value{v}, true
}

func (c *caster) number(r *rule, v jsonvalue.Value, at place) jsonvalue.Value {
	if !v.Exists() || v.Kind() == jsonvalue.String && v.Text() == "" {
		return jsonvalue.Value{}
	}
	f, ok := Number(v)
	if !ok {
		c.wrongType(at, "Number", v)
		return jsonvalue.Value{}
	}
	n := jsonvalue.OfFloat(f)
	bounded := r.min != 0 || r.max != 0
	switch {
	case bounded && f < r.min:
		c.fault(at, "Path `"+at.local+"` ("+n.String()+") is less than minimum allowed value ("+jsonvalue.OfFloat(r.min).String()+").")
	case bounded && f > r.max:
		c.fault(at, "Path `"+at.local+"` ("+n.String()+") is more than maximum allowed value ("+jsonvalue.OfFloat(r.max).String()+").")
	}
	return n
}

// Number converts a value to a finite number as the reference server does: numbers, numeric strings, and true and false as
// 1 and 0. White space around a string does not matter; an empty one is 0.
func Number(v jsonvalue.Value) (float64, bool) {
	f, ok := v.Float()
	switch v.Kind() {
	case jsonvalue.Bool:
		if v.Bool() {
			return 1, true
		}
		return 0, true
	case jsonvalue.String:
		f, ok = numberFromText(strings.TrimSpace(v.Text()))
	}
	return f, ok && !math.IsInf(f, 0)
}

func numberFromText(s string) (float64, bool) {
	if s == "" {
		return 0, true
	}
	if len(s) > 2 && s[0] == '0' {
		base := map[byte]int{'x': 16, 'X': 16, 'o': 8, 'O': 8, 'b': 2, 'B': 2}[s[1]]
		if base != 0 {
			n, err := strconv.ParseUint(s[2:], base, 64)
			return float64(n), err == nil
		}
	}
	if strings.Trim(s, "0123456789+-.eE") != "" { // keeps out what Go reads and JavaScript does not
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

func (c *caster) boolean(v jsonvalue.Value, at place) jsonvalue.Value {
	switch v.Kind() {
	case jsonvalue.Absent, jsonvalue.Bool:
		return v
	case jsonvalue.String:
		switch v.Text() {
		case "true", "1", "yes":
			return jsonvalue.OfBool(true)
		case "false", "0", "no":
			return jsonvalue.OfBool(false)
		}
	case jsonvalue.Number:
		if f, _ := v.Float(); f == 0 || f == 1 {
			return jsonvalue.OfBool(f == 1)
		}
	}
	c.wrongType(at, "Boolean", v)
	return jsonvalue.Value{}
}

func (c *caster) text(r *rule, v jsonvalue.Value, at place, def jsonvalue.Value) jsonvalue.Value {
	switch v.Kind() {
	case jsonvalue.Absent:
		if c.fill {
			v = def
		}
		if c.fill && !v.Exists() && r.standIn != "" {
			v = jsonvalue.Of(r.standIn)
		}
	case jsonvalue.Number, jsonvalue.Bool:
		v = jsonvalue.Of(plain(v))
	case jsonvalue.Array, jsonvalue.Object:
		c.wrongType(at, "string", v)
		return jsonvalue.Value{}
	}
	s := v.Text()
	switch {
	case s == "" && r.required:
		c.fault(at, "Path `"+at.local+"` is required.")
	case s == "":
	case r.fraction && !isFraction(s):
		c.fault(at, clip(s)+" is not a valid fraction string!")
	case r.enum != nil && !contains(r.enum, s):
		c.fault(at, "`"+clip(s)+"` is not a valid enum value for path `"+at.local+"`.")
	}
	return v
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

// isFraction tells whether s is "a/b" with b above 0, or a decimal, of at most 9 digits each.
func isFraction(s string) bool {
	if a, b, ok := strings.Cut(s, "/"); ok {
		return isDigits(strings.TrimPrefix(a, "-")) && isDigits(b) && strings.Trim(b, "0") != ""
	}
	whole, part, dot := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	if dot && part != "" && whole == "" {
		whole = "0"
	}
	return isDigits(whole) && (part == "" || isDigits(part))
}

func isDigits(s string) bool {
	return s != "" && len(s) <= 9 && strings.Trim(s, "0123456789") == ""
}

// inspect shows a value and its type in an error text.
func inspect(v jsonvalue.Value) string {
	kind := v.Kind().String()
	switch v.Kind() {
	case jsonvalue.Object:
		kind = "Object"
	case jsonvalue.Array:
		kind = "Array"
	}
	return `"` + clip(plain(v)) + `" (type ` + kind + ")"
}

// plain is a string as it is and everything else as JSON, numbers in their shortest form.
func plain(v jsonvalue.Value) string {
	if v.Kind() == jsonvalue.String {
		return v.Text()
	}
	if f, ok := v.Float(); ok {
		v = jsonvalue.OfFloat(f)
	}
	return v.String()
}

func clip(s string) string {
	if len(s) <= maxFaultText {
		return s
	}
	return strings.ToValidUTF8(s[:maxFaultText], "") + "…"
}
