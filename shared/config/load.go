// Package config loads the settings of a program from a file, the environment and flags into one struct.
//
// Every program (edge, relay, the CLI's dev verb) describes its settings as a struct whose fields carry tags, starts from its
// defaults and calls Load, which lays over them, in this order: the TOML file of -config FILE or PORTICO_CONFIG; variables
// PORTICO_SECTION_KEY; flags -section.key VALUE. Whatever is not a setting is a fault, so that a misspelt name is never silent,
// and all faults are told at once, each in one line that says what to do.
//
// Tags of a field:
//
//	toml:"listen"   the key, lower case with underscores; "-" keeps the field out of files, environment and flags
//	doc:"…"         what it does, for -h and the sample file; a section (a field of struct type) has one too
//	unit:"bytes"    the unit of a number; durations need none
//	secret:"true"   never printed
//
// Types are bool, string, whole numbers, float64, time.Duration ("25s", or a number of seconds), []string and []int.
// In the environment and in flags lists are written with commas.
package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// ErrAnswered is what Load returns after -h, -version or -print-config: the answer is written, the program ends with status 0.
var ErrAnswered = errors.New("config: answered")

// Source says where settings come from and who asks.
type Source struct {
	Program string    // "portico-edge", for texts
	About   string    // one sentence for -h
	Version string    // answer to -version; "" leaves the flag out
	Args    []string  // os.Args[1:]
	Env     []string  // os.Environ()
	Output  io.Writer // for -h, -version and -print-config
	// OtherEnv lists variables beginning with PORTICO_ that are read elsewhere and are no fault here.
	OtherEnv []string
}

// Validator is a settings struct that checks itself once everything is loaded. Validate returns every fault at once, joined by
// errors.Join, each a line that names the setting and says what to do.
type Validator interface{ Validate() error }

// Faults is what is wrong with the settings, one line each.
type Faults []string

// Error joins the lines.
func (f Faults) Error() string { return strings.Join(f, "\n") }

// Names that are flags but no settings.
var reserved = map[string]bool{"config": true, "print-config": true, "version": true, "h": true, "help": true}

// Load lays the file, the environment and the flags of src over settings, a pointer to a struct that holds the defaults.
// It returns nil, ErrAnswered, or Faults. With Faults, settings holds what could be understood and must not be used.
func Load(settings any, src Source) error {
	s := schemaOf(settings)
	var faults Faults
	flags := s.parseFlags(src, &faults)
	switch {
	case flags.help:
		s.writeHelp(src)
		return ErrAnswered
	case flags.version:
		fmt.Fprintln(src.Output, src.Program, src.Version)
		return ErrAnswered
	}
	if file := flags.file(src.Env); file != "" {
		s.loadFile(file, &faults)
	}
	s.loadEnv(src, &faults)
	s.applyFlags(flags, &faults)
	if v, ok := settings.(Validator); ok {
		faults = append(faults, lines(v.Validate())...)
	}
	if len(faults) > 0 {
		return faults
	}
	if flags.print {
		writeTOML(src.Output, s, false)
		return ErrAnswered
	}
	return nil
}

// WriteFaults writes an error of Load or of a program's start, each line under the program's name.
func WriteFaults(w io.Writer, program string, err error) {
	for _, line := range lines(err) {
		fmt.Fprintf(w, "%s: %s\n", program, line)
	}
}

func lines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(strings.TrimRight(err.Error(), "\n"), "\n")
}

// given are the flags as written: checking is left to later, so that one bad flag does not hide the next.
type given struct {
	config         string
	print          bool
	version, help  bool
	names, content []string // settings in the order given
}

func (g *given) file(env []string) string {
	if g.config != "" {
		return g.config
	}
	for _, e := range env {
		if file, ok := strings.CutPrefix(e, envPrefix+"CONFIG="); ok {
			return file
		}
	}
	return ""
}

// rawFlag records a flag without judging it.
type rawFlag struct {
	g    *given
	name string
	bool bool
}

func (r rawFlag) String() string   { return "" }
func (r rawFlag) IsBoolFlag() bool { return r.bool }
func (r rawFlag) Set(text string) error {
	r.g.names, r.g.content = append(r.g.names, r.name), append(r.g.content, text)
	return nil
}

func (s *schema) parseFlags(src Source, faults *Faults) *given {
	g := &given{}
	set := flag.NewFlagSet(src.Program, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	set.StringVar(&g.config, "config", "", "")
	set.BoolVar(&g.print, "print-config", false, "")
	if src.Version != "" {
		set.BoolVar(&g.version, "version", false, "")
	}
	for _, f := range s.fields {
		set.Var(rawFlag{g, f.path, f.isBool()}, f.path, "")
	}
	args := src.Args
	for {
		err := set.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			g.help = true
			return g
		}
		args = set.Args()
		switch {
		case err != nil:
			fault, takesValue := s.flagFault(err.Error(), args)
			*faults = append(*faults, fault)
			if takesValue {
				args = args[1:]
			}
		case len(args) > 0:
			*faults = append(*faults, fmt.Sprintf("argument %q: settings are given as -section.key value; -h lists them", args[0]))
			args = args[1:]
		default:
			return g
		}
	}
}

// flagFault turns an error of the flag package into a line that helps. takesValue says that the next argument belongs to the
// unknown flag rather than being another mistake.
func (s *schema) flagFault(text string, rest []string) (fault string, takesValue bool) {
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		names := []string{"config", "print-config"}
		for _, f := range s.fields {
			names = append(names, f.path)
		}
		return fmt.Sprintf("flag -%s: no such setting; %s", name, suggest(name, names, "-", "-h lists all")),
			len(rest) > 0 && !strings.HasPrefix(rest[0], "-")
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return fmt.Sprintf("flag -%s: a value has to follow it; -h says of which kind", name), false
	}
	return text + "; -h lists the flags", false
}

func (s *schema) applyFlags(g *given, faults *Faults) {
	for i, name := range g.names {
		if err := s.byPath[name].setText(g.content[i]); err != nil {
			*faults = append(*faults, fmt.Sprintf("flag -%s: %v", name, err))
		}
	}
}

func (s *schema) loadEnv(src Source, faults *Faults) {
	for _, e := range slices.Sorted(slices.Values(src.Env)) {
		name, text, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, envPrefix) || name == envPrefix+"CONFIG" || slices.Contains(src.OtherEnv, name) || isServiceLink(name, text) {
			continue
		}
		f := s.byEnv[name]
		if f == nil {
			names := []string{envPrefix + "CONFIG"}
			for _, f := range s.fields {
				names = append(names, f.env)
			}
			*faults = append(*faults, fmt.Sprintf("environment variable %s: no such setting; %s, or unset it", name, suggest(name, names, "", "-h lists all")))
			continue
		}
		if err := f.setText(text); err != nil {
			*faults = append(*faults, fmt.Sprintf("environment variable %s: %v", name, err))
		}
	}
}

// isServiceLink knows the variables that Kubernetes sets in every pod for a Service whose name begins with "portico-":
// NAME_SERVICE_HOST, NAME_SERVICE_PORT[_PORTNAME], NAME_PORT and NAME_PORT_8080_TCP[_ADDR|_PORT|_PROTO]. They are not settings,
// and a cluster must not keep a node from starting by having one.
func isServiceLink(name, text string) bool {
	if strings.HasSuffix(name, "_SERVICE_HOST") || strings.Contains(name, "_SERVICE_PORT") {
		return true
	}
	if strings.HasSuffix(name, "_PORT") && strings.Contains(text, "://") {
		return true
	}
	_, after, ok := strings.Cut(name, "_PORT_")
	number, proto, ok2 := strings.Cut(after, "_")
	return ok && ok2 && strings.Trim(number, "0123456789") == "" && (strings.HasPrefix(proto, "TCP") || strings.HasPrefix(proto, "UDP"))
}

func (s *schema) loadFile(file string, faults *Faults) {
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		*faults = append(*faults, fmt.Sprintf("settings file %s: no such file; correct -config, or make one from what -print-config shows", file))
		return
	case err != nil:
		*faults = append(*faults, fmt.Sprintf("settings file %s: cannot be read (%v); correct its permissions or -config", file, errors.Unwrap(err)))
		return
	}
	s.loadTOML(file, string(text), faults)
}

func (s *schema) loadTOML(file, text string, faults *Faults) {
	var root map[string]any
	if _, err := toml.Decode(text, &root); err != nil {
		*faults = append(*faults, fmt.Sprintf("settings file %s: not valid TOML: %s", file, strings.TrimPrefix(oneLine(err.Error()), "toml: ")))
		return
	}
	s.applyTable("settings file "+file, "", root, faults)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// applyTable takes one table of the file; path is the section it stands in.
func (s *schema) applyTable(file, path string, table map[string]any, faults *Faults) {
	for _, key := range slices.Sorted(maps.Keys(table)) {
		full := key
		if path != "" {
			full = path + "." + key
		}
		value := table[key]
		sub, isTable := value.(map[string]any)
		f, sec := s.byPath[full], s.tables[full]
		switch {
		case f != nil && isTable:
			*faults = append(*faults, fmt.Sprintf("%s: %s is one setting, not a section: write it as %s = %s", file, full, key, f.example()))
		case f != nil:
			if err := f.setTOML(value); err != nil {
				*faults = append(*faults, fmt.Sprintf("%s: %s: %v", file, full, err))
			}
		case sec != nil && isTable:
			s.applyTable(file, full, sub, faults)
		case sec != nil:
			*faults = append(*faults, fmt.Sprintf("%s: %s is a section: write [%s] and its settings below it", file, full, full))
		case isTable:
			*faults = append(*faults, fmt.Sprintf("%s: [%s]: no such section; %s", file, full, suggest(full, s.sectionNames(), "", "-h lists all settings")))
		default:
			*faults = append(*faults, fmt.Sprintf("%s: %s: no such setting; %s", file, full, suggest(full, s.settingNames(), "", "-h lists all")))
		}
	}
}

// example is a value for a text about the setting: its default, unless that is secret.
func (f *field) example() string {
	if f.secret {
		return `"…"`
	}
	return f.def
}

func (s *schema) sectionNames() []string {
	var names []string
	for _, sec := range s.sections[1:] {
		names = append(names, sec.path)
	}
	return names
}

func (s *schema) settingNames() []string {
	var names []string
	for _, f := range s.fields {
		names = append(names, f.path)
	}
	return names
}
