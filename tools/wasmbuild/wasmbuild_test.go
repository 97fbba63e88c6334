package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/andybalholm/brotli"
)

func modules(pairs ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

func TestJoin(t *testing.T) {
	got, err := join(modules(
		"main.js", "// the door\nexport {\n  A, B,\n} from './a.js';\nexport {c} from './c.js';\n",
		"a.js", "import {c} from './c.js';\nexport class A {}\nexport const B = c();\n",
		"c.js", "export function c() { return import('./later.js'); }\nexport async function d() {}\nlet e;\n",
	), "main.js")
	if err != nil {
		t.Fatal(err)
	}
	want := `// ---- c.js ----
function c() { return import('./later.js'); }
async function d() {}
let e;
// ---- a.js ----
class A {}
const B = c();
// ---- main.js ----
export {
  A, B,
};
export {c};
`
	if string(got) != want {
		t.Errorf("got\n%s", got)
	}
}

func TestJoinRefuses(t *testing.T) {
	for name, m := range map[string]fstest.MapFS{
		"renaming":       modules("main.js", "export {a} from './a.js';\n", "a.js", "import {b as a} from './b.js';\n", "b.js", ""),
		"default":        modules("main.js", "export {a} from './a.js';\n", "a.js", "export default 1;\n"),
		"namespace":      modules("main.js", "export {a} from './a.js';\n", "a.js", "import * as b from './b.js';\n"),
		"a missing file": modules("main.js", "export {a} from './a.js';\n"),
	} {
		if got, err := join(m, "main.js"); err == nil {
			t.Errorf("%s was joined: %s", name, got)
		}
	}
}

func TestStamp(t *testing.T) {
	got, err := stamp([]byte("a\n"+unstamped+"\nb"), "go9.9", "abcd")
	if err != nil || string(got) != "a\nconst stamp = {go: 'go9.9', wasm: 'abcd'};\nb" {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := stamp([]byte("nothing to stamp"), "go9.9", "abcd"); err == nil {
		t.Error("a script without a stamp was accepted")
	}
}

// TestSDKJoins checks the SDK itself: that it joins, and that Node, where there is one, can parse the result.
func TestSDKJoins(t *testing.T) {
	script, err := join(os.DirFS("../../web/sdk"), "portico.js")
	if err != nil {
		t.Fatal(err)
	}
	if script, err = stamp(script, "go0", "0"); err != nil {
		t.Fatal(err)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node here to parse the bundle with")
	}
	name := filepath.Join(t.TempDir(), "bundle.mjs")
	if err := os.WriteFile(name, script, 0o644); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.Command(node, "--check", name).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, said)
	}
}

func TestCompress(t *testing.T) {
	content := []byte(strings.Repeat("a program ", 1000))
	files := map[string][]byte{"portico.wasm": content, "portico.js": content, "wasm_exec.js": content}
	if err := compress(files); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"portico.wasm", "portico.js", "wasm_exec.js"} {
		z, err := gzip.NewReader(bytes.NewReader(files[name+".gz"]))
		if err != nil {
			t.Fatal(err)
		}
		for suffix, r := range map[string]io.Reader{".gz": z, ".br": brotli.NewReader(bytes.NewReader(files[name+".br"]))} {
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) || len(files[name+suffix]) > 200 {
				t.Errorf("%s%s: %d bytes, %v", name, suffix, len(files[name+suffix]), err)
			}
		}
	}
}

func TestLastBuild(t *testing.T) {
	dist := t.TempDir()
	if _, fresh := lastBuild(dist, "inputs"); fresh {
		t.Error("an empty folder is fresh")
	}
	write := func(name, content string) {
		t.Helper()
		if err := replace(filepath.Join(dist, name), []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	write("portico.js", "content")
	write(record, `{"Inputs":"inputs","Files":{"portico.js":"`+hash([]byte("content"))+`"},"Brotli":7}`)
	if r, fresh := lastBuild(dist, "inputs"); !fresh || r.Brotli != 7 {
		t.Errorf("a whole build is not fresh: %+v", r)
	}
	if _, fresh := lastBuild(dist, "other inputs"); fresh {
		t.Error("fresh although the sources changed")
	}
	write("portico.js", "tampered")
	if _, fresh := lastBuild(dist, "inputs"); fresh {
		t.Error("fresh although a file changed")
	}
	if left, _ := fs.Glob(os.DirFS(dist), ".new-*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// tinyModule has one imported function and two of its own, of 4 and 6 bytes, in two packages.
var tinyModule = []byte("\x00asm\x01\x00\x00\x00" +
	"\x02\x07\x01\x01e\x01i\x00\x00" +
	"\x0a\x0d\x02\x04\x00\x01\x01\x0b\x06\x00\x01\x01\x01\x01\x0b" +
	"\x0b\x03abc" +
	"\x00\x25\x04name\x01\x1e\x03\x00\x01i\x01\x0aa_b.F_int_\x02\x0cportico_x.G1")

func TestAttribute(t *testing.T) {
	sizes, data, err := attribute(tinyModule, []string{"a/b", "portico/x"})
	if err != nil || data != 3 || len(sizes) != 2 || sizes["a/b"] != 4 || sizes["portico/x"] != 6 {
		t.Errorf("%v, data %d, %v", sizes, data, err)
	}
}

func FuzzAttribute(f *testing.F) {
	f.Add(tinyModule)
	f.Add([]byte("\x00asm"))
	f.Fuzz(func(_ *testing.T, module []byte) {
		_, _, _ = attribute(module, nil) // any answer will do, a panic will not
	})
}
