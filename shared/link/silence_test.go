//go:build unix

package link

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/shared/identity"
)

// A peer that is killed or stopped without a word is found dead within about a second, whether it was being talked to or not.
func TestSilentPeer(t *testing.T) {
	dir := t.TempDir()
	if err := identity.Init(dir); err != nil {
		t.Fatal(err)
	}
	mine, err := identity.Issue(dir, "here", identity.Edge, false)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := identity.Issue(dir, "there", identity.Relay, false)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.Load(mine)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		signal syscall.Signal
		busy   bool
	}{{"killed", syscall.SIGKILL, false}, {"killed at work", syscall.SIGKILL, true}, {"stopped", syscall.SIGSTOP, false}} {
		t.Run(c.name, func(t *testing.T) {
			process, address := start(t, filepath.Dir(theirs.Cert))
			l, err := Dial(patient(t), address, id, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			for began := time.Now(); time.Since(began) < time.Second; { // longer than what a silent peer has
				if c.busy {
					_ = l.Send(1, make([]byte, 1000))
				}
				select {
				case <-l.Done():
					t.Fatalf("a living peer is dead: %v", l.Err())
				case <-time.After(5 * time.Millisecond):
				}
			}
			if err := process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			wait(t, l.Done(), "the end")
			took := time.Since(began)
			t.Logf("noticed after %v", took)
			if !errors.Is(l.Err(), ErrLost) || took > 3*time.Second { // 1.15 s on a machine that has time
				t.Errorf("%v after %v", l.Err(), took)
			}
		})
	}
}

func start(t *testing.T, dir string) (*os.Process, string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), nodeEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd.Process, strings.TrimSpace(address)
}
