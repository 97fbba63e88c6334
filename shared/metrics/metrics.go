// Package metrics holds the counters of a node and their HTTP page in the Prometheus text format.
//
// A node makes one Registry, gives it to its parts' glue code and serves Handler at /metrics. Packages on the media and signalling
// path do not import it: they count for themselves and offer a Stats snapshot, which the node reads through Func or Source.
//
// Names follow the Prometheus rules and are checked when a metric is made: lower case with underscores, beginning with "portico_",
// base units (_seconds, _bytes) written in the name, and _total at the end of a counter and of nothing else.
package metrics

import (
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Prefix begins every name of ours.
const Prefix = "portico_"

// Registry is one node's metrics. Making a metric whose name breaks the rules, or that exists already, panics: names
// are constants, and the first test of the node meets it. All methods are safe for concurrent use.
type Registry struct{ reg *prometheus.Registry }

// live is the heap that the last garbage collection found in use, go_gc_heap_live_bytes: unlike go_memstats_heap_alloc_bytes it does not
// count what has become garbage since, so it tells a leak.
var live = collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/gc/heap/live:bytes$`)}

// New makes a Registry with the process (memory, descriptors, CPU) and Go (goroutines, garbage collection) collectors, and
// portico_build_info with the program's name and version.
func New(program, version string) *Registry {
	r := &Registry{reg: prometheus.NewRegistry()}
	r.reg.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(live)))
	r.Gauge("portico_build_info", "1, with the program and its version as labels.", "program", "version").WithLabelValues(program, version).Set(1)
	return r
}

// Handler serves the page.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.reg, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// Counter makes a counter with the given labels (none for a single series: call WithLabelValues()). A label's values must come
// from a small fixed set: no ids, no addresses, nothing a client chooses.
func (r *Registry) Counter(name, help string, labels ...string) *prometheus.CounterVec {
	check(name, help, true, labels)
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	r.reg.MustRegister(c)
	return c
}

// Gauge makes a gauge; labels as in Counter.
func (r *Registry) Gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	check(name, help, false, labels)
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	r.reg.MustRegister(g)
	return g
}

// Histogram makes a histogram over the given upper bounds, ascending, in the unit of its name; labels as in Counter.
func (r *Registry) Histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	check(name, help, false, labels)
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	r.reg.MustRegister(h)
	return h
}

// CounterFunc makes a counter that is read from fn when the page is asked for. fn is called from any goroutine and must not block.
func (r *Registry) CounterFunc(name, help string, fn func() float64) {
	check(name, help, true, nil)
	r.reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, fn))
}

// GaugeFunc makes a gauge that is read from fn as in CounterFunc.
func (r *Registry) GaugeFunc(name, help string, fn func() float64) {
	check(name, help, false, nil)
	r.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, fn))
}

// Series describes one metric of a Source: its name says by _total whether it is a counter.
type Series struct {
	Name, Help string
	Labels     []string
}

// Source makes several metrics that come out of one snapshot, so that they fit each other: read is called once for each page and
// emits any number of values, naming the series by its place in list and its labels' values in order.
func (r *Registry) Source(list []Series, read func(emit func(series int, value float64, labels ...string))) {
	s := &source{read: read}
	for _, d := range list {
		counter := strings.HasSuffix(d.Name, "_total")
		check(d.Name, d.Help, counter, d.Labels)
		kind := prometheus.GaugeValue
		if counter {
			kind = prometheus.CounterValue
		}
		s.kinds = append(s.kinds, kind)
		s.descs = append(s.descs, prometheus.NewDesc(d.Name, d.Help, d.Labels, nil))
	}
	r.reg.MustRegister(s)
}

// source implements prometheus.Collector.
type source struct {
	descs []*prometheus.Desc
	kinds []prometheus.ValueType
	read  func(emit func(series int, value float64, labels ...string))
}

// Describe implements prometheus.Collector.
func (s *source) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range s.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *source) Collect(ch chan<- prometheus.Metric) {
	s.read(func(series int, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(s.descs[series], s.kinds[series], value, labels...)
	})
}

var namePattern = regexp.MustCompile(`^portico(_[a-z0-9]+)+$`)

// notBase are units that Prometheus wants converted, and words that belong in labels or nowhere.
var notBase = []string{"ms", "milliseconds", "us", "microseconds", "minutes", "hours", "kb", "kilobytes", "mb", "megabytes", "bits", "kbps", "percent", "counter", "gauge"}

func check(name, help string, counter bool, labels []string) {
	words := strings.Split(name, "_")
	switch {
	case !namePattern.MatchString(name):
		panic("metrics: " + name + " is not lower case with underscores after " + Prefix)
	case counter != (words[len(words)-1] == "total"):
		panic("metrics: " + name + ": a counter ends in _total, and nothing else does")
	case slices.ContainsFunc(words, func(w string) bool { return slices.Contains(notBase, w) }):
		panic("metrics: " + name + ": use base units (seconds, bytes, ratio) and no type words")
	case !strings.HasSuffix(help, "."):
		panic("metrics: " + name + ": the help is a sentence")
	}
	for _, l := range labels {
		if !regexp.MustCompile(`^[a-z][a-z0-9_]*$`).MatchString(l) {
			panic("metrics: " + name + ": label " + l + " is not lower case with underscores")
		}
	}
}
