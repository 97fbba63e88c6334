// The real program: an edge and a relay in one process, as `make run` starts them.

import {execFile, spawn} from 'node:child_process';
import {once} from 'node:events';
import {mkdtemp, rm} from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import {createInterface} from 'node:readline';
import {promisify} from 'node:util';
import {buildFolder} from './browser.mjs';

const binary = process.env.PORTICO_BIN ?? path.join(buildFolder, 'portico');
const START = 30_000; // ms
const STOP = 20_000; // ms; longer than an orderly stop may take

// startPortico starts the program with data of its own and returns {address, token, manage, stop, kill, restart} when it is ready. stop is the
// orderly way and fails when the program does not end well; kill is the power cut, and restart starts it again after that: at the same
// address and with the same data, provided that port is given.
export async function startPortico({port = 0} = {}) {
  const data = await mkdtemp(path.join(os.tmpdir(), 'portico-e2e-'));
  let running = await run(data, port).catch(async (error) => {
    await rm(data, {recursive: true, force: true});
    throw error;
  });
  let killed = false;
  const {address} = running;
  return {
    address,
    // token admits user to a room, which is made if it does not exist.
    async token(room, user) {
      const response = await fetch(`${address}/demo/token`, {
        method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({room, user, role: 'presenter'}),
      });
      if (!response.ok) throw new Error(`no token: ${response.status} ${await response.text()}`);
      return (await response.json()).token;
    },
    // manage runs a command of the operator's program as the service that the demo's rooms belong to, and returns what it prints.
    async manage(...args) {
      const call = (list, env) => promisify(execFile)(binary, list, {env: {...process.env, ...env}}).then(({stdout}) => stdout);
      const [, service, key] = /# sampleService\nPORTICO_SERVICE=(\S+)\nPORTICO_KEY=(\S+)/.exec(await call(['keys', '-data', data]));
      return call(args, {PORTICO_URL: address, PORTICO_SERVICE: service, PORTICO_KEY: key});
    },
    async stop() {
      const how = await running.end('SIGTERM');
      await rm(data, {recursive: true, force: true});
      if (how !== 0 && !killed) throw new Error(`portico ended with ${how}:\n${running.said(2000)}`);
    },
    async kill() {
      killed = true;
      await running.end('SIGKILL');
    },
    async restart() {
      running = await run(data, port);
      killed = false;
    },
  };
}

// startPorticoToRestart is startPortico at a port that nobody else gets meanwhile: not one of those that systems hand out.
export async function startPorticoToRestart() {
  for (let attempt = 0; ; attempt++) {
    try {
      return await startPortico({port: 20_000 + Math.floor(Math.random() * 10_000)});
    } catch (error) {
      if (attempt === 5 || !/address already in use/.test(error.message)) throw error;
    }
  }
}

// run starts one program and returns {address, said, end} when it is ready. end(signal) waits for its end and tells how it was.
async function run(data, port) {
  const program = spawn(binary, [
    'dev', '-http', `127.0.0.1:${port}`, '-turn', '0.0.0.0:0', '-relay-admin', '', '-data', data, '-log', 'info',
  ], {stdio: ['ignore', 'pipe', 'pipe']});
  const lines = [];
  const exited = once(program, 'exit').then(([code, signal]) => code ?? signal);
  const said = (count = 40) => lines.slice(-count).join('\n');

  const address = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`portico was not ready after ${START} ms:\n${said()}`)), START);
    exited.then((how) => reject(new Error(`portico ended (${how}) before it was ready:\n${said()}`)));
    for (const stream of [program.stdout, program.stderr]) {
      createInterface({input: stream}).on('line', (line) => {
        lines.push(line);
        const found = /\baddress=(http:\/\/\S+?)\/?$/.exec(line);
        if (!found) return;
        clearTimeout(timer);
        resolve(found[1]);
      });
    }
  }).catch((error) => {
    program.kill('SIGKILL');
    throw error;
  });

  async function end(signal) {
    if (program.exitCode === null && program.signalCode === null) program.kill(signal);
    // A Go program that hangs tells where when it gets SIGQUIT.
    const hung = setTimeout(() => program.kill('SIGQUIT'), STOP);
    const how = await exited;
    clearTimeout(hung);
    return how;
  }
  return {address, said, end};
}
