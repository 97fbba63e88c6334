package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// The modules of the SDK become one file: a browser would have to fetch the first to learn of the others. It is no bundler; it
// knows the shapes our sources have and refuses the rest:
//
//	import {a, b} from './other.js';     in any module, no renaming, over one line or several
//	export {a, b} from './other.js';     in the entry module only: these are what the bundle exports
//	export class, function, const, …     in the other modules, for each other
//
// Names at the top of all modules must differ, which the browser would notice: they are declared twice then. Lines that are
// comments stay behind, so no text over several lines may have one that looks so.
var (
	commentLine = regexp.MustCompile(`(?m)^[ \t]*//.*\n`)
	importLine  = regexp.MustCompile(`(?m)^import \{([^}]*)\} from '\./([\w-]+\.js)';\n`)
	reexport    = regexp.MustCompile(`(?m)^export (\{[^}]*\}) from '\./([\w-]+\.js)';\n`)
	exported    = regexp.MustCompile(`(?m)^export (class|const|let|function|async function) `)
	leftOver    = regexp.MustCompile(`(?m)^(import|export)\b.*`)
)

// join returns the entry module and all it imports, each after what it needs.
func join(modules fs.FS, entry string) ([]byte, error) {
	j := joiner{modules: modules, seen: map[string]bool{}}
	if err := j.add(entry, true); err != nil {
		return nil, err
	}
	return j.out.Bytes(), nil
}

type joiner struct {
	modules fs.FS
	seen    map[string]bool
	out     bytes.Buffer
}

func (j *joiner) add(name string, entry bool) error {
	if j.seen[name] {
		return nil
	}
	j.seen[name] = true
	source, err := fs.ReadFile(j.modules, path.Clean(name))
	if err != nil {
		return err
	}
	text := string(source)
	for _, m := range importLine.FindAllStringSubmatch(text, -1) {
		if strings.Contains(m[1], " as ") {
			return fmt.Errorf("%s: cannot join modules that rename what they import: {%s}", name, m[1])
		}
		if err := j.add(m[2], false); err != nil {
			return err
		}
	}
	text = importLine.ReplaceAllString(text, "")
	if !entry {
		text = exported.ReplaceAllString(text, "$1 ")
		if bad := leftOver.FindString(text); bad != "" {
			return fmt.Errorf("%s: cannot join a module with %q", name, bad)
		}
		j.write(name, text)
		return nil
	}
	for _, m := range reexport.FindAllStringSubmatch(text, -1) {
		if err := j.add(m[2], false); err != nil {
			return err
		}
	}
	text = reexport.ReplaceAllString(text, "export $1;\n")
	j.write(name, text)
	return nil
}

func (j *joiner) write(name, text string) {
	text = strings.Trim(commentLine.ReplaceAllString(text, ""), "\n")
	fmt.Fprintf(&j.out, "// ---- %s ----\n%s\n", name, text)
}

// unstamped is the line in the loader that a build fills in.
const unstamped = `const stamp = {go: '', wasm: ''};`

// stamp writes into the loader which compiler made the program and the hash of its content, with which it is fetched.
func stamp(script []byte, version, sum string) ([]byte, error) {
	if bytes.Count(script, []byte(unstamped)) != 1 {
		return nil, fmt.Errorf("the SDK has to contain exactly once: %s", unstamped)
	}
	return bytes.Replace(script, []byte(unstamped), []byte(fmt.Sprintf("const stamp = {go: '%s', wasm: '%s'};", version, sum)), 1), nil
}
