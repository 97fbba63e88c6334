package loadtest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func someReport() *Report {
	return &Report{
		Machine: "linux/amd64, 2 cores", Pinned: true, Floor: &Floor{Plain: 5, GSO: 2},
		Results: []Result{
			{
				Scenario: "1x50", Aim: 6, Participants: 51, Joined: 51, Streams: 100, Flowing: 100, Seconds: 15, PerSecond: 8500,
				Counts: Counts{Delivered: 127_500}, Server: &Server{MicrosPerPacket: 5, RSS: 50 << 20, BytesPerTransport: 240e3, GoroutinesPerTransport: 9.5},
				Latency: Percentiles{Count: 9, P50: 250 * time.Microsecond, P95: time.Millisecond, P99: 2 * time.Millisecond, Max: 12 * time.Millisecond},
				Join:    Percentiles{Count: 50, P50: 40 * time.Millisecond, P99: 130 * time.Millisecond},
			},
			{
				Scenario: "mine", Participants: 3, Joined: 2, Streams: 4, Flowing: 2, Failures: 7, Errors: []string{"no way"}, Interrupted: true,
				Seconds: 1.5, Counts: Counts{Delivered: 90, Lost: 8, LeftOut: 2}, GeneratorDrop: 4, OthersCPU: 1.6, Lateness: Percentiles{P99: time.Second},
			},
		},
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := someReport().Write(&b); err != nil {
		t.Fatal(err)
	}
	lines := map[string][]string{}
	for line := range strings.Lines(b.String()) {
		if f := strings.Fields(line); len(f) > 0 {
			lines[f[0]] = f
		}
	}
	want := "1x50 5.00 ≤ 6 2.50 8500 0 0.25 / 1.00 / 2.00 / 12.0 0.04 / 0.13 50 240 9.50"
	if got := strings.Join(lines["1x50"], " "); got != want {
		t.Errorf("row %q, want %q", got, want)
	}
	for _, want := range []string{
		"pinned to one", "1200 bytes", "5.00 µs", "10%", "interrupted after 1.5 s", "2 of 3 participants joined, 2 of 4 streams flowed",
		"7 failures, such as: no way", "90 delivered, 8 lost, 2 left out", "4 packets were lost in the generator", "other programs took 160%",
		"behind their timetable by 1000 ms",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if remarks := someReport().Results[0].remarks(); len(remarks) > 0 {
		t.Errorf("remarks on what is well: %q", remarks)
	}
}

func TestJSON(t *testing.T) {
	text, err := json.Marshal(someReport())
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Floor   struct{ GSO float64 }
		Results []struct {
			Latency struct{ P99Ms float64 }
			Counts  struct{ Delivered uint64 }
			Server  *struct{ MicrosPerPacket float64 }
			Errors  []string
		}
	}
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if r := back.Results[0]; back.Floor.GSO != 2 || r.Latency.P99Ms != 2 || r.Counts.Delivered != 127_500 || r.Server.MicrosPerPacket != 5 {
		t.Errorf("%+v from %s", back, text)
	}
	if r := back.Results[1]; r.Server != nil || len(r.Errors) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestMoment(t *testing.T) {
	m := Moment{Seconds: 3, Rate: 12, Delivered: 34_000, Loss: .05, ServerCPU: .97, Latency: Percentiles{P50: 3 * time.Millisecond}}
	if got := strings.Join(strings.Fields(m.String()), " "); got != "3.0 12x 34000 5% 97% 3.00 / - / -" {
		t.Errorf("%q", got)
	}
}

func TestNumbers(t *testing.T) {
	for f, want := range map[float64]string{0: "-", 1.234: "1.23", 12.34: "12.3", 123.4: "123"} {
		if got := number(f); got != want {
			t.Errorf("%v: %s", f, got)
		}
	}
	for f, want := range map[float64]string{0: "0", .00012: "0.012%", .05: "5%", 1.23: "123%"} {
		if got := percent(f); got != want {
			t.Errorf("%v: %s", f, got)
		}
	}
}
