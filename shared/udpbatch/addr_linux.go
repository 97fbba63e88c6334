package udpbatch

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// name is a socket address as the kernel has it: a sockaddr_in6, or a sockaddr_in in the first bytes of one.
type name = unix.RawSockaddrInet6

// write stores an address for a socket of IPv4 or of IPv6, and returns how long it is; 0 if the socket cannot reach it.
func write(n *name, to netip.AddrPort, ipv4 bool) uint32 {
	addr := to.Addr()
	switch {
	case !addr.IsValid() || to.Port() == 0:
		return 0
	case !ipv4:
		*n = name{Family: unix.AF_INET6, Addr: addr.As16()}
		if addr.Zone() != "" {
			n.Scope_id = zoneID(addr.Zone())
		}
		putPort(&n.Port, to.Port())
		return unix.SizeofSockaddrInet6
	case addr.Is4() || addr.Is4In6():
		n4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(n))
		*n4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: addr.As4()}
		putPort(&n4.Port, to.Port())
		return unix.SizeofSockaddrInet4
	}
	return 0
}

// read is the address that the kernel has stored.
func read(n *name) netip.AddrPort {
	if n.Family == unix.AF_INET {
		n4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(n))
		return netip.AddrPortFrom(netip.AddrFrom4(n4.Addr), port(&n4.Port))
	}
	addr := netip.AddrFrom16(n.Addr).Unmap()
	if n.Scope_id != 0 && addr.Is6() {
		addr = addr.WithZone(zoneName(n.Scope_id))
	}
	return netip.AddrPortFrom(addr, port(&n.Port))
}

// Ports are in network byte order wherever they lie.
func putPort(p *uint16, v uint16) { binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(p))[:], v) }
func port(p *uint16) uint16       { return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(p))[:]) }

// zones are the interfaces of this machine: link-local addresses carry the number of one in the kernel, its name in netip.Addr, as
// package net has it. Names may come from clients, so the system is asked once a minute at most, however many are unknown.
var zones struct {
	mu    sync.RWMutex
	names map[uint32]string
	ids   map[string]uint32
	asked time.Time
}

// refreshZones asks the system again, if the last time is long ago.
func refreshZones() {
	zones.mu.Lock()
	defer zones.mu.Unlock()
	if !zones.asked.IsZero() && time.Since(zones.asked) < time.Minute {
		return
	}
	zones.asked, zones.names, zones.ids = time.Now(), map[uint32]string{}, map[string]uint32{}
	list, _ := net.Interfaces() // none: numbers serve as names
	for _, i := range list {
		zones.names[uint32(i.Index)] = i.Name
		zones.ids[i.Name] = uint32(i.Index)
	}
}

// zoneName is the name of an interface, or its number if it has none.
func zoneName(id uint32) string {
	for range 2 {
		zones.mu.RLock()
		name, ok := zones.names[id]
		zones.mu.RUnlock()
		if ok {
			return name
		}
		refreshZones()
	}
	return strconv.FormatUint(uint64(id), 10)
}

// zoneID is the number of an interface, 0 if there is none of that name.
func zoneID(name string) uint32 {
	if id, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(id)
	}
	for range 2 {
		zones.mu.RLock()
		id, ok := zones.ids[name]
		zones.mu.RUnlock()
		if ok {
			return id
		}
		refreshZones()
	}
	return 0
}
