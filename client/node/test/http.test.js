'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { NotHTTPError, readAnswer, requestText } = require('../lib/http.js');

// Reads pieces, and the end of the connection if ends is true. Returns what was read, or undefined if it is not whole.
function read(pieces, ends = false) {
  const answer = readAnswer();
  answer.next();
  for (const piece of [...pieces, ...(ends ? [undefined] : [])]) {
    const { done, value } = answer.next(piece);
    if (done) return value;
  }
  return undefined;
}

const bytes = (text) => Buffer.from(text);
const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n';

const answers = {
  'of a length': ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\né☃', { status: 200, text: 'é☃', reusable: true }],
  'of no length': ['HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n', { status: 200, text: '', reusable: true }],
  'without words for its status': ['HTTP/1.1 503\r\nContent-Length: 1\r\n\r\nx', { status: 503, text: 'x', reusable: true }],
  'in chunks': [`${chunked}2\r\nab\r\n00a;x=1\r\n0123456789\r\n1  \r\nc\r\n0\r\n\r\n`, { status: 200, text: 'ab0123456789c', reusable: true }],
  'in chunks, with headers behind': [`${chunked}1\r\na\r\n0\r\nContent-MD5: x\r\nX: y\r\n\r\n`, { status: 200, text: 'a', reusable: true }],
  'announced by others': ['HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx', { status: 200, text: 'x', reusable: true }],
  'that can have no body': ['HTTP/1.1 204 No Content\r\n\r\n', { status: 204, text: '', reusable: true }],
  'after which the far end closes': ['HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 1\r\n\r\nx', { status: 200, text: 'x', reusable: false }],
  'of an older version': ['HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx', { status: 200, text: 'x', reusable: false }],
};

for (const [name, [text, want]] of Object.entries(answers)) {
  test(`an answer ${name}, however it is cut`, () => {
    const all = bytes(text);
    for (let size = 1; size <= all.length; size++) {
      const pieces = [];
      for (let at = 0; at < all.length; at += size) pieces.push(all.subarray(at, at + size));
      const { headers, ...answer } = read(pieces);
      assert.deepEqual(answer, want, `pieces of ${size}`);
      if (pieces.length > 1) assert.equal(read(pieces.slice(0, -1)), undefined, `pieces of ${size}, without the last`);
    }
  });
}

test('an answer that ends with its connection', () => {
  const pieces = [bytes('HTTP/1.1 200 OK\r\n\r\na'), bytes('bc')];
  assert.equal(read(pieces), undefined);
  assert.deepEqual(read(pieces, true), { status: 200, headers: {}, text: 'abc', reusable: false });
});

test('a connection on which more comes than was asked for is not used again', () => {
  assert.equal(read([bytes('HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy')]).reusable, false);
});

test('names of headers are in lower case, their values without the space around', () => {
  const { headers } = read([bytes('HTTP/1.1 503 X\r\nRetry-After:  2 \r\nX-A: a:b\r\nContent-Length: 0\r\n\r\n')]);
  assert.deepEqual(headers, { 'retry-after': '2', 'x-a': 'a:b', 'content-length': '0' });
});

test('a connection that ends before its answer does is one that broke', () => {
  for (const text of ['', 'HTTP', 'HTTP/1.1 200 OK\r\nContent-Le', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx', `${chunked}2\r\nab\r\n`]) {
    assert.throws(() => read([bytes(text)], true), { code: 'ECONNRESET' }, JSON.stringify(text));
  }
});

const others = {
  'another protocol': 'SSH-2.0-OpenSSH_9.2\r\n',
  'another version': 'HTTP/1.2 200 OK\r\n\r\n',
  'a request': 'POST / HTTP/1.1\r\n\r\n',
  'a status that is none': 'HTTP/1.1 2000 OK\r\n\r\n',
  'a header without a name': 'HTTP/1.1 200 OK\r\nx\r\n\r\n',
  'a length that is no number': 'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n',
  'another transfer coding': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n',
  'a chunk whose length is no number': `${chunked}-1\r\n`,
  'a chunk without a length': `${chunked}\r\n`,
  'a chunk that is longer than it says': `${chunked}1\r\nab\r\n`,
  'a header without end': `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(70_000)}`,
};

for (const [name, text] of Object.entries(others)) {
  test(`no answer: ${name}`, () => {
    assert.throws(() => read([bytes(text), bytes('\r\n')]), NotHTTPError);
  });
}

test('another protocol is told at its first bytes', () => {
  assert.throws(() => read([bytes('220 mai'), bytes('l')]), NotHTTPError);
});

test('a request', () => {
  const head = 'POST /acquire HTTP/1.1\r\nHost: 127.0.0.1:1\r\nContent-Type: application/json\r\nContent-Length: 5\r\n';
  assert.equal(requestText('127.0.0.1:1', '/acquire', undefined, '"é☃'), `${head.replace('5', '6')}\r\n"é☃`);
  assert.equal(requestText('127.0.0.1:1', '/acquire', 's é', '"é"x'), `${head}X-Idempotency-Auth: s é\r\n\r\n"é"x`);
});

test('a secret cannot bring headers of its own', () => {
  for (const secret of ['a\r\nX: y', 'a\n', '\0', '\x7f']) assert.throws(() => requestText('h', '/', secret, '{}'), TypeError);
});
