//go:build js && wasm

// Command wasm is the conference client in the browser: client over browser's bindings, offered to JavaScript by jsapi. It is
// started by the loader in web/sdk and runs as long as its page.
package main

import "portico/wasm/jsapi"

func main() {
	if err := jsapi.Run(); err != nil {
		println("portico:", err.Error())
		return
	}
	select {} // the program's work is in callbacks and goroutines; returning would end them all
}
