package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// field is one setting of a program: a leaf of its settings struct.
type field struct {
	path   string   // "portal.listen": the flag without its dash
	keys   []string // the same in parts
	env    string   // "PORTICO_PORTAL_LISTEN"
	doc    string
	unit   string // "" when the type says it all
	secret bool
	value  reflect.Value // addressable, in the caller's struct
	def    string        // the default as TOML, taken before anything is loaded; "" for a secret
}

// section is one table of the file; the top level is the section with an empty path.
type section struct {
	path   string
	doc    string
	fields []*field
}

// schema is everything a settings struct says about itself.
type schema struct {
	sections []*section // the top level first, then in the order of the struct
	fields   []*field   // all of them in that order
	byPath   map[string]*field
	byEnv    map[string]*field
	tables   map[string]*section
}

const envPrefix = "PORTICO_"

var durationType = reflect.TypeFor[time.Duration]()

// schemaOf reads the tags of a pointer to a settings struct. It panics on a struct that cannot be loaded: that is a
// mistake in the program, and every program's own tests meet it.
func schemaOf(settings any) *schema {
	v := reflect.ValueOf(settings)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		panic("config: settings must be a pointer to a struct")
	}
	s := &schema{byPath: map[string]*field{}, byEnv: map[string]*field{}, tables: map[string]*section{}}
	s.add(v.Elem(), nil, "")
	for _, sec := range s.sections {
		s.fields = append(s.fields, sec.fields...)
	}
	return s
}

func (s *schema) add(v reflect.Value, keys []string, doc string) {
	sec := &section{path: strings.Join(keys, "."), doc: doc}
	s.sections = append(s.sections, sec)
	s.tables[sec.path] = sec
	s.addFields(sec, v, keys)
}

// addFields adds the fields of a struct to a section; those of an embedded struct without a tag count as its own.
func (s *schema) addFields(sec *section, v reflect.Value, keys []string) {
	for i := range v.NumField() {
		ft := v.Type().Field(i)
		key := ft.Tag.Get("toml")
		if key == "-" {
			continue
		}
		if ft.Anonymous && key == "" && ft.Type.Kind() == reflect.Struct {
			s.addFields(sec, v.Field(i), keys)
			continue
		}
		if !ft.IsExported() || key == "" || ft.Tag.Get("doc") == "" {
			panic("config: field " + ft.Name + " needs to be exported, a toml tag and a doc tag")
		}
		path := append(append([]string{}, keys...), key)
		if ft.Type.Kind() == reflect.Struct {
			s.add(v.Field(i), path, ft.Tag.Get("doc"))
			continue
		}
		s.addField(sec, &field{
			path: strings.Join(path, "."), keys: path, env: envPrefix + strings.ToUpper(strings.Join(path, "_")),
			doc: ft.Tag.Get("doc"), unit: ft.Tag.Get("unit"), secret: ft.Tag.Get("secret") == "true", value: v.Field(i),
		})
	}
}

func (s *schema) addField(sec *section, f *field) {
	if !supported(f.value.Type()) {
		panic("config: setting " + f.path + " has type " + f.value.Type().String() + ", which cannot be loaded")
	}
	if s.byPath[f.path] != nil || s.byEnv[f.env] != nil || reserved[f.path] {
		panic("config: the name of setting " + f.path + " is taken")
	}
	if !f.secret {
		f.def = formatTOML(f.value)
	}
	s.byPath[f.path], s.byEnv[f.env] = f, f
	sec.fields = append(sec.fields, f)
}

func supported(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Float64,
		reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	case reflect.Slice:
		return t.Elem().Kind() == reflect.String || t.Elem().Kind() == reflect.Int
	}
	return false
}

// isBool says whether the flag may stand without a value.
func (f *field) isBool() bool { return f.value.Kind() == reflect.Bool }

// placeholder stands for the value in help texts.
func (f *field) placeholder() string {
	t := f.value.Type()
	switch {
	case t == durationType:
		return "DURATION"
	case t.Kind() == reflect.Bool:
		return ""
	case t.Kind() == reflect.String:
		return "TEXT"
	case t.Kind() == reflect.Slice:
		return "LIST"
	}
	return "NUMBER"
}

// quote shows a value in a fault, unless it is secret.
func (f *field) quote(text string) string {
	if f.secret {
		return "the value"
	}
	if len(text) > 80 {
		text = text[:80] + "…"
	}
	return fmt.Sprintf("%q", text)
}
