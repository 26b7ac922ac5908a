'use strict';

// Connections to the sidecar, and as much of HTTP/1.1 as a call takes. node:http would do, but the first call with it takes
// almost twice as long as with this, and each later one half as much processor time again.

const host = '127.0.0.1';
// A sandbox may have 1,024 files open, by all its processes. Calls beyond this wait for each other.
const mostOpen = 64;
const mostIdle = 8;
// A time limit is counted in so many ticks.
const ticks = 15;
const longestTimer = 2 ** 31 - 1; // A longer one goes off at once.
const mostHeader = 64 * 1024;
const nothing = Buffer.alloc(0);
const broken = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED']);

// Loaded at the first call. Lambda's own runtime has it loaded by then.
let net;

// Connections to the sidecar, kept alive and used again.
class Connections {
  #pools = new Map();

  // post sends a body and resolves to its answer: { status, headers, text }. A call whose connection broke is sent once
  // more, on a new one. Calls that wait for another's end go apart: they must not hold up that end.
  async post(port, path, secret, body, timeoutMs, waits) {
    // What bundlers make of require in an ES module throws for Node.js's own modules. Before 20.16 there is nothing else.
    net ??= process.getBuiltinModule?.('node:net') ?? require('node:net');
    const call = new Call(requestText(`${host}:${port}`, path, secret, body));
    const pool = this.#pool(port, waits);
    // Counted in ticks, because a tick during which the sandbox was frozen, or this process was busy, is one tick all
    // the same. A timer of the whole time would go off at the thaw, before the answer that has come is looked at.
    let left = ticks;
    const timer = setInterval(() => {
      if (left-- > 0) return;
      pool.giveUp(call);
    }, Math.min(timeoutMs / ticks, longestTimer));
    try {
      return await pool.send(call);
    } catch (error) {
      if (!broken.has(error.code)) throw error;
      // Where one idle connection is dead, the others are likely to be.
      for (const each of this.#pools.values()) each.dropIdle();
      return await pool.send(call);
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
    call.reject(new LateError('no answer in time'));
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

// What came is not an answer in HTTP.
class NotHTTPError extends Error {}

// No answer came in time.
class LateError extends Error {}

// The text of a request. Sent at once, it is one packet.
function requestText(host, path, secret, body) {
  if (/[\0-\x08\n-\x1f\x7f]/.test(secret)) throw new TypeError('the secret has characters that a header cannot have');
  const auth = secret ? `X-Idempotency-Auth: ${secret}\r\n` : '';
  return `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${auth}\r\n${body}`;
}

// Reads an answer: takes the bytes as they come, then undefined if the connection ends, and returns
// { status, headers, text, reusable }. Names of headers are in lower case; reusable is whether the connection is.
function* readAnswer() {
  const input = new Input();
  let head;
  do head = yield* readHead(input); while (head.status < 200); // Before the answer others may announce it.
  const { status, version, headers } = head;
  const { 'content-length': length, 'transfer-encoding': coding, connection = '' } = headers;
  let body;
  let endsByClose = false;
  if (status === 204 || status === 304) {
    body = nothing;
  } else if (coding !== undefined) {
    if (coding.toLowerCase() !== 'chunked') throw new NotHTTPError(`the transfer coding ${coding} was not asked for`);
    body = yield* readChunks(input);
  } else if (length !== undefined) {
    if (!/^\d+$/.test(length)) throw new NotHTTPError(`the length ${length} is no number`);
    body = yield* input.take(Number(length));
  } else {
    endsByClose = true;
    body = yield* input.takeAll();
  }
  // Bytes that nobody asked for would be taken for the next answer.
  const reusable = version === '1.1' && !endsByClose && !/close/i.test(connection) && input.isEmpty();
  return { status, headers, text: body.toString(), reusable };
}

function* readHead(input) {
  yield* input.startWith('HTTP/1.');
  const [first, ...lines] = (yield* input.takeTo('\r\n\r\n')).split('\r\n');
  const [, version, status] = /^HTTP\/(1\.[01]) (\d{3})(?: |$)/.exec(first) ?? [];
  if (status === undefined) throw new NotHTTPError(`an answer does not begin with ${first}`);
  const headers = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon < 1) throw new NotHTTPError(`a header has no name: ${line}`);
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return { status: Number(status), version, headers };
}

function* readChunks(input) {
  const chunks = [];
  for (;;) {
    const [size] = (yield* input.takeTo('\r\n')).split(';', 1);
    if (!/^[\da-f]+\s*$/i.test(size)) throw new NotHTTPError(`the length ${size} of a chunk is no number`);
    const length = parseInt(size, 16);
    if (length === 0) break;
    chunks.push(yield* input.take(length));
    if ((yield* input.takeTo('\r\n')) !== '') throw new NotHTTPError('a chunk is longer than it says');
  }
  while ((yield* input.takeTo('\r\n')) !== ''); // Headers after the body have nothing to say here.
  return Buffer.concat(chunks);
}

// The bytes that came and were not taken yet.
class Input {
  #bytes = nothing;

  isEmpty() {
    return this.#bytes.length === 0;
  }

  // Refuses what does not start with a text.
  *startWith(text) {
    while (this.#bytes.length < text.length) yield* this.#add();
    const start = this.#bytes.latin1Slice(0, text.length);
    if (start !== text) throw new NotHTTPError(`an answer does not start with ${start}`);
  }

  // Takes the text up to a mark, and the mark.
  *takeTo(mark) {
    let end;
    while ((end = this.#bytes.indexOf(mark)) < 0) {
      if (this.#bytes.length > mostHeader) throw new NotHTTPError('the header is too long');
      yield* this.#add();
    }
    const text = this.#bytes.latin1Slice(0, end);
    this.#bytes = this.#bytes.subarray(end + mark.length);
    return text;
  }

  *take(length) {
    const pieces = [this.#bytes];
    let size = this.#bytes.length;
    while (size < length) {
      const piece = yield* this.#next();
      pieces.push(piece);
      size += piece.length;
    }
    const all = pieces.length > 1 ? Buffer.concat(pieces) : this.#bytes;
    this.#bytes = all.subarray(length);
    return all.subarray(0, length);
  }

  *takeAll() {
    const pieces = [this.#bytes];
    let piece;
    while ((piece = yield) !== undefined) pieces.push(piece);
    this.#bytes = nothing;
    return Buffer.concat(pieces);
  }

  *#add() {
    this.#bytes = Buffer.concat([this.#bytes, yield* this.#next()]);
  }

  *#next() {
    const piece = yield;
    if (piece === undefined) throw hangUp();
    return piece;
  }
}

// As the system calls it when a connection breaks.
function hangUp() {
  return Object.assign(new Error('the connection was closed before the end of the answer'), { code: 'ECONNRESET' });
}

module.exports = { Connections, LateError, NotHTTPError, host, readAnswer, requestText };
