//go:build linux

package cluster

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/tools/chromium"
	"portico/tools/netlab"
	"portico/tools/proctest"
)

// TestPages: Chromium on two edges beside a native participant on the third; the edge of one page dies.
func TestPages(t *testing.T) {
	chromium.Bundle(t) // the edges embed it
	_, env := chromium.Prepare(t)
	c := start(t)
	c.joins("carl", c.edges[2])
	home := c.lab.Namespace("browser")
	var urls, tokens []string
	for i, e := range c.edges {
		c.lab.Link(home, e.home, netlab.Shape{}, netlab.Shape{})
		if i < 2 {
			urls, tokens = append(urls, e.url()), append(tokens, e.token([]string{"Ann", "Bob"}[i]))
		}
	}
	in, out, err := os.Pipe()
	c.must(err)
	defer func() { _ = out.Close() }()
	here, err := os.Getwd()
	c.must(err)
	p, err := proctest.RunWith(proctest.Spec{
		Name: "browser", Start: home.Start, File: chromium.Find(t, "node"), Arguments: []string{filepath.Join(here, "pages.mjs")},
		Environment: append(env, "CLUSTER_EDGES="+strings.Join(urls, ","), "CLUSTER_TOKENS="+strings.Join(tokens, ",")), Input: in,
	})
	c.must(err)
	_ = in.Close()
	t.Cleanup(p.Kill)
	hear := func(words ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		line, err := p.Said(ctx, 0, words...)
		if err != nil {
			c.tails()
			t.Fatal(err)
		}
		return line
	}
	hear("ready")
	c.edges[0].Kill()
	_, err = out.WriteString("killed\n")
	c.must(err)
	t.Log(strings.TrimSpace(hear("back after")))
	<-p.Ended
	if code := p.ExitCode(); code != 0 {
		t.Fatalf("the browser's part failed:\n%s", p.Tail())
	}
}
