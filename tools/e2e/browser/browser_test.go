//go:build unix

package browser

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// perFile is the longest that one file of tests may take, on a slow machine with everything else running.
const perFile = 5 * time.Minute

// files in the order they run: what is cheap and explains most comes first.
var files = []string{"unit", "page", "panel", "room", "quality", "relay", "native", "resume", "failures"}

func TestBrowser(t *testing.T) {
	env := prepare(t)
	for _, name := range files {
		t.Run(name, func(t *testing.T) { runFile(t, env, name+".test.mjs") })
	}
}

// prepare builds the programs, installs playwright-core and returns the environment of the tests.
func prepare(t *testing.T) []string {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	cache := filepath.Join(root, "build", "e2e-browser")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	find(t, "node")
	find(t, "npm")
	chromium := os.Getenv("CHROMIUM")
	if chromium == "" {
		chromium = find(t, "chromium")
	}
	consult(t, root)
	portico, guest := filepath.Join(cache, "portico"), filepath.Join(cache, "guest")
	// The program embeds the client, so that comes first; it is left alone when nothing has changed.
	command(t, root, "go", "run", "./tools/wasmbuild")
	command(t, root, "go", "build", "-o", portico, "./tools/portico")
	command(t, root, "go", "build", "-o", guest, "./tools/pionpeer/guest")
	install(t, cache)
	return append(os.Environ(), "CHROMIUM="+chromium, "PORTICO_E2E_BUILD="+cache, "PORTICO_BIN="+portico, "PORTICO_GUEST="+guest)
}

// consult reads the folders that the programs are made of, so that `go test` sees what a result depends on and does not repeat
// an old one from its cache.
func consult(t *testing.T, root string) {
	t.Helper()
	for _, dir := range []string{"edge", "relay", "shared", "tools", "wasm", "web"} {
		if err := filepath.WalkDir(filepath.Join(root, dir), func(_ string, _ fs.DirEntry, err error) error { return err }); err != nil {
			t.Fatal(err)
		}
	}
}

// install brings playwright-core of the lock file into the cache, unless it is there already.
func install(t *testing.T, cache string) {
	t.Helper()
	lock, err := os.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	stamp := filepath.Join(cache, "installed.json")
	if done, err := os.ReadFile(stamp); err == nil && bytes.Equal(done, lock) {
		return
	}
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc"} {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(cache, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	command(t, cache, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	if err := os.WriteFile(stamp, lock, 0o644); err != nil {
		t.Fatal(err)
	}
}

func runFile(t *testing.T, env []string, file string) {
	ctx, cancel := context.WithTimeout(t.Context(), perFile)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "--test", "--test-reporter=spec", file)
	cmd.Env = env
	// Its own process group, so that a file that hangs is ended with the servers it has started; browsers go when their pipe closes.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	output, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("not done after %v", perFile)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", file, err, output)
	}
	t.Logf("%s", output)
}

// find gives the path of a program that make deps installs.
func find(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: run `make deps` and try again", name)
	}
	return path
}

func command(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, output)
	}
}
