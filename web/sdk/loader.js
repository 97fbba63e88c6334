// Loading and running the Go program, and the bridge to it.
//
// One program serves all clients of a page that use the same module. The page calls it with
//
//   call(number, method, text, object)      number counts the calls, text is JSON, object a JavaScript value or undefined
//
// which returns at once; the program answers with reply(number, ok, text, object), in any order. Without being asked it says
// event(client, name, text, object). Replies and events are handled strictly in the order in which the program gave them: after
// a reply the page's own code runs (everything that waits for the promise) before the next item is looked at.

import {ConferenceError} from './events.js';

// The build writes here which Go made the module and the hash of its content; empty in the sources.
const stamp = {go: '', wasm: ''};

const defaultURL = new URL('./portico.wasm', import.meta.url);
if (stamp.wasm) defaultURL.searchParams.set('v', stamp.wasm);

const slotKey = Symbol.for('portico.slot');
const stubNames = ['Go', 'fs', 'process', 'path'];

const running = new Map(); // by URL or Module: a Promise of a Program

// load makes the program ready and resolves when it runs. Clients do it by themselves; calling it earlier saves them the wait.
export async function load(options = {}) {
  await program(options);
}

// program returns the running Program for the options, starting one if there is none or the last one has ended.
export function program({wasmURL, module} = {}) {
  const key = module ?? String(wasmURL ? new URL(wasmURL, globalThis.location?.href ?? import.meta.url) : defaultURL);
  if (!running.has(key)) {
    const begun = boot(key, module).catch((error) => {
      running.delete(key); // the next attempt starts afresh: the network may be back
      throw error;
    });
    running.set(key, begun);
    begun.then((p) => p.whenStopped(() => running.delete(key)), () => {});
  }
  return running.get(key);
}

async function boot(key, module) {
  const begun = !module && key === String(defaultURL) && early || begin(key, module);
  if (begun === early) early = undefined; // once only: the next attempt starts afresh
  const [m, runtime] = await Promise.all([begun.module, begun.runtime]);
  if (!module) compiledModules.set(key, m);
  return Program.run(m, runtime);
}

function begin(url, module) {
  return {module: module ?? compile(url), runtime: goRuntime()};
}

const compiledModules = new Map(); // by URL: a program that ended is started again without fetching

async function compile(url) {
  if (compiledModules.has(String(url))) return compiledModules.get(String(url));
  let response;
  try {
    response = await fetch(url);
  } catch (cause) {
    throw failed(`The Portico client could not be fetched from ${url}: ${cause.message}`, 'load-failed', cause);
  }
  if (!response.ok) {
    const said = (await response.text()).trim().split('\n')[0].slice(0, 200);
    throw new ConferenceError(`The Portico client could not be fetched from ${url}: ${response.status} ${said}`, 'load-failed');
  }
  try {
    if (response.headers.get('Content-Type') === 'application/wasm') return await WebAssembly.compileStreaming(response);
    return await WebAssembly.compile(await response.arrayBuffer());
  } catch (cause) {
    throw failed(`The Portico client cannot run in this page: ${cause.message}`, 'load-failed', cause);
  }
}

function failed(message, code, cause) {
  const error = new ConferenceError(message, code);
  error.cause = cause;
  return error;
}

// goRuntime imports wasm_exec.js, which belongs to the compiler and leaves four globals behind. A page is not to notice them (a
// stub of process makes some libraries believe that this is Node), so they are taken away again and lent to each program while
// it starts. The result is {Go, stubs}.
let runtimeLoaded;
function goRuntime() {
  runtimeLoaded ??= (async () => {
    const had = new Set(stubNames.filter((name) => name in globalThis));
    try {
      await import('./wasm_exec.js');
    } catch (cause) {
      runtimeLoaded = undefined;
      throw failed(`The Portico client's wasm_exec.js could not be loaded: ${cause.message}`, 'load-failed', cause);
    }
    const Go = globalThis.Go;
    const stubs = {};
    for (const name of stubNames.filter((n) => !had.has(n))) {
      if (name !== 'Go') stubs[name] = globalThis[name];
      delete globalThis[name];
    }
    return {Go, stubs};
  })();
  return runtimeLoaded;
}

// Program is one running Go program.
class Program {
  #call;
  #calls = new Map(); // number: {resolve, reject}
  #last = 0;
  #clients = new Map(); // number: a function (name, data, object)
  #lastClient = 0;
  #queue = [];
  #draining = false;
  #stopped;
  #onStop = [];
  #output = '';

  static async run(module, {Go, stubs}) {
    const p = new Program();
    const go = new Go();
    go.exit = (code) => p.#stop(code);
    const decoder = new TextDecoder();
    go.importObject.gojs['runtime.wasmWrite'] = (sp) => { // wasmWrite(fd, pointer, length), without the global fs
      const [pointer, length] = [go.mem.getUint32((sp >>> 0) + 16, true), go.mem.getInt32((sp >>> 0) + 24, true)];
      p.#print(decoder.decode(new Uint8Array(go.mem.buffer, pointer, length), {stream: true}));
    };
    let instance;
    try {
      instance = await WebAssembly.instantiate(module, go.importObject);
    } catch (cause) {
      throw failed(`The Portico client cannot run in this page: ${cause.message}`, 'load-failed', cause);
    }
    let version;
    globalThis[slotKey] = {
      started(call, goVersion) { [p.#call, version] = [call, goVersion]; },
      reply: (number, ok, text, object) => p.#enqueue(() => p.#settle(number, ok, text, object)),
      event: (client, name, text, object) => p.#enqueue(() => p.#tell(client, name, text, object)),
    };
    const lent = Object.keys(stubs).filter((name) => !(name in globalThis));
    for (const name of lent) globalThis[name] = stubs[name];
    try {
      go.run(instance).catch((cause) => p.#stop(2, cause)); // runs until the program waits for us, so the loan is short
    } finally {
      for (const name of lent) delete globalThis[name];
      delete globalThis[slotKey];
    }
    if (p.#stopped) throw p.#stopped;
    if (!p.#call) throw new ConferenceError('The Portico client did not start: the file is not its program.', 'load-failed');
    const wanted = Go.version ?? stamp.go;
    if (wanted && wanted !== version) {
      throw new ConferenceError(`wasm_exec.js is of ${wanted}, but the program was made by ${version}: run make build again and reload without the cache.`, 'version-mismatch');
    }
    return p;
  }

  // client registers a client; handler(name, data, object) is told its events, stopped(error) of the end of the program.
  client(handler, stopped) {
    const number = ++this.#lastClient;
    this.#clients.set(number, handler);
    const forget = this.whenStopped(stopped);
    return {number, close: () => { this.#clients.delete(number); forget(); }};
  }

  // whenStopped calls fn(error) when the program ends; it returns a function that takes fn off the list.
  whenStopped(fn) {
    if (this.#stopped) fn(this.#stopped);
    else this.#onStop.push(fn);
    return () => { this.#onStop = this.#onStop.filter((f) => f !== fn); };
  }

  // call runs a method of the program. The promise gives {data, object}; it rejects with a ConferenceError. Aborting signal
  // ends the call in the program, which then rejects the promise with the code aborted.
  call(method, data, object, signal) {
    if (this.#stopped) return Promise.reject(this.#stopped);
    if (signal?.aborted) return Promise.reject(new ConferenceError('The call was aborted.', 'aborted'));
    const number = ++this.#last;
    return new Promise((resolve, reject) => {
      const abort = () => this.#invoke(number, 'abort', '{}');
      signal?.addEventListener('abort', abort, {once: true});
      const done = () => signal?.removeEventListener('abort', abort);
      this.#calls.set(number, {resolve: (v) => { done(); resolve(v); }, reject: (e) => { done(); reject(e); }});
      this.#invoke(number, method, JSON.stringify(data), object);
    });
  }

  #invoke(number, method, text, object) {
    if (this.#stopped) return;
    try {
      this.#call(number, method, text, object);
    } catch (cause) {
      this.#stop(2, cause); // the program recovers its own panics: what arrives here is WebAssembly's, and final
    }
  }

  #enqueue(item) {
    this.#queue.push(item);
    if (this.#draining) return;
    this.#draining = true;
    queueMicrotask(() => this.#drain());
  }

  async #drain() {
    for (let item; (item = this.#queue.shift());) {
      let settled = false;
      try {
        settled = item();
      } catch (error) {
        reportError(error);
      }
      if (settled) await nextTask();
    }
    this.#draining = false;
  }

  #settle(number, ok, text, object) {
    const waiting = this.#calls.get(number);
    if (!waiting) return false;
    this.#calls.delete(number);
    const data = text === undefined ? undefined : JSON.parse(text);
    if (ok) waiting.resolve({data, object});
    else waiting.reject(new ConferenceError(data.message, data.code));
    return true;
  }

  #tell(client, name, text, object) {
    this.#clients.get(client)?.(name, text === undefined ? undefined : JSON.parse(text), object);
    return false;
  }

  // #print passes on what the program says of itself: the last words of one that panics. They come in many small pieces.
  #print(text) {
    if (this.#output === '') {
      queueMicrotask(() => {
        console.error(this.#output.trimEnd());
        this.#output = '';
      });
    }
    this.#output = (this.#output + text).slice(0, 20000);
  }

  // #stop ends everything that waits for the program: it cannot go on, whatever the reason.
  #stop(code, cause) {
    if (this.#stopped) return;
    const panic = this.#output.split('\n').find((line) => /^(panic|fatal error):/.test(line));
    const why = panic ?? cause?.message ?? `exit code ${code}`;
    this.#stopped = failed(`The Portico client has stopped (${why}). Join again to start anew.`, 'program-stopped', cause);
    this.#enqueue(() => {
      for (const {reject} of this.#calls.values()) reject(this.#stopped);
      this.#calls.clear();
      for (const fn of this.#onStop) fn(this.#stopped);
      this.#onStop = [];
      this.#clients.clear();
      return false;
    });
  }
}

// nextTask lets everything run that is ready to run now. Unlike timers, messages are not slowed down in hidden pages.
function nextTask() {
  return new Promise((resolve) => {
    const {port1, port2} = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });
}

// The program is larger than the page: fetching and compiling it begins before anybody asks. Errors wait for the first who does.
let early;
if (globalThis.document) {
  early = begin(String(defaultURL));
  for (const promise of Object.values(early)) promise.catch(() => {});
}
