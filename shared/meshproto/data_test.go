package meshproto

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func sampleData() []DataMessage {
	return []DataMessage{
		{Kind: DataFromHere}, {Kind: DataBegin, Stream: 1}, {Kind: DataBytes, Stream: 1, Bytes: []byte("hello")},
		{Kind: DataBytes, Stream: 1<<32 - 1, Bytes: make([]byte, MaxDataBytes)}, {Kind: DataEnd, Stream: 7},
		{Kind: DataReset, Stream: 1, Code: 1<<32 - 1}, {Kind: DataReset, Stream: 2}, {Kind: DataOver, Reason: DataSlow},
	}
}

func TestData(t *testing.T) {
	for _, m := range sampleData() {
		b := AppendData([]byte("x"), m)[1:]
		if got, err := DecodeData(b); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%.20x: %+.60v, %v", b, got, err)
		}
		if m.Kind != DataBytes {
			if _, err := DecodeData(append(b, 0)); !errors.Is(err, ErrMessage) {
				t.Errorf("%x and a byte more: %v", b, err)
			}
		}
	}
	for _, b := range []string{
		"", "\x00", "\x07", "\x06", "\x06\x00", "\x06\x05", "\x02", "\x02\x00\x00\x00\x00", "\x02\x00\x00\x01", "\x03\x00\x00\x00\x01",
		"\x03\x00\x00\x00\x01" + strings.Repeat("x", MaxDataBytes+1), "\x05\x00\x00\x00\x01\x00\x00\x00",
	} {
		if got, err := DecodeData([]byte(b)); !errors.Is(err, ErrMessage) {
			t.Errorf("%.20x: %+v, %v", b, got, err)
		}
	}
}

func TestDataAsk(t *testing.T) {
	ask := DataAsk{Room: "r", Stream: "s"}
	b, err := EncodeDataAsk(ask)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeDataAsk(b); err != nil || got != ask {
		t.Errorf("%s: %+v, %v", b, got, err)
	}
	for _, text := range []string{`{}`, `{"room":"r"}`, `{"stream":"s"}`, `{"room":"` + strings.Repeat("r", MaxName+1) + `","stream":"s"}`, `[]`, "\xff"} {
		if got, err := DecodeDataAsk([]byte(text)); !errors.Is(err, ErrMessage) {
			t.Errorf("%.40s: %+v, %v", text, got, err)
		}
	}
}

func FuzzData(f *testing.F) {
	for _, m := range sampleData() {
		f.Add(AppendData(nil, m))
	}
	ask, _ := EncodeDataAsk(DataAsk{Room: "r", Stream: "s"})
	f.Add(ask)
	f.Add([]byte("\x03\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := DecodeData(b); err == nil {
			if again := AppendData(nil, m); !bytes.Equal(again, b) {
				t.Errorf("%x comes back as %x", b, again)
			}
		}
		if a, err := DecodeDataAsk(b); err == nil {
			if _, err := EncodeDataAsk(a); err != nil {
				t.Errorf("%+v: %v", a, err)
			}
		}
	})
}
