package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "portico"

// pkg is one package of ours, with what its files import on all the systems we build for. Tests do not count.
type pkg struct {
	path    string // without the module: "shared/task"; "" never occurs
	dir     string
	imports []string // as written
	js      bool     // exists under js/wasm only
}

// listed is what go list says of a package.
type listed struct {
	ImportPath, Dir, Name string
	GoFiles               []string
	Imports, Deps         []string
	Error                 *struct{ Err string }
	Module                *struct{ Path string }
	Standard              bool
}

var root = sync.OnceValues(func() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("no go.mod above the working directory")
})

// goList asks for packages, built or not; js asks for the browser's build.
func goList(js bool, args ...string) ([]listed, error) {
	dir, err := root()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("go", append([]string{"list", "-e", "-json=ImportPath,Dir,Name,GoFiles,Imports,Deps,Error,Module,Standard"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if js {
		cmd.Env = append(cmd.Env, "GOOS=js", "GOARCH=wasm")
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.New("go list: " + err.Error() + ": " + stderr.String())
	}
	var list []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var l listed
		if err := d.Decode(&l); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		list = append(list, l)
	}
}

// lists are both builds' packages of ours; go list takes a second, so all tests share them.
var lists = sync.OnceValues(func() (both [2][]listed, err error) {
	if both[0], err = goList(false, "./..."); err != nil {
		return both, err
	}
	both[1], err = goList(true, "./wasm/...", "./shared/...")
	return both, err
})

// packages joins both builds.
func packages(t *testing.T) []pkg {
	t.Helper()
	both, err := lists()
	if err != nil {
		t.Fatal(err)
	}
	byPath := map[string]*pkg{}
	for i, list := range both {
		for _, l := range list {
			if len(l.GoFiles) == 0 {
				continue
			}
			path := short(l.ImportPath)
			p := byPath[path]
			if p == nil {
				p = &pkg{path: path, dir: l.Dir, js: i == 1}
				byPath[path] = p
			}
			for _, imp := range l.Imports {
				if !slices.Contains(p.imports, imp) {
					p.imports = append(p.imports, imp)
				}
			}
		}
	}
	var out []pkg
	for _, p := range byPath {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b pkg) int { return strings.Compare(a.path, b.path) })
	if len(out) < 10 {
		t.Fatalf("only %d packages found: the rules would hold of anything", len(out))
	}
	return out
}

// A package that does not parse hides its imports from the rules, so it is named by itself.
func TestPackagesParse(t *testing.T) {
	both, err := lists()
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range both {
		for _, l := range list {
			if l.Error == nil || strings.Contains(l.Error.Err, "build constraints exclude all Go files") {
				continue
			}
			t.Errorf("%s cannot be read, so no rule was checked on it: %s", short(l.ImportPath), l.Error.Err)
		}
	}
}

// short is an import path of ours without the module; others stay as they are.
func short(path string) string {
	if rest, ok := strings.CutPrefix(path, module+"/"); ok {
		return rest
	}
	return path
}

// ours says whether an import path is of this module, and gives it without.
func ours(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, module+"/")
	return rest, ok
}

// within says whether path is one of the folders or below one of them. A folder that ends with a slash means only what is below it.
func within(path string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool {
		return path == f || strings.HasPrefix(path, strings.TrimSuffix(f, "/")+"/")
	})
}
