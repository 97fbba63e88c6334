package loadtest

import (
	"strings"
	"testing"

	"portico/tools/portico/manage"
)

func TestScenarioShapes(t *testing.T) {
	for name, want := range map[string]struct{ participants, streams int }{
		"1x50": {51, 100}, "1x200": {201, 400}, "10x10": {10, 180}, "50x2": {100, 200},
	} {
		found := false
		for _, s := range Scenarios {
			if s.Name == name {
				found = true
				if s.Participants() != want.participants || s.streams() != want.streams || s.check() != nil {
					t.Errorf("%s: %d participants, %d streams, %v", name, s.Participants(), s.streams(), s.check())
				}
			}
		}
		if !found || !strings.Contains(ScenarioNames(), name) {
			t.Errorf("%s is not there", name)
		}
	}
	for want, s := range map[string]Scenario{
		"a publisher":  {Rooms: 1, Subscribers: 3, Media: normal},
		"to send":      {Rooms: 1, Publishers: 1, Subscribers: 1},
		"nobody":       {Rooms: 1, Publishers: 1, Mutual: true, Media: normal},
		"kbit/s":       {Rooms: 1, Publishers: 1, Subscribers: 1, Media: Media{Video: -1, Audio: true}},
		"are too many": {Rooms: 1000, Publishers: 100, Subscribers: 1, Media: normal},
	} {
		if err := s.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", s, err, want)
		}
	}
}

func TestFillOptions(t *testing.T) {
	o := Options{Programs: []Program{{File: "x"}}, Rates: []float64{1, -1}}
	if err := o.fill(); err == nil || !strings.Contains(err.Error(), "factor") {
		t.Errorf("a negative rate: %v", err)
	}
	if err := (&Options{}).fill(); err == nil {
		t.Error("neither edge nor program")
	}
	o = Options{Programs: []Program{{File: "x"}}, Sample: -1}
	if err := o.fill(); err != nil || o.Sample != 0 || o.Duration <= 0 || len(o.Rates) != 1 {
		t.Errorf("%+v %v", o, err)
	}
}

func TestParseEdge(t *testing.T) {
	base := manage.Settings{URL: "http://elsewhere", Service: "s", Key: "k"}
	for text, want := range map[string]manage.Settings{
		"http://127.0.0.1:8080":         {URL: "http://127.0.0.1:8080", Service: "s", Key: "k"},
		"https://edge.example.org/":     {URL: "https://edge.example.org", Service: "s", Key: "k"},
		"http://id:key%2F@10.0.0.1:801": {URL: "http://10.0.0.1:801", Service: "id", Key: "key/"},
	} {
		if got, err := ParseEdge(text, base); err != nil || got != want {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
	for _, text := range []string{"", "127.0.0.1:8080", "ftp://x", "http://"} {
		if _, err := ParseEdge(text, base); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
