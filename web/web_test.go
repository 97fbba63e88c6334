package web

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestFilesAreThere(t *testing.T) {
	for name, files := range map[string]fs.FS{"index.html": Demo(), "portico.js": SDK()} {
		if content, err := fs.ReadFile(files, name); err != nil || len(content) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(content), err)
		}
	}
	if _, err := fs.Stat(SDK(), "portico.wasm"); (err == nil) != Built() {
		t.Errorf("Built is %t, but portico.wasm: %v", Built(), err)
	}
}

// TestSDK runs the tests of the SDK's JavaScript under Node, on the sources, with a program in the place of ours.
func TestSDK(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node here to run the SDK's own tests with")
	}
	dir := t.TempDir()
	modules, err := filepath.Glob("sdk/*.js*")
	if err != nil || len(modules) == 0 {
		t.Fatalf("no modules: %v", err)
	}
	for _, name := range modules {
		copyFile(t, name, filepath.Join(dir, filepath.Base(name)))
	}
	copyFile(t, "sdktest/program.js", filepath.Join(dir, "wasm_exec.js"))
	cmd := exec.Command(node, "--test", "--test-reporter=tap", "sdktest/sdk.test.mjs", "sdktest/data.test.mjs")
	cmd.Env = append(os.Environ(), "SDK="+dir)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, said)
	} else if !strings.Contains(string(said), "# fail 0") || strings.Contains(string(said), "# pass 0") {
		t.Errorf("nothing was tested:\n%s", said)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, content, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
