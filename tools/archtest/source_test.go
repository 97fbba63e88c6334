package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// source is one parsed file, of any system.
type source struct {
	name string
	test bool
	file *ast.File
}

// parseDir parses all Go files of a package's folder; those that do not parse are left to TestPackagesParse.
func parseDir(dir string) (*token.FileSet, []source) {
	set := token.NewFileSet()
	names, _ := filepath.Glob(filepath.Join(dir, "*.go"))
	var out []source
	for _, name := range names {
		if f, err := parser.ParseFile(set, name, nil, parser.ParseComments|parser.SkipObjectResolution); err == nil {
			out = append(out, source{name, strings.HasSuffix(name, "_test.go"), f})
		}
	}
	return set, out
}

// pureFaults finds what a pure package must do without.
func pureFaults(path string, set *token.FileSet, sources []source) (faults []string) {
	report := func(pos token.Pos, what string) {
		p := set.Position(pos)
		faults = append(faults, fmt.Sprintf("%s/%s:%d %s. The package is pure: it is replayed exactly in tests. Take the result as an argument from whoever calls it.",
			path, filepath.Base(p.Filename), p.Line, what))
	}
	for _, s := range sources {
		if s.test {
			continue
		}
		timeName := ""
		for _, imp := range s.file.Imports {
			name := strings.Trim(imp.Path.Value, `"`)
			if slices.Contains(impureImports, name) {
				report(imp.Pos(), "imports "+name)
			}
			if name == "time" {
				timeName = "time"
				if imp.Name != nil {
					timeName = imp.Name.Name
				}
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				report(n.Pos(), "starts a goroutine")
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && timeName != "" && x.Name == timeName && slices.Contains(impureTime, n.Sel.Name) {
					report(n.Pos(), "uses time."+n.Sel.Name)
				}
			}
			return true
		})
	}
	return faults
}

func TestPurePackages(t *testing.T) {
	checked := 0
	for _, p := range packages(t) {
		if within(p.path, purePackages...) {
			set, sources := parseDir(p.dir)
			for _, f := range pureFaults(p.path, set, sources) {
				t.Error(f)
			}
			checked++
		}
	}
	if checked == 0 {
		t.Error("no pure package was found: correct purePackages")
	}
}

// docFault says what is wrong with a package's own comment; "" when nothing is.
func docFault(path string, sources []source) string {
	for _, s := range sources {
		if s.test || s.file.Doc == nil {
			continue
		}
		text, name := s.file.Doc.Text(), s.file.Name.Name
		first, _, _ := strings.Cut(text, " ")
		command := name == "main" && (strings.HasPrefix(text, "Command ") || strings.EqualFold(first, filepath.Base(path)))
		switch {
		case !command && !strings.HasPrefix(text, "Package "+name+" "):
			want := "Package " + name + " …"
			if name == "main" {
				want = "Command " + filepath.Base(path) + " …"
			}
			return fmt.Sprintf("%s: its comment in %s begins %q: begin with %q and one sentence of purpose", path, filepath.Base(s.name), firstLine(text), want)
		case len(text) < 50:
			return fmt.Sprintf("%s: its comment says %q: add its place on the packet or message path, or who uses it for what", path, firstLine(text))
		}
		return ""
	}
	return path + ": no file has a package comment: write one sentence of purpose, then its place on the packet or message path"
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		if _, sources := parseDir(p.dir); len(sources) > 0 {
			if f := docFault(p.path, sources); f != "" {
				t.Error(f)
			}
		}
	}
}

// leakFault finds packages that start goroutines and do not look for leaked ones.
func leakFault(path string, sources []source) string {
	starts, tested, checked := false, false, false
	for _, s := range sources {
		tested = tested || s.test
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				starts = starts || !s.test
			case *ast.SelectorExpr:
				checked = checked || s.test && n.Sel.Name == "VerifyTestMain"
			}
			return true
		})
	}
	if starts && tested && !checked {
		return path + " starts goroutines, and its tests do not look for leaked ones: add func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }"
	}
	return ""
}

func TestGoroutinesAreWatched(t *testing.T) {
	for _, p := range packages(t) {
		if _, sources := parseDir(p.dir); !p.js && !within(p.path, "tools") {
			if f := leakFault(p.path, sources); f != "" {
				t.Error(f)
			}
		}
	}
}

func TestSourceRulesCatch(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.go":      "package wrong\n\nimport (\n\t\"net\"\n\tclock \"time\"\n)\n\nvar _ = clock.Now\nvar _ net.Addr\nvar _ clock.Duration\n\nfunc f() { go f() }\n",
		"a_test.go": "// Package wrong is tested.\npackage wrong\n\nimport \"os\"\n\nvar _ = os.Args\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set, sources := parseDir(dir)
	faults := pureFaults("wrong", set, sources)
	want := []string{"wrong/a.go:4 imports net.", "wrong/a.go:8 uses time.Now.", "wrong/a.go:12 starts a goroutine."}
	if len(faults) != len(want) {
		t.Fatalf("%q", faults)
	}
	for i, w := range want {
		if !strings.HasPrefix(faults[i], w) {
			t.Errorf("%q, want %q", faults[i], w)
		}
	}
	if f := leakFault("wrong", sources); !strings.Contains(f, "goleak") {
		t.Errorf("%q", f)
	}
	if f := docFault("wrong", sources); !strings.Contains(f, "no file has a package comment") {
		t.Errorf("%q", f)
	}
	long := strings.Repeat(" It stands beside others.", 5)
	for text, ok := range map[string]bool{
		"// Package right is right." + long + "\npackage right\n": true,
		"// Package right is right.\npackage right\n":             false,
		"// This package is wrong." + long + "\npackage right\n":  false,
		"// Command x does x." + long + "\npackage main\n":        true,
		"// X does x." + long + "\npackage main\n":                true,
		"// Does x." + long + "\npackage main\n":                  false,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if fault := docFault("tools/x", []source{{"x.go", false, f}}); (fault == "") != ok {
			t.Errorf("%q: %q", text, fault)
		}
	}
}
