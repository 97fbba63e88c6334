package turnserver

import (
	"net/netip"
	"strings"
	"testing"
)

func TestClassify(t *testing.T) {
	for class, addrs := range map[Class]string{
		Public: "8.8.8.8 1.1.1.1 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 192.0.1.0 198.17.255.255 198.20.0.0 223.255.255.255 " +
			"::ffff:8.8.8.8 2606:4700::1111 2003::1 2001:200::1 2a00::200:5ffe:1:1",
		Invalid:       "fe80::1%eth0 2606:4700::1%1",
		Unspecified:   "0.0.0.0 0.1.2.3 :: ::ffff:0.0.0.0",
		Loopback:      "127.0.0.1 127.255.255.255 ::1 ::ffff:127.0.0.1",
		Private:       "10.0.0.0 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 192.168.255.255 100.64.0.1 100.127.255.255 fc00::1 fdff::1 ::ffff:10.1.2.3 ::ffff:192.168.1.1",
		LinkLocal:     "169.254.0.1 169.254.169.254 fe80::1 febf::1 fec0::1 ::ffff:169.254.169.254",
		Multicast:     "224.0.0.1 239.255.255.255 ff02::1 ff0e::1 ::ffff:224.0.0.1",
		Broadcast:     "255.255.255.255 ::ffff:255.255.255.255",
		Documentation: "192.0.2.1 198.51.100.1 203.0.113.1 2001:db8::1 3fff:fff::1",
		Translated: "192.88.99.1 64:ff9b::8.8.8.8 64:ff9b::127.0.0.1 64:ff9b:1::10.0.0.1 2002:7f00:1::1 2002:808:808::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 " +
			"::ffff:0:127.0.0.1 ::8.8.8.8 ::7f00:1 2606:4700::5efe:127.0.0.1 2606:4700::200:5efe:8.8.8.8",
		Reserved: "192.0.0.1 198.18.0.1 198.19.255.255 240.0.0.1 255.255.255.254 100::1 2001:2::1 2001:10::1 2001:20::1 5f00::1 4000::1 1::1 fe00::1 64:ff9b:2::1",
	} {
		for text := range strings.FieldsSeq(addrs) {
			if got := Classify(netip.MustParseAddr(text)); got != class {
				t.Errorf("%s is %v, want %v", text, got, class)
			}
		}
	}
	if Classify(netip.Addr{}) != Invalid {
		t.Error("no address is not invalid")
	}
}

func TestReasonsFollowClasses(t *testing.T) {
	for c := Invalid; c <= Reserved; c++ {
		if got, want := reasonOf(c).String(), "peer_"+c.String(); got != want {
			t.Errorf("class %v has reason %q, want %q", c, got, want)
		}
	}
	for r := passes; r < reasonCount; r++ {
		if r.String() == "" {
			t.Errorf("reason %d has no name", r)
		}
	}
}

// FuzzClassify holds that every way of writing an IPv4 address is refused or counts as that address, and that what
// net/netip calls special is never public.
func FuzzClassify(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "fe80::1", "8.8.8.8", "2606:4700::5efe:7f00:1"} {
		b := netip.MustParseAddr(s).As16()
		f.Add(b[:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		class := Classify(a)
		if class != Classify(a.Unmap()) {
			t.Fatalf("%v is %v, unmapped %v", a, class, Classify(a.Unmap()))
		}
		u := a.Unmap()
		special := !u.IsGlobalUnicast() || u.IsPrivate() || u.IsLoopback() || u.IsMulticast() || u.IsLinkLocalUnicast() || u.IsUnspecified()
		if special && class == Public {
			t.Fatalf("%v is public", a)
		}
		if !u.Is4() {
			return
		}
		v4 := u.As4()
		for _, prefix := range []string{"64:ff9b::", "64:ff9b:1::", "::ffff:0:0:0", "::", "2606::5efe:0:0", "2606::200:5efe:0:0"} {
			e := netip.MustParseAddr(prefix).As16()
			copy(e[12:], v4[:])
			if Classify(netip.AddrFrom16(e)) == Public {
				t.Fatalf("%v, which carries %v, is public", netip.AddrFrom16(e), u)
			}
		}
		sixToFour := [16]byte{0x20, 0x02}
		copy(sixToFour[2:], v4[:])
		if Classify(netip.AddrFrom16(sixToFour)) == Public {
			t.Fatalf("%v, which carries %v, is public", netip.AddrFrom16(sixToFour), u)
		}
	})
}

func TestParseAllowed(t *testing.T) {
	for text, want := range map[string]string{
		"10.1.2.3": "10.1.2.3", "10.1.2.0/24": "10.1.2.0/24", "10.1.2.3:8080": "10.1.2.3:8080", "[fd00::1]:8080": "[fd00::1]:8080",
		"fd00::/8": "fd00::/8", "::ffff:10.1.2.3": "10.1.2.3", "[::ffff:10.1.2.3]:80": "10.1.2.3:80",
	} {
		a, err := ParseAllowed(text)
		if err != nil || a.String() != want {
			t.Errorf("%q: %v, %v", text, a, err)
		}
	}
	for text, want := range map[string]string{
		"":               "write 10.1.2.3",
		"edge.example":   "write 10.1.2.3",
		"10.1.2.3:0":     "write 10.1.2.3",
		"10.1.2.3/24":    "write 10.1.2.0/24",
		"fe80::1%eth0":   "write 10.1.2.3",
		"10.1.2.3:99999": "write 10.1.2.3",
		"::ffff:0:0/96":  "write 10.1.2.3",
	} {
		if _, err := ParseAllowed(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestPolicy(t *testing.T) {
	var allow []Allowed
	for _, text := range []string{"127.0.0.1:8080", "10.1.0.0/16", "203.0.113.7:53", "fd00::1"} {
		a, err := ParseAllowed(text)
		if err != nil {
			t.Fatal(err)
		}
		allow = append(allow, a)
	}
	own := netip.MustParseAddr("8.8.4.4")
	p := newPolicy(allow, own)
	p.opened(5000)
	for text, want := range map[string]Reason{
		"127.0.0.1:8080":          passes,
		"[::ffff:127.0.0.1]:8080": passes,
		"127.0.0.1:8081":          PeerLoopback,
		"127.0.0.2:8080":          PeerLoopback,
		"10.1.255.1:9":            passes,
		"10.2.0.1:9":              PeerPrivate,
		"203.0.113.7:53":          passes,
		"203.0.113.7:54":          PeerDocumentation,
		"1.1.1.1:1":               passes,
		"1.1.1.1:0":               PeerInvalid,
		"8.8.4.4:5000":            passes,
		"8.8.4.4:5001":            PeerOwn,
		"[2606:4700::1]:1":        PeerFamily,
		"[fd00::1]:1":             PeerFamily,
		"[64:ff9b::1.1.1.1]:1":    PeerTranslated,
	} {
		if got := p.refuse(netip.MustParseAddrPort(text)); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string]Reason{
		"127.0.0.1": passes, "127.0.0.2": PeerLoopback, "8.8.4.4": passes, "2606:4700::1": PeerFamily, "64:ff9b::7f00:1": PeerTranslated,
	} {
		if got := p.refuseIP(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	p.closed(5000)
	if got := p.refuse(netip.MustParseAddrPort("8.8.4.4:5000")); got != PeerOwn {
		t.Errorf("a port that is relayed no more: %v", got)
	}
	for username, want := range map[string]string{"1700000000:alice": "alice", "1700000000:a:b": "a:b", "alice": "alice", "x:y": "x:y", "170:": ""} {
		if got := userName(username); got != want {
			t.Errorf("the user of %q is %q, want %q", username, got, want)
		}
	}
}

func TestPolicyAllocatesNothing(t *testing.T) {
	p := newPolicy(nil, netip.MustParseAddr("8.8.4.4"))
	for _, text := range []string{"1.1.1.1:1", "10.0.0.1:1", "8.8.4.4:1"} {
		peer := netip.MustParseAddrPort(text)
		if n := testing.AllocsPerRun(100, func() { p.refuse(peer) }); n != 0 {
			t.Errorf("%s: %v allocations a packet", text, n)
		}
	}
}

func BenchmarkPolicy(b *testing.B) {
	p := newPolicy(nil, netip.MustParseAddr("8.8.4.4"))
	peer := netip.MustParseAddrPort("93.184.216.34:4000")
	for b.Loop() {
		p.refuse(peer)
	}
}
