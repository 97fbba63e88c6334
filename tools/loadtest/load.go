package loadtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"portico/tools/portico/manage"
)

// load is one run over all its scenarios.
type load struct {
	o       Options
	all     []int // cores that there are
	core    int   // the edge's; -1: anywhere
	pollers int
}

// Run measures the scenarios one after another. When ctx ends it stops early and cleanly, and what was measured so far is in the report
// together with the error of ctx. A report is returned whenever there is something in it.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	l := &load{o: o, all: cores(), core: -1, pollers: runtime.GOMAXPROCS(0)}
	if o.Pin {
		restore, err := l.pin()
		if err != nil {
			return nil, err
		}
		defer restore()
	}
	report := newReport(l)
	if o.Floor {
		l.say("Measuring the floor of this machine.")
		var err error
		if report.Floor, err = measureFloor(ctx, l.core); err != nil {
			return report, err
		}
	}
	programs := l.o.Programs
	if len(l.o.Edges) > 0 {
		programs = []Program{{}}
	}
	for _, s := range o.Scenarios {
		for _, p := range programs { // next to each other: what else the machine does changes with time
			r, err := l.scenario(ctx, s, p)
			if r != nil {
				r.Edge = p.Label
				report.Results = append(report.Results, *r)
			}
			if err != nil {
				return report, err
			}
		}
	}
	if o.Relay.File != "" {
		var err error
		if report.TURN, err = l.turn(ctx); err != nil {
			return report, err
		}
	}
	if o.Mixer.File != "" {
		var err error
		if report.Mix, err = l.mix(ctx); err != nil {
			return report, err
		}
	}
	return report, nil
}

// pin leaves the first core to the edge.
func (l *load) pin() (restore func(), err error) {
	if len(l.all) < 2 {
		return nil, errors.New("pinning needs two cores, one for the edge and one for the generator")
	}
	l.core = l.all[0]
	if err := confine(selfPID, l.all[1:]); err != nil {
		return nil, err
	}
	before := runtime.GOMAXPROCS(len(l.all) - 1)
	l.pollers = len(l.all) - 1
	if l.o.PID != 0 {
		if err := confine(l.o.PID, l.all[:1]); err != nil {
			return nil, err
		}
	}
	return func() {
		_ = confine(selfPID, l.all)
		runtime.GOMAXPROCS(before)
	}, nil
}

func (l *load) say(format string, arguments ...any) {
	_, _ = fmt.Fprintf(l.o.Progress, format+"\n", arguments...)
}

// server is the edge that figures are taken of, and the settings of all edges.
func (l *load) server(ctx context.Context, p Program) (*server, []manage.Settings, error) {
	if len(l.o.Edges) > 0 {
		return &server{settings: l.o.Edges[0], pid: l.o.PID}, l.o.Edges, nil
	}
	s, err := startServer(ctx, p.File, p.Arguments, l.core)
	if err != nil {
		return nil, nil, err
	}
	return s, []manage.Settings{s.settings}, nil
}

// leaveTime bounds the end of a scenario.
const leaveTime = 20 * time.Second

// scenario runs one, from the start of an edge to its end.
func (l *load) scenario(ctx context.Context, s Scenario, p Program) (*Result, error) {
	l.say("%s: %d participants, %d streams", strings.TrimSpace(s.Name+" "+p.Label), s.Participants(), s.streams())
	edge, edges, err := l.server(ctx, p)
	if err != nil {
		return nil, err
	}
	defer edge.stop()
	crowd, err := newCrowd(s, &l.o, edges, l.pollers)
	if err != nil {
		return nil, err
	}
	defer func() {
		leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
		defer cancel()
		crowd.leave(leaving)
	}()
	before := edge.readAll(ctx)
	if err := crowd.open(ctx, edges); err != nil {
		return nil, err
	}
	m := &measurement{load: l, crowd: crowd, edge: edge, before: before}
	if err := m.join(ctx); err != nil {
		return m.result(), err
	}
	err = m.run(ctx)
	if died := edge.died(); died != nil && ctx.Err() == nil {
		err = died
	}
	return m.result(), err
}
