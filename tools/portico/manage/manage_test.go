package manage

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"portico/edge/restapi"
	"portico/edge/store"
	"portico/shared/jsonvalue"
	"portico/shared/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noConferences is a node without active rooms; what a test does not need is not there.
type noConferences struct{ restapi.Conferences }

func (noConferences) DestroyRoom(string) {}

func (noConferences) StreamQuality(context.Context, string, string, string) (jsonvalue.Value, bool) {
	return jsonvalue.Value{}, false
}

// start runs a management API and returns how to reach it, and its store.
func start(t *testing.T) (Settings, store.Store) {
	t.Helper()
	db, err := store.OpenSQLite(t.Context(), t.TempDir(), store.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	super, sample, _, err := store.Bootstrap(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(restapi.New(restapi.Options{
		Store: db, TokenKey: []byte("k"), SuperService: super.ID, Conferences: noConferences{},
		Portal: func() restapi.PortalAddress { return restapi.PortalAddress{Host: "h:1"} },
	}))
	t.Cleanup(func() {
		server.Close()
		db.Close()
	})
	return Settings{URL: server.URL, Service: sample.ID, Key: sample.Key}, db
}

// run runs a command line that begins with "room" or "token".
func run(t *testing.T, s Settings, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	command := Room
	if args[0] == "token" {
		command = Token
	}
	err := command(t.Context(), args[1:], &out, s)
	return out.String(), err
}

func mustRun(t *testing.T, s Settings, args ...string) string {
	t.Helper()
	out, err := run(t, s, args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out
}

func TestRoomCommands(t *testing.T) {
	s, _ := start(t)
	file := filepath.Join(t.TempDir(), "options.json")
	if err := os.WriteFile(file, []byte(`{"selectActiveAudio":true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	first := strings.TrimSpace(mustRun(t, s, "room", "create", "lobby", "-participants", "5", "-options", "@"+file))
	made := mustRun(t, s, "room", "create", "-json", "-no-mix", "-inputs=2", "stage\n\x1b[31m")
	second, err := jsonvalue.Parse([]byte(made), jsonvalue.Limits{})
	if err != nil || second.Get("views").Len() != 0 || second.Get("inputLimit").String() != "2" {
		t.Fatalf("created %s %v", made, err)
	}

	shown, err := jsonvalue.Parse([]byte(mustRun(t, s, "room", "show", "lobby")), jsonvalue.Limits{})
	if err != nil || shown.Get("_id").Text() != first || shown.Get("participantLimit").String() != "5" || !shown.Get("selectActiveAudio").Bool() {
		t.Errorf("shown %s %v", shown, err)
	}
	lines := strings.Split(mustRun(t, s, "room", "list"), "\n")
	if len(lines) != 4 || strings.Join(strings.Fields(lines[1]), " ") != first+" 5 any common lobby" || !strings.HasSuffix(lines[2], `"stage\n\x1b[31m"`) {
		t.Errorf("listed %q", lines)
	}
	if list, err := jsonvalue.Parse([]byte(mustRun(t, s, "room", "list", "-json")), jsonvalue.Limits{}); err != nil || list.Len() != 2 {
		t.Errorf("listed %s %v", list, err)
	}

	if out := mustRun(t, s, "room", "delete", "lobby"); !strings.Contains(out, first) {
		t.Errorf("deleted: %q", out)
	}
	if _, err := run(t, s, "room", "delete", first); err == nil || !strings.Contains(err.Error(), "Room not found") {
		t.Errorf("deleted twice: %v", err)
	}
	if _, err := run(t, s, "room", "show", "lobby"); err == nil || !strings.Contains(err.Error(), "no room \"lobby\"") {
		t.Errorf("shown after it was deleted: %v", err)
	}
}

func TestTokenCommand(t *testing.T) {
	s, db := start(t)
	room := strings.TrimSpace(mustRun(t, s, "room", "create", "lobby"))
	out := mustRun(t, s, "token", "lobby", "-user", "Zoë", "-role", "viewer", "-region", "north")
	tok, err := token.Decode(out)
	if err != nil || !tok.Verify([]byte("k")) {
		t.Fatalf("token %q: %+v %v", out, tok, err)
	}
	record, err := db.ConsumeToken(t.Context(), tok.TokenID)
	if err != nil || record.User != "Zoë" || record.Role != "viewer" || record.Room != room || record.Origin.Region != "north" {
		t.Errorf("record %+v %v", record, err)
	}
	if _, err = run(t, s, "token", room, "-user", "u", "-role", "king"); err == nil || !strings.Contains(err.Error(), "Name or role not valid") {
		t.Errorf("unknown role: %v", err)
	}
	mustRun(t, s, "room", "create", "lobby")
	if _, err = run(t, s, "token", "lobby", "-user", "u"); err == nil || !strings.Contains(err.Error(), room) {
		t.Errorf("ambiguous name: %v", err)
	}
}

func TestManyRooms(t *testing.T) {
	s, db := start(t)
	for range 2*pageSize + 1 {
		id := store.NewID()
		doc := jsonvalue.OfObject(jsonvalue.M("_id", jsonvalue.Of(id)), jsonvalue.M("name", jsonvalue.Of("r"+id)))
		if err := db.CreateRoom(t.Context(), store.Room{ID: id, Service: s.Service, Document: doc}); err != nil {
			t.Fatal(err)
		}
	}
	client, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	rooms, err := client.Rooms(t.Context())
	if err != nil || len(rooms) != 2*pageSize+1 {
		t.Fatalf("%d rooms %v", len(rooms), err)
	}
	last := rooms[len(rooms)-1]
	if id, err := client.Find(t.Context(), last.Get("name").Text()); err != nil || id != last.Get("_id").Text() {
		t.Errorf("found %q %v", id, err)
	}
	changed, err := client.UpdateRoom(t.Context(), last.Get("_id").Text(), jsonvalue.OfObject(jsonvalue.M("name", jsonvalue.Of("new"))))
	if err != nil || changed.Get("name").Text() != "new" {
		t.Errorf("changed %s %v", changed, err)
	}
}

func TestHelp(t *testing.T) {
	for args, wants := range map[string][]string{
		"room -h":         {"create NAME", "list ", "show ROOM", "delete ROOM"},
		"room help":       {"create NAME"},
		"room create -h":  {"portico room create NAME [flags]", "-participants", "-inputs", "-no-mix", "-options", "-json", "-url", "-service", "-key-file", "PORTICO_KEY"},
		"room list -help": {"portico room list [flags]", "-json"},
		"token x -h":      {"portico token ROOM [flags]", "-user", "-role", "-isp", "-region"},
	} {
		out, err := run(t, Settings{}, strings.Fields(args)...)
		if !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%s: %v", args, err)
		}
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", args, want, out)
			}
		}
	}
	if out, err := run(t, Settings{}, "room"); !errors.Is(err, ErrUsage) || !strings.Contains(out, "create NAME") {
		t.Errorf("nothing to do: %q %v", out, err)
	}
}

func TestUsageErrors(t *testing.T) {
	s := Settings{URL: "http://127.0.0.1:1", Service: "5f0c0ffee0ddba11c0de4242", Key: "k"}
	for args, want := range map[string]string{
		"room frob":                  "room frob",
		"room create":                "NAME is missing",
		"room show":                  "ROOM is missing",
		"room create a b":            `"b" is too much`,
		"room list x":                `"x" is too much`,
		"room create a -nosuch":      "-nosuch",
		"room create a -inputs many": "many",
		"room create a -options {":   "-options",
		"room create a -options []":  "not an object",
		"token":                      "ROOM is missing",
		"token r":                    "-user is missing",
	} {
		if _, err := run(t, s, strings.Fields(args)...); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
	for want, s := range map[string]Settings{
		"not the address of an edge":                    {URL: "ftp://x", Service: "s", Key: "k"},
		"-service or PORTICO_SERVICE":                   {URL: "http://x", Key: "k"},
		"PORTICO_KEY or into a file named by -key-file": {URL: "http://x", Service: "s"},
		"is not a service id":                           {URL: "http://x", Service: "a,b", Key: "k"},
	} {
		if _, err := run(t, s, "room", "list"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	for args, want := range map[string]string{
		"room create a -options @/nonexistent": "cannot read the room's options",
		"room list -key-file /nonexistent":     "cannot read the service key",
	} {
		if _, err := run(t, s, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestUnreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + listener.Addr().String()
	listener.Close()
	if _, err := run(t, Settings{URL: address, Service: "s", Key: "k"}, "room", "list"); err == nil || !strings.Contains(err.Error(), "no edge answers at "+address) {
		t.Errorf("closed port: %v", err)
	}
	page := httptest.NewServer(http.NotFoundHandler())
	defer page.Close()
	if _, err := run(t, Settings{URL: page.URL, Service: "s", Key: "k"}, "room", "list"); err == nil || !strings.Contains(err.Error(), "does not come from a management API") {
		t.Errorf("another server: %v", err)
	}
	s, _ := start(t)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(s.Key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Key = "wrong"
	_, err = run(t, s, "room", "list")
	if refusal := (*Error)(nil); !errors.As(err, &refusal) || refusal.Code != 1101 || !strings.Contains(err.Error(), "does not accept this service id and key") {
		t.Errorf("wrong key: %v", err)
	}
	mustRun(t, s, "room", "list", "-key-file", key)
}

func TestEnvironment(t *testing.T) {
	set := map[string]string{"PORTICO_SERVICE": "s", "PORTICO_KEY": "k"}
	get := func(name string) string { return set[name] }
	if got := Environment(get); got != (Settings{"http://127.0.0.1:8080", "s", "k"}) {
		t.Errorf("settings %+v", got)
	}
	set["PORTICO_URL"] = "https://edge"
	if got := Environment(get); got.URL != "https://edge" {
		t.Errorf("settings %+v", got)
	}
}
