package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/edge/store"
	"portico/tools/loadtest"
	"portico/tools/portico/manage"
)

// loadOptions are the flags of load that are no options of loadtest as they are.
type loadOptions struct {
	edges, service, key, program, arguments string
	scenario, rates                         string
	own                                     loadtest.Scenario
	json, turn, mix                         bool
	floor, pin                              string
}

const loadAbout = `Puts participants on an edge and measures what forwarding costs it, what gets lost, and how long packets and joins take.
Without -edge it starts an edge of its own for each scenario, with a data folder that is thrown away, and takes that one's
CPU time and memory. Participants join through the portal and have real ICE, DTLS and SRTP; what they receive is counted
packet by packet, and a sample of it is decrypted for its latency. Ctrl-C ends it and shows what was measured so far.

Scenarios: 1x50 and 1x200 (one publisher, so many subscribers), 10x10 (ten participants, everyone receives everyone),
50x2 (fifty rooms of two). Their publishers send 120 video packets of 1,050 bytes and 50 audio packets of 90 bytes a second.
With -turn a relay is measured too: packets of TURN, in both directions. With -mix it mixes rooms of 4, 9 and 16 with video
and one of 100 with sound alone, on a core of its own: CPU and memory of a room, and how much later mixed pictures come than
forwarded ones; that needs ffmpeg. Other shapes are made of -rooms, -publishers, -subscribers and -mutual.

Examples:
  portico load -scenario all
  portico load -publishers 2 -subscribers 20 -video 2500 -duration 1m
  portico load -scenario 1x200 -rate 1,12,1 -timeline -duration 45s
  portico load -scenario 1x200 -program before=old/portico-edge,after=build/portico-edge
  portico load -edge http://127.0.0.1:8080 -pid 4711 -rooms 5 -publishers 4 -mutual`

// load runs the load generator.
func load(ctx context.Context, args []string, out, errOut io.Writer) error {
	var l loadOptions
	o := loadtest.Options{Progress: errOut}
	flags := loadFlags(&l, &o)
	if err := parse(flags, args, out, loadAbout); err != nil {
		return err
	}
	if err := l.apply(ctx, flags, &o); err != nil {
		return err
	}
	debug.SetGCPercent(400) // memory is cheaper here than pauses
	report, err := loadtest.Run(ctx, o)
	if report != nil && (len(report.Results) > 0 || report.Floor != nil || len(report.TURN) > 0 || len(report.Mix) > 0) {
		err = errors.Join(err, l.print(report, out))
	}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

func loadFlags(l *loadOptions, o *loadtest.Options) *flag.FlagSet {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&l.edges, "edge", "", "`addresses` of running edges, http(s)://[service:key@]host:port, with commas; rooms are spread over them. Empty: an edge of its own")
	flags.StringVar(&l.service, "service", "", "`id` of the service that makes the rooms (default $PORTICO_SERVICE, or the sample service in data/)")
	flags.StringVar(&l.key, "key-file", "", "`file` with the service's key (default $PORTICO_KEY)")
	flags.IntVar(&o.PID, "pid", 0, "`process` of the edge named by -edge, when it runs on this machine, for its CPU time and memory")
	flags.StringVar(&l.program, "program", "", "`file` of portico-edge, to start (default: beside this program, in build/, or in the path); several, as before=FILE,after=FILE, are compared")
	flags.StringVar(&l.arguments, "program-args", "", "further `arguments` for it, with spaces between")
	flags.StringVar(&l.scenario, "scenario", "", "`names` with commas: "+loadtest.ScenarioNames()+", or all")
	flags.BoolVar(&l.turn, "turn", false, "measure the relay as well: a portico-relay beside this program, in build/ or in the path; alone when no scenario is named")
	flags.BoolVar(&l.mix, "mix", false, "measure mixing as well, with programs that are found as with -turn; alone when no scenario is named")
	flags.IntVar(&l.own.Rooms, "rooms", 1, "`number` of rooms")
	flags.IntVar(&l.own.Publishers, "publishers", 1, "publishers `number` of each room")
	flags.IntVar(&l.own.Subscribers, "subscribers", 10, "subscribers `number` of each room, who receive all its publishers")
	flags.BoolVar(&l.own.Mutual, "mutual", false, "publishers receive each other; then -subscribers is 0 unless given")
	flags.IntVar(&l.own.Media.Video, "video", loadtest.DefaultVideo, "video of a publisher in `kbit/s`, 30 frames a second; 0: none")
	flags.BoolVar(&l.own.Media.Audio, "audio", true, "publishers send audio, 50 packets a second")
	flags.BoolVar(&l.own.Media.Simulcast, "simulcast", false, "publishers send three layers: -video is the largest one's, the others have 30 % and 10 % of it")
	flags.StringVar(&l.rates, "rate", "1", "`factors` for the video, with commas: one after another, each for its part of -duration")
	flags.DurationVar(&o.Duration, "duration", 15*time.Second, "`time` to measure each scenario")
	flags.DurationVar(&o.WarmUp, "warm-up", 2*time.Second, "`time` between everything flowing and measuring")
	flags.Float64Var(&o.JoinRate, "join-rate", 50, "participants `number` that join in a second")
	flags.DurationVar(&o.JoinTimeout, "join-timeout", 30*time.Second, "`time` for everything to flow once all have joined")
	flags.IntVar(&o.Sample, "sample", 50, "one in so `many` packets is decrypted, for latency; 1: all")
	flags.BoolVar(&o.Feedback, "feedback", true, "participants offer transport-wide feedback (TWCC), as browsers do")
	flags.StringVar(&l.pin, "pin", "auto", "edge on the first core, generator on the others: `yes, no or auto` (with an edge of its own and two cores or more)")
	flags.StringVar(&l.floor, "floor", "auto", "measure first what this machine needs at least for a packet: `yes, no or auto` (with an edge of its own)")
	flags.BoolVar(&o.Timeline, "timeline", false, "a line for every second that is measured")
	flags.BoolVar(&l.json, "json", false, "print the report as JSON")
	return flags
}

// apply makes options of the flags.
func (l *loadOptions) apply(ctx context.Context, flags *flag.FlagSet, o *loadtest.Options) error {
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if err := l.applyScenarios(given, o); err != nil {
		return err
	}
	for text := range strings.SplitSeq(l.rates, ",") {
		r, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil {
			return misused("-rate: %q is no number", text)
		}
		o.Rates = append(o.Rates, r)
	}
	if l.turn {
		file, err := findProgram("portico-relay")
		if err != nil {
			return err
		}
		o.Relay = loadtest.Program{File: file}
	}
	if l.mix {
		file, err := findProgram("portico-relay")
		if err != nil {
			return err
		}
		o.Mixer = loadtest.Program{File: file}
	}
	own := l.edges == ""
	var err error
	if o.Pin, err = choice("pin", l.pin, own && runtime.NumCPU() > 1); err != nil {
		return err
	}
	if o.Floor, err = choice("floor", l.floor, own && runtime.GOOS == "linux"); err != nil {
		return err
	}
	if !own {
		return l.applyEdges(ctx, o)
	}
	if o.PID != 0 {
		return misused("-pid goes with -edge")
	}
	if len(o.Scenarios) > 0 || l.mix {
		o.Programs, err = edgePrograms(l.program, strings.Fields(l.arguments))
	}
	return err
}

func (l *loadOptions) applyScenarios(given map[string]bool, o *loadtest.Options) error {
	shape := []string{"rooms", "publishers", "subscribers", "mutual", "video", "audio", "simulcast"}
	if l.scenario == "" {
		if (l.turn || l.mix) && !slices.ContainsFunc(shape, func(name string) bool { return given[name] }) {
			return nil // that alone
		}
		if l.own.Mutual && !given["subscribers"] {
			l.own.Subscribers = 0
		}
		s := l.own
		s.Name = fmt.Sprintf("%d×(%d→%d)", s.Rooms, s.Publishers, s.Subscribers)
		if s.Mutual {
			s.Name = fmt.Sprintf("%d×%d mutual", s.Rooms, s.Publishers)
		}
		o.Scenarios = []loadtest.Scenario{s}
		return nil
	}
	for _, name := range shape {
		if given[name] {
			return misused("-%s is for shapes of your own, without -scenario", name)
		}
	}
	if l.scenario == "all" {
		o.Scenarios = loadtest.Scenarios
		return nil
	}
	for name := range strings.SplitSeq(l.scenario, ",") {
		i := slices.IndexFunc(loadtest.Scenarios, func(s loadtest.Scenario) bool { return s.Name == strings.TrimSpace(name) })
		if i < 0 {
			return misused("there is no scenario %q: %s, or all", name, loadtest.ScenarioNames())
		}
		o.Scenarios = append(o.Scenarios, loadtest.Scenarios[i])
	}
	return nil
}

// applyEdges finds out which edges are meant, and as which service to ask them.
func (l *loadOptions) applyEdges(ctx context.Context, o *loadtest.Options) error {
	base := manage.Environment(os.Getenv)
	if base.Service == "" && base.Key == "" && l.service == "" {
		if sample, err := serviceNamed(ctx, defaultData, store.SampleServiceName); err == nil {
			base.Service, base.Key = sample.ID, sample.Key
		}
	}
	if l.service != "" {
		base.Service = l.service
	}
	if l.key != "" {
		text, err := os.ReadFile(l.key)
		if err != nil {
			return fmt.Errorf("cannot read the service key: %w", err)
		}
		base.Key = strings.TrimSpace(string(text))
	}
	for text := range strings.SplitSeq(l.edges, ",") {
		edge, err := loadtest.ParseEdge(strings.TrimSpace(text), base)
		if err != nil {
			return misused("-edge: %v", err)
		}
		if _, err := manage.New(edge); err != nil {
			return err
		}
		o.Edges = append(o.Edges, edge)
	}
	return nil
}

func choice(name, text string, auto bool) (bool, error) {
	switch text {
	case "auto":
		return auto, nil
	case "yes", "true":
		return true, nil
	case "no", "false":
		return false, nil
	}
	return false, misused("-%s: %q is neither yes nor no nor auto", name, text)
}

// edgePrograms reads what -program gives: files with commas, each with a label before it or none.
func edgePrograms(given string, arguments []string) ([]loadtest.Program, error) {
	if given == "" {
		file, err := findProgram("portico-edge")
		return []loadtest.Program{{File: file, Arguments: arguments}}, err
	}
	var list []loadtest.Program
	for text := range strings.SplitSeq(given, ",") {
		label, file, labelled := strings.Cut(text, "=")
		if !labelled {
			label, file = "", text
		}
		list = append(list, loadtest.Program{Label: label, File: file, Arguments: arguments})
	}
	if len(list) > 1 && slices.ContainsFunc(list, func(p loadtest.Program) bool { return p.Label == "" }) {
		return nil, misused("-program: several need names, as before=FILE,after=FILE")
	}
	return list, nil
}

// findProgram finds one of our programs.
func findProgram(name string) (string, error) {
	candidates := []string{filepath.Join("build", name)}
	if self, err := os.Executable(); err == nil {
		candidates = slices.Insert(candidates, 0, filepath.Join(filepath.Dir(self), name))
	}
	for _, file := range candidates {
		if info, err := os.Stat(file); err == nil && !info.IsDir() {
			return filepath.Abs(file)
		}
	}
	if file, err := exec.LookPath(name); err == nil {
		return file, nil
	}
	hint := ""
	if name == "portico-edge" {
		hint = ", name it with -program, or name a running edge with -edge"
	}
	return "", fmt.Errorf("there is no %s to start: build it with `make build`%s", name, hint)
}

func (l *loadOptions) print(report *loadtest.Report, out io.Writer) error {
	if !l.json {
		return report.Write(out)
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(report)
}

// misused is a fault in the command line.
func misused(format string, arguments ...any) error {
	return fmt.Errorf("%w: %s; `portico load -h` shows the flags", manage.ErrUsage, fmt.Sprintf(format, arguments...))
}
