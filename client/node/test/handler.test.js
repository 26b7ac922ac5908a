'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const idempotency = require('lambda-idempotency');
const { acquired, completed, scripted } = require('./scripted.js');

const { Client, claimOf, idempotent, run } = idempotency;
const released = { body: { status: 'released' } };

for (const [name, handler, message] of [
  ['takes a callback', (event, context, callback) => callback(null, 1), /has 3 parameters; one that answers through a callback/],
  ['is async and takes a callback', async (event, context, callback) => callback(null, 1), /has 3 parameters/],
  ['streams', Object.assign(async () => {}, { [Symbol.for('aws.lambda.runtime.handler.streaming')]: 'response' }), /streams its response, which cannot be stored/],
  ['is a promise', Promise.resolve(() => {}), /the handler is a object/],
  ['is not there', undefined, /the handler is a undefined/],
]) {
  test(`a handler that ${name} is refused at once`, () => {
    assert.throws(() => idempotent(handler), (error) => error instanceof TypeError && message.test(error.message));
  });
}

for (const [name, options, message] of [
  ['is not there', { ttl: 60 }, /^idempotent: there is no option ttl; there are key, payload, scope, ttlSeconds/],
  ['has the wrong unit', { waitMs: '2s' }, /^idempotent: waitMs is 2s; it takes a number/],
  ['is NaN', { ttlSeconds: NaN }, /ttlSeconds is NaN/],
  ['is a pair as key', { key: ['a', 'b'] }, /key takes a JMESPath expression, or a function/],
  ['is a payload', { payload: { amount: 1 } }, /payload takes a function/],
  ['is no class', { finalErrors: ['CardRefused'] }, /finalErrors takes an array of error classes/],
  ['is no object', 'JobId', /the options are an object, not a string/],
]) {
  test(`an option that ${name} is refused at once`, async () => {
    assert.throws(() => idempotent(async () => {}, options), (error) => error instanceof TypeError && message.test(error.message));
    assert.throws(() => idempotency.idempotency(options), TypeError);
  });
}

test('run refuses options that do not exist, and work that is none', async () => {
  await assert.rejects(run('k', async () => {}, { wait: 5 }), /^TypeError: run: there is no option wait;/);
  await assert.rejects(run('k', Promise.resolve()), /run: the work is a function/);
  await assert.rejects(new Client().acquire({ key: 'k', ttl_seconds: 1 }), /there is no option ttl_seconds/);
  assert.throws(() => new Client({ host: 'x' }), /there is no option host/);
});

test('a handler that was called to stream is refused before anything is sent', async (t) => {
  const server = await scripted(t, [acquired]);
  const handler = idempotent(async () => {}, { client: new Client({ port: server.port }) });
  await assert.rejects(handler({ id: 1 }, { write() {}, end() {} }, {}), /called to stream its response/);
  assert.equal(server.requests.length, 0);
});

test('a handler that answers through the context is told so, and its claim is free again', async (t) => {
  const server = await scripted(t, [acquired, released]);
  const handler = idempotent((event, context) => { setImmediate(() => context.done()); }, { client: new Client({ port: server.port }) });
  await assert.rejects(handler({ id: 1 }, { done() {} }), /returned neither a promise nor a value/);
  assert.equal(server.requests[1].path, '/fail');
});

test('the handler gets event, context and this, but not the callback of Lambda', async (t) => {
  const server = await scripted(t, [acquired, completed, acquired, completed]);
  let got;
  const home = {
    handler: idempotent(async function handler(...all) { got = [this, ...all]; return 1; }, { client: new Client({ port: server.port }) }),
  };
  const event = { id: 1 };
  const context = {};
  const signal = {};
  await home.handler(event, context, () => {});
  assert.deepEqual(got, [home, event, context]);
  assert.equal(home.handler.length, 2, "Lambda's runtime takes a third parameter for a callback");
  await home.handler(event, context, signal); // As Middy calls its handler.
  assert.deepEqual(got, [home, event, context, signal]);
});

test('the claim is passed to the work, and found by the context in a handler', async (t) => {
  const mine = { body: { ...acquired.body, attempt: 2, previous_error: { type: 'T', message: 'm' } } };
  const renewed = { body: { status: 'acquired', lease_expires_at: 99 } };
  const server = await scripted(t, [mine, renewed, completed, mine, renewed, completed]);
  const client = new Client({ port: server.port });
  const context = Object.freeze({ awsRequestId: 'r1' });
  const seen = [];
  const look = async (claim) => {
    seen.push([claim.fence, claim.attempt, claim.previousError, claim.unprotected, claim.leaseExpiresAt]);
    await claim.renew({ leaseMs: 5000 });
    seen.push(claim.leaseExpiresAt);
    assert.ok(!JSON.stringify(claim).includes('t1') && !require('node:util').inspect(claim).includes('t1'), 'the token is a secret');
    assert.equal(claim.token, 't1');
  };
  await run('k', look, { client });
  assert.equal(claimOf(context), undefined);
  await idempotent(async (event, same) => look(claimOf(same)), { client })({ id: 1 }, context);
  const once = [5, 2, { type: 'T', message: 'm' }, false, 1];
  assert.deepEqual(seen, [once, 99, once, 99]);
  assert.deepEqual(server.requests[1].body, { token: 't1', lease_ms: 5000 });
  assert.equal(claimOf(undefined), undefined);
});

test('keys and payloads that are made of the event', async (t) => {
  const server = await scripted(t, [acquired, completed]);
  const handler = idempotent(async () => 1, {
    client: new Client({ port: server.port }),
    key: async (event, context) => [event.user, context.awsRequestId],
    payload: (event) => event.amount,
  });
  await handler({ user: 'u1' }, { awsRequestId: 'r1' });
  const { client_token, ...body } = server.requests[0].body;
  assert.deepEqual(body, { key: ['u1', 'r1'], payload: null, request_id: 'r1' }, 'and no event');
});

test('a key function that finds none is refused', async (t) => {
  const server = await scripted(t, [acquired]);
  const handler = idempotent(async () => 1, { client: new Client({ port: server.port }), key: (event) => event.id });
  await assert.rejects(handler({}), /^TypeError: the key is undefined/);
  assert.equal(server.requests.length, 0);
});

class CardRefused extends Error {}
class Stolen extends CardRefused {}

for (const [name, finalErrors, error, retry] of [
  ['none', undefined, new Stolen(), true],
  ['a class of it', [RangeError, CardRefused], new Stolen(), false],
  ['other classes', [RangeError, TypeError], new Stolen(), true],
  ['one class without a list', CardRefused, new Stolen(), false],
  ['a function that says yes', (thrown) => thrown.code === 7, { code: 7 }, false],
  ['a function that says no', (thrown) => thrown.code === 7, { code: 8 }, true],
  ['a function that fails', (thrown) => thrown.cause.code === 7, new Stolen(), true],
]) {
  test(`final errors: ${name}`, async (t) => {
    const server = await scripted(t, [acquired, released]);
    const client = new Client({ port: server.port, logger: { warn() {} } });
    const [got] = await Promise.allSettled([run('k', async () => { throw error; }, { client, finalErrors })]);
    assert.equal(got.reason, error);
    assert.equal(server.requests[1].body.retry, retry);
  });
}

test('a lease takes the place of the deadline, and an unlimited emulator gives none', async (t) => {
  const server = await scripted(t, [acquired, completed]);
  const client = new Client({ port: server.port });
  await run('k', () => 1, { client, leaseMs: 1000.4, context: { awsRequestId: 'r', getRemainingTimeInMillis: () => 5000 } });
  assert.equal(server.requests[0].body.lease_ms, 1000);
  assert.equal(server.requests[0].body.deadline_ms, undefined);
  for (const left of [0, -5, NaN, Infinity, undefined]) {
    const more = await scripted(t, [acquired]);
    await new Client({ port: more.port }).acquire({ key: 'k', context: { getRemainingTimeInMillis: () => left } });
    assert.ok(!('deadline_ms' in more.requests[0].body) , `${left}`);
  }
});

test('IDEMPOTENCY_DISABLED=true: the work runs at once and no sidecar is called', async (t) => {
  const server = await scripted(t, [acquired]);
  process.env.IDEMPOTENCY_DISABLED = 'true';
  t.after(() => delete process.env.IDEMPOTENCY_DISABLED);
  const client = new Client({ port: server.port });
  const handler = idempotent(async (event, context) => {
    await claimOf(context).renew({ leaseMs: 1000 });
    return event.id + claimOf(context).attempt;
  }, { client, key: 'id' });
  assert.equal(await handler({ id: 1 }, {}), 2);
  assert.equal(await handler({ id: 1 }, {}), 2);
  await assert.rejects(run('k', () => { throw new Stolen('x'); }, { client }), Stolen);
  assert.equal(server.requests.length, 0);
});

test('warnings go to the console by default', async (t) => {
  const server = await scripted(t, [{ body: { status: 'completed', result_omitted: true } }]);
  const warn = t.mock.method(console, 'warn', () => {});
  assert.equal(await run('k', () => 1, { client: new Client({ port: server.port }) }), null);
  assert.deepEqual(warn.mock.calls.map(({ arguments: [message] }) => message), ['lambda-idempotency: the result of the first run was not stored, because it was too large; this duplicate gets null']);
});
