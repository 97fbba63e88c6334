// Package netlab makes small networks inside this machine for tests: network namespaces, and links between them whose rate, delay, jitter,
// queue and loss are set in each direction and may change while packets flow. It is for Linux, and for root.
//
//	lab := netlab.ForTest(t, 1)
//	edge, home := lab.Namespace("edge"), lab.Namespace("home")
//	line := lab.Link(edge, home, netlab.Shape{Rate: 3000, Delay: 20 * time.Millisecond}, netlab.Shape{Delay: 20 * time.Millisecond})
//	conn, err := home.DialContext(ctx, "tcp", netip.AddrPortFrom(edge.Addr(), 8080).String())
//	line.Set(netlab.Forth, netlab.Shape{Rate: 300, Delay: 20 * time.Millisecond})
//
// A Link is a pair of TUN devices, and this process carries packets from one to the other; what it does to them is its own, since the
// kernels that tests run on often lack netem. Its chance is seeded: the same packets give the same losses. A Wire is a pair of veth
// devices, at the kernel's speed and without a shape.
//
// Nothing is left behind, however the process ends: namespaces have no name in the file system, so the kernel takes them away, with
// their devices, when the process is gone; programs that were started in one are killed then.
package netlab
