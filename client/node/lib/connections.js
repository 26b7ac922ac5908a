'use strict';

const { ProblemError, UnavailableError } = require('./errors.js');

const host = '127.0.0.1';
// A sandbox may have 1,024 files open, by all its processes. Calls beyond this wait for each other.
const maxSockets = 64;
const maxFreeSockets = 8;
// A time limit is counted in so many ticks.
const ticks = 15;
const broken = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED']);

// Loaded at the first call. Lambda's own runtime has it loaded by then.
let http;

// Connections to the sidecar, kept alive and used again.
class Connections {
  #agents = new Map();

  // post sends a body and resolves to its answer: { status, headers, text }. A call whose connection broke is sent once
  // more, on a new one. Calls that wait for another's end go apart: they must not hold up that end.
  async post(port, path, headers, body, timeoutMs, waits) {
    http ??= require('node:http');
    const options = { host, port, path, method: 'POST', headers, agent: this.#agent(waits) };
    const call = { giveUp: undefined, late: false };
    // Counted in ticks, because a tick during which the sandbox was frozen, or this process was busy, is one tick all
    // the same. A timer of the whole time would go off at the thaw, before the answer that has come is looked at.
    let left = ticks;
    const timer = setInterval(() => {
      if (left-- > 0) return;
      call.late = true;
      call.giveUp();
    }, timeoutMs / ticks);
    try {
      try {
        return await send(call, options, body);
      } catch (error) {
        if (call.late || !broken.has(error.code)) throw error;
        this.#dropIdle();
        return await send(call, options, body);
      }
    } catch (error) {
      throw explain(error, call.late, port, path, timeoutMs);
    } finally {
      clearInterval(timer);
    }
  }

  #agent(waits) {
    let agent = this.#agents.get(waits);
    if (!agent) {
      // An agent of our own goes past any HTTP proxy.
      agent = new http.Agent({ keepAlive: true, maxSockets, maxFreeSockets });
      this.#agents.set(waits, agent);
    }
    return agent;
  }

  // Where one idle connection is dead, the others are likely to be.
  #dropIdle() {
    for (const agent of this.#agents.values()) {
      for (const sockets of Object.values(agent.freeSockets)) {
        for (const socket of sockets) socket.destroy();
      }
    }
  }
}

function send(call, options, body) {
  return new Promise((resolve, reject) => {
    const request = http.request(options, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject); // It broke off.
      response.on('end', () => {
        resolve({ status: response.statusCode, headers: response.headers, text: Buffer.concat(chunks).toString() });
      });
    });
    call.giveUp = () => {
      reject(new Error('no answer in time')); // A request that has no socket yet would not tell of its end.
      request.destroy();
    };
    request.on('error', reject);
    request.end(body);
  });
}

function explain(error, late, port, path, timeoutMs) {
  const cause = { cause: error };
  const url = `http://${host}:${port}`;
  if (late) return new UnavailableError({ detail: `${url}${path} did not answer within ${timeoutMs / 1000} s` }, cause);
  if (error.code === 'ECONNREFUSED') return new UnavailableError({ detail: `no sidecar at ${url}: is the layer attached?` }, cause);
  if (error.code?.startsWith('HPE_')) return new ProblemError({ detail: `what answers at ${url} does not speak HTTP; is something else on that port?` }, cause);
  if (error.syscall || broken.has(error.code)) return new UnavailableError({ detail: `${url}${path}: ${error.message}` }, cause);
  return error; // A port or a header that Node.js refuses.
}

module.exports = { Connections };
