package loadtest

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTURN puts the loads on a relay for a moment: everything arrives, and its cost is known.
func TestTURN(t *testing.T) {
	file := filepath.Join(t.TempDir(), "portico-relay")
	if out, err := exec.Command("go", "build", "-o", file, "portico/relay").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	report, err := Run(context.Background(), Options{Relay: Program{File: file}, Duration: time.Second, WarmUp: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.TURN) != len(turnLoads) {
		t.Fatalf("%d results", len(report.TURN))
	}
	for _, r := range report.TURN {
		if r.Sent < uint64(r.Rate)/3 || r.Delivered < r.Sent*9/10 || r.MicrosPerPacket <= 0 {
			t.Errorf("%+v", r)
		}
	}
	var text strings.Builder
	if err := report.Write(&text); err != nil || !strings.Contains(text.String(), "1200 bytes, 10000 a second") {
		t.Errorf("%v\n%s", err, text.String())
	}
}
