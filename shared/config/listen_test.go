package config

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestListenFault(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	addr := taken.Addr().String()
	_, err = net.Listen("tcp", addr)
	err = ListenFault("http.listen", addr, err)
	if want := "http.listen: " + addr + " is taken by another program: stop that one, or set http.listen to another port"; err.Error() != want || !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v", err)
	}
	_, err = net.Listen("tcp", "203.0.113.1:80")
	if err := ListenFault("x", "203.0.113.1:80", err); !strings.Contains(err.Error(), "is no address of this machine") {
		t.Errorf("%v", err)
	}
	if err := ListenFault("x", ":80", os.NewSyscallError("bind", syscall.EACCES)); !strings.Contains(err.Error(), "not permitted: set x to a port from 1024 up") {
		t.Errorf("%v", err)
	}
	if err := ListenFault("x", "nowhere:80", &net.DNSError{}); !strings.Contains(err.Error(), "the host of nowhere:80 is unknown") {
		t.Errorf("%v", err)
	}
	if err := ListenFault("x", ":80", errors.New("some\nother")); err.Error() != "x: cannot listen on :80 (some other): correct x" {
		t.Errorf("%v", err)
	}
}

func TestCheckListen(t *testing.T) {
	for addr, ok := range map[string]bool{"0.0.0.0:8080": true, ":80": true, "[::]:1": true, "127.0.0.1:0": true,
		"8080": false, "": false, "host:port": false, "host:70000": false, "host:-1": false, "http://host:80": false} {
		if err := CheckListen("x.listen", addr); (err == nil) != ok || err != nil && !strings.HasPrefix(err.Error(), "x.listen: ") {
			t.Errorf("%q: %v", addr, err)
		}
	}
}

func TestCertificateNamesTheSettings(t *testing.T) {
	_, err := Certificate("turn.cert_file", "/nowhere/cert.pem", "turn.key_file", "/nowhere/key.pem")
	if err == nil || !strings.HasPrefix(err.Error(), "turn.cert_file: there is no file /nowhere/cert.pem: ") {
		t.Errorf("%v", err)
	}
}
