package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/andybalholm/brotli"
	"golang.org/x/sync/errgroup"
)

// record is the file in the output folder that says what is in it.
const record = "build.json"

// report is what a build made.
type report struct {
	Inputs            string            // fingerprint of what it was made from
	Files             map[string]string // SHA-256 of each file made, in hexadecimal
	Raw, Gzip, Brotli int               // bytes of portico.wasm
	SDK               int               // bytes of portico.js and wasm_exec.js in brotli
}

func (r report) print(w io.Writer, unchanged bool, limit int) {
	note := ""
	if unchanged {
		note = ", unchanged"
	}
	fmt.Fprintf(w, "portico.wasm: %d kB raw, %d kB gzip, %d kB brotli (budget %d kB)%s; JavaScript beside it: %.1f kB brotli\n",
		kilo(r.Raw), kilo(r.Gzip), kilo(r.Brotli), kilo(limit), note, float64(r.SDK)/1000)
}

func kilo(bytes int) int { return (bytes + 500) / 1000 }

// lastBuild reads the record of the folder; fresh says that the files in it are those of these inputs.
func lastBuild(dist, inputs string) (r report, fresh bool) {
	text, err := os.ReadFile(filepath.Join(dist, record))
	if err != nil || json.Unmarshal(text, &r) != nil || r.Inputs != inputs || len(r.Files) == 0 {
		return report{}, false
	}
	for name, sum := range r.Files {
		content, err := os.ReadFile(filepath.Join(dist, name))
		if err != nil || hash(content) != sum {
			return report{}, false
		}
	}
	return r, true
}

func hash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// build makes everything in memory and then replaces the folder's files one by one; the record goes first and comes back last,
// so that a build that is interrupted is not taken for a whole one.
func build(t toolchain, dist, inputs string) (report, error) {
	files, err := bundle(t)
	if err != nil {
		return report{}, err
	}
	if err := compress(files); err != nil {
		return report{}, err
	}
	if err := os.MkdirAll(dist, 0o755); err != nil {
		return report{}, err
	}
	if err := os.Remove(filepath.Join(dist, record)); err != nil && !os.IsNotExist(err) {
		return report{}, err
	}
	r := report{Inputs: inputs, Files: map[string]string{}}
	for name, content := range files {
		if err := replace(filepath.Join(dist, name), content); err != nil {
			return report{}, err
		}
		r.Files[name] = hash(content)
	}
	r.Raw, r.Gzip, r.Brotli = len(files["portico.wasm"]), len(files["portico.wasm.gz"]), len(files["portico.wasm.br"])
	r.SDK = len(files["portico.js.br"]) + len(files["wasm_exec.js.br"])
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return report{}, err
	}
	return r, replace(filepath.Join(dist, record), text)
}

// bundle makes the files as they are before compression.
func bundle(t toolchain) (map[string][]byte, error) {
	wasm, err := compile(t, ldflags)
	if err != nil {
		return nil, err
	}
	runtime, err := os.ReadFile(t.wasmExec())
	if err != nil {
		return nil, err
	}
	modules := filepath.Join(t.root, filepath.FromSlash(sdk))
	script, err := join(os.DirFS(modules), "portico.js")
	if err != nil {
		return nil, err
	}
	if script, err = stamp(script, t.version, hash(wasm)[:16]); err != nil {
		return nil, err
	}
	files := map[string][]byte{
		"portico.wasm": wasm,
		"portico.js":   script,
		"wasm_exec.js": slices.Concat(runtime, []byte("\nglobalThis.Go.version = '"+t.version+"'; // of the compiler that this file came with\n")),
	}
	for _, name := range []string{"portico.d.ts", "package.json"} {
		if files[name], err = os.ReadFile(filepath.Join(modules, name)); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// compile builds the program and returns it.
func compile(t toolchain, link string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "wasmbuild")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	target := filepath.Join(dir, "portico.wasm")
	args := append([]string{"build", "-o", target, link}, flags...)
	if _, err := output(t.command(append(args, program)...)); err != nil {
		return nil, err
	}
	return os.ReadFile(target)
}

// compress adds a .br and a .gz to every file the browser loads.
func compress(files map[string][]byte) error {
	names := []string{"portico.wasm", "portico.js", "wasm_exec.js"}
	compressed := make([][2][]byte, len(names))
	var g errgroup.Group
	for i, name := range names {
		g.Go(func() (err error) {
			compressed[i][0], err = squeeze(files[name], func(w io.Writer) (io.WriteCloser, error) {
				return brotli.NewWriterOptions(w, brotli.WriterOptions{Quality: brotli.BestCompression, LGWin: 24}), nil
			})
			return err
		})
		g.Go(func() (err error) {
			compressed[i][1], err = squeeze(files[name], func(w io.Writer) (io.WriteCloser, error) {
				return gzip.NewWriterLevel(w, gzip.BestCompression)
			})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, name := range names {
		files[name+".br"], files[name+".gz"] = compressed[i][0], compressed[i][1]
	}
	return nil
}

func squeeze(content []byte, open func(io.Writer) (io.WriteCloser, error)) ([]byte, error) {
	var b bytes.Buffer
	w, err := open(&b)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// replace writes a file in one step: a reader sees the old one or the new one.
func replace(name string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // does nothing once it is renamed
	_, err = f.Write(content)
	if e := f.Chmod(0o644); err == nil {
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
