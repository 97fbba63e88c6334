package archtest

import (
	"fmt"
	"strings"
	"testing"
)

// importFaults holds packages against every rule about one package importing another.
func importFaults(packages []pkg) (faults []string) {
	for _, p := range packages {
		nodes := map[string]string{}
		for _, imp := range p.imports {
			for _, s := range single {
				if strings.HasPrefix(imp+"/", strings.TrimSuffix(s.library, "/")+"/") && !within(p.path, s.by...) {
					faults = append(faults, fmt.Sprintf("%s imports %s, which only %s may: %s. Use that package, or move the code there.",
						p.path, imp, strings.Join(s.by, " and "), s.reason))
				}
			}
			to, ok := ours(imp)
			if !ok {
				continue
			}
			if why := direction(p.path, to); why != "" {
				faults = append(faults, fmt.Sprintf("%s imports %s: %s", p.path, to, why))
			}
			nodes[folder(to, 1)] = to
		}
		if nodes["edge"] != "" && nodes["relay"] != "" && p.path != "tools/portico" {
			faults = append(faults, fmt.Sprintf("%s imports %s and %s: only tools/portico runs both kinds of node in one process. Start the programs, or let tools/portico do it.",
				p.path, nodes["edge"], nodes["relay"]))
		}
	}
	return faults
}

// direction says what is wrong with one package of ours importing another; "" when nothing is.
func direction(from, to string) string {
	switch {
	case within(from, "shared") && !within(to, "shared"):
		return "shared is below everything. Declare an interface in shared that the other package satisfies."
	case within(from, "edge") && within(to, "relay"), within(from, "relay") && within(to, "edge"):
		return "edge and relay are programs of their own, which meet in messages. Put what both need in shared."
	case within(to, "tools") && !within(from, "tools"):
		return "tools is not shipped. Move what is needed to where it is used, or to shared."
	case within(from, "web"):
		return "web is files for browsers. Put the code into edge/console."
	case within(from, "wasm") && !within(to, "wasm") && !within(to, browserPackages...):
		return "only packages that are kept small go to the browser. Take what the package offers as an interface, or make it one of browserPackages."
	case within(to, "wasm") && !within(from, "wasm"):
		return "wasm is the browser's program. Put what both need in shared/client."
	case within(from, browserPackages...) && !within(to, browserPackages...):
		return "it would go to the browser with it. Take it as an interface, or make it one of browserPackages."
	case within(from, purePackages...) && !within(to, purePackages...):
		return "it would bring in I/O, goroutines or a clock. Hand the result in as an argument."
	}
	if node := folder(from, 1); (node == "edge" || node == "relay") && within(to, node) {
		own := folder(from, 2)
		if own != node && within(to, own) || within(to, layers[own]...) {
			return ""
		}
		return "imports of a node run downward, and this one is not in the list of layers. Declare a small interface here that node fills, or add it to the list with its reason."
	}
	return ""
}

// folder is the first n parts of a path.
func folder(path string, n int) string {
	parts := strings.Split(path, "/")
	return strings.Join(parts[:min(n, len(parts))], "/")
}

func TestImports(t *testing.T) {
	for _, f := range importFaults(packages(t)) {
		t.Error(f)
	}
}

func TestImportRulesCatch(t *testing.T) {
	bad := []struct{ from, to, want string }{
		{"shared/task", "portico/edge/room", "shared is below"},
		{"edge/room", "portico/relay/config", "programs of their own"},
		{"relay/node", "portico/edge/config", "programs of their own"},
		{"edge/room", "portico/tools/pionpeer", "tools is not shipped"},
		{"wasm/jsapi", "portico/shared/config", "kept small"},
		{"shared/client", "portico/wasm/browser", "shared is below"},
		{"tools/e2e", "portico/wasm/browser", "browser's program"},
		{"shared/sioclient", "portico/shared/logging", "would go to the browser"},
		{"shared/meshproto", "portico/shared/config", "bring in I/O"},
		{"edge/sfu/feedback", "portico/edge/sfu", "bring in I/O"},
		{"web", "portico/shared/version", "files for browsers"},
		{"edge/room", "portico/edge/portal", "run downward"},
		{"edge/sfu", "portico/edge/rtc", "run downward"},
		{"edge", "portico/edge/room", "run downward"},
		{"edge/new", "portico/edge/room", "run downward"},
		{"relay/turnserver", "portico/relay/config", "run downward"},
		{"edge/room", "github.com/pion/turn/v3", "only relay/turnserver may"},
		{"edge/room", "nhooyr.io/websocket", "only shared/wsconn may"},
		{"relay/node", "portico/web", "only edge/console may"},
		{"edge/rtc", "syscall/js", "only wasm and shared/wsconn may"},
	}
	for _, b := range bad {
		faults := importFaults([]pkg{{path: b.from, imports: []string{"strings", b.to}}})
		if len(faults) != 1 || !strings.Contains(faults[0], b.want) {
			t.Errorf("%s importing %s gives %q, want one fault with %q", b.from, b.to, faults, b.want)
		}
	}
	both := pkg{path: "tools/e2e", imports: []string{"portico/edge/node", "portico/relay/node"}}
	if faults := importFaults([]pkg{both}); len(faults) != 1 || !strings.Contains(faults[0], "only tools/portico") {
		t.Errorf("%q", faults)
	}
	for _, good := range []pkg{
		{path: "tools/portico", imports: []string{"portico/edge/node", "portico/relay/node"}},
		{path: "edge/node", imports: []string{"portico/edge/room", "portico/edge/sfu/feedback", "portico/shared/task"}},
		{path: "edge/sfu", imports: []string{"portico/edge/sfu/feedback"}},
		{path: "edge/store/storetest", imports: []string{"portico/edge/store"}},
		{path: "edge", imports: []string{"portico/edge/node", "portico/edge/config"}},
		{path: "wasm", imports: []string{"portico/wasm/jsapi", "portico/shared/client"}},
		{path: "relay/turnserver", imports: []string{"github.com/pion/turn/v3", "github.com/pion/stun/v2"}},
		{path: "shared/wsconn", imports: []string{"nhooyr.io/websocket", "syscall/js"}},
	} {
		if faults := importFaults([]pkg{good}); len(faults) > 0 {
			t.Errorf("%s: %q", good.path, faults)
		}
	}
}
