package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// explain prints which packages the code of the program is in. It builds once more, with the name section that shipping
// builds leave out, and adds up function bodies (WebAssembly core specification 5.5).
func explain(t toolchain, w io.Writer) error {
	module, err := compile(t, "-ldflags=")
	if err != nil {
		return err
	}
	list, err := output(t.command("list", "-deps", program))
	if err != nil {
		return err
	}
	sizes, data, err := attribute(module, strings.Fields(string(list)))
	if err != nil {
		return err
	}
	type share struct {
		name  string
		bytes int
	}
	var shares []share
	total := 0
	for name, bytes := range sizes {
		shares = append(shares, share{name, bytes})
		total += bytes
	}
	slices.SortFunc(shares, func(a, b share) int { return cmp.Or(cmp.Compare(b.bytes, a.bytes), cmp.Compare(a.name, b.name)) })
	fmt.Fprintf(w, "%8d  code, of which\n", total)
	for _, s := range shares {
		fmt.Fprintf(w, "%8d  %4.1f %%  %s\n", s.bytes, 100*float64(s.bytes)/float64(total), s.name)
	}
	fmt.Fprintf(w, "%8d  data: constants, types, line and stack tables\n", data)
	return nil
}

var errModule = errors.New("not a WebAssembly module as the Go linker writes it")

// The sections that are read.
const (
	sectionCustom = 0
	sectionImport = 2
	sectionCode   = 10
	sectionData   = 11
)

// attribute adds up the sizes of function bodies by package, of which packages lists those there are.
func attribute(module []byte, packages []string) (sizes map[string]int, data int, err error) {
	r := reader{rest: module}
	if string(r.take(4)) != "\x00asm" {
		return nil, 0, errModule
	}
	r.take(4) // version
	var imports int
	var bodies []int
	names := map[int]string{}
	for len(r.rest) > 0 && !r.bad {
		id := r.take(1)[0]
		section := reader{rest: r.take(r.uint())}
		switch id {
		case sectionImport:
			imports = section.uint() // Go imports functions only
		case sectionCode:
			for n := section.uint(); n > 0 && !section.bad; n-- { // the number may be a lie
				bodies = append(bodies, len(section.take(section.uint())))
			}
		case sectionData:
			data = len(section.rest)
		case sectionCustom:
			if string(section.take(section.uint())) == "name" {
				section.functionNames(names)
			}
		}
		r.bad = r.bad || section.bad
	}
	if r.bad || len(bodies) == 0 || len(names) == 0 {
		return nil, 0, errModule
	}
	paths := map[string]string{}
	for _, p := range packages {
		paths[mangled(p)] = p
	}
	sizes = map[string]int{}
	for i, size := range bodies {
		name := packageOf(names[imports+i])
		if path, ok := paths[name]; ok {
			name = path
		}
		sizes[name] += size
	}
	return sizes, data, nil
}

// packageOf is the package in a function's name such as "portico_shared_client.__Conference_.Leave": the linker writes names with
// anything but letters, digits and dots made underscores.
func packageOf(name string) string {
	path, _, found := strings.Cut(name, ".")
	if !found || path == "type_" || path == "" {
		return "(generated)"
	}
	return path
}

// mangled is an import path as it appears there.
func mangled(path string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, path)
}

// reader reads a module; after anything impossible it is bad and gives zeros.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.rest, r.bad = nil, true
		return []byte{0}
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

// uint reads an unsigned LEB128 number.
func (r *reader) uint() int {
	n, err := binary.ReadUvarint(counted{r})
	if err != nil || n > 1<<31 {
		r.rest, r.bad = nil, true
		return 0
	}
	return int(n)
}

type counted struct{ r *reader }

func (c counted) ReadByte() (byte, error) {
	if len(c.r.rest) == 0 {
		return 0, io.EOF
	}
	return c.r.take(1)[0], nil
}

// functionNames reads the subsection of the name section that names functions; the linker writes it first.
func (r *reader) functionNames(names map[int]string) {
	for len(r.rest) > 0 && !r.bad {
		id := r.take(1)[0]
		sub := reader{rest: r.take(r.uint())}
		if id != 1 {
			continue
		}
		for range sub.uint() {
			if sub.bad {
				break
			}
			index := sub.uint()
			names[index] = string(bytes.Clone(sub.take(sub.uint())))
		}
		r.bad = r.bad || sub.bad
	}
}
