//go:build unix

package webtransport

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"portico/edge/config"
	"portico/tools/chromium"
	"portico/tools/edgetest"
)

// within is the longest that the browser's part may take, on a slow machine with everything else running.
const within = 3 * time.Minute

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDataBetweenPages(t *testing.T) {
	consult(t)
	_, env := chromium.Prepare(t)
	bundle := chromium.Bundle(t)
	edge := edgetest.Start(t, slog.LevelInfo, func(s *config.Settings) { s.WebTransport.Enabled = "yes" })
	chromium.Run(t, within, append(env, "PORTICO_SDK="+bundle, "PORTICO_URL="+edge.URL), "data.test.mjs")
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
		if err := filepath.WalkDir(filepath.Join(chromium.Root(t), dir), func(_ string, _ fs.DirEntry, err error) error { return err }); err != nil {
			t.Fatal(err)
		}
	}
}
