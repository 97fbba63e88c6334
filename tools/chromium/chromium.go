//go:build unix

// Package chromium runs tests that are written in JavaScript and drive a browser: Chromium of the system's packages, by playwright-core,
// under Node's own test runner.
//
// playwright-core is brought into the build folder once, as the lock file beside this one says; the tests of all packages share it, and
// find it by the variable PORTICO_E2E_BUILD. CHROMIUM names the browser.
package chromium

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

//go:embed package.json package-lock.json .npmrc
var lock embed.FS

// Root is the top of the source tree.
func Root(t testing.TB) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("the program does not know where it comes from")
	}
	return filepath.Join(filepath.Dir(file), "../..")
}

// Prepare installs playwright-core, unless that was done, and returns the folder in which it is and the environment for Run.
func Prepare(t testing.TB) (folder string, env []string) {
	t.Helper()
	Find(t, "node")
	browser := os.Getenv("CHROMIUM")
	if browser == "" {
		browser = Find(t, "chromium")
	}
	folder = filepath.Join(Root(t), "build", "e2e-browser")
	install(t, folder)
	return folder, append(os.Environ(), "CHROMIUM="+browser, "PORTICO_E2E_BUILD="+folder)
}

func install(t testing.TB, folder string) {
	t.Helper()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	wanted, err := lock.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	stamp := filepath.Join(folder, "installed.json")
	if done, err := os.ReadFile(stamp); err == nil && bytes.Equal(done, wanted) {
		return
	}
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc"} {
		content, err := lock.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name), content, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	Command(t, folder, Find(t, "npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	if err := os.WriteFile(stamp, wanted, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Bundle builds the client for browsers, unless it is fresh, and returns its folder. It comes before any program that embeds it.
func Bundle(t testing.TB) string {
	t.Helper()
	Command(t, Root(t), "go", "run", "./tools/wasmbuild")
	return filepath.Join(Root(t), "web", "sdk", "dist")
}

// Run runs one file of tests, which lies in the folder of the test that calls, for so long at most.
func Run(t *testing.T, within time.Duration, env []string, file string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "--test", "--test-reporter=spec", file)
	cmd.Env = env
	// Its own process group, so that a file that hangs is ended with the servers it has started; browsers go when their pipe closes.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	output, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("not done after %v", within)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", file, err, output)
	}
	t.Logf("%s", output)
}

// Find gives the path of a program that make deps installs.
func Find(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: run `make deps` and try again", name)
	}
	return path
}

// Command runs a program in a folder and fails the test with what it says when it fails.
func Command(t testing.TB, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, output)
	}
}
