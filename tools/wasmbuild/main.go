// Command wasmbuild makes the client bundle for browsers: it compiles the wasm program, joins the SDK's modules into one file
// beside it, compresses everything for the web server and prints what the program weighs. Above the budget it fails.
//
//	go run ./tools/wasmbuild            build what has changed into web/sdk/dist
//	go run ./tools/wasmbuild -why       say which packages the program's bytes are in
//
// It does nothing when neither the sources nor the compiler have changed since the last build.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// budget is what portico.wasm may weigh in brotli: 800 kB of 1000 bytes.
const budget = 800 * 1000

func main() {
	out := flag.String("out", filepath.Join("web", "sdk", "dist"), "folder to build into, from the module's root")
	limit := flag.Int("budget", budget, "bytes that portico.wasm may have in brotli")
	force := flag.Bool("force", false, "build even if nothing has changed")
	why := flag.Bool("why", false, "print the size of each package instead of building")
	flag.Parse()
	if err := run(*out, *limit, *force, *why); err != nil {
		fmt.Fprintln(os.Stderr, "wasmbuild:", err)
		os.Exit(1)
	}
}

func run(out string, limit int, force, why bool) error {
	t, err := findToolchain()
	if err != nil {
		return err
	}
	if why {
		return explain(t, os.Stdout)
	}
	dist := filepath.Join(t.root, out)
	inputs, err := fingerprint(t)
	if err != nil {
		return err
	}
	report, fresh := lastBuild(dist, inputs)
	if !fresh || force {
		if report, err = build(t, dist, inputs); err != nil {
			return err
		}
	}
	report.print(os.Stdout, fresh && !force, limit)
	if report.Brotli > limit {
		return fmt.Errorf("portico.wasm has %d bytes in brotli, its budget is %d: `go run ./tools/wasmbuild -why` says where they are", report.Brotli, limit)
	}
	return nil
}
