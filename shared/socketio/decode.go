package socketio

import (
	"bytes"

	"portico/shared/jsonvalue"
)

// Limits bound what decoding accepts. A zero field means its default. The length of the text and of one attachment is the
// transport's business.
type Limits struct {
	Attachments     int              // attachments of one packet; default 10, negative: binary packets are refused
	AttachmentBytes int              // all attachments of one packet together; default 1 MiB
	Namespace       int              // bytes in the name of a namespace, query included; default 256
	JSON            jsonvalue.Limits // nesting and number of values
}

func (l Limits) withDefaults() Limits {
	if l.Attachments == 0 {
		l.Attachments = 10
	}
	if l.AttachmentBytes == 0 {
		l.AttachmentBytes = 1 << 20
	}
	if l.Namespace == 0 {
		l.Namespace = 256
	}
	return l
}

// maxIDDigits keeps ack ids within what a JavaScript number holds exactly.
const maxIDDigits = 15

// Decode reads the text of one packet; attachments is how many binary messages have to follow. It keeps no reference to text.
// It refuses, beside what is not a packet, events under the names that the reference implementation keeps for itself
// ("connect", "disconnect", …), as that does.
func Decode(text []byte, limits Limits) (p Packet, attachments int, err error) {
	limits = limits.withDefaults()
	p = Packet{Namespace: Root, ID: NoID}
	if len(text) == 0 || text[0] < '0' || text[0] > '0'+byte(BinaryAck) {
		return p, 0, ErrType
	}
	p.Type = PacketType(text[0] - '0')
	text = text[1:]
	if p.Type == BinaryEvent || p.Type == BinaryAck {
		if attachments, text, err = cutAttachments(text, limits.Attachments); err != nil {
			return p, 0, err
		}
	}
	if len(text) > 0 && text[0] == '/' {
		var name []byte
		name, text, _ = bytes.Cut(text, []byte(","))
		if len(name) > limits.Namespace {
			return p, 0, ErrLimit
		}
		p.Namespace = string(name)
	}
	if p.ID, text, err = cutID(text); err != nil {
		return p, 0, err
	}
	if len(text) > 0 {
		content, err := jsonvalue.Parse(text, limits.JSON)
		if err != nil || !p.setContent(content) {
			return p, 0, ErrContent
		}
	}
	for _, a := range p.Args {
		if attachments > 0 && !placeholdersFit(a, attachments) {
			return p, 0, ErrAttachment
		}
	}
	return p, attachments, nil
}

func cutAttachments(text []byte, limit int) (int, []byte, error) {
	digits, rest, found := bytes.Cut(text, []byte("-"))
	n, ok := parseDigits(digits)
	if !found || !ok || n < 1 {
		return 0, nil, ErrHeader
	}
	if n > int64(limit) {
		return 0, nil, ErrLimit
	}
	return int(n), rest, nil
}

func cutID(text []byte) (int64, []byte, error) {
	i := 0
	for i < len(text) && text[i] >= '0' && text[i] <= '9' {
		i++
	}
	if i == 0 {
		return NoID, text, nil
	}
	id, ok := parseDigits(text[:i])
	if !ok {
		return NoID, nil, ErrHeader
	}
	return id, text[i:], nil
}

func parseDigits(digits []byte) (n int64, ok bool) {
	if len(digits) == 0 || len(digits) > maxIDDigits {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// setContent files the JSON of a packet under its type, or reports that this type cannot have it.
func (p *Packet) setContent(content jsonvalue.Value) bool {
	kind := content.Kind()
	switch p.Type {
	case Connect:
		p.Data = content
		return kind == jsonvalue.Object
	case ConnectError:
		p.Data = content
		return kind == jsonvalue.Object || kind == jsonvalue.String
	case Disconnect:
		return false
	}
	if kind != jsonvalue.Array {
		return false
	}
	p.Args = make([]jsonvalue.Value, content.Len())
	for i := range p.Args {
		p.Args[i] = content.Index(i)
	}
	if p.Type == Ack || p.Type == BinaryAck {
		return true
	}
	name := content.Index(0)
	return name.Kind() == jsonvalue.Number || name.Kind() == jsonvalue.String && !Reserved(name.Text())
}

// Reserved reports whether an event name belongs to the implementations of Socket.IO and must not be sent.
func Reserved(name string) bool {
	switch name {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return true
	}
	return false
}

// placeholdersFit reports whether every placeholder within v refers to one of n attachments.
func placeholdersFit(v jsonvalue.Value, n int) bool {
	if v.Get("_placeholder").Bool() {
		i := AttachmentIndex(v)
		return i >= 0 && i < n
	}
	for i := range v.Len() {
		member := v.Index(i)
		if v.Kind() == jsonvalue.Object {
			member = v.Member(i).Value
		}
		if !placeholdersFit(member, n) {
			return false
		}
	}
	return true
}

// Decoder puts packets together from the messages of one connection. After an error it must not be used again. It is not
// safe for concurrent use.
type Decoder struct {
	limits  Limits
	partial *Packet // waits for attachments
	missing int
	bytes   int // of its attachments so far
}

// NewDecoder makes a Decoder that accepts packets within limits.
func NewDecoder(limits Limits) *Decoder { return &Decoder{limits: limits.withDefaults()} }

// Text takes a text message. complete says that p is a whole packet; otherwise its attachments have to follow.
func (d *Decoder) Text(text []byte) (p Packet, complete bool, err error) {
	if d.partial != nil {
		return Packet{}, false, ErrAttachment
	}
	p, missing, err := Decode(text, d.limits)
	if err != nil || missing == 0 {
		return p, err == nil, err
	}
	d.partial, d.missing, d.bytes = new(Packet), missing, 0
	*d.partial = p
	return Packet{}, false, nil
}

// Binary takes a binary message, the next attachment, and keeps it. complete says that p is a whole packet.
func (d *Decoder) Binary(data []byte) (p Packet, complete bool, err error) {
	if d.partial == nil {
		return Packet{}, false, ErrAttachment
	}
	if d.bytes += len(data); d.bytes > d.limits.AttachmentBytes {
		return Packet{}, false, ErrLimit
	}
	d.partial.Attachments = append(d.partial.Attachments, data)
	if d.missing--; d.missing > 0 {
		return Packet{}, false, nil
	}
	p, d.partial = *d.partial, nil
	return p, true, nil
}
