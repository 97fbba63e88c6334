package archtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	edge "portico/edge/config"
	relay "portico/relay/config"
	"portico/shared/config"
)

// files are all files that are, or would be, under version control, relative to the root.
func files(t *testing.T) (dir string, names []string) {
	t.Helper()
	dir, err := root()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("not a checkout (git ls-files: %v)", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			names = append(names, filepath.ToSlash(name))
		}
	}
	return dir, names
}

// topLevelFaults compares the names at the top with the list.
func topLevelFaults(names []string) (faults []string) {
	var top []string
	for _, name := range names {
		first, _, _ := strings.Cut(name, "/")
		if !strings.HasPrefix(first, ".") && !slices.Contains(top, first) {
			top = append(top, first)
		}
	}
	for _, name := range top {
		if !slices.Contains(topLevel, name) {
			faults = append(faults, fmt.Sprintf("%s lies at the top: programs go to edge, relay or wasm, what they share to shared, files for browsers to web, everything that is not shipped to tools", name))
		}
	}
	for _, name := range topLevel {
		if !slices.Contains(top, name) {
			faults = append(faults, name+" is missing at the top")
		}
	}
	return faults
}

func TestTopLevel(t *testing.T) {
	_, names := files(t)
	for _, f := range topLevelFaults(names) {
		t.Error(f)
	}
	if got := topLevelFaults(append(slices.Clone(topLevel), "pkg/x.go", ".github/x")); len(got) != 1 || !strings.HasPrefix(got[0], "pkg lies") {
		t.Errorf("the rule does not catch a folder: %q", got)
	}
	if got := topLevelFaults(topLevel[1:]); len(got) != 1 || got[0] != "LICENSE is missing at the top" {
		t.Errorf("the rule does not miss a file: %q", got)
	}
}

// placeFaults finds text that is true on one machine only.
func placeFaults(name string, text []byte) (faults []string) {
	if name == "go.sum" || bytes.IndexByte(text[:min(len(text), 8000)], 0) >= 0 { // sums, and what is no text
		return nil
	}
	for i, line := range bytes.Split(text, []byte("\n")) {
		for _, p := range machinePaths {
			if at := bytes.Index(line, []byte(p)); at >= 0 && (at == 0 || !isPathByte(line[at-1])) {
				faults = append(faults, fmt.Sprintf("%s:%d holds the path %s of one machine: write it relative to the tree, or take it as a setting", name, i+1, p))
			}
		}
		for _, r := range registries {
			if bytes.Contains(line, []byte(r)) {
				faults = append(faults, fmt.Sprintf("%s:%d names the registry %s: leave it to the settings of whoever builds (npm: omit-lockfile-registry-resolved=true)", name, i+1, r))
			}
		}
	}
	return faults
}

// isPathByte says that a slash behind b goes on with a relative path, as in "frame/work/".
func isPathByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '.' || b == '_' || b == '-' || b == '}' || b == ')'
}

func TestNoMachineInFiles(t *testing.T) {
	dir, names := files(t)
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			continue // a link to nowhere, or just removed
		}
		for _, f := range placeFaults(name, text) {
			t.Error(f)
		}
	}
	bad := "cd " + machinePaths[0] + "main\nframe" + machinePaths[0] + "x\n\"resolved\": \"https://" + registries[0] + "/a\""
	if got := placeFaults("x", []byte(bad)); len(got) != 2 {
		t.Errorf("the rule gives %q", got)
	}
}

func TestSamplesEqualDefaults(t *testing.T) {
	dir, err := root()
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string][]byte{
		"edge/config/edge.sample.toml":   config.Sample(edge.Default(), "Settings of portico-edge: "+edge.About),
		"relay/config/relay.sample.toml": config.Sample(relay.Default(), "Settings of portico-relay: "+relay.About),
	} {
		got, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what Default says (%v): run go test ./%s -update", file, err, filepath.Dir(file))
		}
	}
}
