'use strict';

const net = require('node:net');

// A server that answers requests in turn with what a script says, over whichever connection they come. It reads HTTP by
// hand, so that it can break off anywhere. An answer is { status, headers, body, text }, { drop: true } to hang up, or a
// function that gets the socket and the request.
async function scripted(t, answers) {
  const requests = [];
  const sockets = new Set();
  let connections = 0;
  const server = net.createServer((socket) => {
    connections++;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    let text = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      text = Buffer.concat([text, chunk]);
      for (;;) {
        const end = text.indexOf('\r\n\r\n');
        if (end < 0) return;
        const [line, ...lines] = text.subarray(0, end).toString().split('\r\n');
        const headers = Object.fromEntries(lines.map((header) => [header.slice(0, header.indexOf(':')).toLowerCase(), header.slice(header.indexOf(':') + 1).trim()]));
        const length = Number(headers['content-length']);
        if (text.length < end + 4 + length) return;
        const body = JSON.parse(text.subarray(end + 4, end + 4 + length).toString());
        text = text.subarray(end + 4 + length);
        const [method, path] = line.split(' ');
        const request = { method, path, headers, body, at: Date.now() };
        requests.push(request);
        const answer = answers[Math.min(requests.length, answers.length) - 1];
        if (typeof answer === 'function') answer(socket, request);
        else if (answer.drop) socket.destroy();
        else respond(socket, answer);
      }
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  // From then on, whoever connects is refused.
  const close = () => new Promise((resolve) => {
    server.close(resolve);
    for (const socket of sockets) socket.destroy();
  });
  t.after(close);
  return { port: server.address().port, requests, sockets, close, connections: () => connections };
}

function respond(socket, { status = 200, headers = {}, body, text = JSON.stringify(body) }) {
  const type = body?.code ? 'application/problem+json' : body ? 'application/json' : 'text/html';
  const all = { 'Content-Type': type, 'Content-Length': Buffer.byteLength(text), ...headers };
  socket.write(`HTTP/1.1 ${status} X\r\n${Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${text}`);
}

const acquired = { body: { status: 'acquired', token: 't1', fence: 5, attempt: 1, lease_expires_at: 1 } };
const completed = { body: { status: 'completed' } };

module.exports = { acquired, completed, respond, scripted };
