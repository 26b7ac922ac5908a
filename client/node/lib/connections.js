'use strict';

const { ProblemError, UnavailableError } = require('./errors.js');
const { NotHTTPError, hangUp, readAnswer, requestText } = require('./http.js');

const host = '127.0.0.1';
// A sandbox may have 1,024 files open, by all its processes. Calls beyond this wait for each other.
const mostOpen = 64;
const mostIdle = 8;
// A time limit is counted in so many ticks.
const ticks = 15;
const broken = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED']);

// Loaded at the first call. Lambda's own runtime has it loaded by then.
let net;

// Connections to the sidecar, kept alive and used again.
class Connections {
  #pools = new Map();

  // post sends a body and resolves to its answer: { status, headers, text }. A call whose connection broke is sent once
  // more, on a new one. Calls that wait for another's end go apart: they must not hold up that end.
  async post(port, path, secret, body, timeoutMs, waits) {
    net ??= require('node:net');
    const call = new Call(requestText(`${host}:${port}`, path, secret, body));
    const pool = this.#pool(port, waits);
    // Counted in ticks, because a tick during which the sandbox was frozen, or this process was busy, is one tick all
    // the same. A timer of the whole time would go off at the thaw, before the answer that has come is looked at.
    let left = ticks;
    const timer = setInterval(() => {
      if (left-- > 0) return;
      call.late = true;
      pool.giveUp(call);
    }, timeoutMs / ticks);
    try {
      try {
        return await pool.send(call);
      } catch (error) {
        if (call.late || !broken.has(error.code)) throw error;
        // Where one idle connection is dead, the others are likely to be.
        for (const each of this.#pools.values()) each.dropIdle();
        return await pool.send(call);
      }
    } catch (error) {
      throw explain(error, call.late, port, path, timeoutMs);
    } finally {
      clearInterval(timer);
    }
  }

  #pool(port, waits) {
    const name = `${port} ${waits}`;
    let pool = this.#pools.get(name);
    if (!pool) {
      pool = new Pool(port);
      this.#pools.set(name, pool);
    }
    return pool;
  }
}

class Call {
  late = false;
  connection; // None while it waits for one.
  resolve;
  reject;

  constructor(text) {
    this.text = text;
  }
}

// The connections to one port.
class Pool {
  #port;
  #open = 0;
  #idle = []; // The last used is last, and used next.
  #waiting = [];

  constructor(port) {
    this.#port = port;
  }

  send(call) {
    return new Promise((resolve, reject) => {
      call.resolve = resolve;
      call.reject = reject;
      this.#place(call);
    });
  }

  giveUp(call) {
    call.reject(new Error('no answer in time'));
    if (call.connection) call.connection.close();
    else this.#waiting = this.#waiting.filter((other) => other !== call);
  }

  dropIdle() {
    for (const connection of this.#idle) connection.close();
  }

  // A connection has no call any more.
  freed(connection) {
    const call = this.#waiting.shift();
    if (call) connection.send(call);
    else if (this.#idle.length < mostIdle) this.#idle.push(connection);
    else connection.close();
  }

  // A connection must not be used any more.
  closing(connection) {
    this.#idle = this.#idle.filter((other) => other !== connection);
  }

  closed() {
    this.#open--;
    const call = this.#waiting.shift();
    if (call) this.#place(call);
  }

  #place(call) {
    let connection = this.#idle.pop();
    if (!connection && this.#open === mostOpen) {
      this.#waiting.push(call);
      return;
    }
    if (!connection) {
      connection = new Connection(this.#port, this);
      this.#open++;
    }
    connection.send(call);
  }
}

// A connection has one call at a time.
class Connection {
  #socket;
  #pool;
  #call;
  #answer;

  constructor(port, pool) {
    this.#pool = pool;
    this.#socket = net.connect({ host, port, noDelay: true });
    this.#socket.on('data', (bytes) => this.#read(bytes));
    this.#socket.on('end', () => this.#read(undefined));
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.on('close', () => {
      this.#fail(hangUp());
      pool.closed();
    });
  }

  send(call) {
    this.#call = call;
    call.connection = this;
    this.#answer = readAnswer();
    this.#answer.next();
    this.#socket.ref();
    this.#socket.write(call.text);
  }

  close() {
    this.#pool.closing(this);
    this.#socket.destroy();
  }

  #read(bytes) {
    if (!this.#call) { // Nobody asked.
      this.close();
      return;
    }
    let answer;
    try {
      const { done, value } = this.#answer.next(bytes);
      if (!done) return;
      answer = value;
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#leave().resolve(answer);
    if (answer.reusable && this.#socket.writableLength === 0) {
      this.#socket.unref(); // Idle, it does not keep the process alive.
      this.#pool.freed(this);
    } else {
      this.close();
    }
  }

  #fail(error) {
    this.close();
    this.#leave()?.reject(error);
  }

  #leave() {
    const call = this.#call;
    this.#call = undefined;
    if (call) call.connection = undefined;
    return call;
  }
}

function explain(error, late, port, path, timeoutMs) {
  const cause = { cause: error };
  const url = `http://${host}:${port}`;
  if (late) return new UnavailableError({ detail: `${url}${path} did not answer within ${timeoutMs / 1000} s` }, cause);
  if (error.code === 'ECONNREFUSED') return new UnavailableError({ detail: `no sidecar at ${url}: is the layer attached?` }, cause);
  if (error instanceof NotHTTPError) return new ProblemError({ detail: `what answers at ${url} does not speak HTTP; is something else on that port?` }, cause);
  if (error.syscall || broken.has(error.code)) return new UnavailableError({ detail: `${url}${path}: ${error.message}` }, cause);
  return error; // A port that Node.js refuses.
}

module.exports = { Connections };
