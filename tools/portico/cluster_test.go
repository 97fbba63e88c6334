package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	edgeconfig "portico/edge/config"
	relayconfig "portico/relay/config"
	"portico/shared/config"
	"portico/shared/identity"
)

// files are all in a folder with their contents; each must be its owner's alone.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("%s has the mode %o", path, mode)
		}
		data, err := os.ReadFile(path)
		all[strings.TrimPrefix(filepath.ToSlash(path), filepath.ToSlash(dir)+"/")] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var clusterSetting = regexp.MustCompile(`(?m)^(\w+) = "(.*)"$`)

func TestCluster(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "here")
	try := func(code int, words ...string) (string, string) {
		t.Helper()
		var out, said bytes.Buffer
		if got := run(t.Context(), append([]string{"cluster"}, words...), &out, &said); got != code {
			t.Errorf("%q: status %d, want %d: %s", words, got, code, &said)
		}
		return out.String(), said.String()
	}
	issue := func(code int, words ...string) (string, string) {
		t.Helper()
		return try(code, append([]string{"issue", "-dir", dir}, words...)...)
	}
	if _, said := issue(1, "-role", "edge", "east-1"); !strings.Contains(said, "make one with `portico cluster init`") {
		t.Error(said)
	}
	if out, said := try(0, "init", "-dir", dir); !strings.Contains(out, dir) || said != "" {
		t.Error(out, said)
	}
	before := files(t, dir)
	if _, said := try(1, "init", "-dir", dir); !strings.Contains(said, "there is one already: it is left as it is; -dir") {
		t.Error(said)
	}
	out, _ := issue(0, "east-1", "-role", "edge")
	if !strings.HasPrefix(out, "Made for the edge east-1, valid until ") || !strings.Contains(out, "\n[cluster]\n") {
		t.Error(out)
	}
	settings := map[string]string{}
	for _, m := range clusterSetting.FindAllStringSubmatch(out, -1) {
		settings[m[1]] = m[2]
	}
	made := identity.Files{Folder: settings["folder"]}
	id, err := identity.Load(made)
	if err != nil || id.Name != "east-1" || id.Role != identity.Edge {
		t.Fatalf("%+v, %v, %+v", id, err, made)
	}
	if _, said := issue(1, "-role", "relay", "east-1"); !strings.HasSuffix(said, "there is one already: -replace makes it anew\n") {
		t.Error(said)
	}
	issue(0, "-role", "relay", "-replace", "east-1")
	if id, err = identity.Load(made); err != nil || id.Role != identity.Relay {
		t.Errorf("%+v, %v", id, err)
	}
	after := files(t, dir)
	for name, data := range before {
		if after[name] != data {
			t.Errorf("%s has changed", name)
		}
	}
	if len(before) != 3 || len(after) != 7 {
		t.Errorf("%d files, then %d", len(before), len(after))
	}
}

func TestClusterUsage(t *testing.T) {
	for args, c := range map[string]struct {
		code      int
		out, said string
	}{
		"":                           {2, "Usage: portico cluster COMMAND\n", "portico: wrong usage: what is to be done for the cluster?\n"},
		"-h":                         {0, "Usage: portico cluster COMMAND\n", ""},
		"explode":                    {2, "", "portico: wrong usage: there is no `portico cluster explode`; `portico cluster -h` shows what there is\n"},
		"drain":                      {2, "", "portico: wrong usage: NODE is missing; `portico cluster drain -h` shows how it is used\n"},
		"keys add":                   {1, "", "portico: no service named: "},
		"status -h":                  {0, "Usage: portico cluster status [flags]\n", ""},
		"join -h":                    {0, "Usage: portico cluster join -role edge|relay [flags] NAME\n", ""},
		"join -role edge":            {2, "", "portico: wrong usage: one NAME is needed; "},
		"init -h":                    {0, "Usage: portico cluster init [flags]\n", ""},
		"init x":                     {2, "", `portico: wrong usage: "x" is too much`},
		"issue -h":                   {0, "Usage: portico cluster issue -role edge|relay [flags] NAME\n", ""},
		"issue -role edge":           {2, "", "portico: wrong usage: one NAME is needed; "},
		"issue -role edge a b":       {2, "", "portico: wrong usage: one NAME is needed; "},
		"issue a":                    {2, "", "portico: wrong usage: -role is edge or relay; "},
		"issue -role turn a":         {2, "", "portico: wrong usage: -role is edge or relay; "},
		"issue -role edge ../a":      {2, "", `portico: wrong usage: a node cannot be called "../a": `},
		"issue -nope a":              {2, "", "portico: wrong usage: flag provided but not defined: -nope; "},
		"issue -role edge -dir no a": {1, "", `portico: the certificate cannot be made: there is no cluster authority in the folder "no" `},
	} {
		var out, said bytes.Buffer
		if code := run(t.Context(), append([]string{"cluster"}, strings.Fields(args)...), &out, &said); code != c.code {
			t.Errorf("%q: status %d, want %d", args, code, c.code)
		}
		if !strings.HasPrefix(out.String(), c.out) || !strings.HasPrefix(said.String(), c.said) || (c.said == "") != (said.Len() == 0) {
			t.Errorf("%q said:\n%s%s", args, &out, &said)
		}
	}
}

// join makes and prints all that a node needs.
func TestClusterJoin(t *testing.T) {
	t.Chdir(t.TempDir())
	try := func(words ...string) string {
		t.Helper()
		var out, said bytes.Buffer
		if got := run(t.Context(), append([]string{"cluster"}, words...), &out, &said); got != 0 {
			t.Fatalf("%q: %s", words, &said)
		}
		return out.String()
	}
	try("init")
	file := filepath.Join(t.TempDir(), "edge.toml")
	out := try("join", "-role", "edge", "-seeds", "192.0.2.1, b.example.org:7000", "-region", "east", "-store", "postgres://u:p@host/db", "edge-1")
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := edgeconfig.Default()
	if err := config.Load(cfg, config.Source{Args: []string{"-config", file}}); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c := cfg.Cluster
	if id, err := identity.Load(c.Files); err != nil || id.Name != "edge-1" || !cfg.Gossips() || c.Region != "east" || len(c.Seeds) != 2 || !cfg.SharedStore() {
		t.Errorf("%v, %+v", err, c)
	}
	if _, err := identity.LoadSecret(c.SecretFile()); err != nil {
		t.Error(err)
	}
	out = try("join", "-role", "relay", "relay-1")
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	relay := relayconfig.Default()
	if err := config.Load(relay, config.Source{Args: []string{"-config", file}}); err != nil || !relay.Gossips() {
		t.Errorf("%v\n%s", err, out)
	}
}
