'use strict';

const http = require('http');

const PORT = 80;
const STATUS = 200;

const color = /^(#[0-9a-f]{3,8}|[a-z]+)$/i.test(process.env.BACKGROUND_COLOR || '') ? process.env.BACKGROUND_COLOR : 'White';
const base = process.env.BASE_IMAGE || 'unknown';

const escape = (text) => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Hello World</title>
<style>
  body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: ${color};
         font: 16px/1.5 system-ui, sans-serif; color: #1b1b1f; }
  main { background: #fff; border-radius: 16px; padding: 2.5rem 3rem; margin: 1rem; max-width: 34rem;
         box-shadow: 0 12px 40px rgba(0, 0, 0, .25); }
  h1 { margin: 0 0 1.25rem; font-size: 2.5rem; letter-spacing: -.02em; }
  dl { margin: 0; display: grid; grid-template-columns: max-content 1fr; gap: .4rem 1.25rem; }
  dt { color: #5f5f6b; }
  dd { margin: 0; overflow-wrap: anywhere; font-family: ui-monospace, monospace; font-size: .9rem; }
</style>
</head>
<body>
<main>
  <h1>Hello World</h1>
  <dl>
    <dt>Background</dt><dd id="color">${escape(color)}</dd>
    <dt>Node</dt><dd id="node">${escape(process.version)}</dd>
    <dt>Base image</dt><dd id="base">${escape(base)}</dd>
  </dl>
</main>
</body>
</html>
`;

const answers = {
  '/': ['text/html; charset=utf-8', page],
  '/healthz': ['text/plain; charset=utf-8', 'ok\n'],
};

const server = http.createServer((request, response) => {
  const answer = answers[request.url.split('?')[0]];
  const [type, body] = answer || ['text/plain; charset=utf-8', 'not found\n'];
  response.writeHead(answer ? STATUS : 404, { 'Content-Type': type, 'Cache-Control': 'no-store' });
  response.end(request.method === 'HEAD' ? undefined : body);
});

// As process 1 of a container Node has no default for these signals: without a handler it would not stop.
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => {
    console.log(`${signal}: stopping`);
    server.close(() => process.exit(0));
    setTimeout(() => process.exit(0), 2000).unref();
  });
}

server.listen(PORT, () => console.log(`Hello World on port ${PORT}, ${color}, node ${process.version}, base ${base}`));
