package node

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"portico/shared/identity"
)

// mostBoot is above what any clock says, in Unix milliseconds.
const mostBoot = 1 << 62

// boot is the number of this life of the edge, greater than that of any before with the same data folder: the time in Unix milliseconds,
// but if the clock has gone back since the last start. Others take what an edge with a lower number says for words of a former life.
func boot(dataDir string, now time.Time, log *slog.Logger) (uint64, error) {
	file := filepath.Join(dataDir, "boot")
	number := uint64(max(now.UnixMilli(), 1))
	text, err := os.ReadFile(file)
	switch last, wrong := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return 0, fmt.Errorf("the number of the last start: %w", err)
	case wrong != nil || last >= mostBoot:
		log.Warn("the number of the last start is damaged: it begins anew by the clock", "file", file)
	default:
		number = max(number, last+1)
	}
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return 0, err
	}
	if err := identity.WriteFile(file, fmt.Appendln(nil, number)); err != nil {
		return 0, fmt.Errorf("the number of this start: %w", err)
	}
	return number, nil
}
