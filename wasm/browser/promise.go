//go:build js && wasm

package browser

import (
	"context"
	"sync"
	"syscall/js"
)

// Error is a JavaScript exception or the reason of a rejected Promise.
type Error struct {
	Name    string // a DOMException's name such as NotAllowedError, or an error class's
	Message string
}

func (e *Error) Error() string {
	if e.Name == "" {
		return e.Message
	}
	return e.Name + ": " + e.Message
}

// errorOf reads an Error from whatever was thrown.
func errorOf(v js.Value) *Error {
	if v.Type() != js.TypeObject {
		return &Error{Message: js.Global().Call("String", v).String()}
	}
	e := &Error{}
	if name := v.Get("name"); name.Type() == js.TypeString {
		e.Name = name.String()
	}
	if message := v.Get("message"); message.Type() == js.TypeString {
		e.Message = message.String()
	}
	return e
}

// try runs fn and turns an exception thrown by JavaScript, or a call on a value that has no such method, into an error.
// Other panics go on.
func try(fn func() js.Value) (v js.Value, err error) {
	defer func() {
		switch thrown := recover().(type) {
		case nil:
		case js.Error:
			err = errorOf(thrown.Value)
		case *js.ValueError:
			err = thrown
		default:
			panic(thrown)
		}
	}()
	return fn(), nil
}

// outcome is how a Promise settled.
type outcome struct {
	value js.Value
	err   error
}

// promises are the Promises goroutines wait for. They share one js.Func, bound in JavaScript to the number of each: a Func
// for every Promise would have to stay until the Promise settles, and some never do.
var promises struct {
	sync.Mutex
	waiting map[int]chan<- outcome
	last    int
}

// settled is the Func that all Promises share; it lives as long as the program.
var settled = sync.OnceValue(func() js.Func { return js.FuncOf(settle) })

// await starts a call that returns a Promise and waits until it settles, ctx ends or done is closed (which gives ErrClosed).
func await(ctx context.Context, done <-chan struct{}, start func() js.Value) (js.Value, error) {
	promise, err := try(start)
	if err != nil {
		return js.Undefined(), err
	}
	if promise.Type() != js.TypeObject {
		return promise, nil // old browsers and fakes answer at once
	}
	number, result := expect()
	defer forget(number)
	if _, err := try(func() js.Value { return promise.Call("then", bound(number, true), bound(number, false)) }); err != nil {
		return js.Undefined(), err
	}
	select {
	case o := <-result:
		return o.value, o.err
	case <-ctx.Done():
		return js.Undefined(), context.Cause(ctx)
	case <-done:
		return js.Undefined(), ErrClosed
	}
}

// expect enters a Promise into the table.
func expect() (number int, result <-chan outcome) {
	c := make(chan outcome, 1) // settling happens in a callback, which must not wait for the reader
	promises.Lock()
	defer promises.Unlock()
	if promises.waiting == nil {
		promises.waiting = map[int]chan<- outcome{}
	}
	promises.last++
	promises.waiting[promises.last] = c
	return promises.last, c
}

// forget drops a Promise; settling later is then ignored.
func forget(number int) {
	promises.Lock()
	defer promises.Unlock()
	delete(promises.waiting, number)
}

// bound is the shared Func with its first two arguments fixed.
func bound(number int, ok bool) js.Value {
	return settled().Value.Call("bind", js.Undefined(), number, ok)
}

// ignore lets a Promise settle as it likes; without a handler the page would report its rejection.
func ignore(promise js.Value) {
	if promise.Type() == js.TypeObject {
		promise.Call("then", bound(0, true), bound(0, false)) // number 0 is never waited for
	}
}

// settle is the shared Func: (number, fulfilled, value or reason).
func settle(_ js.Value, args []js.Value) any {
	if len(args) < 2 {
		return nil
	}
	o := outcome{value: js.Undefined()}
	if len(args) > 2 {
		o.value = args[2]
	}
	if !args[1].Bool() {
		o = outcome{err: errorOf(o.value), value: js.Undefined()}
	}
	number := args[0].Int()
	promises.Lock()
	defer promises.Unlock()
	if c, ok := promises.waiting[number]; ok {
		delete(promises.waiting, number)
		c <- o
	}
	return nil
}
