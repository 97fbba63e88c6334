// Serves the demo page with the client library of the folder fake, so that the page can be tested without an edge.

import {readFile} from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import {repository} from './browser.mjs';

const TYPES = {'.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml'};

// The page's policy must hold without exceptions for inline code or style.
const POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

// startPageServer answers POST /demo/token with status; 200 comes with a token that the fake library understands.
export async function startPageServer({status = 200, body = ''} = {}) {
  const server = http.createServer(async (request, response) => {
    const {pathname} = new URL(request.url, 'http://page');
    if (pathname === '/demo/token') {
      const {user} = JSON.parse(await text(request));
      const token = Buffer.from(JSON.stringify({host: 'page', user})).toString('base64');
      response.writeHead(status, {'Content-Type': 'application/json'}).end(status === 200 ? JSON.stringify({token}) : body);
      return;
    }
    const file = fileOf(pathname);
    try {
      const content = await readFile(file);
      response.writeHead(200, {'Content-Type': TYPES[path.extname(file)], 'Content-Security-Policy': POLICY, 'Cache-Control': 'no-store'}).end(content);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {address: `http://127.0.0.1:${server.address().port}`, close: () => server.close()};
}

function fileOf(pathname) {
  if (pathname === '/') return path.join(repository, 'web/demo/index.html');
  if (pathname === '/sdk/portico.js') return path.join(repository, 'tools/e2e/browser/fake/portico.js');
  return path.join(repository, 'web', path.normalize(pathname));
}

async function text(request) {
  let all = '';
  for await (const chunk of request) all += chunk;
  return all;
}
