// Guest is a native participant for tests and for trying things out: it joins the room of a token, publishes a clip, subscribes to what the
// others publish, and writes what it sees as one JSON object a line.
//
//	go run ./tools/pionpeer/guest -token … -publish -subscribe -for 30s
//
// Lines have "event" and what belongs to it: joined, state, participant, left, published, stream, removed, message, subscribed, media (once a second
// and for each remote track, what has arrived so far), restored, ended, error, disconnected. The exit code is 0 when it left by itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"portico/tools/pionpeer/clip"
)

func main() {
	o := options{}
	flag.StringVar(&o.token, "token", os.Getenv("PORTICO_TOKEN"), "join token (default: $PORTICO_TOKEN)")
	flag.BoolVar(&o.publish, "publish", false, "publish a clip with moving pictures and a tone")
	flag.BoolVar(&o.subscribe, "subscribe", false, "subscribe to the streams of others")
	flag.BoolVar(&o.relay, "relay", false, "send and receive media through a relay only")
	flag.BoolVar(&o.loopback, "loopback", false, "offer addresses of this machine's loopback interface too")
	flag.StringVar(&o.message, "message", "", "text to send to everyone after joining")
	flag.DurationVar(&o.length, "for", 0, "leave after this time (default: on interrupt)")
	flag.StringVar(&o.dir, "clip", "", "folder to keep the clip in (default: a temporary one)")
	flag.StringVar(&o.spec.Picture, "picture", "", "what the clip shows: an ffmpeg lavfi source such as color=c=red (default: testsrc2)")
	flag.Parse()
	if o.token == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "guest: -token is needed, and there are no arguments; see -h")
		os.Exit(2)
	}
	if err := o.run(); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		os.Exit(1)
	}
}

// run makes the clip before joining, since a token is good for a short time only.
func (o *options) run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.publish {
		if o.dir == "" {
			dir, err := os.MkdirTemp("", "portico-clip-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(dir)
			o.dir = dir
		}
		var err error
		if o.clip, err = clip.Make(ctx, o.dir, o.spec); err != nil {
			return err
		}
	}
	g, err := newGuest(*o, os.Stdout)
	if err != nil {
		return err
	}
	if o.length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.length, errTimeUp)
		defer cancel()
	}
	return g.run(ctx)
}

var errTimeUp = errors.New("time is up")

// leaveTime is how long leaving may take.
const leaveTime = 5 * time.Second
