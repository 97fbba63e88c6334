package metrics

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func page(t *testing.T, r *Registry) string {
	t.Helper()
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestPage(t *testing.T) {
	r := New("portico-test", "v1")
	r.Counter("portico_test_refused_total", "Refused.", "reason").WithLabelValues("quota").Add(3)
	r.Gauge("portico_test_rooms", "Rooms.").WithLabelValues().Set(2)
	r.Histogram("portico_test_join_seconds", "Time to join.", []float64{0.1, 1}).WithLabelValues().Observe(0.5)
	r.CounterFunc("portico_test_calls_total", "Calls.", func() float64 { return 7 })
	r.GaugeFunc("portico_test_load_ratio", "Load.", func() float64 { return 0.25 })
	reads := 0
	r.Source([]Series{{"portico_test_bytes_total", "Bytes.", []string{"direction"}}, {"portico_test_allocations", "Allocations.", nil}},
		func(emit func(int, float64, ...string)) {
			reads++
			emit(0, 10, "in")
			emit(0, 20, "out")
			emit(1, 1)
		})
	text := page(t, r)
	for _, want := range []string{
		`portico_build_info{program="portico-test",version="v1"} 1`,
		`portico_test_refused_total{reason="quota"} 3`,
		"portico_test_rooms 2",
		`portico_test_join_seconds_bucket{le="1"} 1`,
		"portico_test_calls_total 7",
		"portico_test_load_ratio 0.25",
		`portico_test_bytes_total{direction="out"} 20`,
		"# TYPE portico_test_bytes_total counter",
		"# TYPE portico_test_allocations gauge",
		"go_goroutines ", "process_open_fds ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if reads != 1 {
		t.Errorf("one page read the snapshot %d times", reads)
	}
}

func TestNamingRules(t *testing.T) {
	r := New("portico-test", "v1")
	for name, make := range map[string]func(){
		"prefix":            func() { r.Gauge("rooms", "Rooms.") },
		"upper case":        func() { r.Gauge("portico_Rooms", "Rooms.") },
		"counter's end":     func() { r.Counter("portico_calls", "Calls.") },
		"gauge's end":       func() { r.Gauge("portico_calls_total", "Calls.") },
		"milliseconds":      func() { r.GaugeFunc("portico_delay_ms", "Delay.", func() float64 { return 0 }) },
		"no sentence":       func() { r.Gauge("portico_rooms", "Rooms") },
		"label":             func() { r.Gauge("portico_rooms", "Rooms.", "Room-Name") },
		"taken":             func() { r.Gauge("portico_build_info", "Again.") },
		"source's name":     func() { r.Source([]Series{{"portico__x", "X.", nil}}, nil) },
		"counterfunc's end": func() { r.CounterFunc("portico_x", "X.", nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", name)
				}
			}()
			make()
		}()
	}
}
