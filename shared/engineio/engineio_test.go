package engineio

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func collect(t *testing.T, r Revision, payload string) ([]string, error) {
	t.Helper()
	var got []string
	for p, err := range r.Packets([]byte(payload)) {
		if err != nil {
			return got, err
		}
		got = append(got, fmt.Sprintf("%v:%v:%s", p.Type, p.Binary, p.Data))
	}
	return got, nil
}

func TestPacketsOfBothRevisions(t *testing.T) {
	for _, c := range []struct {
		r       Revision
		payload string
		want    string // the packets joined by "|"
		err     error
	}{
		{Revision4, "4hello", "message:false:hello", nil},
		{Revision4, "4a\x1e4b\x1e2", "message:false:a|message:false:b|ping:false:", nil},
		{Revision4, "4hello\x1ebAQIDBA==", "message:false:hello|message:true:\x01\x02\x03\x04", nil},
		{Revision4, "420[\"refreshReconnectionTicket\"]\x1e421[\"logout\"]", `message:false:20["refreshReconnectionTicket"]|message:false:21["logout"]`, nil},
		{Revision4, "", "", ErrEmpty},
		{Revision4, "4a\x1e", "message:false:a", ErrEmpty},
		{Revision4, "4a\x1e\x1e4b", "message:false:a", ErrEmpty},
		{Revision4, "4a\x1e9", "message:false:a", ErrType},
		{Revision4, "abc", "", ErrType},
		{Revision4, "b!", "", ErrBase64},
		{Revision3, "6:4hello", "message:false:hello", nil},
		{Revision3, "6:4test16:4test2", "message:false:test1|message:false:test2", nil},
		{Revision3, "6:4hello2:4€", "message:false:hello|message:false:€", nil},
		{Revision3, "3:4\U0001F6001:2", "message:false:\U0001F600|ping:false:", nil}, // a surrogate pair counts two
		{Revision3, "2:4€10:b4AQIDBA==", "message:false:€|message:true:\x01\x02\x03\x04", nil},
		{Revision3, "0:1:2", "ping:false:", nil},
		{Revision3, "2:4\U0001F600", "", ErrPayload}, // cuts the pair in two
		{Revision3, "", "", ErrPayload},
		{Revision3, "abc", "", ErrPayload},
		{Revision3, "1", "", ErrPayload},
		{Revision3, ":2", "", ErrPayload},
		{Revision3, "1:", "", ErrPayload},
		{Revision3, "-1:2", "", ErrPayload},
		{Revision3, "99999999999999999999999:4", "", ErrPayload},
		{Revision3, "1:2x", "ping:false:", ErrPayload},
		{Revision3, "1:b", "", ErrEmpty},
		{Revision3, "2:b7", "", ErrType},
	} {
		got, err := collect(t, c.r, c.payload)
		if strings.Join(got, "|") != c.want || !errors.Is(err, c.err) {
			t.Errorf("revision %d, %q: got %q, %v; want %q, %v", c.r, c.payload, got, err, c.want, c.err)
		}
	}
}

func TestBinaryPayloadOfRevision3(t *testing.T) {
	payload := []byte("\x00\x04\xff4€\x01\x05\xff\x04\x01\x02\x03\x04")
	var got []string
	for p, err := range BinaryPackets(payload) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%v:%v:%s", p.Type, p.Binary, p.Data))
	}
	if want := []string{"message:false:€", "message:true:\x01\x02\x03\x04"}; strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, bad := range []string{"", "\x00", "\x00\xff", "\x00\x01", "\x00\x01\xff", "\x02\x01\xff4", "\x00\x0a\xff4", "\x00\x09\x09\x09\x09\x09\xff4", "\x01\x01\xff\x07"} {
		failed := false
		for _, err := range BinaryPackets([]byte(bad)) {
			failed = failed || err != nil
		}
		if !failed {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestPayloadRoundTrip(t *testing.T) {
	packets := []Packet{
		{Type: TypeMessage, Data: []byte(`2["text","Zoë 你好 😀"]`)},
		{Type: TypePing},
		{Type: TypeMessage, Binary: true, Data: []byte{0, 1, 0x1e, 0xff}},
		{Type: TypeNoop},
	}
	for _, r := range []Revision{Revision3, Revision4} {
		var payload []byte
		for _, p := range packets {
			payload = r.AppendPayload(payload, r.AppendPacket(nil, p))
		}
		i := 0
		for p, err := range r.Packets(payload) {
			if err != nil || p.Type != packets[i].Type || p.Binary != packets[i].Binary || !bytes.Equal(p.Data, packets[i].Data) {
				t.Fatalf("revision %d, packet %d: got %+v, %v", r, i, p, err)
			}
			i++
		}
		if i != len(packets) {
			t.Errorf("revision %d: %d packets came back", r, i)
		}
		frame, err := r.DecodeFrame(r.AppendFrame(nil, packets[2]))
		if err != nil || !frame.Binary || frame.Type != TypeMessage || !bytes.Equal(frame.Data, packets[2].Data) {
			t.Errorf("revision %d, frame: %+v, %v", r, frame, err)
		}
	}
	if got := string(Revision3.AppendPayload(nil, []byte(`430["error","Illegal request"]`))); got != `30:430["error","Illegal request"]` {
		t.Error(got)
	}
	if got := string(Revision3.AppendPayload(nil, []byte("6"))); got != "1:6" {
		t.Error(got)
	}
}

func TestOpenPacket(t *testing.T) {
	o := Open{SID: "abc", Upgrades: []string{"websocket"}, PingInterval: 25 * time.Second, PingTimeout: 20 * time.Second, MaxPayload: 1_000_000}
	want := `0{"sid":"abc","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`
	if got := string(o.AppendPacket(nil)); got != want {
		t.Errorf("got %s", got)
	}
	o.Upgrades = nil
	if got := string(o.AppendPacket(nil)); !strings.Contains(got, `"upgrades":[],`) {
		t.Errorf("got %s", got)
	}
	back, err := ParseOpen([]byte(want)[1:])
	if err != nil || back.SID != "abc" || len(back.Upgrades) != 1 || back.PingInterval != o.PingInterval || back.PingTimeout != o.PingTimeout || back.MaxPayload != o.MaxPayload {
		t.Errorf("%+v, %v", back, err)
	}
	for _, bad := range []string{``, `[]`, `{}`, `{"sid":"a"}`, `{"sid":"a","pingInterval":0,"pingTimeout":1}`, `{"sid":1,"pingInterval":1,"pingTimeout":1}`,
		`{"sid":"a","pingInterval":1e15,"pingTimeout":1}`, `{"sid":"a","pingInterval":"1","pingTimeout":1}`} {
		if _, err := ParseOpen([]byte(bad)); !errors.Is(err, ErrOpen) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestParseRevision(t *testing.T) {
	for in, want := range map[string]Revision{"4": Revision4, "3": Revision3, "": Revision3, "5": Revision3, "04": Revision3} {
		if got := ParseRevision(in); got != want {
			t.Errorf("%q: %d", in, got)
		}
	}
}

func FuzzPackets(f *testing.F) {
	for _, s := range []string{"4hello\x1e2", "6:4hello2:4€", "3:4\U0001F600", "bAQIDBA==", "10:b4AQIDBA==", "0:", "\x1e", "\x00\x04\xff4€", "1:\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, r := range []Revision{Revision3, Revision4} {
			var again []byte
			n := 0
			for p, err := range r.Packets(data) {
				if err != nil {
					break
				}
				again = r.AppendPayload(again, r.AppendPacket(nil, p))
				n++
			}
			for p, err := range r.Packets(again) {
				if n == 0 {
					break
				}
				if err != nil {
					t.Fatalf("revision %d: %q was written as %q, whose packet %v is faulty: %v", r, data, again, p, err)
				}
				n--
			}
			if n != 0 {
				t.Fatalf("revision %d: %d packets of %q were lost", r, n, data)
			}
			if p, err := r.DecodeFrame(data); err == nil && !bytes.Equal(r.AppendFrame(nil, p), data) {
				t.Fatalf("frame %q", data)
			}
		}
		for range BinaryPackets(data) {
		}
	})
}

func FuzzParseOpen(f *testing.F) {
	f.Add([]byte(`{"sid":"abc","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if o, err := ParseOpen(data); err == nil && (o.SID == "" || o.PingInterval <= 0 || o.PingTimeout <= 0) {
			t.Fatalf("%q gave %+v", data, o)
		}
	})
}

func BenchmarkDecodePayload(b *testing.B) {
	message := []byte(`42["stream",{"id":"5f0000000000000000000001","status":"update","data":{"field":"audio.status","value":"inactive"}}]`)
	for _, r := range []Revision{Revision3, Revision4} {
		b.Run(fmt.Sprintf("revision%d", r), func(b *testing.B) {
			var payload []byte
			for range 10 {
				payload = r.AppendPayload(payload, message)
			}
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range r.Packets(payload) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkAppendPayload(b *testing.B) {
	message := []byte(`42["stream",{"id":"5f0000000000000000000001","status":"update","data":{"field":"audio.status","value":"inactive"}}]`)
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		dst = dst[:0]
		for range 10 {
			dst = Revision3.AppendPayload(dst, message)
		}
	}
}
