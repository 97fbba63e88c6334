package turnserver

import "net/netip"

// Class is what kind of peer an address is. Only Public may be relayed to unless Options.Allow says otherwise.
type Class uint8

// The classes, in the order in which an address is tested. An IPv4-mapped IPv6 address has the class of its IPv4 address.
const (
	Public        Class = iota
	Invalid             // no address, or one with a zone
	Unspecified         // 0.0.0.0/8 "this network" (RFC 791), ::
	Loopback            // 127.0.0.0/8, ::1
	Private             // RFC 1918, shared address space (RFC 6598), unique local (RFC 4193)
	LinkLocal           // 169.254.0.0/16, fe80::/10, and site local fec0::/10, which came before ULA
	Multicast           // 224.0.0.0/4, ff00::/8
	Broadcast           // 255.255.255.255
	Documentation       // 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32, 3fff::/20
	Translated          // carries an IPv4 address to another machine: NAT64, 6to4, Teredo, ISATAP, SIIT, IPv4-compatible
	Reserved            // everything else that the IANA special-purpose registries keep from global unicast
)

var classNames = [...]string{"public", "invalid", "unspecified", "loopback", "private", "link_local", "multicast",
	"broadcast", "documentation", "translated", "reserved"}

// String is the class as it stands in metrics ("link_local").
func (c Class) String() string { return classNames[c] }

type classRange struct {
	prefix netip.Prefix
	class  Class
}

func ranges(class Class, prefixes ...string) []classRange {
	var out []classRange
	for _, p := range prefixes {
		out = append(out, classRange{netip.MustParsePrefix(p), class})
	}
	return out
}

func join(lists ...[]classRange) []classRange {
	var out []classRange
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

// The first range that holds an address gives its class (IANA IPv4 and IPv6 special-purpose address registries, RFC 6890).
var (
	ranges4 = join(
		ranges(Unspecified, "0.0.0.0/8"),
		ranges(Loopback, "127.0.0.0/8"),
		ranges(Private, "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
		ranges(LinkLocal, "169.254.0.0/16"),
		ranges(Multicast, "224.0.0.0/4"),
		ranges(Broadcast, "255.255.255.255/32"),
		ranges(Documentation, "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"),
		ranges(Translated, "192.88.99.0/24"), // 6to4 relays (RFC 7526)
		// Protocol assignments, benchmarking, future use.
		ranges(Reserved, "192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4"),
	)
	ranges6 = join(
		ranges(Unspecified, "::/128"),
		ranges(Loopback, "::1/128"),
		ranges(Private, "fc00::/7"),
		ranges(LinkLocal, "fe80::/10", "fec0::/10"),
		ranges(Multicast, "ff00::/8"),
		ranges(Documentation, "2001:db8::/32", "3fff::/20"),
		// IPv4-compatible, SIIT, NAT64 well-known and local, 6to4, Teredo.
		ranges(Translated, "::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"),
		ranges(Reserved, "2001::/23"), // protocol assignments: benchmarking, ORCHID and others
	)
	globalUnicast6 = netip.MustParsePrefix("2000::/3")
)

// Classify says what kind of peer an address is. It does not look at routes or interfaces.
func Classify(a netip.Addr) Class {
	if !a.IsValid() || a.Zone() != "" {
		return Invalid
	}
	a = a.Unmap()
	list := ranges4
	if a.Is6() {
		list = ranges6
	}
	for i := range list {
		if list[i].prefix.Contains(a) {
			return list[i].class
		}
	}
	if a.Is4() {
		return Public
	}
	if !globalUnicast6.Contains(a) {
		return Reserved
	}
	if isISATAP(a) {
		return Translated
	}
	return Public
}

// isISATAP knows the interface identifier 0000:5efe:a.b.c.d or 0200:5efe:a.b.c.d (RFC 5214 section 6.1), under any prefix.
func isISATAP(a netip.Addr) bool {
	b := a.As16()
	return (b[8] == 0 || b[8] == 2) && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}
