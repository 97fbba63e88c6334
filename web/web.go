// Package web holds the files that browsers get, so that the edge is one binary: the demo application and the client for
// JavaScript. It does not serve them; edge/console does.
//
// sdk/dist is filled by tools/wasmbuild and not kept under version control. In a fresh checkout it is empty, and the program
// works without the client bundle: Built says so.
package web

import (
	"embed"
	"io/fs"
)

//go:embed all:demo all:sdk
var files embed.FS

// Demo is the demo application; index.html is its page.
func Demo() fs.FS { return sub("demo") }

// SDK is the client as it was built: portico.js, portico.d.ts, wasm_exec.js, portico.wasm, and each of them compressed (.br and
// .gz). Without a build it holds the sources only, so that what is missing is the program.
func SDK() fs.FS {
	if Built() {
		return sub("sdk/dist")
	}
	return sub("sdk")
}

// Built tells whether the client bundle was there when this program was compiled.
func Built() bool {
	_, err := fs.Stat(files, "sdk/dist/portico.wasm")
	return err == nil
}

func sub(dir string) fs.FS {
	f, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // the names above are fixed and embedding has checked them
	}
	return f
}
