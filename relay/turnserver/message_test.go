package turnserver

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/stun/v2"
)

// stunMessage builds a message attribute by attribute, right or wrong.
func stunMessage(kind uint16, attrs ...[]byte) []byte {
	body := bytes.Join(attrs, nil)
	b := make([]byte, stunHeader, stunHeader+len(body))
	binary.BigEndian.PutUint16(b, kind)
	binary.BigEndian.PutUint16(b[2:], uint16(len(body)))
	binary.BigEndian.PutUint32(b[4:], stunCookie)
	copy(b[8:], "transaction!")
	return append(b, body...)
}

func attribute(kind uint16, value ...byte) []byte {
	b := make([]byte, 4, 8)
	binary.BigEndian.PutUint16(b, kind)
	binary.BigEndian.PutUint16(b[2:], uint16(len(value)))
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func TestParse(t *testing.T) {
	m, ok := parse(stunMessage(allocateRequest, attribute(attrLifetime, 0, 0, 2, 0x58), attribute(attrRequestedTransport, 17, 0, 0, 0),
		attribute(attrEvenPort, 0x80), attribute(attrRequestedFamily, 2, 0, 0, 0), attribute(0x8022, 1, 2, 3)))
	if !ok || m.kind != allocateRequest || m.lifetime != 600*time.Second || m.transport != 17 || !m.reserves || m.family != 2 {
		t.Fatalf("%+v, %v", m, ok)
	}
	m, ok = parse(stunMessage(channelBindRequest, attribute(attrChannelNumber, 0x40, 1, 0, 0), attribute(attrPeerAddress, 0, 1, 0, 0, 1, 2, 3, 4),
		attribute(attrIntegrity, make([]byte, 20)...), attribute(attrFingerprint, 1, 2, 3, 4)))
	if !ok || m.channel != 0x4001 || m.peers != 1 || m.lifetime != -1 {
		t.Fatalf("%+v, %v", m, ok)
	}
	m, ok = parse(stunMessage(allocateError, attribute(attrErrorCode, 0, 0, 4, 86)))
	if !ok || m.errorCode != 486 {
		t.Fatalf("%+v, %v", m, ok)
	}
}

func TestParseRefuses(t *testing.T) {
	good := stunMessage(bindingRequest)
	many := make([][]byte, maxAttrs+1)
	for i := range many {
		many[i] = attribute(0x8022)
	}
	for name, b := range map[string][]byte{
		"nothing":                nil,
		"short":                  good[:19],
		"longer than it says":    append(append([]byte{}, good...), 0, 0, 0, 0),
		"shorter than it says":   append(append([]byte{}, good[:2]...), append([]byte{0, 4}, good[4:]...)...),
		"odd length":             append(append(append([]byte{}, good[:2]...), 0, 3), append(good[4:], 1, 2, 3)...),
		"no cookie":              append(append([]byte{}, good[:4]...), make([]byte, 16)...),
		"first bits":             append([]byte{0x80}, good[1:]...),
		"attribute past the end": stunMessage(bindingRequest, []byte{0, 6, 0, 5, 1, 2, 3, 4}),
		"half an attribute":      stunMessage(bindingRequest, []byte{0, 6})[:22],
		"empty peer":             stunMessage(permissionRequest, attribute(attrPeerAddress)),
		"peer of 7 bytes":        stunMessage(permissionRequest, attribute(attrPeerAddress, 0, 1, 0, 0, 1, 2, 3)),
		"IPv4 peer as IPv6":      stunMessage(permissionRequest, attribute(attrPeerAddress, 0, 2, 0, 0, 1, 2, 3, 4)),
		"channel of 2 bytes":     stunMessage(channelBindRequest, attribute(attrChannelNumber, 0x40, 1)),
		"lifetime of 1 byte":     stunMessage(refreshRequest, attribute(attrLifetime, 1)),
		"long user name":         stunMessage(allocateRequest, attribute(attrUsername, make([]byte, maxUsername+1)...)),
		"after the integrity":    stunMessage(permissionRequest, attribute(attrIntegrity, make([]byte, 20)...), attribute(attrPeerAddress, 0, 1, 0, 0, 1, 2, 3, 4)),
		"too many attributes":    stunMessage(bindingRequest, many...),
	} {
		if _, ok := parse(b); ok {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, ok := parse(good); !ok {
		t.Fatal("the good message is refused")
	}
}

func TestErrorResponse(t *testing.T) {
	m := &stun.Message{Raw: errorResponse(allocateRequest, [12]byte{1, 2, 3}, 486, "Allocation Quota Reached")}
	if err := m.Decode(); err != nil {
		t.Fatal(err)
	}
	var code stun.ErrorCodeAttribute
	if err := code.GetFrom(m); err != nil || code.Code != 486 || string(code.Reason) != "Allocation Quota Reached" {
		t.Fatalf("%v %v", code, err)
	}
	if m.Type != stun.NewType(stun.MethodAllocate, stun.ClassErrorResponse) || m.TransactionID != [12]byte{1, 2, 3} {
		t.Fatalf("%v", m)
	}
}

func TestChannelDataFrames(t *testing.T) {
	for name, c := range map[string]struct {
		b     []byte
		whole bool
		frame int
	}{
		"empty":     {[]byte{0x40, 0, 0, 0}, true, 4},
		"unpadded":  {[]byte{0x40, 0, 0, 1, 9}, true, 8},
		"padded":    {[]byte{0x7f, 0xff, 0, 1, 9, 0, 0, 0}, true, 8},
		"too short": {[]byte{0x40, 0, 0, 2, 9}, false, 8},
		"too long":  {[]byte{0x40, 0, 0, 1, 9, 0, 0, 0, 0}, false, 8},
		"largest":   {[]byte{0x40, 0, 0xff, 0xff}, false, 65540},
		"stun":      {[]byte{0, 1, 0xff, 0xec}, false, 65536},
		"odd stun":  {[]byte{0, 1, 0, 1}, false, 0},
		"http":      {[]byte("GET "), false, dataHeader + 0x5420},
		"tls":       {[]byte{0x16, 3, 1, 2}, false, 0},
		"rtp":       {[]byte{0x80, 0, 0, 0}, false, 0},
	} {
		if got := wholeChannelData(c.b); got != c.whole {
			t.Errorf("%s: whole = %v", name, got)
		}
		if got := frameSize(c.b); got != c.frame {
			t.Errorf("%s: frame of %d bytes, want %d", name, got, c.frame)
		}
	}
}

// FuzzParse holds that what we accept as a message the STUN library accepts too, and that its address parser, which panics on
// values it does not expect, is safe on it.
func FuzzParse(f *testing.F) {
	f.Add(stunMessage(bindingRequest))
	f.Add(stunMessage(permissionRequest, attribute(attrPeerAddress, 0, 1, 0, 0, 1, 2, 3, 4), attribute(attrUsername, 'a')))
	f.Add(stunMessage(sendIndication, attribute(attrData, 1, 2, 3), attribute(attrPeerAddress)))
	f.Add(errorResponse(allocateRequest, [12]byte{}, 437, "x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= dataHeader {
			if size := frameSize(b); size < 0 || size > stunHeader+0xffff {
				t.Fatalf("a frame of %d bytes", size)
			}
		}
		wholeChannelData(b)
		m, ok := parse(b)
		if !ok {
			return
		}
		exact := make([]byte, len(b)) // no room behind it, as in the worst case
		copy(exact, b)
		msg := &stun.Message{Raw: exact}
		if err := msg.Decode(); err != nil {
			t.Fatalf("%+v is accepted here and refused there: %v", m, err)
		}
		var addr stun.XORMappedAddress
		_ = addr.GetFromAs(msg, stun.AttrXORPeerAddress)
	})
}
