package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestCommandsThatCannotBe(t *testing.T) {
	key := FormatKey(NewKey())
	for _, c := range []Command{
		{Do: DoKeys}, {Do: DoDrain}, {Do: DoUndrain}, {Do: DoTell}, {Do: DoDescribe}, {Do: DoAddKey, Key: key}, {Do: DoUseKey, Key: "ab12"}, {Do: DoRemoveKey, Key: "ab12"},
	} {
		if got, err := DecodeCommand(c.Encode()); err != nil || got != c {
			t.Errorf("%+v: %+v, %v", c, got, err)
		}
	}
	for _, c := range []Command{
		{}, {Do: "reboot"}, {Do: DoKeys, Key: key}, {Do: DoAddKey}, {Do: DoAddKey, Key: "QUJD"}, {Do: DoUseKey}, {Do: DoRemoveKey, Key: "a b"},
		{Do: DoUseKey, Key: strings.Repeat("a", 65)},
	} {
		if _, err := DecodeCommand(c.Encode()); err == nil {
			t.Errorf("%+v is read", c)
		}
	}
	for _, text := range []string{"", "{", `[]`, `{"do":"keys"}{}`, `{"do":"keys","else":1}`, `{"do":"keys"` + strings.Repeat(" ", maxCommand) + "}"} {
		if _, err := DecodeCommand([]byte(text)); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}

// A refusal of another node is an error in one line, whatever it holds.
func TestAnswers(t *testing.T) {
	_, err := DecodeAnswer(Answer{Error: "no\nsuch\x00key" + strings.Repeat("x", 1000)}.Encode())
	if err == nil || !strings.HasPrefix(err.Error(), "no such key") || len(err.Error()) > 300 || strings.ContainsAny(err.Error(), "\n\x00") {
		t.Errorf("%q", err)
	}
	if _, err := DecodeAnswer([]byte("x")); err == nil {
		t.Error("read")
	}
	a, err := DecodeAnswer(Answer{Keys: []KeyInfo{{Name: "a", InUse: true}}, Told: json.RawMessage(`{"x":1}`)}.Encode())
	if err != nil || len(a.Keys) != 1 || !a.Keys[0].InUse || string(a.Told) != `{"x":1}` {
		t.Errorf("%+v, %v", a, err)
	}
	if got, err := DecodeAnswer(Answer{Told: json.RawMessage(`{`)}.Encode()); err == nil {
		t.Errorf("%+v", got)
	}
}

// Keys are replaced by commands as by the methods.
func TestObey(t *testing.T) {
	first, key := NewKey(), NewKey()
	c, err := New(Config{Self: meta("a", 1), Label: "test", Keys: [][]byte{first}, Bind: "127.0.0.1:0", Profile: Local})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for _, step := range []struct {
		command Command
		keys    int
		refusal error
	}{
		{Command{Do: DoKeys}, 1, nil},
		{Command{Do: DoUseKey, Key: KeyName(key)}, 0, ErrNoKey},
		{Command{Do: DoAddKey, Key: FormatKey(key)}, 2, nil},
		{Command{Do: DoRemoveKey, Key: KeyName(first)}, 0, ErrKeyInUse},
		{Command{Do: DoUseKey, Key: KeyName(key)}, 2, nil},
		{Command{Do: DoAddKey, Key: FormatKey(NewKey())}, 0, ErrKeys},
		{Command{Do: DoRemoveKey, Key: KeyName(first)}, 1, nil},
		{Command{Do: DoDrain}, 0, errors.New("is nothing that this node does")},
	} {
		a := c.Obey(step.command)
		if len(a.Keys) != step.keys || (step.refusal == nil) != (a.Error == "") || step.refusal != nil && !strings.Contains(a.Error, step.refusal.Error()) {
			t.Errorf("%s: %+v", step.command.Do, a)
		}
	}
}

// A node confirms what gossip says of it, and nothing else.
func TestConfirms(t *testing.T) {
	c, err := New(Config{Self: meta("a", 1), Label: "test", Keys: [][]byte{NewKey()}, Bind: "127.0.0.1:0", Profile: Local})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	a := c.Obey(Command{Do: DoDescribe})
	said := c.Self().Meta
	said.Protocol = Protocol
	busy := said
	busy.Load, busy.State = 5, Draining
	if !a.Confirms(&said) || !a.Confirms(&busy) {
		t.Error("the truth is not confirmed")
	}
	for what, change := range map[string]func(*Meta){
		"another life": func(m *Meta) { m.Boot++ }, "another node": func(m *Meta) { m.ID = "b" }, "another role": func(m *Meta) { m.Roles = Relay },
		"another address": func(m *Meta) { m.Addresses = []Address{{Use: ForClients, Text: "192.0.2.1:80"}} },
	} {
		lie := said
		change(&lie)
		if a.Confirms(&lie) {
			t.Errorf("%s is confirmed", what)
		}
	}
	if (Answer{}).Confirms(&said) || (Answer{Meta: []byte("x")}).Confirms(&said) {
		t.Error("an answer without a description confirms")
	}
}

func FuzzDecodeCommand(f *testing.F) {
	for _, c := range []Command{{Do: DoKeys}, {Do: DoAddKey, Key: FormatKey(make([]byte, KeySize))}, {Do: DoUseKey, Key: "ab12"}} {
		f.Add(c.Encode())
	}
	f.Add([]byte(`{"do":"add-key","key":"\u0000"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := DecodeCommand(data)
		if err != nil {
			return
		}
		again, err := DecodeCommand(c.Encode())
		if err != nil || again != c || bytes.Contains([]byte(c.Key), []byte("\n")) {
			t.Errorf("%+v, then %+v: %v", c, again, err)
		}
	})
}
