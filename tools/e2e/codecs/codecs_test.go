//go:build unix

package codecs

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"portico/edge/config"
	"portico/edge/node"
	"portico/edge/store"
	"portico/shared/jsonvalue"
	"portico/tools/portico/manage"
)

// perFile is the longest that one file of tests may take, on a slow machine with everything else running.
const perFile = 3 * time.Minute

// TestCodecs: VP8, VP9, H.264 and AV1, VP9 and AV1 also with layers inside, are seen by who comes in the middle.
func TestCodecs(t *testing.T) { run(t, "codecs", 12, roomOptions) }

// TestT_97_Simulcast: `from` is a track id, or the layer is named as in version 1.1, and the picture has its size.
func TestT_97_Simulcast(t *testing.T) { run(t, "simulcast", 3, roomOptions) }

// TestT_98_TwoStreams: audio of one stream and video of another in one subscription; and m-lines used again.
func TestT_98_TwoStreams(t *testing.T) { run(t, "streams", 5, roomOptions) }

// TestLosses: what is lost between Chromium and the edge comes again, both ways.
func TestLosses(t *testing.T) { run(t, "losses", 2, roomOptions) }

// TestLayers: layers change with the size of what is displayed, and the picture goes on all the time.
func TestLayers(t *testing.T) {
	run(t, "layers", 16, `{"enableBandwidthAdaptation": true, `+roomOptions[1:])
}

// run starts an edge with a room and runs one file of browser tests with the tokens of so many participants, and with the port of a
// line to the edge that loses packets.
func run(t *testing.T, name string, participants int, room string) {
	t.Helper()
	port, api, room := startEdge(t, room)
	var tokens []string
	for i := range participants {
		token, err := api.CreateToken(t.Context(), room, fmt.Sprintf("user%d", i), "presenter", manage.Place{})
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token)
	}
	list, err := json.Marshal(tokens)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), perFile)
	defer cancel()
	cmd := exec.CommandContext(ctx, find(t, "node"), "--test", "--test-reporter=spec", name+".test.mjs")
	cmd.Env = append(os.Environ(), "CHROMIUM="+chromium(t), "PORTICO_E2E_BUILD="+install(t), fmt.Sprintf("PORTICO_URL=http://127.0.0.1:%d", port),
		"PORTICO_TOKENS="+string(list), fmt.Sprintf("LOSSY_PORT=%d", lossy(t, port)))
	// Its own process group, so that what hangs is ended as a whole; browsers go when their pipe closes.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	output, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("not done after %v", perFile)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, output)
	}
	t.Logf("%s", output)
}

// roomOptions let every codec in that the edge forwards.
const roomOptions = `{"mediaIn": {"audio": [{"codec": "opus", "sampleRate": 48000, "channelNum": 2}],
	"video": [{"codec": "h264"}, {"codec": "vp8"}, {"codec": "vp9"}, {"codec": "av1"}]}}`

// startEdge runs an edge with a room of those options until the test ends.
func startEdge(t *testing.T, roomOptions string) (port int, api *manage.Client, room string) {
	t.Helper()
	cfg := config.Dev() // media over loopback
	cfg.HTTP.Listen, cfg.DataDir = "127.0.0.1:0", t.TempDir()
	sockets, err := node.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.New(cfg, sockets, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := n.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	s, err := store.OpenSQLite(t.Context(), cfg.DataDir, store.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	service, err := s.ServiceByName(t.Context(), store.SampleServiceName)
	if err != nil {
		t.Fatal(err)
	}
	if api, err = manage.New(manage.Settings{URL: fmt.Sprintf("http://127.0.0.1:%d", sockets.Port()), Service: service.ID, Key: service.Key}); err != nil {
		t.Fatal(err)
	}
	options, err := jsonvalue.Parse([]byte(roomOptions), jsonvalue.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	created, err := api.CreateRoom(t.Context(), "codecs", options)
	if err != nil {
		t.Fatal(err)
	}
	return sockets.Port(), api, created.Get("_id").Text()
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

func chromium(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path
	}
	return find(t, "chromium")
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
