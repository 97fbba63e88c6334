//go:build unix

package webtransport

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"portico/edge/config"
	"portico/tools/edgetest"
)

// within is the longest that the browser's part may take, on a slow machine with everything else running.
const within = 3 * time.Minute

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDataBetweenPages(t *testing.T) {
	consult(t)
	nodeProgram, build, bundle := find(t, "node"), install(t), makeBundle(t)
	browser := os.Getenv("CHROMIUM")
	if browser == "" {
		browser = find(t, "chromium")
	}
	address := startEdge(t)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	cmd := exec.CommandContext(ctx, nodeProgram, "--test", "--test-reporter=spec", "data.test.mjs")
	cmd.Env = append(os.Environ(), "CHROMIUM="+browser, "PORTICO_E2E_BUILD="+build, "PORTICO_SDK="+bundle, "PORTICO_URL="+address)
	// Its own process group, so that what hangs is ended as a whole; browsers go when their pipe closes.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	output, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("not done after %v", within)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	t.Logf("%s", output)
}

// consult reads what the browser runs, so that `go test` sees what a result depends on and does not repeat an old one from its cache.
func consult(t *testing.T) {
	t.Helper()
	for _, name := range []string{"page.js", "data.test.mjs"} {
		if _, err := os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"shared", "wasm", "web"} { // what the client's bundle is made of
		if err := filepath.WalkDir(filepath.Join("../../..", dir), func(_ string, _ fs.DirEntry, err error) error { return err }); err != nil {
			t.Fatal(err)
		}
	}
}

// makeBundle builds the client's bundle, unless it is fresh, and returns its folder.
func makeBundle(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", "./tools/wasmbuild")
	cmd.Dir = root
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("wasmbuild: %v\n%s", err, output)
	}
	return filepath.Join(root, "web", "sdk", "dist")
}

// startEdge runs an edge that gives tokens to everybody, until the test ends.
func startEdge(t *testing.T) (address string) {
	t.Helper()
	return edgetest.Start(t, slog.LevelInfo, func(s *config.Settings) { s.WebTransport.Enabled = "yes" }).URL
}

// install brings playwright-core into the build folder, from the lock file of tools/e2e/browser and to the same place, unless it
// is there already. It returns the folder.
func install(t *testing.T) string {
	t.Helper()
	cache, err := filepath.Abs("../../../build/e2e-browser")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(cache, "node_modules", "playwright-core", "package.json")); err == nil {
		return cache
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc"} {
		content, err := os.ReadFile(filepath.Join("../browser", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(cache, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), find(t, "npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	cmd.Dir = cache
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, output)
	}
	return cache
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
