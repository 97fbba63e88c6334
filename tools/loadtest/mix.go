package loadtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"portico/shared/identity"
	"portico/shared/jsonvalue"
	"portico/tools/portico/manage"
)

// MixLoad is a room that is mixed.
type MixLoad struct {
	Publishers int  `json:"publishers"`
	Video      bool `json:"video"` // mixed into 1280x720, thirty pictures a second; else sound alone, each hearing the others
}

// mixLoads are those that are measured.
var mixLoads = []MixLoad{{4, true}, {9, true}, {16, true}, {100, false}}

// MixResult is what a room cost the relay.
type MixResult struct {
	MixLoad
	Seconds   float64     `json:"seconds"`
	CPU       float64     `json:"cpu"`      // of one core, the job's process alone
	RelayCPU  float64     `json:"relayCPU"` // of one core, the relay's own process
	RSS       int64       `json:"rss"`      // of the job's process, in bytes
	Pictures  int         `json:"pictures"` // of the mix that came
	Broken    int         `json:"broken"`   // that lacked packets
	PerFrame  float64     `json:"cpuMsPerPicture"`
	PerCore   float64     `json:"roomsPerCore"`
	Forwarded Percentiles `json:"forwarded"` // from before encryption at a publisher until a picture is complete at a subscriber
	Mixed     Percentiles `json:"mixed"`
	Added     Percentiles `json:"added"`           // picture by picture
	Sounds    float64     `json:"soundsPerSecond"` // packets that came, to all

	EdgeCPU      float64 `json:"edgeCPU"` // of one core, which the edge and the generator share
	GeneratorCPU float64 `json:"generatorCPU"`
	OthersCPU    float64 `json:"othersCPU"`
}

// mix measures mixing.
func (l *load) mix(ctx context.Context) ([]MixResult, error) {
	dir, err := os.MkdirTemp("", "portico-load")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	l.say("mix: making the clip")
	media, err := stampedClip(ctx, dir)
	if err != nil {
		return nil, err
	}
	m := &mixing{load: l, dir: dir}
	if err := m.start(ctx); err != nil {
		return nil, err
	}
	defer m.stop()
	var results []MixResult
	for _, x := range l.o.Mixes {
		l.say("mix: %s", x)
		api, err := manage.New(m.edge.settings)
		if err != nil {
			return results, err
		}
		created, err := api.CreateRoom(ctx, "mix", mixOptions(x))
		if err != nil {
			return results, err
		}
		room, err := newMixRoom(ctx, api, created.Get("_id").Text(), media, x.Video)
		if err != nil {
			return results, err
		}
		r, err := m.measure(ctx, x, room)
		leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
		room.leave(leaving)
		cancel()
		if err != nil {
			return results, fmt.Errorf("%w\nrelay:\n%s\nedge:\n%s", err, m.relay.output, m.edge.output)
		}
		results = append(results, *r)
		if err := m.idle(ctx); err != nil {
			return results, err
		}
	}
	return results, nil
}

// String names the room.
func (x MixLoad) String() string {
	if x.Video {
		return fmt.Sprintf("%d of 640x360 into 1280x720 at 30", x.Publishers)
	}
	return fmt.Sprintf("%d with sound alone", x.Publishers)
}

// mixOptions are a room's: nobody is told who speaks, so that a job is there for its subscribers alone.
func mixOptions(x MixLoad) jsonvalue.Value {
	text := `{"inputLimit": -1, "views": [{"label": "common",
		"audio": {"format": {"codec": "opus", "sampleRate": 48000, "channelNum": 2}, "vad": false},
		"video": {"format": {"codec": "vp8"}, "maxInput": 16,
		"parameters": {"resolution": {"width": 1280, "height": 720}, "framerate": 30, "keyFrameInterval": 100},
		 "layout": {"fitPolicy": "letterbox", "templates": {"base": "fluid"}}}}]}`
	v, _ := jsonvalue.Parse([]byte(text), jsonvalue.Limits{}) // it can be read
	return v
}

// mixing is the pair of programs that is measured.
type mixing struct {
	load  *load
	dir   string
	edge  *server
	relay *server
}

func (m *mixing) stop() {
	m.relay.stop()
	m.edge.stop()
}

// start starts a relay on the measured core, and an edge beside the generator.
func (m *mixing) start(ctx context.Context) error {
	cas := filepath.Join(m.dir, "ca")
	if err := identity.Init(cas); err != nil {
		return err
	}
	ours, err := identity.Issue(cas, "edge", identity.Edge, false)
	if err != nil {
		return err
	}
	theirs, err := identity.Issue(cas, "relay", identity.Relay, false)
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	door := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if m.relay, err = startMixer(m.load.o.Mixer, m.load.core, door, theirs); err != nil {
		return err
	}
	m.edge, err = startServer(ctx, m.load.o.Programs[0].File, append([]string{
		"-relay.nodes", door, "-cluster.ca_file", ours.CA, "-cluster.cert_file", ours.Cert, "-cluster.key_file", ours.Key,
	}, m.load.o.Programs[0].Arguments...), -1)
	if err == nil {
		err = m.connected(ctx)
		if err == nil {
			return nil
		}
		m.edge.stop()
	}
	m.relay.stop()
	return fmt.Errorf("%w\nrelay:\n%s", err, m.relay.output)
}

// startMixer starts a relay that only mixes.
func startMixer(p Program, core int, door string, id identity.Files) (*server, error) {
	s := &server{output: &tail{}, ended: make(chan struct{})}
	var err error
	if s.dir, err = os.MkdirTemp("", "portico-load"); err != nil {
		return nil, err
	}
	s.process = exec.Command(p.File, append([]string{
		"-turn.udp", "127.0.0.1:0", "-turn.tcp", "", "-turn.tls", "", "-turn.public_ip", "127.0.0.1",
		"-turn.min_port", "0", "-turn.max_port", "0", "-admin.listen", "", "-log.level", "warn", "-link.listen", door,
		"-cluster.ca_file", id.CA, "-cluster.cert_file", id.Cert, "-cluster.key_file", id.Key,
	}, p.Arguments...)...)
	s.process.Env = append(withoutSettings(os.Environ()), "PORTICO_TURN_SECRET="+turnSecret)
	s.process.Stdout, s.process.Stderr = s.output, s.output
	if err := startOn(core, s.process); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start a relay: %w", err), os.RemoveAll(s.dir))
	}
	s.pid = s.process.Process.Pid
	go func() {
		defer close(s.ended)
		_ = s.process.Wait() // its output says what was wrong
	}()
	return s, nil
}

// look looks again and again until something is so: it is told by nobody.
func (m *mixing) look(ctx context.Context, what string, ok func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errors.New("never: "+what))
	defer cancel()
	for !ok() {
		select {
		case <-m.relay.ended:
			return fmt.Errorf("the relay has ended:\n%s", m.relay.output)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

func (m *mixing) connected(ctx context.Context) error {
	return m.look(ctx, "the edge is connected to the relay", func() bool {
		text, err := get(ctx, m.edge.settings.URL+"/metrics")
		return err == nil && parseMetrics(text)[`portico_relays{state="connected"}`] == 1
	})
}

// idle waits until the relay has no job.
func (m *mixing) idle(ctx context.Context) error {
	return m.look(ctx, "the job ends", func() bool { return len(childrenOf(m.relay.pid)) == 0 })
}

// measure fills a room and measures it.
func (m *mixing) measure(ctx context.Context, x MixLoad, room *mixRoom) (*MixResult, error) {
	first, err := m.fill(ctx, x, room)
	if err != nil {
		return nil, err
	}
	var plain, mixed *screen
	if x.Video {
		viewer, err := room.join(ctx, "viewer")
		if err != nil {
			return nil, err
		}
		stream, err := room.mixed(viewer)
		if err != nil {
			return nil, err
		}
		plain, mixed = &screen{}, &screen{}
		if err := room.receive(ctx, viewer, first, plain); err != nil {
			return nil, err
		}
		if err := room.receive(ctx, viewer, stream, mixed); err != nil {
			return nil, err
		}
	}
	err = m.look(ctx, "all of the mix flows", func() bool {
		_, hearing := room.heard()
		return len(childrenOf(m.relay.pid)) == 1 && (!x.Video && hearing == x.Publishers || x.Video && plain.count() > 0 && mixed.count() > 0)
	})
	if err != nil {
		return nil, err
	}
	// Who is new to a relay has to be seen first, and the encoders find their rate.
	if err := pause(ctx, m.load.o.WarmUp); err != nil {
		return nil, err
	}
	return m.watch(ctx, x, room, plain, mixed)
}

// fill has all join and publish; the first one's stream is returned. With sound alone everybody hears the mix.
func (m *mixing) fill(ctx context.Context, x MixLoad, room *mixRoom) (string, error) {
	first, err := enterMix(ctx, x, room, 0) // the first of the mix as well
	if err != nil {
		return "", err
	}
	const atOnce = 4
	errs := make(chan error, atOnce)
	for worker := range atOnce {
		go func() {
			var err error
			for i := 1 + worker; i < x.Publishers && err == nil; i += atOnce {
				_, err = enterMix(ctx, x, room, i)
			}
			errs <- err
		}()
	}
	for range atOnce {
		err = errors.Join(err, <-errs)
	}
	return first, err
}

// enterMix has publisher i join.
func enterMix(ctx context.Context, x MixLoad, room *mixRoom, i int) (string, error) {
	c, err := room.join(ctx, "publisher-"+strconv.Itoa(i))
	if err != nil {
		return "", err
	}
	published, err := room.publish(ctx, c, i == 0 && x.Video)
	if err != nil || x.Video {
		return published, err
	}
	stream, err := room.mixed(c)
	if err != nil {
		return "", err
	}
	return published, room.receive(ctx, c, stream, nil)
}

// watch takes the figures.
func (m *mixing) watch(ctx context.Context, x MixLoad, room *mixRoom, plain, mixed *screen) (*MixResult, error) {
	job := childrenOf(m.relay.pid)[0]
	heard, _ := room.heard()
	begin, before := time.Now(), m.spent(job)
	if err := pause(ctx, m.load.o.Duration/2); err != nil {
		return nil, err
	}
	end, after := time.Now(), m.spent(job)
	if now := childrenOf(m.relay.pid); len(now) != 1 || now[0] != job {
		return nil, errors.New("the job has ended while it was measured")
	}
	r := &MixResult{MixLoad: x, Seconds: end.Sub(begin).Seconds(), RSS: after[0].rss}
	cores := func(i int) float64 { return (after[i].cpu - before[i].cpu).Seconds() / r.Seconds }
	r.CPU, r.RelayCPU, r.EdgeCPU, r.GeneratorCPU = cores(0), cores(1), cores(2), cores(3)
	r.OthersCPU = max(0, cores(4)-r.CPU-r.RelayCPU-r.EdgeCPU-r.GeneratorCPU)
	heardNow, _ := room.heard()
	r.Sounds = float64(heardNow-heard) / r.Seconds
	if all := r.CPU + r.RelayCPU; all > 0 {
		r.PerCore = 1 / all
	}
	if !x.Video {
		return r, nil
	}
	mixed.mu.Lock()
	for _, p := range mixed.pictures {
		if p.at.After(begin) && p.at.Before(end) {
			r.Pictures++
		}
	}
	r.Broken = mixed.broken
	mixed.mu.Unlock()
	if r.Pictures > 0 {
		r.PerFrame = 1000 * (r.CPU + r.RelayCPU) * r.Seconds / float64(r.Pictures)
	}
	return r, r.latency(ctx, room, plain, mixed, begin, end)
}

// spent is what has been used by the job's process, the relay, the edge, the generator, and all programs. What is unknown is zero.
func (m *mixing) spent(job int) (all [5]usage) {
	for i, pid := range []int{job, m.relay.pid, m.edge.pid, selfPID} {
		all[i], _ = processUsage(pid)
	}
	all[4].cpu = machineTime()
	return all
}

// latency compares when the pictures of the first publisher come, forwarded and in the mix, where he is at the top left.
func (r *MixResult) latency(ctx context.Context, room *mixRoom, plain, mixed *screen, begin, end time.Time) error {
	direct, err := room.delays(ctx, plain, begin, end, 1)
	if err != nil {
		return fmt.Errorf("forwarded: %w", err)
	}
	composed, err := room.delays(ctx, mixed, begin, end, int(math.Ceil(math.Sqrt(float64(r.Publishers)))))
	if err != nil {
		return fmt.Errorf("mixed: %w", err)
	}
	var forwarded, mix, added histogram
	for sent, d := range composed {
		mix.record(d)
		if plain, ok := direct[sent]; ok {
			forwarded.record(plain)
			added.record(d - plain)
		}
	}
	if added.count == 0 {
		return errors.New("no picture was recognised in the mix")
	}
	r.Forwarded, r.Mixed, r.Added = forwarded.percentiles(), mix.percentiles(), added.percentiles()
	return nil
}

// childrenOf are the processes that one has started.
func childrenOf(pid int) (list []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		// The name, in brackets, may hold anything; behind it are the state and the parent (proc(5)).
		f := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if len(f) > 1 && string(f[1]) == strconv.Itoa(pid) {
			list = append(list, id)
		}
	}
	return list
}

// writeMix adds the rooms to a report for people.
func (r *Report) writeMix(b *strings.Builder) {
	if len(r.Mix) == 0 {
		return
	}
	b.WriteString("\nMixing by a relay on one core; CPU of a room's process, and of the relay itself:\n")
	for _, x := range r.Mix {
		fmt.Fprintf(b, "  %s: %s of a core and %s, %.1f such rooms on a core, %d MB", x.MixLoad, percent(x.CPU), percent(x.RelayCPU),
			x.PerCore, x.RSS>>20)
		if x.Video {
			fmt.Fprintf(b, "; %s ms of CPU a picture, %.1f pictures a second", number(x.PerFrame), float64(x.Pictures)/x.Seconds)
			fmt.Fprintf(b, "; latency added p50 %s ms, p95 %s ms (%d pictures; forwarded p50 %s ms, mixed %s ms)", millis(x.Added.P50),
				millis(x.Added.P95), x.Added.Count, millis(x.Forwarded.P50), millis(x.Mixed.P50))
			if x.Broken > 0 {
				fmt.Fprintf(b, "; %s with a packet missing", plural(x.Broken, "picture"))
			}
		} else {
			fmt.Fprintf(b, "; %.0f packets of sound a second to all", x.Sounds)
		}
		b.WriteString("\n")
		if x.OthersCPU > company || x.EdgeCPU+x.GeneratorCPU > busy {
			fmt.Fprintf(b, "    the edge took %s of a core, the generator %s, other programs %s: latencies are partly theirs\n",
				percent(x.EdgeCPU), percent(x.GeneratorCPU), percent(x.OthersCPU))
		}
	}
}
