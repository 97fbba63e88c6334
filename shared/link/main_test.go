package link

import (
	"context"
	"fmt"
	"net"
	"os"
	"testing"

	"go.uber.org/goleak"

	"portico/shared/identity"
)

// nodeEnv makes a process of this test a node, with the files of its identity there.
const nodeEnv = "PORTICO_LINK_TEST_NODE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(nodeEnv); dir != "" {
		serve(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// serve takes one link after the other, until it is killed.
func serve(dir string) {
	id, err := identity.Load(identity.Files{CA: dir + "/ca.pem", Cert: dir + "/node.pem", Key: dir + "/node-key.pem"})
	if err != nil {
		panic(err)
	}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		panic(err)
	}
	l, err := Listen(conn, id, Options{})
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	for {
		if _, err := l.Accept(context.Background()); err != nil {
			panic(err)
		}
	}
}
