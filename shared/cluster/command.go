package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Command is an operator's wish as it goes from the node that was asked to each that it concerns, over the link between them; a node
// obeys the edges of its cluster.
type Command struct {
	Do  string `json:"do"`
	Key string `json:"key,omitempty"` // of AddKey, in base64; of UseKey and RemoveKey, its KeyName
}

// What there is to do.
const (
	DoKeys      = "keys" // says which keys the node has
	DoAddKey    = "add-key"
	DoUseKey    = "use-key"
	DoRemoveKey = "remove-key"
	DoDrain     = "drain" // the node gives away what it has, and takes nothing new
	DoUndrain   = "undrain"
	DoTell      = "tell"     // says what the node knows of its rooms and links
	DoDescribe  = "describe" // says how the node describes itself to gossip
)

// Answer is what a node says to a Command.
type Answer struct {
	Error string          `json:"error,omitempty"` // empty: it is done
	Keys  []KeyInfo       `json:"keys,omitempty"`
	Told  json.RawMessage `json:"told,omitempty"`
	Meta  []byte          `json:"meta,omitempty"` // Meta, encoded
}

var errCommand = errors.New("a command that cannot be read")

// maxCommand is how long a Command can be.
const maxCommand = 1 << 10

// DecodeCommand reads a Command of another node.
func DecodeCommand(data []byte) (c Command, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if len(data) > maxCommand || d.Decode(&c) != nil || d.More() {
		return Command{}, errCommand
	}
	switch c.Do {
	case DoKeys, DoDrain, DoUndrain, DoTell, DoDescribe:
		if c.Key == "" {
			return c, nil
		}
	case DoAddKey:
		if _, err := ParseKey(c.Key); err == nil {
			return c, nil
		}
	case DoUseKey, DoRemoveKey:
		if word(c.Key, 1, 64) {
			return c, nil
		}
	}
	return Command{}, errCommand
}

// Encode writes it.
func (c Command) Encode() []byte {
	data, err := json.Marshal(c)
	if err != nil {
		panic(err) // it holds texts
	}
	return data
}

// Encode writes it. One that cannot be written says so.
func (a Answer) Encode() []byte {
	data, err := json.Marshal(a)
	if err != nil {
		data, _ = json.Marshal(Answer{Error: "the answer cannot be written"})
	}
	return data
}

// DecodeAnswer reads what another node has answered. Its refusal is an error.
func DecodeAnswer(data []byte) (a Answer, err error) {
	if err := json.Unmarshal(data, &a); err != nil {
		return Answer{}, errors.New("an answer that cannot be read")
	}
	if a.Error != "" {
		return Answer{}, errors.New(printableText(a.Error))
	}
	return a, nil
}

func printableText(text string) string {
	const limit = 300
	if len(text) > limit {
		text = text[:limit]
	}
	return string(bytes.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return ' '
		}
		return r
	}, []byte(text)))
}

// Obey carries out a Command about keys, or describes this node.
func (c *Cluster) Obey(command Command) Answer {
	var err error
	switch command.Do {
	case DoKeys:
	case DoDescribe:
		self := c.Self()
		meta, err := self.Encode()
		if err != nil {
			return Answer{Error: err.Error()}
		}
		return Answer{Meta: meta}
	case DoAddKey:
		var key []byte
		if key, err = ParseKey(command.Key); err == nil {
			err = c.AddKey(key)
		}
	case DoUseKey:
		err = c.UseKey(command.Key)
	case DoRemoveKey:
		err = c.RemoveKey(command.Key)
	default:
		err = fmt.Errorf("%q is nothing that this node does", command.Do)
	}
	if err != nil {
		return Answer{Error: err.Error()}
	}
	return Answer{Keys: c.Keys()}
}

// Description is how the node of a name has described itself, in answer to DoDescribe; false when it has not.
func (a Answer) Description(id string) (Meta, bool) {
	m, err := DecodeMeta(a.Meta, Protocol)
	return m, err == nil && m.ID == id
}

// Confirms tells whether what a node itself has answered to DoDescribe, over an authenticated link, is what gossip says of it: the same
// life of the same node, at the same addresses. Its state and its load may have changed meanwhile.
func (a Answer) Confirms(gossip *Meta) bool {
	m, err := DecodeMeta(a.Meta, gossip.Protocol)
	m.State, m.Load = gossip.State, gossip.Load
	return err == nil && m.same(gossip)
}
