package loadtest

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"portico/tools/portico/manage"
)

// Scenario is who is in which rooms, and what is sent.
type Scenario struct {
	Name        string
	Rooms       int
	Publishers  int  // of each room
	Subscribers int  // of each room, who receive every publisher of it
	Mutual      bool // publishers receive each other too
	Media       Media
	Aim         float64 // µs of server CPU per forwarded packet; 0: none
}

// normal is what publishers of the named scenarios send.
var normal = Media{Video: DefaultVideo, Audio: true}

// Scenarios are those with a name.
var Scenarios = []Scenario{
	{Name: "1x50", Rooms: 1, Publishers: 1, Subscribers: 50, Media: normal, Aim: 6},
	{Name: "1x200", Rooms: 1, Publishers: 1, Subscribers: 200, Media: normal, Aim: 5},
	{Name: "10x10", Rooms: 1, Publishers: 10, Mutual: true, Media: normal, Aim: 6},
	{Name: "50x2", Rooms: 50, Publishers: 2, Mutual: true, Media: normal, Aim: 14},
}

// ScenarioNames lists them.
func ScenarioNames() string {
	var names []string
	for _, s := range Scenarios {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

// Participants is how many there are in all rooms.
func (s Scenario) Participants() int { return s.Rooms * (s.Publishers + s.Subscribers) }

// streams is how many SSRCs participants receive when all is well.
func (s Scenario) streams() int {
	kinds := 0
	if s.Media.Audio {
		kinds++
	}
	if s.Media.Video > 0 {
		kinds++
	}
	pairs := s.Subscribers * s.Publishers
	if s.Mutual {
		pairs += s.Publishers * (s.Publishers - 1)
	}
	return s.Rooms * pairs * kinds
}

func (s Scenario) check() error {
	switch {
	case s.Rooms < 1 || s.Publishers < 1 || s.Subscribers < 0:
		return errors.New("there has to be a room at least, with a publisher")
	case s.streams() == 0 && !s.Media.Audio && s.Media.Video == 0:
		return errors.New("publishers need audio or video to send")
	case s.streams() == 0:
		return errors.New("nobody receives anything: give -subscribers, or -mutual with two publishers or more")
	case s.Media.Video < 0 || s.Media.Video > 100_000:
		return errors.New("-video is in kbit/s, 0 to 100000")
	case s.Participants() > maxParticipants:
		return fmt.Errorf("%d participants are too many for one generator, which has a socket for each: %d at most", s.Participants(), maxParticipants)
	}
	return nil
}

const maxParticipants = 20_000

// Options say what to measure and how. Zero fields mean the defaults named with them.
type Options struct {
	Edges     []manage.Settings // running edges, which rooms are spread over; empty: one of our own for each scenario
	PID       int               // process of the edge, when its figures are wanted and it is not our own
	Programs  []Program         // for edges of our own: each scenario is measured with each
	Scenarios []Scenario
	Relay     Program   // a portico-relay, to measure TURN with as well; without a file it is not
	Mixer     Program   // a portico-relay, to measure mixing with as well, with the first of Programs; without a file it is not
	Mixes     []MixLoad // what is mixed; nil: rooms of 4, 9 and 16 with video, and one of 100 with sound alone

	Duration    time.Duration // of measuring; default 15 s
	WarmUp      time.Duration // from everything flowing until measuring; default 2 s
	JoinRate    float64       // participants per second; default 50
	JoinTimeout time.Duration // from the last one's turn until everything flows; default 30 s
	Sample      int           // one in so many packets is decrypted; 0: default 50; negative: none
	Rates       []float64     // of video, times what is normal, one after another within Duration; default 1
	Feedback    bool          // offer transport-wide feedback
	Pin         bool          // the edge to one core, the generator to the others
	Floor       bool          // measure the floor first
	Timeline    bool          // write a line for every second measured

	Progress io.Writer // what happens meanwhile; nil: nowhere
}

// Program is a portico-edge, or a portico-relay, to start.
type Program struct {
	Label     string // in reports; may be empty when there is only one
	File      string
	Arguments []string
}

func (o *Options) fill() error {
	set := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	set(&o.Duration, 15*time.Second)
	set(&o.WarmUp, 2*time.Second)
	set(&o.JoinTimeout, 30*time.Second)
	if o.JoinRate <= 0 {
		o.JoinRate = 50
	}
	if o.Sample == 0 {
		o.Sample = 50
	}
	o.Sample = max(o.Sample, 0)
	if len(o.Rates) == 0 {
		o.Rates = []float64{1}
	}
	if slices.ContainsFunc(o.Rates, func(r float64) bool { return r <= 0 || r > 1000 }) {
		return errors.New("a rate is a factor above 0 and up to 1000")
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if o.Mixes == nil {
		o.Mixes = mixLoads
	}
	if o.Mixer.File != "" && len(o.Programs) == 0 {
		return errors.New("mixing needs an edge of its own: the program to start one")
	}
	alone := len(o.Scenarios) == 0 && (o.Relay.File != "" || o.Mixer.File != "") // a relay of our own
	if len(o.Edges) == 0 && len(o.Programs) == 0 && !alone {
		return errors.New("name an edge, or the program to start one")
	}
	for _, s := range o.Scenarios {
		if err := s.check(); err != nil {
			return err
		}
	}
	return nil
}

// ParseEdge reads the address of an edge: http(s)://host:port, with service:key@ before the host when they are not those of base.
func ParseEdge(text string, base manage.Settings) (manage.Settings, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return base, fmt.Errorf("%q is not the address of an edge: give one like http://127.0.0.1:8080", text)
	}
	if key, ok := u.User.Password(); ok {
		base.Service, base.Key = u.User.Username(), key
	}
	base.URL = u.Scheme + "://" + u.Host
	return base, nil
}
