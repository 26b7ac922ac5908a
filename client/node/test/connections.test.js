'use strict';

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const net = require('node:net');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { test } = require('node:test');
const { Client, ProblemError, UnavailableError, run } = require('lambda-idempotency');
const { acquired, completed, respond, scripted } = require('./scripted.js');
const { freePort } = require('./sidecar.js');

test('one connection is used for calls that follow each other', async (t) => {
  const server = await scripted(t, [acquired, completed, acquired, completed, acquired, completed]);
  const client = new Client({ port: server.port });
  for (let i = 0; i < 3; i++) await run('k', () => 1, { client });
  assert.equal(server.connections(), 1);
});

test('an idle connection that the far end closed costs nothing but a new one', async (t) => {
  const server = await scripted(t, [acquired, completed, acquired, completed]);
  const client = new Client({ port: server.port });
  await run('k', () => 1, { client });
  for (const socket of server.sockets) socket.destroy();
  assert.equal(await run('k', () => 2, { client }), 2);
  assert.equal(server.connections(), 2);
});

// As after a thaw: every idle connection is dead, and the first call finds out.
test('where all idle connections are dead, a call is sent again on a new one', async (t) => {
  const together = []; // Held back until all have come, so that each has a connection of its own.
  const hold = (socket) => {
    together.push(socket);
    if (together.length === 5) for (const each of together) respond(each, completed);
  };
  const server = await scripted(t, [...Array(5).fill(hold), { drop: true }, acquired]);
  const client = new Client({ port: server.port });
  await Promise.all(Array.from({ length: 5 }, () => client.complete('t')));
  assert.equal(server.connections(), 5);
  assert.equal((await client.acquire({ key: 'k' })).status, 'acquired');
  assert.equal(server.connections(), 6);
  assert.equal(server.requests.length, 7);
});

test('an answer that breaks off is asked for again', async (t) => {
  const halves = (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"status":');
  const server = await scripted(t, [halves, acquired]);
  assert.equal((await new Client({ port: server.port }).acquire({ key: 'k' })).token, 't1');
});

test('a connection that the far end says it closes is not used again', async (t) => {
  const closing = { ...completed, headers: { Connection: 'close' } };
  const server = await scripted(t, [closing]);
  const client = new Client({ port: server.port });
  for (let i = 0; i < 3; i++) await client.complete('t');
  assert.equal(server.connections(), 3);
});

test('a connection whose request was answered before it was sent is not used again', async (t) => {
  const sockets = [];
  const server = net.createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.pause();
      respond(socket, completed);
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const client = new Client({ port: server.address().port, timeoutMs: 5000 });
  await client.complete('t', 'x'.repeat(30_000_000));
  await client.complete('t');
  assert.equal(sockets.length, 2);
});

test('what comes unasked is not taken for the next answer', { timeout: 60_000 }, async (t) => {
  const server = await scripted(t, [acquired, { body: { ...acquired.body, token: 't2' } }]);
  const client = new Client({ port: server.port });
  await client.acquire({ key: 'k' });
  for (const socket of server.sockets) respond(socket, acquired);
  while (server.sockets.size > 0) await sleep(1);
  assert.equal((await client.acquire({ key: 'k' })).token, 't2');
  assert.equal(server.connections(), 2);
});

test('a port and a secret that cannot be are refused', async () => {
  await assert.rejects(new Client({ port: 'x' }).acquire({ key: 'k' }), { code: 'ERR_SOCKET_BAD_PORT' });
  await assert.rejects(new Client({ authToken: 'a\nX: y' }).acquire({ key: 'k' }), TypeError);
});

test('an answer in many pieces, cut within a character', async (t) => {
  const body = Buffer.from(JSON.stringify({ status: 'completed', result: 'é☃'.repeat(50) }));
  const pieces = async (socket) => {
    socket.setNoDelay(true);
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
    for (const byte of body) socket.write(Buffer.concat([Buffer.from('1\r\n'), Buffer.from([byte]), Buffer.from('\r\n')]));
    socket.write('0\r\n\r\n');
  };
  const server = await scripted(t, [pieces]);
  assert.equal((await new Client({ port: server.port }).acquire({ key: 'k' })).result, 'é☃'.repeat(50));
});

test('no sidecar', async () => {
  const port = await freePort();
  let ran = false;
  await assert.rejects(run('k', () => { ran = true; }, { client: new Client({ port }) }), (error) => {
    assert.ok(error instanceof UnavailableError && error instanceof ProblemError);
    assert.equal(error.code, undefined);
    assert.match(error.message, new RegExp(`^no sidecar at http://127.0.0.1:${port}: is the layer attached, or the local server started\\?$`));
    return true;
  });
  assert.equal(ran, false);
});

test('what answers on the port does not speak HTTP', async (t) => {
  const server = await scripted(t, [(socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n')]);
  await assert.rejects(new Client({ port: server.port }).acquire({ key: 'k' }), (error) => {
    assert.ok(error instanceof ProblemError && !(error instanceof UnavailableError));
    assert.match(error.message, /is something else on that port\?$/);
    return true;
  });
});

test('a sidecar that does not answer is given up, and an acquire only after its wait', async (t) => {
  const server = await scripted(t, [() => {}]);
  const client = new Client({ port: server.port, timeoutMs: 60 });
  const took = async (request) => {
    const from = performance.now();
    await assert.rejects(client.acquire(request), (error) => error instanceof UnavailableError && /did not answer within/.test(error.message));
    return performance.now() - from;
  };
  assert.ok((await took({ key: 'k' })) >= 55);
  assert.ok((await took({ key: 'k', waitMs: 300 })) >= 350);
  assert.equal(server.requests.length, 2, 'it is not sent again');
});

test('a crowd of calls shares a bounded number of connections', { timeout: 60_000 }, async (t) => {
  const first = []; // Held back until there are as many as there will be.
  const server = await scripted(t, [(socket) => {
    if (first.length === 64) return respond(socket, completed);
    first.push(socket);
    if (first.length === 64) for (const each of first) respond(each, completed);
  }]);
  const client = new Client({ port: server.port, timeoutMs: 30_000 });
  await Promise.all(Array.from({ length: 200 }, () => client.complete('t')));
  assert.equal(server.requests.length, 200);
  assert.equal(server.connections(), 64);
  while (server.sockets.size > 8) await sleep(1);
  await Promise.all(Array.from({ length: 8 }, () => client.complete('t')));
  assert.equal(server.connections(), 64, 'some stay open');
});

test('a call that has no connection yet is given up in time, too', async (t) => {
  const server = await scripted(t, [() => {}]);
  const client = new Client({ port: server.port, timeoutMs: 300 });
  const others = Promise.allSettled(Array.from({ length: 64 }, () => client.acquire({ key: 'k', waitMs: 600_000 })));
  const from = performance.now();
  await assert.rejects(client.acquire({ key: 'k', waitMs: 1 }), UnavailableError);
  assert.ok(performance.now() - from < 300_000);
  assert.ok(server.requests.length <= 64);
  await server.close();
  await others;
});

test('calls that wait for a connection get one when others are given up', async (t) => {
  const server = await scripted(t, [...Array(64).fill(() => {}), completed]);
  const slow = new Client({ port: server.port, timeoutMs: 300 });
  const others = Promise.allSettled(Array.from({ length: 64 }, () => slow.complete('t')));
  await sleep(150);
  const late = await Promise.all(Array.from({ length: 3 }, () => slow.complete('t')));
  assert.deepEqual(late.map(({ status }) => status), ['completed', 'completed', 'completed']);
  assert.ok((await others).every(({ reason }) => reason instanceof UnavailableError));
});

test('an answer with an error status is none', async (t) => {
  const server = await scripted(t, [{ status: 500, body: { status: 'acquired', token: 't1' } }]);
  await assert.rejects(new Client({ port: server.port }).acquire({ key: 'k' }), (error) => error instanceof ProblemError && error.status === 500);
});

test('calls that wait cannot hold up the call that they wait for', async (t) => {
  const waiting = [];
  const server = await scripted(t, [(socket, { path }) => {
    if (path === '/acquire') {
      waiting.push(socket);
    } else {
      respond(socket, completed);
      for (const each of waiting.splice(0)) respond(each, { body: { status: 'completed', result: 1 } });
    }
  }]);
  const client = new Client({ port: server.port, timeoutMs: 10_000 });
  const waits = Array.from({ length: 64 }, () => client.acquire({ key: 'k', waitMs: 60_000 }));
  while (waiting.length < 64) await sleep(5);
  assert.equal((await client.complete('t')).status, 'completed');
  assert.equal((await Promise.all(waits)).length, 64);
});

// A process that is stopped stands in for a sandbox that is frozen.
test('time in which the sandbox was frozen does not count', async (t) => {
  let come;
  const request = new Promise((resolve) => { come = resolve; });
  const server = await scripted(t, [(socket) => come(socket)]);
  const script = `
    const { Client } = require('lambda-idempotency');
    new Client({ port: ${server.port}, timeoutMs: 900 }).acquire({ key: 'k' }).then(({ status }) => console.log(status), (error) => console.log(error.message));
  `;
  const child = spawn(process.execPath, ['-e', script], { cwd: path.dirname(__dirname), stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const socket = await request;
  child.kill('SIGSTOP');
  respond(socket, acquired);
  await sleep(1300);
  child.kill('SIGCONT');
  const [said] = await once(child.stdout, 'data');
  assert.equal(said.toString().trim(), 'acquired');
});

test('idle connections do not keep the process alive', async (t) => {
  const server = await scripted(t, [acquired]);
  const script = `new (require('lambda-idempotency').Client)({ port: ${server.port} }).acquire({ key: 'k' });`;
  const child = spawn(process.execPath, ['-e', script], { cwd: path.dirname(__dirname), stdio: 'inherit' });
  t.after(() => child.kill('SIGKILL'));
  assert.deepEqual(await once(child, 'exit'), [0, null]);
  assert.equal(server.requests.length, 1);
});

test('port and secret are read at each call, and no proxy is asked', async (t) => {
  const first = await scripted(t, [acquired]);
  const second = await scripted(t, [acquired]);
  const names = ['IDEMPOTENCY_PORT', 'IDEMPOTENCY_AUTH_TOKEN', 'AWS_SESSION_TOKEN', 'AWS_CONTAINER_AUTHORIZATION_TOKEN', 'HTTP_PROXY', 'http_proxy', 'NODE_USE_ENV_PROXY'];
  const before = Object.fromEntries(names.map((name) => [name, process.env[name]]));
  t.after(() => {
    for (const name of names) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  });
  const client = new Client();
  const secretOf = async (env) => {
    for (const name of names) delete process.env[name];
    Object.assign(process.env, { HTTP_PROXY: 'http://127.0.0.1:1', http_proxy: 'http://127.0.0.1:1', NODE_USE_ENV_PROXY: '1' }, env);
    await client.acquire({ key: 'k' });
    const server = env.IDEMPOTENCY_PORT === String(first.port) ? first : second;
    return server.requests.at(-1).headers['x-idempotency-auth'];
  };
  assert.equal(await secretOf({ IDEMPOTENCY_PORT: String(first.port), AWS_SESSION_TOKEN: 's1', AWS_CONTAINER_AUTHORIZATION_TOKEN: 'c' }), 's1');
  assert.equal(await secretOf({ IDEMPOTENCY_PORT: String(second.port), AWS_SESSION_TOKEN: 's2', IDEMPOTENCY_AUTH_TOKEN: 'a' }), 'a');
  assert.equal(await secretOf({ IDEMPOTENCY_PORT: String(second.port), AWS_CONTAINER_AUTHORIZATION_TOKEN: 'c', AWS_SESSION_TOKEN: '' }), 'c');
  assert.equal(await secretOf({ IDEMPOTENCY_PORT: String(second.port) }), undefined);
  assert.equal(first.requests.length, 1);
  assert.equal(second.requests.length, 3);
});
