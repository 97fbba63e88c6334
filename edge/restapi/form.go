package restapi

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"portico/shared/jsonvalue"
)

// Bounds of forms, as the reference server has them.
const (
	maxParameters = 1000
	maxBrackets   = 5  // levels of nesting in a name
	maxIndex      = 20 // "a[21]" is a member named 21, not an element
)

// parseForm reads name=value pairs whose names may nest: "a[b][c]=1", "a[]=1", "a[0]=1" (management API 1.3). All values are
// strings; a name given twice becomes an array. The error is a *failure.
func parseForm(text string) (jsonvalue.Value, error) {
	if strings.Count(text, "&") >= maxParameters {
		return jsonvalue.Value{}, errManyParameters
	}
	root := &formNode{}
	for pair := range strings.SplitSeq(text, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if name = unescape(name); name != "" {
			root.add(splitName(name), unescape(value))
		}
	}
	return root.object(), nil
}

// unescape decodes "+" and percent escapes; what is not an escape stays as it is, and what is not UTF-8 is replaced before
// names are compared.
func unescape(s string) string {
	if text, err := url.QueryUnescape(s); err == nil {
		s = text
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

// splitName takes "a[b][c]" apart; what follows the last level allowed stays together.
func splitName(name string) []string {
	first, rest, nested := strings.Cut(name, "[")
	if !nested || first == "" {
		return []string{name}
	}
	keys := []string{first}
	rest = "[" + rest
	for len(rest) > 0 {
		end := strings.IndexByte(rest, ']')
		if rest[0] != '[' || end < 0 || len(keys) > maxBrackets {
			return append(keys, rest)
		}
		keys = append(keys, rest[1:end])
		rest = rest[end+1:]
	}
	return keys
}

// A formNode is what has been said under one name: plain values, nested names, or both.
type formNode struct {
	values []string
	names  []string // in the order of their first appearance; "" stands for one element each time
	nested map[string]*formNode
}

func (n *formNode) add(keys []string, value string) {
	if len(keys) == 0 {
		n.values = append(n.values, value)
		return
	}
	key := keys[0]
	if key == "" {
		key = "[]" + strconv.Itoa(len(n.names)) // no index, and no other name has it: brackets end names
	}
	child := n.nested[key]
	if child == nil {
		child = &formNode{}
		if n.nested == nil {
			n.nested = make(map[string]*formNode)
		}
		n.nested[key] = child
		n.names = append(n.names, key)
	}
	child.add(keys[1:], value)
}

func (n *formNode) value() jsonvalue.Value {
	switch {
	case len(n.names) == 0 && len(n.values) == 1:
		return jsonvalue.Of(n.values[0])
	case len(n.names) == 0:
		return jsonvalue.OfStrings(n.values)
	}
	if elements, ok := n.elements(); ok {
		return jsonvalue.OfArray(elements...)
	}
	return n.object()
}

func (n *formNode) object() jsonvalue.Value {
	members := make([]jsonvalue.Member, len(n.names))
	for i, name := range n.names {
		members[i] = jsonvalue.M(name, n.nested[name].value())
	}
	return jsonvalue.OfObject(members...)
}

// elements are the nested values in order when all names are indices or empty brackets.
func (n *formNode) elements() ([]jsonvalue.Value, bool) {
	place := make(map[string]int, len(n.names))
	for i, name := range n.names {
		if strings.HasPrefix(name, "[]") {
			place[name] = maxIndex + 1 + i
			continue
		}
		index, err := strconv.Atoi(name)
		if err != nil || index < 0 || index > maxIndex || strconv.Itoa(index) != name {
			return nil, false
		}
		place[name] = index
	}
	names := slices.SortedFunc(slices.Values(n.names), func(a, b string) int { return place[a] - place[b] })
	elements := make([]jsonvalue.Value, len(names))
	for i, name := range names {
		elements[i] = n.nested[name].value()
	}
	return elements, true
}
