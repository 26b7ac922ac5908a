'use strict';

// As much of HTTP/1.1 as a call to the sidecar takes. node:http would do, but the first call with it takes almost twice as
// long as with this, and each later one half as much processor time again.

const mostHeader = 64 * 1024;
const nothing = Buffer.alloc(0);

// What came is not an answer in HTTP.
class NotHTTPError extends Error {}

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

module.exports = { NotHTTPError, hangUp, readAnswer, requestText };
