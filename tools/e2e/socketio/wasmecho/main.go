//go:build js && wasm

// Command wasmecho tries the Socket.IO client where it is meant to run: compiled to WebAssembly, over a JavaScript WebSocket.
// It connects to the URL in its argument, talks to the echo server of the tests, and prints what happens as JSON lines.
package main

import (
	"context"
	"os"
	"strings"

	"portico/shared/jsonvalue"
	"portico/shared/sioclient"
)

func tell(kind string, args ...jsonvalue.Value) {
	line := jsonvalue.OfObject(jsonvalue.M("type", jsonvalue.Of("event")), jsonvalue.M("name", jsonvalue.Of(kind)), jsonvalue.M("args", jsonvalue.OfArray(args...)))
	os.Stdout.WriteString(line.String() + "\n")
}

func main() {
	closed := make(chan struct{})
	c, err := sioclient.Dial(context.Background(), sioclient.Options{
		URL:     os.Args[1],
		OnEvent: func(name string, args []jsonvalue.Value) { tell(name, args...) },
		OnClose: func(err error) {
			tell("closed", jsonvalue.Of(err.Error()))
			close(closed)
		},
	})
	if err != nil {
		tell("failed", jsonvalue.Of(err.Error()))
		return
	}
	tell("connected", jsonvalue.Of(c.ID()))
	long := strings.Repeat("Zoë", 30_000)
	answer, err := c.Request(context.Background(), "echo", jsonvalue.Of(long))
	if err != nil || len(answer) != 1 {
		tell("failed", jsonvalue.Of("no answer"))
		return
	}
	tell("answered", jsonvalue.OfBool(answer[0].Text() == long))
	c.Emit("say", jsonvalue.OfInt(7), jsonvalue.NullValue())
	c.Emit("leave")
	<-closed
	c.Close()
}
