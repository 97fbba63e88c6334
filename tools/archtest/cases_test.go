package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// suites are the numbered conformance cases, by the letter before their number: those of the Client-Portal protocol (T), of rooms and
// media (L to O) and of the management API (C). A letter behind the number is part of it.
var suites = []struct {
	letter string
	ranges [][2]int
	more   []string
}{
	{"T", [][2]int{{1, 15}, {20, 44}, {50, 61}, {70, 108}, {120, 143}}, nil},
	{"L", [][2]int{{1, 20}}, []string{"16b", "16c", "16d"}},
	{"A", [][2]int{{1, 5}}, nil},
	{"U", [][2]int{{1, 12}}, nil},
	{"F", [][2]int{{1, 5}}, nil},
	{"K", [][2]int{{1, 2}}, nil},
	{"O", [][2]int{{1, 1}}, nil},
	{"C", [][2]int{{1, 61}}, nil},
}

// cases are the names of all of them, such as "T-01" and "L-16b", in order.
func cases() []string {
	var list []string
	for _, s := range suites {
		for _, r := range s.ranges {
			for n := r[0]; n <= r[1]; n++ {
				list = append(list, caseName(s.letter, strconv.Itoa(n)))
				for _, m := range s.more {
					if number(m) == n {
						list = append(list, caseName(s.letter, m))
					}
				}
			}
		}
	}
	return list
}

// number is the number in "16b".
func number(text string) int {
	n, _ := strconv.Atoi(strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz"))
	return n
}

// caseName is "L-07" for "L" and "7", and "L-16b" for "L" and "16b".
func caseName(letter, text string) string {
	n := number(text)
	return fmt.Sprintf("%s-%02d%s", letter, n, strings.TrimLeft(text, "0123456789"))
}

// waiting are the cases that no test carries yet, with what they wait for.
var waiting = waitingFor(map[string]string{
	"F-03": "recordings",
	"F-05": "a test that kills an edge",
	"K-02": "the key frames of relays",
	"C-20": "the lists of recordings, streaming-outs, SIP calls and analytics",
}, map[string][2]int{
	"streaming-ins":      {39, 41},
	"streaming-outs":     {42, 45},
	"recordings":         {46, 53},
	"analytics":          {54, 54},
	"calls of telephony": {55, 55},
})

// waitingFor adds ranges of the management API's cases, by what they wait for.
func waitingFor(list map[string]string, api map[string][2]int) map[string]string {
	list = maps.Clone(list)
	for reason, r := range api {
		for n := r[0]; n <= r[1]; n++ {
			list[caseName("C", strconv.Itoa(n))] = reason
		}
	}
	return list
}

var (
	ofSuite  = regexp.MustCompile(`^Test([TLAUFKOC])_?(\d.*)$`)       // TestT_22_to_28_31_Login, TestF2_RoomEnds
	andSuite = regexp.MustCompile(`_([TLAUFKOC])_(\d)`)               // TestF_01_T_139_Delete: another suite begins
	rangeOf  = regexp.MustCompile(`^(\d+)_to_(\d+)(?:_|$)`)           // 22_to_28
	oneOf    = regexp.MustCompile(`^(\d+[a-z]?)(?:_|$)`)              // 16b
	inString = regexp.MustCompile(`\b([TLAUFKOC])-(\d{1,3}[a-z]?)\b`) // "T-22 null"
)

// TestConformanceCasesAreCarried shows which numbered cases are tests, and where, and holds the list of the others to be true.
func TestConformanceCasesAreCarried(t *testing.T) {
	top, err := root()
	if err != nil {
		t.Fatal(err)
	}
	carried := map[string][]string{}
	err = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") || strings.Contains(path, "archtest") {
			return err
		}
		name, err := filepath.Rel(top, filepath.Dir(path))
		if err != nil {
			return err
		}
		for c := range casesIn(t, path) {
			if !slices.Contains(carried[c], name) {
				carried[c] = append(carried[c], name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	covered := 0
	for _, c := range cases() {
		reason, waits := waiting[c]
		switch places := carried[c]; {
		case len(places) > 0 && waits:
			t.Errorf("%s is a test in %s: take it off the list of those that wait", c, places[0])
		case len(places) > 0:
			covered++
			fmt.Fprintf(&table, "%s  %s\n", c, strings.Join(places, ", "))
		case waits:
			fmt.Fprintf(&table, "%s  waits for %s\n", c, reason)
		default:
			t.Errorf("%s is no test: write one that carries the number, or say in waiting what it waits for", c)
		}
	}
	for c := range waiting {
		if !slices.Contains(cases(), c) {
			t.Errorf("%s waits, but there is no such case", c)
		}
	}
	t.Logf("%d of %d cases are tests\n%s", covered, len(cases()), &table)
}

// casesIn reads the numbers out of a test file's function names and of its texts.
func casesIn(t *testing.T, path string) map[string]bool {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	ast.Inspect(file, func(node ast.Node) bool {
		switch x := node.(type) {
		case *ast.FuncDecl:
			for _, c := range casesOf(x.Name.Name) {
				found[c] = true
			}
		case *ast.BasicLit:
			for _, m := range inString.FindAllStringSubmatch(x.Value, -1) {
				found[caseName(m[1], m[2])] = true
			}
		}
		return true
	})
	return found
}

// casesOf are the cases that a test's name carries.
func casesOf(name string) (list []string) {
	// "_T_139" in the middle of a name is taken for the beginning of another.
	for _, part := range strings.Split(andSuite.ReplaceAllString(name, "\x00Test${1}_$2"), "\x00") {
		m := ofSuite.FindStringSubmatch(part)
		if m == nil {
			continue
		}
		letter, rest := m[1], m[2]
		for rest != "" {
			if r := rangeOf.FindStringSubmatch(rest); r != nil {
				for n := number(r[1]); n <= number(r[2]); n++ {
					list = append(list, caseName(letter, strconv.Itoa(n)))
				}
			} else if one := oneOf.FindStringSubmatch(rest); one != nil {
				list = append(list, caseName(letter, one[1]))
			}
			after, _ := strings.CutPrefix(rest, "to_")
			_, rest, _ = strings.Cut(after, "_")
		}
	}
	return list
}

func TestCasesOfNames(t *testing.T) {
	for name, want := range map[string]string{
		"TestT_22_to_24_31_Login":        "T-22 T-23 T-24 T-31",
		"TestT_05_Upgrade":               "T-05",
		"TestF2_RoomEnds":                "F-02",
		"TestL_16b_Fewer":                "L-16b",
		"TestF_01_T_139_140_Delete":      "F-01 T-139 T-140",
		"TestC_30_to_32_L_16c_16d_Mixed": "C-30 C-31 C-32 L-16c L-16d",
		"TestO1_OptionalOfDefaultRoom":   "O-01",
		"TestAdapting":                   "",
		"TestT_Something":                "",
		"TestH264_2x2":                   "",
	} {
		got := casesOf(name)
		slices.Sort(got)
		if text := strings.Join(slices.Compact(got), " "); text != want {
			t.Errorf("%s carries %q, want %q", name, text, want)
		}
	}
}
