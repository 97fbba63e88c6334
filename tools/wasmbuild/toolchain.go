package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// flags of every build: no symbol tables, no paths of this machine, no inlining (a brotli of 6 to 8 % less; the client's work
// is signalling, where it costs nothing).
var flags = []string{"-trimpath", "-gcflags=all=-l"}

const ldflags = "-ldflags=-s -w"

// program is the package to compile; sdk holds the JavaScript beside it.
const (
	program = "./wasm"
	sdk     = "web/sdk"
)

// toolchain is the Go that go.mod chooses.
type toolchain struct {
	root    string // of our module
	goroot  string
	version string // as runtime.Version says it in the program
	flags   string // what the environment adds to every build
}

func findToolchain() (toolchain, error) {
	text, err := output(exec.Command("go", "env", "-json", "GOMOD", "GOROOT", "GOVERSION", "GOFLAGS", "GOEXPERIMENT"))
	if err != nil {
		return toolchain{}, err
	}
	var env struct{ GOMOD, GOROOT, GOVERSION, GOFLAGS, GOEXPERIMENT string }
	if err := json.Unmarshal(text, &env); err != nil {
		return toolchain{}, err
	}
	if filepath.Base(env.GOMOD) != "go.mod" {
		return toolchain{}, errors.New("run it inside the module")
	}
	return toolchain{
		root: filepath.Dir(env.GOMOD), goroot: env.GOROOT, version: env.GOVERSION, flags: env.GOFLAGS + " " + env.GOEXPERIMENT,
	}, nil
}

// command is a go command for the browser.
func (t toolchain) command(args ...string) *exec.Cmd {
	cmd := exec.Command("go", args...)
	cmd.Dir = t.root
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm", "GOWASM=")
	return cmd
}

func (t toolchain) wasmExec() string { return filepath.Join(t.goroot, "lib", "wasm", "wasm_exec.js") }

// output runs cmd; what it says on standard error is part of the error.
func output(cmd *exec.Cmd) ([]byte, error) {
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(complaints.String()))
	}
	return text, nil
}

// fingerprint is a hash over everything the bundle is made from: the compiler, its flags, our sources and those of the modules
// (the standard library goes with the compiler), the SDK and this tool.
func fingerprint(t toolchain) (string, error) {
	files, err := sources(t)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, t.version, t.flags, flags, ldflags)
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, name)
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func sources(t toolchain) ([]string, error) {
	const each = `{{if not .Standard}}{{$d := .Dir}}{{range .GoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{range .EmbedFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{end}}`
	list, err := output(t.command("list", "-deps", "-f", each, program))
	if err != nil {
		return nil, err
	}
	files := strings.Fields(string(list))
	for _, pattern := range []string{sdk + "/*.js", sdk + "/*.ts", sdk + "/*.json", "tools/wasmbuild/*.go"} {
		found, err := filepath.Glob(filepath.Join(t.root, filepath.FromSlash(pattern)))
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	files = append(files, t.wasmExec())
	slices.Sort(files)
	return files, nil
}
