package pgtest

import (
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestKillAndRestart(t *testing.T) {
	s := Start(t)
	s.psql(`CREATE TABLE kept (word TEXT); INSERT INTO kept VALUES ('committed')`)
	before := s.URL()
	s.Kill()
	s.Kill() // nothing is left to kill
	s.Restart()
	if s.URL() != before {
		t.Errorf("address %s, before %s", s.URL(), before)
	}
	if !strings.Contains(s.Dump(), "committed") {
		t.Error("what was committed is gone")
	}
	s.Freeze()
	s.Thaw()
	s.tool("psql", "--no-psqlrc", "--quiet", "--dbname", s.SocketURL(), "--command", "SELECT 1")
	s.Freeze() // a frozen server can be killed, as the test does at its end
}

func TestServersAreApart(t *testing.T) {
	a, b := Start(t), Start(t)
	a.psql(`CREATE TABLE only_in_a (n BIGINT)`)
	if strings.Contains(b.Dump(), "only_in_a") {
		t.Error("two servers have one database")
	}
}

func TestMissing(t *testing.T) {
	t.Setenv("PATH", "/nonexistent")
	if has(t.TempDir(), "initdb") {
		t.Error("found in an empty folder")
	}
	if dir := find(); dir != "" && !has(dir, "postgres") {
		t.Errorf("no server in %s", dir)
	}
}
