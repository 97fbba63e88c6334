package jsonvalue

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits bound what Parse accepts. A zero field means its default.
type Limits struct {
	Depth  int // nesting of arrays and objects; default 64
	Values int // values in all, each element and member counting one; default 65,536
}

const (
	defaultDepth  = 64
	defaultValues = 1 << 16
)

// SyntaxError says where the text stopped being JSON that Parse accepts.
type SyntaxError struct {
	Offset int    // bytes before the fault
	Reason string // lower case, without the position
}

func (e *SyntaxError) Error() string {
	return e.Reason + " in JSON at position " + strconv.Itoa(e.Offset)
}

// Parse reads one JSON text with nothing but white space around it. It keeps no reference to data. Of members with equal
// names the last counts, as in JavaScript. Faulty UTF-8 and lone surrogates become U+FFFD. The error is a *SyntaxError.
func Parse(data []byte, limits Limits) (Value, error) {
	if limits.Depth == 0 {
		limits.Depth = defaultDepth
	}
	if limits.Values == 0 {
		limits.Values = defaultValues
	}
	p := parser{data: data, left: limits.Values}
	v, err := p.value(limits.Depth)
	if err != nil {
		return Value{}, err
	}
	p.space()
	if p.pos < len(p.data) {
		return Value{}, p.unexpected()
	}
	return v, nil
}

type parser struct {
	data []byte
	pos  int
	left int // values still allowed
}

func (p *parser) fail(reason string) error { return &SyntaxError{p.pos, reason} }

func (p *parser) unexpected() error {
	if p.pos >= len(p.data) {
		return p.fail("unexpected end")
	}
	return p.fail("unexpected token " + string(rune(p.data[p.pos])))
}

func (p *parser) space() {
	for p.pos < len(p.data) {
		switch p.data[p.pos] {
		case ' ', '\t', '\r', '\n':
			p.pos++
		default:
			return
		}
	}
}

// next skips white space and returns the byte there, or 0 at the end.
func (p *parser) next() byte {
	p.space()
	if p.pos >= len(p.data) {
		return 0
	}
	return p.data[p.pos]
}

func (p *parser) value(depth int) (Value, error) {
	if p.left--; p.left < 0 {
		return Value{}, p.fail("too many values")
	}
	switch c := p.next(); {
	case c == '{' || c == '[':
		if depth == 0 {
			return Value{}, p.fail("nested too deeply")
		}
		if p.pos++; c == '{' {
			return p.object(depth - 1)
		}
		return p.array(depth - 1)
	case c == '"':
		s, err := p.str()
		return Value{kind: String, text: s}, err
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	case c == 't':
		return p.word("true", Value{kind: Bool, text: "true"})
	case c == 'f':
		return p.word("false", Value{kind: Bool, text: "false"})
	case c == 'n':
		return p.word("null", Value{kind: Null})
	}
	return Value{}, p.unexpected()
}

func (p *parser) word(w string, v Value) (Value, error) {
	for i := 0; i < len(w); i++ {
		if p.pos >= len(p.data) || p.data[p.pos] != w[i] {
			return Value{}, p.unexpected()
		}
		p.pos++
	}
	return v, nil
}

func (p *parser) array(depth int) (Value, error) {
	l := &list{}
	if p.next() == ']' {
		p.pos++
		return Value{kind: Array, list: l}, nil
	}
	for {
		v, err := p.value(depth)
		if err != nil {
			return Value{}, err
		}
		l.values = append(l.values, v)
		switch p.next() {
		case ',':
			p.pos++
		case ']':
			p.pos++
			return Value{kind: Array, list: l}, nil
		default:
			return Value{}, p.unexpected()
		}
	}
}

// manyMembers is the size from which duplicate names are found by map instead of by looking through the list.
const manyMembers = 16

func (p *parser) object(depth int) (Value, error) {
	l := &list{}
	var places map[string]int
	if p.next() == '}' {
		p.pos++
		return Value{kind: Object, list: l}, nil
	}
	for {
		if p.next() != '"' {
			return Value{}, p.unexpected()
		}
		name, err := p.str()
		if err != nil {
			return Value{}, err
		}
		if p.next() != ':' {
			return Value{}, p.unexpected()
		}
		p.pos++
		v, err := p.value(depth)
		if err != nil {
			return Value{}, err
		}
		places = l.set(name, v, places)
		switch p.next() {
		case ',':
			p.pos++
		case '}':
			p.pos++
			return Value{kind: Object, list: l}, nil
		default:
			return Value{}, p.unexpected()
		}
	}
}

// set adds or replaces a member; places indexes the names once there are many, so that hostile objects cost linear time.
func (l *list) set(name string, v Value, places map[string]int) map[string]int {
	if places == nil && len(l.names) >= manyMembers {
		places = make(map[string]int, 2*manyMembers)
		for i, n := range l.names {
			places[n] = i
		}
	}
	at := -1
	if places != nil {
		if i, ok := places[name]; ok {
			at = i
		}
	} else {
		for i, n := range l.names {
			if n == name {
				at = i
			}
		}
	}
	if at >= 0 {
		l.values[at] = v
		return places
	}
	if places != nil {
		places[name] = len(l.names)
	}
	l.names, l.values = append(l.names, name), append(l.values, v)
	return places
}

func (p *parser) number() (Value, error) {
	start := p.pos
	if p.peek() == '-' {
		p.pos++
	}
	if p.peek() == '0' {
		p.pos++
	} else if err := p.digits(); err != nil {
		return Value{}, err
	}
	if p.peek() == '.' {
		p.pos++
		if err := p.digits(); err != nil {
			return Value{}, err
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.pos++
		if c := p.peek(); c == '+' || c == '-' {
			p.pos++
		}
		if err := p.digits(); err != nil {
			return Value{}, err
		}
	}
	return Value{kind: Number, text: string(p.data[start:p.pos])}, nil
}

func (p *parser) peek() byte {
	if p.pos >= len(p.data) {
		return 0
	}
	return p.data[p.pos]
}

func (p *parser) digits() error {
	start := p.pos
	for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
		p.pos++
	}
	if p.pos == start {
		return p.unexpected()
	}
	return nil
}

// str reads a string whose opening quote is at pos.
func (p *parser) str() (string, error) {
	p.pos++
	start := p.pos
	for p.pos < len(p.data) { // the common case: no escapes, plain ASCII
		switch c := p.data[p.pos]; {
		case c == '"':
			s := string(p.data[start:p.pos])
			p.pos++
			return s, nil
		case c == '\\' || c >= utf8.RuneSelf:
			return p.strSlow(append([]byte(nil), p.data[start:p.pos]...))
		case c < ' ':
			return "", p.fail("control character in string")
		}
		p.pos++
	}
	return "", p.unexpected()
}

func (p *parser) strSlow(buf []byte) (string, error) {
	for p.pos < len(p.data) {
		switch c := p.data[p.pos]; {
		case c == '"':
			p.pos++
			return string(buf), nil
		case c < ' ':
			return "", p.fail("control character in string")
		case c == '\\':
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			buf = utf8.AppendRune(buf, r)
		case c < utf8.RuneSelf:
			buf = append(buf, c)
			p.pos++
		default:
			r, size := utf8.DecodeRune(p.data[p.pos:])
			buf = utf8.AppendRune(buf, r) // a faulty byte decodes as U+FFFD, size 1
			p.pos += size
		}
	}
	return "", p.unexpected()
}

// escape reads the escape whose backslash is at pos; a surrogate pair is one rune.
func (p *parser) escape() (rune, error) {
	p.pos++
	c := p.peek()
	if i := indexByte(`"\/bfnrt`, c); i >= 0 && c != 0 {
		p.pos++
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	if c != 'u' {
		return 0, p.unexpected()
	}
	p.pos++
	r, err := p.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if p.pos+1 < len(p.data) && p.data[p.pos] == '\\' && p.data[p.pos+1] == 'u' {
		save := p.pos
		p.pos += 2
		low, err := p.hex4()
		if err != nil {
			return 0, err
		}
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, nil
		}
		p.pos = save // the second one stands for itself
	}
	return utf8.RuneError, nil
}

func (p *parser) hex4() (rune, error) {
	var r rune
	for range 4 {
		c := p.peek()
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, p.unexpected()
		}
		p.pos++
	}
	return r, nil
}

func indexByte(s string, c byte) int {
	for i := 0; i < len(s); i++ {
		if s[i] == c {
			return i
		}
	}
	return -1
}
