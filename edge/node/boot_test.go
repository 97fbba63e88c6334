package node

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestBoot: an edge's numbers rise, whatever its clock does.
func TestBoot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	now := time.UnixMilli(1_000_000)
	for _, c := range []struct {
		now  time.Time
		file string // what is there, if not what was written
		want uint64
	}{
		{now, "", 1_000_000}, {now.Add(time.Second), "", 1_001_000}, {now, "", 1_001_001}, {now, "", 1_001_002},
		{now.Add(time.Hour), "", 4_600_000}, {now, "not a number", 1_000_000}, {now, "18446744073709551615", 1_000_000},
		{now, "4611686018427387903", mostBoot}, {time.UnixMilli(-5), "-1", 1},
	} {
		if c.file != "" {
			if err := os.WriteFile(filepath.Join(dir, "boot"), []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := boot(dir, c.now, slog.New(slog.DiscardHandler)); err != nil || got != c.want {
			t.Errorf("at %v after %q: %d, %v, not %d", c.now.UnixMilli(), c.file, got, err, c.want)
		}
	}
	if _, err := boot(filepath.Join(dir, "boot"), now, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a file for a folder")
	}
}
