'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const vm = require('node:vm');
const { Client, FailedError, ResultError, idempotent, run } = require('lambda-idempotency');
const { acquired, completed, scripted } = require('./scripted.js');

const circular = { a: { b: [] } };
circular.a.b.push(circular);

const refused = {
  'a BigInt': [{ id: 12345678901234567890n }, /^the event\.id is a bigint, which JSON cannot express; convert it first$/],
  'not a number': [{ items: [{ price: 1 }, { price: NaN }] }, /^the event\.items\[1\]\.price is NaN/],
  'infinity': [[-Infinity], /^the event\[0\] is -Infinity/],
  'nothing at all': [undefined, /^the event is undefined/],
  'nothing in a list': [[undefined], /^the event\[0\] is undefined/],
  'half of a surrogate pair': [{ name: ['a\ud800'] }, /^the event\.name\[0\] holds half of a surrogate pair/],
  'a name with half of a surrogate pair': [{ a: { '\udc00': 1 } }, /^a name in the event\.a holds half of a surrogate pair/],
  'a function': [{ f() {} }, /^the event\.f is a function/],
  'a symbol': [{ s: Symbol('s') }, /^the event\.s is a symbol/],
  'what contains itself': [circular, /nested too deeply, or contains itself$/],
  'a map': [{ m: new Map([['a', 1]]) }, /^the event\.m is a Map/],
  'a promise that nobody awaited': [{ body: Promise.resolve({}) }, /^the event\.body is a Promise/],
  'an error': [{ e: new Error('x') }, /^the event\.e is a Error/],
  'an object whose toJSON gives no JSON': [{ d: { toJSON: () => 1n } }, /^the event\.d is a bigint/],
};

for (const [name, [value, message]] of Object.entries(refused)) {
  test(`refused before anything is sent and the work runs: ${name}`, async (t) => {
    const server = await scripted(t, [acquired]);
    const client = new Client({ port: server.port });
    let ran = false;
    const work = async () => { ran = true; };
    await assert.rejects(idempotent(work, { client })(value), (error) => error instanceof TypeError && message.test(error.message));
    await assert.rejects(idempotent(work, { client, key: () => 'k', payload: () => ({ value, x: [value] }) })({}), value === undefined ? /the payload\.x\[0\]/ : /the payload\.value/);
    assert.equal(ran, false);
    assert.equal(server.requests.length, 0);
  });
}

const taken = {
  'members without a value are left out': [{ a: undefined, b: 1 }, { b: 1 }],
  'dates': [{ at: new Date(0) }, { at: '1970-01-01T00:00:00.000Z' }],
  'empty objects and lists': [{ a: {}, b: [], c: Object.create(null) }, { a: {}, b: [], c: {} }],
  'objects of another realm': [vm.runInNewContext('({ a: {}, b: [{}] })'), { a: {}, b: [{}] }],
  'the same object twice': [[circular.c = { x: 1 }, circular.c], [{ x: 1 }, { x: 1 }]],
  'instances with members': [{ p: new (class Point { x = 1; })() }, { p: { x: 1 } }],
  'a name that is special': [JSON.parse('{"__proto__": {"a": 1}, "a_b": 2}'), JSON.parse('{"__proto__": {"a": 1}, "a_b": 2}')],
  'null, and what is falsy': [[null, 0, false, ''], [null, 0, false, '']],
  '200 levels': [JSON.parse('['.repeat(200) + ']'.repeat(200)), JSON.parse('['.repeat(200) + ']'.repeat(200))],
};

for (const [name, [value, sent]] of Object.entries(taken)) {
  test(`sent as JSON: ${name}`, async (t) => {
    const server = await scripted(t, [acquired, completed]);
    await idempotent(async () => 1, { client: new Client({ port: server.port }) })(value);
    assert.deepEqual(JSON.stringify(server.requests[0].body.event), JSON.stringify(sent));
  });
}

const { Readable } = require('node:stream');

for (const [name, result] of Object.entries({
  'a BigInt': { id: 1n },
  'what contains itself': circular,
  'a function': () => {},
  'a stream': Readable.from(['x']),
  'a response whose body is a stream': { statusCode: 200, body: new ReadableStream() },
})) {
  test(`a result that cannot be stored ends the claim without it: ${name}`, async (t) => {
    const server = await scripted(t, [acquired, completed]);
    await assert.rejects(run('k', () => result, { client: new Client({ port: server.port }) }), (error) => {
      assert.ok(error instanceof ResultError);
      assert.equal(error.result, result);
      assert.match(error.message, /^the work is done and will not be run again/);
      return true;
    });
    assert.deepEqual(server.requests.map(({ path, body }) => [path, body.token, body.result]), [['/acquire', undefined, undefined], ['/complete', 't1', null]]);
  });
}

test('a scope that is no text of Unicode is refused before anything is sent', async (t) => {
  const server = await scripted(t, [acquired]);
  await assert.rejects(new Client({ port: server.port }).acquire({ key: 'a', scope: 'orders\ud800' }), /^TypeError: the scope holds half of a surrogate pair/);
  assert.equal(server.requests.length, 0);
});

test('a result is returned as it is to the first run, and as JSON has it to a duplicate', async (t) => {
  const server = await scripted(t, [acquired, completed]);
  const result = { at: new Date(0), n: NaN, u: undefined };
  assert.equal(await run('k', () => result, { client: new Client({ port: server.port }) }), result);
  assert.deepEqual(server.requests[1].body.result, { at: '1970-01-01T00:00:00.000Z', n: null });
});

test('a result that the sidecar does not take ends the claim without it', async (t) => {
  const tooLarge = { status: 413, body: { status: 413, code: 'too_large', detail: 'too large' } };
  const server = await scripted(t, [acquired, tooLarge, completed]);
  const warnings = [];
  const client = new Client({ port: server.port, logger: { warn: (message) => warnings.push(message) } });
  assert.equal(await run('k', () => 'large', { client }), 'large');
  assert.deepEqual(server.requests.slice(1).map(({ body }) => body.result), ['large', null]);
  assert.equal(warnings.length, 1);
});

for (const [name, thrown, want] of [
  ['an error', new RangeError('no'), { type: 'RangeError', message: 'no' }],
  ['an error whose class has no name of its own', new (class CardRefused extends Error {})('no'), { type: 'CardRefused', message: 'no' }],
  ['a string', 'no', { type: 'string', message: 'no' }],
  ['null', null, { type: 'object', message: 'null' }],
  ['an object', { code: 7 }, { type: 'Error', message: '[object Object]' }],
  ['what cannot be put into words', Object.create(null), { type: 'Error', message: 'the error cannot be put into words' }],
  ['a message that is no text', new Error('a\ud800b'), { type: 'Error', message: 'a\ufffdb' }],
  ['a message without end', new Error('x'.repeat(1e6)), { type: 'Error', message: 'x'.repeat(4096) }],
]) {
  test(`thrown by the work, and told of: ${name}`, async (t) => {
    const server = await scripted(t, [acquired, { body: { status: 'released' } }]);
    const [got] = await Promise.allSettled([run('k', () => { throw thrown; }, { client: new Client({ port: server.port }) })]);
    assert.equal(got.reason, thrown);
    assert.deepEqual(server.requests[1].body.error, want);
  });
}

test('the message of a final failure is the stored one', () => {
  assert.equal(String(new FailedError({ type: 'T', message: 'm' })), 'FailedError: m');
});

test('a logger that cannot warn is refused before there is something to warn of', () => {
  for (const logger of [{}, () => {}, 'x']) assert.throws(() => new Client({ logger }), /^TypeError: Client: logger takes an object with a method warn$/);
});

test('a result without a token is still JSON', async (t) => {
  const server = await scripted(t, [completed]);
  await new Client({ port: server.port }).complete(undefined, 1);
  assert.deepEqual(server.requests[0].body, { token: null, result: 1 });
});
