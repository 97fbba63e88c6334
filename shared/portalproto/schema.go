package portalproto

import (
	"strconv"
	"strings"

	"portico/shared/jsonvalue"
)

// schema is the part of JSON Schema that the protocol's requests need. Its faults are told in the words, order and number
// that OWT's validator (Ajv, stopping at the first fault of each alternative) produces; portal protocol 2.7 lists them.
type schema struct {
	types    []string // allowed kinds; empty: any
	enum     []string // allowed strings
	isFalse  bool     // the constant false
	nonEmpty bool     // strings: at least one character
	required []string // members that must be there
	props    []prop   // known members, in the order they are checked
	closed   bool     // no other members
	items    *schema  // array elements
	anyOf    []schema // at least one of these as well
}

type prop struct {
	name   string
	schema *schema
}

// check tells the first fault as a refusal, or nil.
func (s *schema) check(v jsonvalue.Value) error {
	if faults := s.faults(v, ""); len(faults) > 0 {
		for i, f := range faults {
			faults[i] = "request" + f
		}
		return &Error{strings.Join(faults, ",")}
	}
	return nil
}

// faults lists what is wrong: one text, or one for each alternative of anyOf.
func (s *schema) faults(v jsonvalue.Value, path string) []string {
	if len(s.types) > 0 && !contains(s.types, v.Kind().String()) {
		list := strings.Join(s.types, ",")
		return []string{path + " should be " + list + " " + jsonvalue.Of(list).String()}
	}
	if s.isFalse && !(v.Kind() == jsonvalue.Bool && !v.Bool()) {
		return []string{path + " should be equal to constant"}
	}
	if s.enum != nil && (v.Kind() != jsonvalue.String || !contains(s.enum, v.Text())) {
		return []string{path + " should be equal to one of the allowed values " + jsonvalue.OfStrings(s.enum).String()}
	}
	if s.nonEmpty && v.Kind() == jsonvalue.String && v.Text() == "" {
		return []string{path + " should NOT be shorter than 1 characters 1"}
	}
	if f := s.objectFaults(v, path); f != nil {
		return f
	}
	if s.items != nil && v.Kind() == jsonvalue.Array {
		for i := range v.Len() {
			if f := s.items.faults(v.Index(i), path+"["+strconv.Itoa(i)+"]"); f != nil {
				return f
			}
		}
	}
	return s.alternatives(v, path)
}

func (s *schema) objectFaults(v jsonvalue.Value, path string) []string {
	if v.Kind() != jsonvalue.Object {
		return nil
	}
	if s.props == nil { // a requirement apart from its properties is told with a dot before the name
		for _, name := range s.required {
			if !v.Get(name).Exists() {
				return []string{path + missing("."+name)}
			}
		}
		return nil
	}
	if s.closed {
		for i := range v.Len() {
			if name := v.Member(i).Name; !s.knows(name) {
				return []string{path + " should NOT have additional properties " + jsonvalue.Of(name).String()}
			}
		}
	}
	for _, p := range s.props {
		member := v.Get(p.name)
		if !member.Exists() {
			if contains(s.required, p.name) {
				return []string{path + missing(p.name)}
			}
			continue
		}
		if f := p.schema.faults(member, path+"."+p.name); f != nil {
			return f
		}
	}
	return nil
}

func missing(name string) string {
	return " should have required property '" + name + "' " + jsonvalue.Of(name).String()
}

func (s *schema) knows(name string) bool {
	for _, p := range s.props {
		if p.name == name {
			return true
		}
	}
	return false
}

func (s *schema) alternatives(v jsonvalue.Value, path string) []string {
	var all []string
	for i := range s.anyOf {
		f := s.anyOf[i].faults(v, path)
		if f == nil {
			return nil
		}
		all = append(all, f...)
	}
	return all
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

// Building blocks of the requests' schemas.
var (
	anObject  = &schema{types: []string{"object"}}
	aString   = &schema{types: []string{"string"}}
	aNumber   = &schema{types: []string{"number"}}
	aBoolean  = &schema{types: []string{"boolean"}}
	audioKind = "audio"
	videoKind = "video"
)

func oneOf(values ...string) *schema { return &schema{enum: values} }

func closedObject(required []string, props ...prop) *schema {
	return &schema{types: []string{"object"}, required: required, props: props, closed: true}
}
