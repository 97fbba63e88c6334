package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

type portal struct {
	Listen   string        `toml:"listen" doc:"Address to listen on."`
	Interval time.Duration `toml:"ping_interval" doc:"Time between pings."`
	Max      int           `toml:"max_connections" doc:"Connections at a time; 0 means no limit."`
	Payload  uint16        `toml:"max_payload" doc:"Largest message." unit:"bytes"`
	Share    float64       `toml:"share" doc:"Share of a core."`
	CORS     []string      `toml:"cors" doc:"Origins of other sites that may connect."`
	Ports    []int         `toml:"ports" doc:"Ports."`
	Open     bool          `toml:"open" doc:"Whether it is open."`
}

type turn struct {
	Secret string `toml:"secret" doc:"Shared with the relays." secret:"true"`
}

type settings struct {
	DataDir string `toml:"data_dir" doc:"Folder of what persists."`
	Portal  portal `toml:"portal" doc:"The signalling door."`
	Turn    turn   `toml:"turn" doc:"Relays."`
	Dev     bool   `toml:"-"`
}

func (s *settings) Validate() error {
	if s.Portal.Max < 0 {
		return errors.Join(errors.New("portal.max_connections is negative: write 0 or more"), errors.New("second line"))
	}
	return nil
}

func defaults() *settings {
	return &settings{
		DataDir: "data",
		Portal: portal{Listen: "0.0.0.0:8080", Interval: 25 * time.Second, Max: 10, Payload: 1000, Share: 0.5,
			CORS: []string{}, Ports: []int{1, 2}},
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "edge.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLaterSourcesWin(t *testing.T) {
	file := writeFile(t, `
data_dir = "from file"
[portal]
listen = "file:1"
ping_interval = 20
max_connections = 1
cors = ["https://a", "https://b"]
share = 2
open = true
[turn]
secret = "s1"
`)
	s := defaults()
	err := Load(s, Source{Program: "p", Output: &bytes.Buffer{},
		Args: []string{"-portal.listen", "flag:3", "-config", file, "--portal.ports=7,8", "-portal.open=false"},
		Env:  []string{"PATH=/bin", "PORTICO_PORTAL_LISTEN=env:2", "PORTICO_PORTAL_MAX_CONNECTIONS=2", "PORTICO_PORTAL_CORS=", "PORTICO_TURN_SECRET=s2"}})
	if err != nil {
		t.Fatal(err)
	}
	want := &settings{DataDir: "from file", Turn: turn{Secret: "s2"}, Portal: portal{Listen: "flag:3", Interval: 20 * time.Second, Max: 2,
		Payload: 1000, Share: 2, CORS: []string{}, Ports: []int{7, 8}, Open: false}}
	if !reflect.DeepEqual(s, want) {
		t.Fatalf("got  %+v\nwant %+v", s, want)
	}
}

func TestConfigFromEnvironment(t *testing.T) {
	s := defaults()
	if err := Load(s, Source{Env: []string{"PORTICO_CONFIG=" + writeFile(t, `data_dir = "x"`)}}); err != nil || s.DataDir != "x" {
		t.Fatalf("data_dir = %q, err = %v", s.DataDir, err)
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"25": 25 * time.Second, "1.5": 1500 * time.Millisecond, "10m": 10 * time.Minute, "1h30m": 90 * time.Minute, " 2s ": 2 * time.Second} {
		s := defaults()
		if err := Load(s, Source{Args: []string{"-portal.ping_interval", text}}); err != nil || s.Portal.Interval != want {
			t.Errorf("%q: %v, %v", text, s.Portal.Interval, err)
		}
	}
	for d, want := range map[time.Duration]string{10 * time.Minute: "10m", time.Hour: "1h", 90 * time.Minute: "1h30m", 25 * time.Second: "25s", 0: "0s", 10 * time.Second: "10s", time.Hour + 10*time.Second: "1h0m10s"} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v is written %q, want %q", d, got, want)
		}
	}
}

func TestFaults(t *testing.T) {
	cases := []struct {
		name, file string
		args, env  []string
		want       []string
	}{
		{"unknown flag", "", []string{"-portal.lisen", ":1", "-nonsense_of_all_kinds=1", "-portal.open"}, nil, []string{
			"flag -portal.lisen: no such setting; did you mean -portal.listen?",
			"flag -nonsense_of_all_kinds: no such setting; -h lists all"}},
		{"key alone", "", []string{"-listen=:1"}, nil, []string{"flag -listen: no such setting; did you mean -portal.listen?"}},
		{"no value", "", []string{"-portal.listen"}, nil, []string{"flag -portal.listen: a value has to follow it; -h says of which kind"}},
		{"argument", "", []string{"start", "-portal.open"}, nil, []string{`argument "start": settings are given as -section.key value; -h lists them`}},
		{"types", "", []string{"-portal.max_connections=many", "-portal.ping_interval=soon", "-portal.open=perhaps", "-portal.max_payload=70000", "-portal.share=NaN", "-portal.ports=1,b"}, nil, []string{
			`flag -portal.max_connections: "many" is not a whole number in range: write it in digits, as 8080`,
			`flag -portal.ping_interval: "soon" is not a duration: write it as 25s, 10m or 1h30m, or as a number of seconds`,
			`flag -portal.open: "perhaps" is not true or false: write one of these`,
			`flag -portal.max_payload: "70000" is not a whole number in range: write it in digits, as 8080`,
			`flag -portal.share: "NaN" is not a number: write it in digits, as 0.5`,
			`flag -portal.ports: "b" is not a whole number in range: write it in digits, as 8080`}},
		{"environment", "", nil, []string{"PORTICO_PORTAL_LISTENS=x", "PORTICO_PORTAL_OPEN=x", "PORTICO_OTHER=1"}, []string{
			"environment variable PORTICO_PORTAL_LISTENS: no such setting; did you mean PORTICO_PORTAL_LISTEN?, or unset it",
			`environment variable PORTICO_PORTAL_OPEN: "x" is not true or false: write one of these`}},
		{"service links", "", nil, []string{"PORTICO_EDGE_SERVICE_HOST=10.0.0.1", "PORTICO_EDGE_SERVICE_PORT_HTTP=80", "PORTICO_EDGE_PORT=tcp://10.0.0.1:80", "PORTICO_EDGE_PORT_80_TCP_ADDR=10.0.0.1"}, nil},
		{"validation", "", []string{"-portal.max_connections=-1"}, nil, []string{"portal.max_connections is negative: write 0 or more", "second line"}},
		{"file", `
dat_dir = "x"
turn = 3
[data_dir]
a = 1
[portal]
listen = 8080
max_connections = "5"
open = 1
cors = [1]
ping_interval = true
ports = 2024-01-01
[portals]
listen = "x"
`, nil, nil, []string{
			"dat_dir: no such setting; did you mean data_dir?",
			`data_dir is one setting, not a section: write it as data_dir = "data"`,
			"portal.cors: holds a number, and has to be a list of strings: write it as [\"one\", \"two\"]",
			"portal.listen: is a number, and has to be a string: write it in quotes, as \"text\"",
			"portal.max_connections: is a string, and has to be a whole number, without quotes",
			"portal.open: is a number, and has to be true or false, without quotes",
			"portal.ping_interval: is true or false, and has to be a duration: write it as \"25s\" or as a number of seconds",
			"portal.ports: is a date, and has to be a list of whole numbers: write it as [1, 2]",
			"[portals]: no such section; did you mean portal?",
			"turn is a section: write [turn] and its settings below it"}},
		{"syntax", "a = \n", nil, nil, []string{"not valid TOML: line 1 (last key \"a\"): expected value but found '\\n' instead"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			src := Source{Args: c.args, Env: c.env, OtherEnv: []string{"PORTICO_OTHER"}}
			prefix := ""
			if c.file != "" {
				file := writeFile(t, c.file)
				src.Args = append(src.Args, "-config", file)
				prefix = "settings file " + file + ": "
			}
			var got []string
			if err := Load(defaults(), src); err != nil {
				got = err.(Faults)
			}
			for i := range got {
				got[i] = strings.TrimPrefix(got[i], prefix)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestMissingFile(t *testing.T) {
	err := Load(defaults(), Source{Args: []string{"-config", filepath.Join(t.TempDir(), "none.toml")}})
	if err == nil || !strings.Contains(err.Error(), "none.toml: no such file; correct -config") {
		t.Fatal(err)
	}
	err = Load(defaults(), Source{Args: []string{"-config", t.TempDir()}})
	if err == nil || !strings.Contains(err.Error(), "cannot be read") || strings.Contains(err.Error(), "\n") {
		t.Fatal(err)
	}
}

func TestPrintConfigHidesSecretsAndLoads(t *testing.T) {
	var out bytes.Buffer
	err := Load(defaults(), Source{Output: &out, Args: []string{"-print-config", "-turn.secret", "hush", "-portal.cors", "a,b", "-portal.listen", "a\"b\\c\n\x01"}})
	if !errors.Is(err, ErrAnswered) {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "hush") || !strings.Contains(out.String(), "# secret is set") {
		t.Fatalf("the secret is shown, or nothing said about it:\n%s", &out)
	}
	s := defaults()
	if err := Load(s, Source{Args: []string{"-config", writeFile(t, out.String())}}); err != nil {
		t.Fatal(err)
	}
	if s.Portal.Listen != "a\"b\\c\n\x01" || !reflect.DeepEqual(s.Portal.CORS, []string{"a", "b"}) {
		t.Fatalf("printed and loaded again: %+v", s.Portal)
	}
}

func TestHelpTellsEverySetting(t *testing.T) {
	var out bytes.Buffer
	if err := Load(defaults(), Source{Program: "portico-x", About: "does x", Version: "v1", Output: &out, Args: []string{"-h"}}); !errors.Is(err, ErrAnswered) {
		t.Fatal(err)
	}
	for _, f := range schemaOf(defaults()).fields {
		for _, want := range []string{"  -" + f.path, f.env, f.def, f.unit} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("-h does not tell %q of %s:\n%s", want, f.path, &out)
			}
		}
	}
	out.Reset()
	if err := Load(defaults(), Source{Program: "portico-x", Version: "v1", Output: &out, Args: []string{"-version"}}); !errors.Is(err, ErrAnswered) || out.String() != "portico-x v1\n" {
		t.Fatalf("%v, %q", err, &out)
	}
}

func TestSampleEqualsDefaults(t *testing.T) {
	sample := Sample(defaults(), "Settings of x.")
	s := defaults()
	s.DataDir, s.Portal = "", portal{}
	if err := Load(s, Source{Args: []string{"-config", writeFile(t, string(sample))}}); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(s, defaults()) {
		t.Fatalf("sample:\n%s\nloads as %+v", sample, s)
	}
	with := defaults()
	with.Turn.Secret = "hush"
	if strings.Contains(string(Sample(with, "")), "hush") {
		t.Fatal("the sample holds a secret")
	}
}

func TestSecretsStayOutOfFaults(t *testing.T) {
	err := Load(defaults(), Source{Args: []string{"-config", writeFile(t, "[turn]\nsecret = 12345678\n")}})
	if err == nil || strings.Contains(err.Error(), "12345678") {
		t.Fatal(err)
	}
}

func TestWrongStructsPanic(t *testing.T) {
	for name, bad := range map[string]any{
		"no pointer": settings{},
		"no doc": &struct {
			A string `toml:"a"`
		}{},
		"type": &struct {
			A map[string]int `toml:"a" doc:"a"`
		}{},
		"same variable": &struct {
			A  string `toml:"a_b" doc:"a"`
			Bs struct {
				B string `toml:"b" doc:"b"`
			} `toml:"a" doc:"s"`
		}{},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", name)
				}
			}()
			schemaOf(bad)
		}()
	}
}

func TestWriteFaults(t *testing.T) {
	var out bytes.Buffer
	WriteFaults(&out, "p", Faults{"a", "b"})
	if out.String() != "p: a\np: b\n" {
		t.Fatalf("%q", &out)
	}
}

// FuzzFile holds that no file makes the loader panic and that every fault is one line.
func FuzzFile(f *testing.F) {
	f.Add("data_dir = \"x\"\n[portal]\nlisten = 1\nports = [1, \"a\"]\n")
	f.Add("[portal.listen]\n[[turn]]\n")
	f.Add("portal = {cors = [[1], {a = 1}]}\nx.y.z = 1979-05-27\n")
	f.Fuzz(func(t *testing.T, text string) {
		var faults Faults
		schemaOf(defaults()).loadTOML("f", text, &faults)
		for _, fault := range faults {
			if strings.Contains(fault, "\n") {
				t.Fatalf("a fault of two lines: %q", fault)
			}
		}
	})
}

// FuzzText holds that what a value is written as loads as the same value.
func FuzzText(f *testing.F) {
	f.Add("10m")
	f.Add("a\"\\\x7f,b")
	f.Fuzz(func(t *testing.T, text string) {
		s := defaults()
		sc := schemaOf(s)
		for _, field := range sc.fields {
			if field.secret || field.setText(text) != nil {
				continue
			}
			var faults Faults
			again := defaults()
			line := formatTOML(field.value)
			prefix := ""
			if len(field.keys) == 2 {
				prefix = "[" + field.keys[0] + "]\n"
			}
			schemaOf(again).loadTOML("f", prefix+field.keys[len(field.keys)-1]+" = "+line+"\n", &faults)
			other := schemaOf(again).byPath[field.path].value
			if !isText(text) {
				continue
			}
			if len(faults) > 0 || !reflect.DeepEqual(other.Interface(), field.value.Interface()) {
				t.Fatalf("%s = %s: %v, loaded as %v", field.path, line, faults, other)
			}
		}
	})
}

// isText leaves out what TOML files cannot hold.
func isText(s string) bool { return strings.ToValidUTF8(s, "") == s }
