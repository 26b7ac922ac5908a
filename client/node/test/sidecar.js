'use strict';

const { execFileSync, spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');

const root = path.resolve(__dirname, '../../..');
const secret = 'a-secret-of-the-tests';

let built;

// The binary: SIDECAR names one that is built already.
function binary() {
  if (process.env.SIDECAR) return path.resolve(root, process.env.SIDECAR);
  if (!built) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'lambda-idempotency-'));
    process.on('exit', () => fs.rmSync(folder, { recursive: true }));
    built = path.join(folder, 'lambda-idempotency');
    execFileSync('go', ['build', '-o', built, './extension'], { cwd: root, stdio: 'inherit' });
  }
  return built;
}

// Starts the real sidecar, on a store that outlives it if file is given. It is ended after the test t.
async function startSidecar({ port, file, env, t } = {}) {
  port ??= await freePort();
  const child = spawn(binary(), {
    env: {
      PATH: process.env.PATH,
      IDEMPOTENCY_STORE: file ? `file:${file}` : 'memory',
      IDEMPOTENCY_PORT: port,
      IDEMPOTENCY_AUTH_TOKEN: secret,
      IDEMPOTENCY_LOG_LEVEL: 'error',
      ...env,
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const ended = once(child, 'exit');
  const kill = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  t?.after(kill);
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the sidecar ended with ${child.exitCode}`);
    if (await listens(port)) return { port, kill };
    await sleep(10);
  }
}

function listens(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => resolve(true));
    socket.on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

module.exports = { freePort, secret, startSidecar };
