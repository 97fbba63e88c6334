package manage

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"portico/shared/jsonvalue"
)

// StreamQuality is what becomes of a stream of a running room, and why; with a participant's id its subscriptions are told of alone.
func (c *Client) StreamQuality(ctx context.Context, room, stream, participant string) (jsonvalue.Value, error) {
	path := "/v1.1/rooms/" + url.PathEscape(room) + "/streams/" + url.PathEscape(stream) + "/quality"
	if participant != "" {
		path += "?participant=" + url.QueryEscape(participant)
	}
	return c.json(ctx, http.MethodGet, path, jsonvalue.Value{})
}

func qualityFlags(f *flag.FlagSet, o *options) {
	jsonFlag(f, o)
	f.StringVar(&o.participant, "participant", "", "only the subscriptions of the participant with this `id`")
	f.BoolVar(&o.events, "events", false, "also what happened during the last minutes")
}

func showQuality(ctx context.Context, c *Client, args []string, o *options, out io.Writer) error {
	id, err := c.Find(ctx, args[0])
	if err != nil {
		return err
	}
	q, err := c.StreamQuality(ctx, id, args[1], o.participant)
	if err != nil {
		return fmt.Errorf("cannot show the quality of stream %s: %w", args[1], err)
	}
	if o.json {
		return printJSON(out, q)
	}
	p := &qualityPrinter{out: out, events: o.events, now: time.Now()}
	p.stream(q)
	return p.err
}

// qualityPrinter writes a stream's quality for people. The first error ends the writing.
type qualityPrinter struct {
	out    io.Writer
	events bool
	now    time.Time
	err    error
}

// line writes one line; the parts that are empty are left out.
func (p *qualityPrinter) line(indent int, parts ...string) {
	var said []string
	for _, part := range parts {
		if part != "" {
			said = append(said, part)
		}
	}
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.out, strings.Repeat(" ", indent)+strings.Join(said, ", "))
	}
}

func (p *qualityPrinter) stream(q jsonvalue.Value) {
	p.line(0, "Stream "+textOf(q, "id")+" of "+whoOf(q), pathOf(q))
	each(q.Get("tracks"), p.track)
	each(q.Get("notMixed"), p.notMixed)
	p.history(2, q)
	each(q.Get("subscriptions"), p.subscription)
	if n := numberOf(q, "omitted"); n > 0 {
		p.line(0, fmt.Sprintf("%.0f more subscriptions; -participant shows one of them", n))
	}
	each(q.Get("ended"), func(v jsonvalue.Value) {
		reason := textOf(v, "reason")
		if reason == "" {
			reason = "by its participant"
		}
		p.line(0, "Ended: "+whoOf(v), reason, p.ago(v.Get("at").Text()))
		p.history(2, v)
	})
}

func (p *qualityPrinter) track(v jsonvalue.Value) {
	muted := ""
	if v.Get("muted").Bool() {
		muted = "muted"
	}
	rate := ""
	if layers := v.Get("layers"); layers.Len() > 0 {
		rate = rateOf(layers.Index(layers.Len() - 1))
	}
	p.line(2, strings.TrimSpace(textOf(v, "kind")+" "+textOf(v, "rid")), textOf(v, "codec"), sizeOf(v), rate, lossOf(v), muted,
		many(numberOf(v, "keyFramesRequested"), "key frame asked for", "key frames asked for"))
}

// notMixed says what of the stream is left out of a mix.
func (p *qualityPrinter) notMixed(v jsonvalue.Value) {
	what := textOf(v, "kind")
	if what == "" {
		what = "something"
	}
	again := "tried all the time"
	if until, err := time.Parse(time.RFC3339, v.Get("until").Text()); err == nil {
		again = "tried again in " + max(0, until.Sub(p.now)).Round(time.Second).String()
	}
	p.line(2, what+" is not in the mix of view "+textOf(v, "view"), p.ago(v.Get("since").Text()), again)
	p.line(4, "because: "+textOf(v, "reason"))
}

func (p *qualityPrinter) subscription(v jsonvalue.Value) {
	n := v.Get("network")
	p.line(0, "To "+whoOf(v), pathOf(v))
	p.line(2, "network: "+bitsOf(numberOf(n, "estimate"))+" fit (by "+textOf(n, "by")+")", "wanted "+bitsOf(numberOf(n, "wanted")),
		fmt.Sprintf("round trip %.0f ms", numberOf(n, "rtt")), lossOf(n))
	each(v.Get("tracks"), func(t jsonvalue.Value) {
		what := "nothing is sent"
		if t.Get("sending").Bool() {
			what = strings.TrimSpace("is sent " + layerOf(t.Get("current")))
		}
		of, shown := "", ""
		if s := layerOf(t.Get("source")); s != "" && sizeOf(t.Get("source")) != "" {
			of = "there is " + s
		}
		if s := sizeOf(t.Get("displayed")); s != "" {
			shown = "shown at " + s
		}
		p.line(2, textOf(t, "kind")+": "+what, of, shown, rateOf(t), lossOf(t))
		p.line(4, "because: "+textOf(t, "reason"), p.ago(t.Get("since").Text()))
	})
	p.history(2, v)
}

func (p *qualityPrinter) history(indent int, v jsonvalue.Value) {
	if !p.events {
		return
	}
	each(v.Get("events"), func(e jsonvalue.Value) {
		times := ""
		if n := numberOf(e, "count"); n > 1 {
			times = fmt.Sprintf("%.0f times", n)
		}
		change := ""
		switch e.Get("kind").Text() {
		case "estimate":
			change = bitsOf(numberOf(e, "from")) + " to " + bitsOf(numberOf(e, "to"))
		case "loss":
			change = fmt.Sprintf("%.0f %%", numberOf(e, "to"))
		}
		at := textOf(e, "at")
		if t, err := time.Parse(time.RFC3339, at); err == nil {
			at = t.Local().Format("15:04:05.0")
		}
		p.line(indent, at+" "+textOf(e, "kind"), textOf(e, "detail"), textOf(e, "reason"), change, times)
	})
}

// ago is how long something is the case, "" when that is not known.
func (p *qualityPrinter) ago(at string) string {
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return ""
	}
	return "since " + max(0, p.now.Sub(t)).Round(time.Second).String()
}

func each(list jsonvalue.Value, f func(jsonvalue.Value)) {
	for i := range list.Len() {
		f(list.Index(i))
	}
}

func textOf(v jsonvalue.Value, name string) string { return printable(v.Get(name).Text()) }

func numberOf(v jsonvalue.Value, name string) float64 {
	f, _ := v.Get(name).Float()
	return f
}

func whoOf(v jsonvalue.Value) string {
	if user := textOf(v, "user"); user != "" {
		return user + " (" + textOf(v, "participant") + ")"
	}
	return textOf(v, "participant")
}

func pathOf(v jsonvalue.Value) string {
	local, remote := textOf(v.Get("path"), "local"), textOf(v.Get("path"), "remote")
	if remote == "" {
		return "not connected"
	}
	return local + " - " + remote
}

func sizeOf(v jsonvalue.Value) string {
	if numberOf(v, "width") == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f×%.0f", numberOf(v, "width"), numberOf(v, "height"))
}

func layerOf(v jsonvalue.Value) string {
	rid := textOf(v, "rid")
	if rid != "" {
		rid = "(" + rid + ")"
	}
	return strings.TrimSpace(sizeOf(v) + " " + rid)
}

func rateOf(v jsonvalue.Value) string {
	if numberOf(v, "bitrate") == 0 {
		return ""
	}
	text := bitsOf(numberOf(v, "bitrate"))
	if rate := numberOf(v, "frameRate"); rate > 0 && textOf(v, "kind") != "audio" {
		text += fmt.Sprintf(", %.0f pictures a second", rate)
	}
	return text
}

func lossOf(v jsonvalue.Value) string { return fmt.Sprintf("loss %.1f %%", 100*numberOf(v, "loss")) }

func bitsOf(rate float64) string {
	if rate >= 999_500 {
		return strconv.FormatFloat(rate/1e6, 'f', 1, 64) + " Mbit/s"
	}
	return strconv.FormatFloat(rate/1e3, 'f', 0, 64) + " kbit/s"
}

func many(n float64, one, more string) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 " + one
	}
	return fmt.Sprintf("%.0f %s", n, more)
}
