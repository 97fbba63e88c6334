package main

import (
	"bytes"
	"debug/elf"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"portico/shared/program"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Whatever is wrong with the settings or the machine is one line that says what to do.
func TestFaultsAreOneLine(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	free := []string{"-http.listen", "127.0.0.1:0", "-data_dir", t.TempDir()}
	for name, c := range map[string]struct {
		args []string
		env  []string
		code int
		want string
	}{
		"unknown flag":   {append([]string{"-portal.hostnam", "x"}, free...), nil, 2, "portico-edge: flag -portal.hostnam: no such setting; did you mean -portal.hostname?"},
		"unknown env":    {free, []string{"PORTICO_PORTAL_HOSTNAM=x"}, 2, "portico-edge: "},
		"no file":        {append([]string{"-config", "none.toml"}, free...), nil, 2, "portico-edge: "},
		"bad value":      {append(free, "-portal.ping_interval", "soon"), nil, 2, "portico-edge: "},
		"taken port":     {append(free, "-http.listen", taken.Addr().String()), nil, 1, "portico-edge: http.listen: " + taken.Addr().String() + " is taken by another program"},
		"no certificate": {append(free, "-tls.cert_file", "none.pem", "-tls.key_file", "none.key"), nil, 1, "portico-edge: tls.cert_file: there is no file none.pem"},
		"data is a file": {append(free, "-data_dir", "main.go"), nil, 1, "portico-edge: "},
	} {
		t.Run(name, func(t *testing.T) {
			var out, faults bytes.Buffer
			if code := program.Run(t.Context(), edge(), c.args, c.env, &out, &faults); code != c.code {
				t.Errorf("status %d, want %d", code, c.code)
			}
			if !strings.HasPrefix(faults.String(), c.want) || strings.Count(faults.String(), "\n") != 1 || out.Len() > 0 {
				t.Errorf("said %q%q, want %q in one line", &out, &faults, c.want)
			}
		})
	}
}

func TestPrintConfigHidesSecrets(t *testing.T) {
	var out, faults bytes.Buffer
	code := program.Run(t.Context(), edge(), []string{"-print-config", "-turn.secret", "a secret of some length"}, nil, &out, &faults)
	if code != 0 || strings.Contains(out.String(), "a secret of") || !strings.Contains(out.String(), "[portal]") {
		t.Fatalf("%d %s%s", code, &out, &faults)
	}
}

// The edge is one static file: nothing has to be installed where it runs.
func TestStatic(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("ELF files are what is looked at: this system has others")
	}
	file := filepath.Join(t.TempDir(), "portico-edge")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", file, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	program, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = program.Close() }()
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the program is linked dynamically (%v)", p.Type)
		}
	}
}
