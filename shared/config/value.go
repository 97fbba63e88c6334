package config

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// What a value has to look like, by type: the end of the fault "… is not …".
const (
	wantDuration = "a duration: write it as 25s, 10m or 1h30m, or as a number of seconds"
	wantBool     = "true or false: write one of these"
	wantWhole    = "a whole number in range: write it in digits, as 8080"
	wantNumber   = "a number: write it in digits, as 0.5"
)

// setText sets the field from the environment or a flag. Its error is the end of a fault.
func (f *field) setText(text string) error {
	v := f.value
	switch {
	case v.Type() == durationType:
		d, ok := parseDuration(text)
		if !ok {
			return fmt.Errorf("%s is not %s", f.quote(text), wantDuration)
		}
		v.SetInt(int64(d))
	case v.Kind() == reflect.Slice:
		return f.setList(splitList(text))
	case v.Kind() == reflect.String:
		v.SetString(text)
	default:
		return f.setScalar(v, text)
	}
	return nil
}

// setScalar sets v, of one of the number types or bool.
func (f *field) setScalar(v reflect.Value, text string) error {
	want := wantWhole
	text = strings.TrimSpace(text)
	switch v.Kind() {
	case reflect.Bool:
		if b, err := strconv.ParseBool(text); err == nil {
			v.SetBool(b)
			return nil
		}
		want = wantBool
	case reflect.Float64:
		if x, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(x) && !math.IsInf(x, 0) {
			v.SetFloat(x)
			return nil
		}
		want = wantNumber
	case reflect.Uint, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if n, err := strconv.ParseUint(text, 10, v.Type().Bits()); err == nil {
			v.SetUint(n)
			return nil
		}
	default:
		if n, err := strconv.ParseInt(text, 10, v.Type().Bits()); err == nil {
			v.SetInt(n)
			return nil
		}
	}
	return fmt.Errorf("%s is not %s", f.quote(text), want)
}

func (f *field) setList(items []string) error {
	list := reflect.MakeSlice(f.value.Type(), len(items), len(items))
	for i, item := range items {
		e := list.Index(i)
		if e.Kind() == reflect.String {
			e.SetString(item)
		} else if err := f.setScalar(e, item); err != nil {
			return err
		}
	}
	f.value.Set(list)
	return nil
}

// setTOML sets the field from a decoded TOML value; the type written in the file must be the setting's.
func (f *field) setTOML(value any) error {
	v := f.value
	switch x := value.(type) {
	case string:
		if v.Kind() == reflect.String || v.Type() == durationType {
			return f.setText(x)
		}
	case int64:
		if v.Type() == durationType || v.CanInt() || v.CanUint() || v.CanFloat() {
			return f.setText(strconv.FormatInt(x, 10))
		}
	case float64:
		if v.Type() == durationType || v.CanFloat() {
			return f.setText(strconv.FormatFloat(x, 'f', -1, 64))
		}
	case bool:
		if v.Kind() == reflect.Bool {
			v.SetBool(x)
			return nil
		}
	case []any:
		if v.Kind() == reflect.Slice {
			return f.setTOMLList(x)
		}
	}
	return fmt.Errorf("is %s, and has to be %s", tomlKind(value), f.wantTOML())
}

func (f *field) setTOMLList(list []any) error {
	items := make([]string, len(list))
	for i, e := range list {
		switch e := e.(type) {
		case string:
			if f.value.Type().Elem().Kind() != reflect.String {
				return fmt.Errorf("holds a string, and has to be %s", f.wantTOML())
			}
			items[i] = e
		case int64:
			if f.value.Type().Elem().Kind() != reflect.Int {
				return fmt.Errorf("holds a number, and has to be %s", f.wantTOML())
			}
			items[i] = strconv.FormatInt(e, 10)
		default:
			return fmt.Errorf("holds %s, and has to be %s", tomlKind(e), f.wantTOML())
		}
	}
	return f.setList(items)
}

func (f *field) wantTOML() string {
	t := f.value.Type()
	switch {
	case t == durationType:
		return `a duration: write it as "25s" or as a number of seconds`
	case t.Kind() == reflect.Bool:
		return "true or false, without quotes"
	case t.Kind() == reflect.String:
		return `a string: write it in quotes, as "text"`
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String:
		return `a list of strings: write it as ["one", "two"]`
	case t.Kind() == reflect.Slice:
		return "a list of whole numbers: write it as [1, 2]"
	case t.Kind() == reflect.Float64:
		return "a number, without quotes"
	}
	return "a whole number, without quotes"
}

func tomlKind(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case int64, float64:
		return "a number"
	case bool:
		return "true or false"
	case time.Time:
		return "a date"
	case []any, []map[string]any:
		return "a list"
	}
	return "a section"
}

// parseDuration takes Go's form ("1h30m") or a number of seconds, which is how OWT's files write times.
func parseDuration(text string) (time.Duration, bool) {
	text = strings.TrimSpace(text)
	if s, err := strconv.ParseFloat(text, 64); err == nil {
		ns := s * float64(time.Second)
		if math.IsNaN(ns) || math.Abs(ns) >= math.MaxInt64 {
			return 0, false
		}
		return time.Duration(ns), true
	}
	d, err := time.ParseDuration(text)
	return d, err == nil
}

// splitList reads "a, b": items may not hold commas, and an empty text is an empty list.
func splitList(text string) []string {
	items := []string{}
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// formatTOML writes a value as TOML.
func formatTOML(v reflect.Value) string {
	switch {
	case v.Type() == durationType:
		return quoteTOML(formatDuration(time.Duration(v.Int())))
	case v.Kind() == reflect.String:
		return quoteTOML(v.String())
	case v.Kind() == reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case v.CanInt():
		return strconv.FormatInt(v.Int(), 10)
	case v.CanUint():
		return strconv.FormatUint(v.Uint(), 10)
	case v.CanFloat():
		s := strconv.FormatFloat(v.Float(), 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	items := make([]string, v.Len())
	for i := range items {
		items[i] = formatTOML(v.Index(i))
	}
	return "[" + strings.Join(items, ", ") + "]"
}

func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// quoteTOML writes a basic string (TOML 1.0, section String).
func quoteTOML(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
