package archtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// browserFaults finds forbidden packages in what the given packages bring along, and names the way on which they come. imports are
// the direct imports of each package under js/wasm.
func browserFaults(from []string, imports map[string][]string) (faults []string) {
	for _, start := range from {
		way := map[string]string{start: ""}
		queue := []string{start}
		for len(queue) > 0 {
			p := queue[0]
			queue = queue[1:]
			if _, leaf := leaves[p]; leaf {
				continue
			}
			for _, imp := range imports[p] {
				if _, seen := way[imp]; seen {
					continue
				}
				way[imp] = p
				queue = append(queue, imp)
				if why, bad := forbiddenInBrowser[imp]; bad {
					faults = append(faults, fmt.Sprintf("%s brings %s into the browser (%s): %s", short(start), imp, path(way, imp), why))
				}
			}
		}
	}
	return faults
}

func path(way map[string]string, to string) string {
	var steps []string
	for p := to; p != ""; p = way[p] {
		steps = append(steps, short(p))
	}
	slices.Reverse(steps)
	return strings.Join(steps, " -> ")
}

func TestBrowserPackages(t *testing.T) {
	var from []string
	for _, p := range packages(t) {
		if within(p.path, browserPackages...) || p.path == "wasm" {
			from = append(from, module+"/"+p.path)
		}
	}
	list, err := goList(true, append([]string{"-deps"}, from...)...)
	if err != nil {
		t.Fatal(err)
	}
	imports := map[string][]string{}
	for _, l := range list {
		imports[l.ImportPath] = l.Imports
	}
	for _, start := range from {
		if _, ok := imports[start]; !ok {
			t.Errorf("%s has no build for the browser", short(start))
		}
	}
	for _, f := range browserFaults(from, imports) {
		t.Error(f)
	}
}

func TestBrowserRuleCatches(t *testing.T) {
	imports := map[string][]string{
		"portico/shared/client": {"strings", "portico/shared/task"},
		"portico/shared/task":   {"context", "log/slog", "crypto/sha1"},
		"log/slog":              {"fmt"},
		"crypto/sha1":           {"os"},
	}
	got := browserFaults([]string{"portico/shared/client"}, imports)
	if len(got) != 2 || !strings.Contains(got[0], "shared/client brings log/slog into the browser (shared/client -> shared/task -> log/slog)") || !strings.Contains(got[1], "brings fmt") {
		t.Fatalf("%q", got)
	}
	for name, why := range forbiddenInBrowser {
		if why == "" || leaves[name] != "" {
			t.Errorf("%s: a rule needs a reason, and cannot be an exception at once", name)
		}
	}
}
