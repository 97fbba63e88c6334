//go:build unix

package browser

import (
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"portico/tools/chromium"
)

// perFile is the longest that one file of tests may take, on a slow machine with everything else running.
const perFile = 5 * time.Minute

// files in the order they run: what is cheap and explains most comes first.
var files = []string{"unit", "page", "panel", "room", "quality", "relay", "tcp", "red", "native", "mix", "resume", "failures"}

func TestBrowser(t *testing.T) {
	env := prepare(t)
	for _, name := range files {
		t.Run(name, func(t *testing.T) { chromium.Run(t, perFile, env, name+".test.mjs") })
	}
}

// prepare builds the programs, installs playwright-core and returns the environment of the tests.
func prepare(t *testing.T) []string {
	t.Helper()
	root := chromium.Root(t)
	cache, env := chromium.Prepare(t)
	consult(t, root)
	portico, guest := filepath.Join(cache, "portico"), filepath.Join(cache, "guest")
	chromium.Bundle(t)                                                                                 // the program embeds it
	chromium.Command(t, root, "env", "CGO_ENABLED=1", "go", "build", "-o", portico, "./tools/portico") // with the codecs of its relay
	chromium.Command(t, root, "go", "build", "-o", guest, "./tools/pionpeer/guest")
	return append(env, "PORTICO_BIN="+portico, "PORTICO_GUEST="+guest)
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
