package driver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

//go:embed package.json package-lock.json driver.js
var files embed.FS

// install puts driver.js and the clients it needs into build/e2e-socketio of the module and returns that folder. It does the
// work once for each state of the files, however many test programs ask at a time.
func install(t testing.TB) string {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is needed for the tests with the real Socket.IO clients and is not installed: run make deps", tool)
		}
	}
	folder := filepath.Join(moduleRoot(t), "build", "e2e-socketio")
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.MkdirAll(folder, 0o755))
	lock, err := os.Create(filepath.Join(folder, ".lock"))
	check(err)
	defer lock.Close() // releases it
	check(syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))

	sum := sha256.New()
	for _, name := range []string{"package.json", "package-lock.json", "driver.js"} {
		content, err := files.ReadFile(name)
		check(err)
		sum.Write(content)
		check(os.WriteFile(filepath.Join(folder, name), content, 0o644))
	}
	stamp := filepath.Join(folder, ".installed")
	if installed, err := os.ReadFile(stamp); err == nil && bytes.Equal(installed, sum.Sum(nil)) {
		return folder
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	npm.Dir = folder
	if output, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm ci in %s: %v\n%s", folder, err, output)
	}
	check(os.WriteFile(stamp, sum.Sum(nil), 0o644))
	return folder
}

// moduleRoot is the folder of go.mod, above the folder in which go test runs its programs.
func moduleRoot(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	for err == nil {
		if _, missing := os.Stat(filepath.Join(folder, "go.mod")); missing == nil {
			return folder
		}
		up := filepath.Dir(folder)
		if up == folder {
			break
		}
		folder = up
	}
	t.Fatalf("no go.mod above the working folder: %v", err)
	return ""
}
