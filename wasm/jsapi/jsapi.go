//go:build js && wasm

// Package jsapi offers the conference client to JavaScript: the Go side of the bridge whose other side is web/sdk/loader.js.
//
// Go owns the state, JavaScript owns thin classes that show it. The page calls one function,
//
//	call(number, method, text, object)
//
// number counts the calls, text is JSON with the arguments, among them the client's number, and object a JavaScript value that
// JSON cannot hold (tracks, an RTCConfiguration). It returns at once; a goroutine does the work and answers with
// reply(number, ok, text, object). What happens without being asked is told with event(client, name, text, object). JSON text
// crosses the border in one step, which is several times faster than walking JavaScript values member by member.
//
// Order is part of the promise: the page learns of things in the order in which the conference did. The reply to join comes
// before any event, that to publish before the stream appears in the room.
//
// A panic in a call fails that call and nothing else.
package jsapi

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"syscall/js"

	"portico/shared/client"
	"portico/shared/jsonvalue"
	"portico/wasm/browser"
)

// slotName is the key of the symbol under which the loader leaves the functions we answer with.
const slotName = "portico.slot"

var errNoSlot = errors.New("this program is started by portico.js, the Portico client for JavaScript")

// api is the running bridge.
type api struct {
	reply, event js.Value
	dial         client.Dialer // nil: over the network
	garbage      collector

	mu    sync.Mutex // guards what follows; never held while JavaScript or the conference is called
	calls map[int]*call
	rooms map[int]*participation // by the client's number
}

// call is one call that was not answered yet.
type call struct {
	number int
	client int
	cancel context.CancelFunc
}

// Run registers the bridge with the loader that started this program. It returns at once; the error says that there is none.
func Run() error {
	key := js.Global().Get("Symbol").Call("for", slotName)
	slot := js.Global().Get("Reflect").Call("get", js.Global(), key)
	if slot.Type() != js.TypeObject {
		return errNoSlot
	}
	start(slot, nil)
	return nil
}

// start tells the loader how to call us. The function lives as long as the program.
func start(slot js.Value, dial client.Dialer) *api {
	a := &api{reply: slot.Get("reply"), event: slot.Get("event"), dial: dial, calls: map[int]*call{}, rooms: map[int]*participation{}}
	slot.Call("started", js.FuncOf(a.onCall), runtime.Version())
	return a
}

// onCall runs in a JavaScript callback, which must not wait: it starts the work.
func (a *api) onCall(_ js.Value, args []js.Value) any {
	defer func() {
		if r := recover(); r != nil {
			a.report(r)
		}
	}()
	if len(args) < 3 {
		return nil
	}
	number, method, text, object := args[0].Int(), args[1].String(), args[2].String(), js.Undefined()
	if len(args) > 3 {
		object = args[3]
	}
	if method == "abort" {
		a.abort(number)
		return nil
	}
	a.garbage.called()
	go a.serve(number, method, text, object)
	return nil
}

// serve does one call and answers it.
func (a *api) serve(number int, method, text string, object js.Value) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	args, err := jsonvalue.Parse([]byte(text), jsonvalue.Limits{})
	room, _ := args.Get("client").Int()
	c := &call{number: number, client: int(room), cancel: cancel}
	a.mu.Lock()
	a.calls[number] = c
	a.mu.Unlock()
	if err != nil {
		a.answer(number, result{}, &argumentError{err.Error()})
		return
	}
	defer func() {
		if r := recover(); r != nil {
			a.report(r)
			a.answer(number, result{}, &panicError{browser.PanicText(r)})
		}
	}()
	later, err := a.do(ctx, c, method, args, object)
	if err != nil || !later {
		a.answer(number, result{}, err)
	}
}

// report prints a panic with its stack on the page's console.
func (a *api) report(r any) {
	stack := make([]byte, 16<<10)
	stack = stack[:runtime.Stack(stack, false)]
	js.Global().Get("console").Call("error", "portico: "+browser.PanicText(r)+"\n"+string(stack))
}

// result is what a call gives back: JSON, absent for nothing, and an object, undefined for none.
type result struct {
	value  jsonvalue.Value
	object js.Value
}

// answer replies to a call, once: what comes later is dropped.
func (a *api) answer(number int, r result, err error) {
	if !a.forget(number) {
		return
	}
	if err != nil {
		a.reply.Invoke(number, false, describe(err).String())
		return
	}
	a.reply.Invoke(number, true, textOf(r.value), r.object)
}

// forget takes a call off the list; false means that it was answered already.
func (a *api) forget(number int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, waiting := a.calls[number]
	delete(a.calls, number)
	return waiting
}

func (a *api) abort(number int) {
	a.mu.Lock()
	c := a.calls[number]
	a.mu.Unlock()
	if c != nil {
		c.cancel()
	}
}

// fail answers all calls of a client whose conference is over.
func (a *api) fail(room int, err error) {
	a.mu.Lock()
	var numbers []int
	for number, c := range a.calls {
		if c.client == room {
			numbers = append(numbers, number)
			c.cancel()
		}
	}
	a.mu.Unlock()
	for _, number := range numbers {
		a.answer(number, result{}, err)
	}
}

// tell says what happened in a client's conference.
func (a *api) tell(room int, name string, value jsonvalue.Value, object js.Value) {
	a.garbage.called()
	a.event.Invoke(room, name, textOf(value), object)
}

// textOf is a value as JSON text, undefined for an absent one.
func textOf(v jsonvalue.Value) js.Value {
	if !v.Exists() {
		return js.Undefined()
	}
	return js.ValueOf(v.String())
}
