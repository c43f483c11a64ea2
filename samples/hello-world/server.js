// One page: the colour and the Node version it got from its base image, and which base image that was.
// It needs no package, so its build needs no `npm install` and no network.
'use strict';

const http = require('http');

const PORT = 80;
const STATUS = 200; // what every page answers with; the story's last chapter breaks it here
const GREETING = 'Hello World';

const colour = process.env.BACKGROUND_COLOR || 'White';
const base = process.env.BASE_IMAGE || 'unknown';

const escape = (text) => text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }[c]));

const page = `<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>${GREETING}</title>
  <style>
    body { background-color: ${escape(colour)}; color: #111; font: 1.1rem/1.6 system-ui, sans-serif;
           min-height: 100vh; margin: 0; display: grid; place-items: center; }
    main { background: #fffd; padding: 2rem 3rem; border-radius: 1rem; max-width: 44rem; overflow-wrap: anywhere; }
    h1 { margin: 0 0 1rem; font-size: 2.5rem; }
    dt { font-size: .8rem; letter-spacing: .06em; text-transform: uppercase; color: #555; }
    dd { margin: 0 0 .8rem; font-family: ui-monospace, monospace; }
  </style>
</head>
<body>
  <main>
    <h1>${GREETING}</h1>
    <dl>
      <dt>Background colour of the base image</dt><dd>${escape(colour)}</dd>
      <dt>Node</dt><dd>${process.version}</dd>
      <dt>Built on</dt><dd>${escape(base)}</dd>
    </dl>
  </main>
</body>
</html>
`;

const server = http.createServer((request, response) => {
  response.writeHead(STATUS, { 'Content-Type': 'text/html; charset=utf-8', 'Cache-Control': 'no-store' });
  response.end(page);
});

server.listen(PORT, () => console.log(`listening on port ${PORT}, colour ${colour}, node ${process.version}`));
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
