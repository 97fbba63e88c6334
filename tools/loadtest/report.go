package loadtest

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what a run has found out.
type Report struct {
	Machine string       `json:"machine"`
	Pinned  bool         `json:"pinned"`
	Floor   *Floor       `json:"floor,omitempty"`
	Results []Result     `json:"results"`
	TURN    []TURNResult `json:"turn,omitempty"`
	Mix     []MixResult  `json:"mix,omitempty"`
}

// Floor is what forwarding costs at least on this machine, in µs per packet of floorPacket bytes, on one thread. A zero is unknown.
type Floor struct {
	Plain float64 `json:"plain"` // AES-GCM, and one system call for each packet
	GSO   float64 `json:"gso"`   // AES-GCM, four packets to a message, and one system call for sixteen messages
}

// Result is one scenario's.
type Result struct {
	Scenario     string   `json:"scenario"`
	Edge         string   `json:"edge,omitempty"` // label of the program
	Aim          float64  `json:"aim,omitempty"`  // µs per packet
	Participants int      `json:"participants"`
	Joined       int      `json:"joined"`
	Failures     int      `json:"failures"`
	Errors       []string `json:"errors,omitempty"` // the first failures
	Streams      int      `json:"streams"`
	Flowing      int      `json:"flowing"`
	Interrupted  bool     `json:"interrupted"`

	Seconds       float64     `json:"seconds"` // measured
	Sent          uint64      `json:"sent"`    // packets, by publishers
	Counts        Counts      `json:"counts"`
	PerSecond     float64     `json:"packetsPerSecond"` // delivered
	Latency       Percentiles `json:"latency"`
	Join          Percentiles `json:"join"`     // from opening the socket to the first media
	Lateness      Percentiles `json:"lateness"` // of publishers behind their timetable
	KeyFrames     uint64      `json:"keyFramesAsked"`
	Retransmit    uint64      `json:"packetsAskedAgain"`
	Server        *Server     `json:"server,omitempty"`
	GeneratorCPU  float64     `json:"generatorCPU"`   // of one core
	GeneratorDrop uint64      `json:"generatorDrops"` // in its own sockets: those were no losses of the edge
	OthersCPU     float64     `json:"othersCPU"`      // what other programs of the machine took, of one core
	Timeline      []Moment    `json:"timeline"`
}

// Server is what the scenario cost the edge.
type Server struct {
	CPU                    float64 `json:"cpu"`             // of one core
	MicrosPerPacket        float64 `json:"microsPerPacket"` // user and system time for each packet delivered
	RSS                    int64   `json:"rss"`             // bytes
	PeakRSS                int64   `json:"peakRSS"`
	BytesPerTransport      float64 `json:"bytesPerTransport"` // all its memory, divided
	GoroutinesPerTransport float64 `json:"goroutinesPerTransport"`
}

// Moment is about a second of measuring.
type Moment struct {
	Seconds   float64     `json:"seconds"` // since the beginning
	Rate      float64     `json:"rate"`
	Delivered float64     `json:"packetsPerSecond"`
	Loss      float64     `json:"loss"`
	ServerCPU float64     `json:"serverCPU"`
	Latency   Percentiles `json:"latency"`
}

// MarshalJSON writes milliseconds.
func (p Percentiles) MarshalJSON() ([]byte, error) {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return json.Marshal(map[string]any{
		"count": p.Count, "p50Ms": ms(p.P50), "p95Ms": ms(p.P95), "p99Ms": ms(p.P99), "maxMs": ms(p.Max),
	})
}

func newReport(l *load) *Report {
	return &Report{Machine: fmt.Sprintf("%s/%s, %d cores", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()), Pinned: l.core >= 0}
}

// result sums up.
func (m *measurement) result() *Result {
	s, at := m.crowd.scenario, m.crowd.state()
	r := &Result{
		Scenario: s.Name, Aim: s.Aim, Participants: s.Participants(), Joined: at.joined, Failures: at.failed, Streams: s.streams(),
		Flowing: at.streams, Interrupted: m.interrupted, Lateness: m.late, Timeline: m.timeline,
	}
	r.Errors = m.crowd.failures()
	var joins, latency histogram
	m.crowd.peers(func(owner *participant, p *peer) {
		if p.first > 0 {
			joins.record(time.Duration(p.first - owner.opened))
		}
		r.KeyFrames += p.keys
		r.Retransmit += p.nacks
	})
	r.Join = joins.percentiles()
	if len(m.timeline) == 0 {
		return r
	}
	m.crowd.host.locked(func(_ *poller, meter *meter) { latency.add(&meter.latency) })
	r.Latency = latency.percentiles()
	r.Seconds = float64(m.last.edge.at-m.first.edge.at) / 1e9
	r.Sent = m.last.sent - m.first.sent
	r.Counts = m.last.counts.since(m.first.counts)
	r.GeneratorDrop = m.last.drops - m.first.drops
	if r.Seconds > 0 {
		r.PerSecond = float64(r.Counts.Delivered) / r.Seconds
		own, all := m.last.own.cpu-m.first.own.cpu, m.last.machine-m.first.machine
		r.GeneratorCPU = own.Seconds() / r.Seconds
		if m.first.edge.process {
			r.OthersCPU = max(0, (all-own-(m.last.edge.cpu-m.first.edge.cpu)).Seconds()/r.Seconds)
		}
	}
	r.Server = m.server(r)
	return r
}

func (m *measurement) server(r *Result) *Server {
	first, last := m.first.edge, m.last.edge
	if !first.process || !last.process || r.Seconds <= 0 {
		return nil
	}
	s := &Server{RSS: last.rss, PeakRSS: last.peak}
	cpu := (last.cpu - first.cpu).Seconds()
	s.CPU = cpu / r.Seconds
	if r.Counts.Delivered > 0 {
		s.MicrosPerPacket = cpu * 1e6 / float64(r.Counts.Delivered)
	}
	if transports := m.full.transports - m.before.transports; m.full.metrics && m.before.metrics && transports > 0 {
		s.GoroutinesPerTransport = (m.full.goroutines - m.before.goroutines) / transports
		s.BytesPerTransport = float64(last.rss) / transports
	}
	return s
}

// Write writes the report for people.
func (r *Report) Write(out io.Writer) error {
	var b strings.Builder
	pinned := ""
	if r.Pinned {
		pinned = ", the edge pinned to one and the generator to the others"
	}
	fmt.Fprintf(&b, "\nOn %s%s.\n", r.Machine, pinned)
	if f := r.Floor; f != nil {
		fmt.Fprintf(&b, "Floor, packets of %d bytes: GCM and a call for each %s µs; GCM and GSO ×4 %s µs.\n", floorPacket, number(f.Plain), number(f.GSO))
	}
	if len(r.Results) > 0 {
		if err := r.writeTable(&b); err != nil {
			return err
		}
	}
	r.writeTURN(&b)
	r.writeMix(&b)
	_, err := io.WriteString(out, b.String())
	return err
}

func (r *Report) writeTable(b *strings.Builder) error {
	b.WriteString("\n")
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SCENARIO\tµs/PACKET\tAIM\t×FLOOR\tPACKETS/s\tLOSS\tLATENCY p50/p95/p99/max ms\tJOIN p50/p99 s\tRSS MB\tkB/PC\tGOROUTINES/PC")
	for i := range r.Results {
		r.row(table, &r.Results[i])
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for i := range r.Results {
		for _, line := range r.Results[i].remarks() {
			fmt.Fprintf(b, "%s: %s\n", r.Results[i].name(), line)
		}
	}
	return nil
}

func (x *Result) name() string { return strings.TrimSpace(x.Scenario + " " + x.Edge) }

func (r *Report) row(table io.Writer, x *Result) {
	cost, aim, ratio, rss, each, goroutines := "-", "-", "-", "-", "-", "-"
	if x.Aim > 0 {
		aim = "≤ " + strconv.FormatFloat(x.Aim, 'g', 3, 64)
	}
	if s := x.Server; s != nil {
		cost, rss = number(s.MicrosPerPacket), strconv.FormatInt(s.RSS>>20, 10)
		if r.Floor != nil && r.Floor.GSO > 0 {
			ratio = number(s.MicrosPerPacket / r.Floor.GSO)
		}
		if s.GoroutinesPerTransport > 0 {
			each, goroutines = number(s.BytesPerTransport/1000), number(s.GoroutinesPerTransport)
		}
	}
	latency := "-"
	if x.Latency.Count > 0 {
		latency = fmt.Sprintf("%s / %s / %s / %s", millis(x.Latency.P50), millis(x.Latency.P95), millis(x.Latency.P99), millis(x.Latency.Max))
	}
	fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%.0f\t%s\t%s\t%.2f / %.2f\t%s\t%s\t%s\n", x.name(), cost, aim, ratio, x.PerSecond,
		percent(x.Counts.Loss()), latency, x.Join.P50.Seconds(), x.Join.P99.Seconds(), rss, each, goroutines)
}

// From when on a measurement may show something else than the edge.
const (
	busy    = .9 // of the generator's cores
	company = .2 // of a core, for other programs
	behind  = 5 * time.Millisecond
)

// remarks say what a reader of the table has to know besides.
func (x *Result) remarks() []string {
	var list []string
	add := func(format string, arguments ...any) { list = append(list, fmt.Sprintf(format, arguments...)) }
	if x.Interrupted {
		add("interrupted after %.1f s of measuring", x.Seconds)
	}
	if x.Joined < x.Participants || x.Flowing < x.Streams {
		add("%d of %d participants joined, %d of %d streams flowed", x.Joined, x.Participants, x.Flowing, x.Streams)
	}
	if x.Failures > 0 {
		add("%s, such as: %s", plural(x.Failures, "failure"), strings.Join(x.Errors, "; "))
	}
	c := x.Counts
	if c.Lost+c.LeftOut+c.Duplicates+c.Late+c.Unknown+c.Unreadable > 0 {
		add("%d delivered, %d lost, %d left out by the edge, %d twice, %d out of order, %d unknown, %d of %d sampled unreadable",
			c.Delivered, c.Lost, c.LeftOut, c.Duplicates, c.Late, c.Unknown, c.Unreadable, c.Sampled)
	}
	if x.GeneratorDrop > 0 {
		add("%d packets were lost in the generator's own sockets", x.GeneratorDrop)
	}
	if x.GeneratorCPU > busy*float64(max(1, runtime.GOMAXPROCS(0))) {
		add("the generator was busy itself (%s of a core): latencies are partly its own", percent(x.GeneratorCPU))
	}
	if x.OthersCPU > company {
		add("other programs took %s of a core: latencies, joins and losses are partly theirs", percent(x.OthersCPU))
	}
	if x.Lateness.P99 > behind {
		add("publishers were behind their timetable by %s ms (p99)", millis(x.Lateness.P99))
	}
	return list
}

const momentHead = "  SECOND  RATE  PACKETS/s    LOSS  EDGE CPU   LATENCY p50/p99/max ms"

// String is the line of a moment.
func (m Moment) String() string {
	return fmt.Sprintf("  %6.1f %5.3gx %10.0f %7s %8.0f%%   %s / %s / %s", m.Seconds, m.Rate, m.Delivered, percent(m.Loss), m.ServerCPU*100,
		millis(m.Latency.P50), millis(m.Latency.P99), millis(m.Latency.Max))
}

// number has about three digits that mean something.
func number(f float64) string {
	switch {
	case f == 0:
		return "-"
	case f < 10:
		return strconv.FormatFloat(f, 'f', 2, 64)
	case f < 100:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 0, 64)
}

func millis(d time.Duration) string { return number(float64(d) / float64(time.Millisecond)) }

func percent(f float64) string {
	switch {
	case f == 0:
		return "0"
	case f >= .1:
		return strconv.FormatFloat(f*100, 'f', 0, 64) + "%"
	}
	return strconv.FormatFloat(f*100, 'g', 2, 64) + "%"
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
