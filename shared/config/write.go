package config

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// textWidth is where comments and help texts wrap.
const textWidth = 100

// Sample is the commented settings file of a program: every setting with its doc and the value it has in settings, a pointer to
// the defaults. about goes to its head. Secrets are empty in it. Loading it changes nothing, which each program's
// tests hold against the file that is kept beside its settings.
func Sample(settings any, about string) []byte {
	var b bytes.Buffer
	comment(&b, about)
	comment(&b, "Every setting is here with its default. Variables "+envPrefix+"SECTION_KEY and flags -section.key override this file. "+
		`Durations are written "25s", "10m", "1h30m", or as a number of seconds.`)
	b.WriteByte('\n')
	writeTOML(&b, schemaOf(settings), true)
	return b.Bytes()
}

// writeTOML writes all settings; commented adds their docs. Secrets are never written: a comment tells whether one is set.
func writeTOML(w io.Writer, s *schema, commented bool) {
	first := true
	for _, sec := range s.sections {
		if len(sec.fields) == 0 {
			continue
		}
		if !first {
			fmt.Fprintln(w)
		}
		first = false
		if sec.path != "" {
			if commented {
				comment(w, sec.doc)
			}
			fmt.Fprintf(w, "[%s]\n", sec.path)
		}
		for j, f := range sec.fields {
			key := f.keys[len(f.keys)-1]
			if commented {
				if j > 0 {
					fmt.Fprintln(w)
				}
				comment(w, f.describe())
			}
			switch {
			case !f.secret:
				fmt.Fprintf(w, "%s = %s\n", key, formatTOML(f.value))
			case commented:
				fmt.Fprintf(w, "%s = \"\"\n", key)
			case f.value.IsZero():
				fmt.Fprintf(w, "# %s is not set\n", key)
			default:
				fmt.Fprintf(w, "# %s is set, and not shown because it is secret\n", key)
			}
		}
	}
}

// describe is the doc with the unit.
func (f *field) describe() string {
	if f.unit == "" {
		return f.doc
	}
	return f.doc + " Unit: " + f.unit + "."
}

func comment(w io.Writer, text string) {
	for _, line := range wrap(text, textWidth) {
		fmt.Fprintf(w, "# %s\n", line)
	}
}

func wrap(text string, width int) []string {
	var out []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > width:
			out = append(out, line)
			line = word
		default:
			line += " " + word
		}
	}
	if line != "" {
		out = append(out, line)
	}
	return out
}

func (s *schema) writeHelp(src Source) {
	w := src.Output
	fmt.Fprintf(w, "%s: %s\n\nUsage: %s [-config FILE] [-section.key value]…\n\n", src.Program, src.About, src.Program)
	helpEntry(w, "-config FILE", "settings file (TOML); also "+envPrefix+"CONFIG")
	helpEntry(w, "-print-config", "print the settings that result, as TOML and without secrets, and end")
	if src.Version != "" {
		helpEntry(w, "-version", "print the version and end")
	}
	helpEntry(w, "-h", "print this and end")
	fmt.Fprintf(w, "\nSettings, from the file, then the environment, then flags; the last one counts.\n"+
		"Durations are written 25s, 10m, 1h30m, or as a number of seconds. Lists are written with commas.\n")
	for _, sec := range s.sections {
		if len(sec.fields) == 0 {
			continue
		}
		fmt.Fprintln(w)
		if sec.path != "" {
			fmt.Fprintf(w, "[%s] %s\n", sec.path, sec.doc)
		}
		for _, f := range sec.fields {
			origin := f.env
			if !f.secret {
				origin = "default " + f.def + "; " + f.env
			} else {
				origin = "secret; " + f.env
			}
			helpEntry(w, strings.TrimSpace("-"+f.path+" "+f.placeholder()), f.describe()+" ("+origin+")")
		}
	}
}

func helpEntry(w io.Writer, name, text string) {
	fmt.Fprintf(w, "  %s\n", name)
	for _, line := range wrap(text, textWidth-8) {
		fmt.Fprintf(w, "        %s\n", line)
	}
}
