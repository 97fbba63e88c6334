// Takes the place of wasm_exec.js: its Go runs no WebAssembly but the function that a test left in globalThis.program, with the
// slot and the Go instance.

globalThis.fs = {stub: true};
globalThis.path = {stub: true};
globalThis.Go = class Go {
  static version = 'go9.9';
  importObject = {gojs: {}};

  async run() {
    globalThis.program(globalThis[Symbol.for('portico.slot')], this);
    await new Promise(() => {}); // a program runs until its page goes
  }
};
