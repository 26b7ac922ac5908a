'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { after, before, test } = require('node:test');
const { Client, FailedError, InProgressError, PayloadMismatchError, ProblemError, UnavailableError, claimOf, idempotent, run } = require('lambda-idempotency');
const { secret, startSidecar } = require('./sidecar.js');

// What follows runs against the real sidecar. Each test has keys of its own.
let sidecar;
let client;

before(async () => {
  sidecar = await startSidecar();
  // As in Lambda: everything from the environment.
  process.env.IDEMPOTENCY_PORT = sidecar.port;
  process.env.IDEMPOTENCY_AUTH_TOKEN = secret;
  client = new Client();
});

after(() => sidecar.kill());

let invocations = 0;
const invocation = (left = 30_000) => ({ awsRequestId: `request-${++invocations}`, getRemainingTimeInMillis: () => left });

test('the first run works, a duplicate gets its result', async () => {
  let runs = 0;
  const handler = idempotent(async ({ JobId }) => ({ receipt: JobId, run: ++runs, text: 'é☃\u2028', big: 2 ** 53 }), { key: '[JobId, ObjKey]' });
  const first = await handler({ JobId: '1', ObjKey: 'a/b', sent: 1 }, invocation());
  assert.deepEqual(await handler({ ObjKey: 'a/b', JobId: '1', sent: 2 }, invocation()), first);
  assert.equal(runs, 1);
  await handler({ JobId: '2', ObjKey: 'a/b' }, invocation());
  assert.equal(runs, 2);
});

test('the whole event is the key without an expression', async () => {
  let runs = 0;
  const handler = idempotent(async () => { runs++; });
  assert.equal(await handler({ whole: { a: 1, b: 2 } }, invocation()), undefined);
  assert.equal(await handler({ whole: { b: 2, a: 1 } }, invocation()), null, 'as Lambda answers it');
  await handler({ whole: { a: 1, b: 3 } }, invocation());
  assert.equal(runs, 2);
});

test('nothing to make a key of', async () => {
  await assert.rejects(idempotent(async () => {}, { key: 'id' })({ other: 1 }, invocation()), (error) => error instanceof ProblemError && error.code === 'key_missing' && error.status === 400);
});

test('8 at once: one works, the others are told, or wait for it', async () => {
  for (const waitMs of [0, 10_000]) {
    let runs = 0;
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => run(['at once', `${waitMs}`], async () => {
      runs++;
      await sleep(150);
      return 'done';
    }, { waitMs })));
    assert.equal(runs, 1);
    assert.equal(results.filter(({ value }) => value === 'done').length, waitMs ? 8 : 1);
    for (const { reason } of results.filter(({ status }) => status === 'rejected')) {
      assert.ok(reason instanceof InProgressError);
      assert.ok(reason.retryAfterMs > 0);
    }
  }
});

test('a run in progress says whose it is', async () => {
  const context = invocation();
  await run('whose', () => assert.rejects(run('whose', () => {}), (error) => error instanceof InProgressError && error.requestId === context.awsRequestId), { context });
});

test('work that fails is run again, and told why', async () => {
  const refused = Object.assign(new Error('no route'), { name: 'NetworkError' });
  await assert.rejects(run('again', () => { throw refused; }), (error) => error === refused);
  const claim = await run('again', ({ attempt, previousError, fence }) => ({ attempt, previousError, fence }));
  assert.deepEqual({ ...claim, fence: 0 }, { attempt: 2, previousError: { type: 'NetworkError', message: 'no route' }, fence: 0 });
  assert.ok(claim.fence > 1e12);
});

test('work that failed for good is not run again', async () => {
  class CardRefused extends Error {}
  await assert.rejects(run('for good', async () => { throw new CardRefused('stolen'); }, { finalErrors: [CardRefused] }), CardRefused);
  await assert.rejects(run('for good', () => 'never'), (error) => error instanceof FailedError && error.type === 'CardRefused' && error.message === 'stolen');
});

test('another payload', async () => {
  await run('payload', () => 1, { payload: { amount: 10 } });
  assert.equal(await run('payload', () => 2, { payload: { amount: 10 } }), 1);
  await assert.rejects(run('payload', () => 3, { payload: { amount: 11 } }), (error) => error instanceof PayloadMismatchError && error.status === 422);
});

test('scopes keep keys apart, and an outcome is remembered for its time', async () => {
  assert.equal(await run('same', () => 'a', { scope: 'a', ttlSeconds: 1 }), 'a');
  assert.equal(await run('same', () => 'b', { scope: 'b' }), 'b');
  assert.equal(await run('same', () => 'other', { scope: 'b' }), 'b');
  await sleep(2100);
  assert.equal(await run('same', () => 'again', { scope: 'a' }), 'again');
});

test('renew moves the end of a claim', async () => {
  const handler = idempotent(async (event, context) => {
    const claim = claimOf(context);
    const until = claim.leaseExpiresAt;
    await claim.renew({ leaseMs: 60_000 });
    return claim.leaseExpiresAt - until;
  }, { leaseMs: 5000 });
  const longer = await handler({ renew: 1 }, invocation());
  assert.ok(longer > 50_000 && longer < 70_000, `${longer}`);
});

test('a claim that lapsed is lost to the run that took it', async () => {
  const late = await client.acquire({ key: 'lost', leaseMs: 1 });
  const winner = await client.acquire({ key: 'lost', waitMs: 20_000, leaseMs: 60_000 });
  assert.equal(winner.status, 'acquired');
  assert.ok(winner.fence > late.fence);
  for (const end of [() => client.complete(late.token, 1), () => client.fail(late.token), () => client.renew(late.token)]) {
    await assert.rejects(end, { name: 'ClaimLostError', code: 'claim_lost', status: 409 });
  }
  assert.deepEqual(await client.complete(winner.token, 'theirs'), { status: 'completed' });
  assert.equal((await client.acquire({ key: 'lost' })).result, 'theirs');
});

test('the verbs', async () => {
  const claim = await client.acquire({ event: { id: 7 }, keyJmespath: 'id', leaseMs: 60_000, detached: true });
  assert.deepEqual(Object.keys(claim).sort(), ['attempt', 'fence', 'leaseExpiresAt', 'status', 'token']);
  assert.deepEqual(await client.fail(claim.token, new TypeError('x')), { status: 'released' });
  const second = await client.acquire({ event: { id: 7 }, keyJmespath: 'id', clientToken: 'sixteen or more bytes' });
  assert.deepEqual(second.previousError, { type: 'TypeError', message: 'x' });
  assert.equal((await client.acquire({ event: { id: 7 }, keyJmespath: 'id', clientToken: 'sixteen or more bytes' })).token, second.token);
  assert.equal((await client.acquire({ event: { id: 7 }, keyJmespath: 'id' })).status, 'in_progress');
  assert.deepEqual(await client.fail(second.token, { type: 'Refused', message: 'y' }, { retry: false }), { status: 'failed' });
  assert.deepEqual((await client.acquire({ event: { id: 7 }, keyJmespath: 'id' })).error, { type: 'Refused', message: 'y' });
  const third = await client.acquire({ key: ['a', 'b'] });
  assert.deepEqual(await client.complete(third.token, { a_b: [null] }, { ttlSeconds: 60 }), { status: 'completed' });
  assert.deepEqual((await client.acquire({ key: ['a', 'b'] })).result, { a_b: [null] });
});

test('an event of 200 levels is taken, a key of a wrong type refused', async () => {
  const deep = JSON.parse('['.repeat(200) + '1' + ']'.repeat(200));
  assert.equal(await idempotent(async () => 'deep', { client })(deep, invocation()), 'deep');
  await assert.rejects(run(42, () => {}), (error) => error instanceof ProblemError && error.code === 'key_invalid');
});

test('a result of 8 MB: the work is done once', async (t) => {
  const warn = t.mock.method(console, 'warn', () => {});
  const large = 'x'.repeat(8e6);
  assert.equal(await run('8 MB', () => large), large);
  assert.equal(warn.mock.callCount(), 1);
  assert.equal(await run('8 MB', () => 'again'), null);
});

test('the secret', async () => {
  await assert.rejects(new Client({ authToken: 'wrong' }).acquire({ key: 'k' }), (error) => error instanceof ProblemError && error.code === 'unauthorized');
});

test('a sidecar that was killed and started again between calls', async (t) => {
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'lambda-idempotency-')), 'records');
  t.after(() => fs.rmSync(path.dirname(file), { recursive: true }));
  let mine = await startSidecar({ file, t });
  const { port } = mine;
  const options = { client: new Client({ port }) };
  // Many connections, all of which will be dead.
  await Promise.all(Array.from({ length: 8 }, (_, i) => run(`many ${i}`, () => sleep(20), options)));
  const result = await run('order', async () => {
    await mine.kill();
    mine = await startSidecar({ port, file, t });
    return 'paid';
  }, options);
  assert.equal(result, 'paid');
  await mine.kill();
  await assert.rejects(run('order', () => 'twice', options), (error) => error instanceof UnavailableError && /is the layer attached, or the local server started\?/.test(error.message));
  mine = await startSidecar({ port, file, t });
  assert.equal(await run('order', () => 'twice', options), 'paid');
});

test('a sidecar that is gone when the work is done: its result counts, with a warning', async (t) => {
  const mine = await startSidecar({ t });
  const warnings = [];
  const options = { client: new Client({ port: mine.port, logger: { warn: (message) => warnings.push(message) } }) };
  assert.equal(await run('order', async () => { await mine.kill(); return 'paid'; }, options), 'paid');
  assert.match(warnings.join(), /^lambda-idempotency: the work is done, but its end is not stored: no sidecar at/);
});

test('500 calls at once', async () => {
  const results = await Promise.all(Array.from({ length: 500 }, (_, i) => run(`crowd ${i % 250}`, async () => i, { waitMs: 20_000 })));
  for (let i = 0; i < 250; i++) assert.equal(results[i], results[i + 250]);
});
