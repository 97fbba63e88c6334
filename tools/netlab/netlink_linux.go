package netlab

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// request asks the kernel to change the network of the namespace that this thread is in, and waits for its word. A message is a
// nlmsghdr, a fixed part that depends on the kind, and attributes (rtnetlink(7)); integers are the machine's.
func request(kind, flags uint16, fixed []byte, attributes ...[]byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	message := make([]byte, unix.NLMSG_HDRLEN)
	message = append(message, fixed...)
	for _, a := range attributes {
		message = append(message, a...)
	}
	native := binary.NativeEndian
	native.PutUint32(message, uint32(len(message)))
	native.PutUint16(message[4:], kind)
	native.PutUint16(message[6:], flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	if err := unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return os.NewSyscallError("recvfrom", err)
	}
	if n < unix.NLMSG_HDRLEN+4 || native.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return errors.New("the kernel's answer is not an acknowledgement")
	}
	if code := int32(native.Uint32(answer[unix.NLMSG_HDRLEN:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

// attribute is a rtattr: its size, its type, its content, and zeros up to a multiple of four.
func attribute(kind uint16, content ...[]byte) []byte {
	b := make([]byte, unix.SizeofRtAttr)
	for _, c := range content {
		b = append(b, c...)
	}
	binary.NativeEndian.PutUint16(b, uint16(len(b)))
	binary.NativeEndian.PutUint16(b[2:], kind)
	return append(b, make([]byte, -len(b)&3)...)
}

func number(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
func text(s string) []byte   { return append([]byte(s), 0) }

// link is an ifinfomsg.
func link(index int32, flags, change uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	binary.NativeEndian.PutUint32(b[12:], change)
	return b
}

// addVeth makes a pair of devices, one in this thread's namespace and one in that of the descriptor.
func addVeth(here, there string, namespace int) error {
	const vethInfoPeer = 1
	peer := attribute(vethInfoPeer, link(0, 0, 0),
		attribute(unix.IFLA_IFNAME, text(there)), attribute(unix.IFLA_NET_NS_FD, number(uint32(namespace))))
	return request(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, link(0, 0, 0), attribute(unix.IFLA_IFNAME, text(here)),
		attribute(unix.IFLA_LINKINFO, attribute(unix.IFLA_INFO_KIND, text("veth")), attribute(unix.IFLA_INFO_DATA, peer)))
}

// setUp brings a device up. Its queue towards us has room for what a system call may send at once, many times over.
func setUp(device string) error {
	const queue = 4096 // packets
	return request(unix.RTM_NEWLINK, 0, link(0, unix.IFF_UP, unix.IFF_UP),
		attribute(unix.IFLA_IFNAME, text(device)), attribute(unix.IFLA_TXQLEN, number(queue)))
}

// addAddress gives a device an address without a network.
func addAddress(device string, address netip.Addr) error {
	i, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	fixed := []byte{family(address), uint8(address.BitLen()), 0, unix.RT_SCOPE_UNIVERSE}
	fixed = append(fixed, number(uint32(i.Index))...)
	return request(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, fixed,
		attribute(unix.IFA_LOCAL, address.AsSlice()), attribute(unix.IFA_ADDRESS, address.AsSlice()))
}

// addRoute leads packets for the addresses out of a device: to a gateway on it, or, if that is the zero Addr, straight to the addresses.
func addRoute(to netip.Prefix, gateway netip.Addr, device string) error {
	i, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	attributes := [][]byte{attribute(unix.RTA_DST, to.Addr().AsSlice()), attribute(unix.RTA_OIF, number(uint32(i.Index)))}
	scope := uint8(unix.RT_SCOPE_LINK)
	if gateway.IsValid() {
		scope = unix.RT_SCOPE_UNIVERSE
		attributes = append(attributes, attribute(unix.RTA_GATEWAY, gateway.AsSlice()))
	}
	fixed := []byte{family(to.Addr()), uint8(to.Bits()), 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, scope, unix.RTN_UNICAST}
	fixed = append(fixed, number(0)...) // flags
	return request(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, fixed, attributes...)
}

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
