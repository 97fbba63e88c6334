package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// cases are the numbers of the Client-Portal protocol's conformance cases, T-01 to T-143 with gaps.
func cases() []int {
	var list []int
	for _, r := range [][2]int{{1, 15}, {20, 44}, {50, 61}, {70, 108}, {120, 143}} {
		for n := r[0]; n <= r[1]; n++ {
			list = append(list, n)
		}
	}
	return list
}

// waiting are the cases that no test carries yet, with what they wait for.
var waiting = map[int]string{
	91:  "mixing",
	139: "the management API's streams", 140: "mixing",
}

var (
	inName   = regexp.MustCompile(`_(\d+)`)
	rangeOf  = regexp.MustCompile(`_(\d+)_to_(\d+)`)
	inString = regexp.MustCompile(`T-(\d+)`)
)

// TestConformanceCasesAreCarried shows which numbered cases are tests, and where, and holds the list of the others to be true.
func TestConformanceCasesAreCarried(t *testing.T) {
	top, err := root()
	if err != nil {
		t.Fatal(err)
	}
	carried := map[int][]string{}
	err = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") || strings.Contains(path, "archtest") {
			return err
		}
		name, err := filepath.Rel(top, filepath.Dir(path))
		if err != nil {
			return err
		}
		for n := range casesIn(t, path) {
			if !slices.Contains(carried[n], name) {
				carried[n] = append(carried[n], name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	covered := 0
	for _, n := range cases() {
		reason, waits := waiting[n]
		switch places := carried[n]; {
		case len(places) > 0 && waits:
			t.Errorf("T-%02d is a test in %s: take it off the list of those that wait", n, places[0])
		case len(places) > 0:
			covered++
			fmt.Fprintf(&table, "T-%02d  %s\n", n, strings.Join(places, ", "))
		case waits:
			fmt.Fprintf(&table, "T-%02d  waits for %s\n", n, reason)
		default:
			t.Errorf("T-%02d is no test: write one that carries the number, or say in waiting what it waits for", n)
		}
	}
	t.Logf("%d of %d cases are tests\n%s", covered, len(cases()), &table)
}

// casesIn reads the numbers out of a test file's function names (TestT_22_to_28_31_Login) and texts ("T-22 null").
func casesIn(t *testing.T, path string) map[int]bool {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]bool{}
	add := func(text string) {
		if n, err := strconv.Atoi(text); err == nil {
			found[n] = true
		}
	}
	ast.Inspect(file, func(node ast.Node) bool {
		switch x := node.(type) {
		case *ast.FuncDecl:
			name, ours := strings.CutPrefix(x.Name.Name, "TestT")
			if !ours {
				return true
			}
			for _, m := range rangeOf.FindAllStringSubmatch(name, -1) {
				from, _ := strconv.Atoi(m[1])
				to, _ := strconv.Atoi(m[2])
				for n := from; n <= to; n++ {
					found[n] = true
				}
			}
			for _, m := range inName.FindAllStringSubmatch(name, -1) {
				add(m[1])
			}
		case *ast.BasicLit:
			for _, m := range inString.FindAllStringSubmatch(x.Value, -1) {
				add(m[1])
			}
		}
		return true
	})
	return found
}
