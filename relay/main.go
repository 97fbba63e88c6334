// Command portico-relay answers STUN and TURN for clients that cannot reach an edge directly, and mixes and transcodes for the edges.
package main

import (
	"io"
	"log/slog"

	"portico/relay/config"
	"portico/relay/node"
	"portico/relay/worker"
	"portico/shared/logging"
	"portico/shared/program"
)

func main() {
	worker.Main() // does not return in the process of a job
	program.Main(relay())
}

func relay() program.Program[config.Settings] {
	return program.Program[config.Settings]{
		Name: "portico-relay", About: config.About, Settings: config.Default(),
		Log: func(s *config.Settings, w io.Writer) *slog.Logger {
			return logging.New(logging.Options{Level: s.Log.Level, Format: s.Log.Format, Writer: w})
		},
		Build: func(s *config.Settings, log *slog.Logger) (program.Node, error) { return node.New(s, log) },
	}
}
