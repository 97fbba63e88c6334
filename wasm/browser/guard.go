//go:build js && wasm

package browser

import "syscall/js"

// guard runs fn and reports a panic on the page's console instead of letting it end the whole program: one broken event
// must not take the other conferences of the page with it.
func guard(fn func()) {
	defer func() {
		if r := recover(); r != nil {
			js.Global().Get("console").Call("error", "portico: "+PanicText(r))
		}
	}()
	fn()
}

// PanicText says in one line what a recovered value was.
func PanicText(recovered any) string {
	switch r := recovered.(type) {
	case error:
		return "panic: " + r.Error()
	case string:
		return "panic: " + r
	case interface{ String() string }:
		return "panic: " + r.String()
	}
	return "panic"
}
