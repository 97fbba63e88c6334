package jsonvalue

import "unicode/utf8"

// Append writes the value as compact JSON behind dst. An absent value is written as null.
func (v Value) Append(dst []byte) []byte {
	switch v.kind {
	case Absent, Null:
		return append(dst, "null"...)
	case Bool, Number:
		return append(dst, v.text...)
	case String:
		return AppendString(dst, v.text)
	case Array:
		dst = append(dst, '[')
		for i, e := range v.list.values {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = e.Append(dst)
		}
		return append(dst, ']')
	}
	dst = append(dst, '{')
	for i, n := range v.list.names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(AppendString(dst, n), ':')
		dst = v.list.values[i].Append(dst)
	}
	return append(dst, '}')
}

// String is the value as compact JSON.
func (v Value) String() string { return string(v.Append(nil)) }

// MarshalJSON lets a Value stand in a structure that encoding/json writes.
func (v Value) MarshalJSON() ([]byte, error) { return v.Append(nil), nil }

// UnmarshalJSON lets encoding/json fill a Value, under the default Limits.
func (v *Value) UnmarshalJSON(data []byte) error {
	parsed, err := Parse(data, Limits{})
	if err == nil {
		*v = parsed
	}
	return err
}

const hexDigits = "0123456789abcdef"

// AppendString writes s as a JSON string literal, escaping what RFC 8259 requires plus U+2028 and U+2029, which end a line
// in old JavaScript; every other character stands for itself, as JSON.stringify writes it.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = appendEscape(dst, c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || r == '\u2028' || r == '\u2029' {
			dst = append(dst, s[start:i]...)
			switch r {
			case '\u2028', '\u2029':
				dst = append(dst, `\u202`...)
				dst = append(dst, hexDigits[r&0xf])
			default:
				dst = append(dst, "\ufffd"...)
			}
			start = i + size
		}
		i += size
	}
	return append(append(dst, s[start:]...), '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, `\u00`+string(hexDigits[c>>4])+string(hexDigits[c&0xf])...)
}
