'use strict';

const assert = require('node:assert/strict');
const { after, before, beforeEach, test } = require('node:test');
const { Client, UnavailableError, claimOf, idempotentBatch } = require('lambda-idempotency');
const { freePort, secret, startSidecar } = require('./sidecar.js');

// What follows runs against the real sidecar. Each test has keys of its own.
let sidecar;
let prefix;
let tests = 0;

before(async () => {
  sidecar = await startSidecar();
  process.env.IDEMPOTENCY_PORT = sidecar.port;
  process.env.IDEMPOTENCY_AUTH_TOKEN = secret;
});
after(() => sidecar.kill());
beforeEach(() => { prefix = `${++tests}-`; });

let invocations = 0;
const invocation = () => ({ awsRequestId: `request-${++invocations}`, getRemainingTimeInMillis: () => 30_000 });
const batch = (...bodies) => ({ Records: bodies.map((body) => ({ messageId: prefix + body, body })) });
const reported = ({ batchItemFailures }) => batchItemFailures.map(({ itemIdentifier }) => itemIdentifier.slice(prefix.length));
const quiet = (t) => t.mock.method(console, 'warn', () => {}).mock;

async function record(key) {
  const answer = await fetch(`http://127.0.0.1:${sidecar.port}/record?key=${encodeURIComponent(prefix + key)}`, { headers: { 'X-Idempotency-Auth': secret } });
  return answer.json();
}

test('more than one call takes', async (t) => {
  quiet(t);
  const runs = new Map();
  const handler = idempotentBatch(async ({ body }) => {
    runs.set(body, (runs.get(body) ?? 0) + 1);
    if (body === '1234' && runs.get(body) === 1) throw new Error('no route');
  });
  const event = batch(...Array.from({ length: 2500 }, (_, i) => `${i}`));
  for (const want of [['1234'], [], []]) assert.deepEqual(reported(await handler(event, invocation())), want);
  assert.equal(runs.size, 2500);
  for (const [body, times] of runs) assert.equal(times, body === '1234' ? 2 : 1);
  const { status, attempt } = await record('1234');
  assert.deepEqual({ status, attempt }, { status: 'COMPLETED', attempt: 2 });
});

test('FIFO', async (t) => {
  quiet(t);
  let broken = true;
  const runs = [];
  const handler = idempotentBatch(({ body }) => {
    runs.push(body);
    if (body === 'a2' && broken) throw new Error('no route');
  });
  const event = batch('a1', 'b1', 'a2', 'b2', 'a3');
  for (const one of event.Records) Object.assign(one, { eventSourceARN: 'arn:aws:sqs:eu-west-1:123456789012:q.fifo', attributes: { MessageGroupId: one.body[0] } });
  assert.deepEqual(reported(await handler(event, invocation())), ['a2', 'a3']);
  assert.deepEqual(runs, ['a1', 'b1', 'a2', 'b2']);
  assert.equal((await record('a3')).error.type, 'Idempotency.HeldBack');
  broken = false;
  assert.deepEqual(reported(await handler(event, invocation())), []);
  assert.deepEqual(runs.slice(4), ['a2', 'a3']);
});

test('duplicates within a batch, and failures that are final', async (t) => {
  quiet(t);
  const runs = [];
  const handler = idempotentBatch(async ({ body }) => {
    runs.push(body);
    if (body === 'y') throw new RangeError('never');
  }, { key: '[messageId, body]', finalErrors: [RangeError] });
  for (let i = 0; i < 2; i++) {
    assert.deepEqual(reported(await handler(batch('x', 'y', 'x', 'y'), invocation())), ['y']);
    assert.deepEqual(runs, ['x', 'y']);
  }
});

test('key, payload, claim and this', async (t) => {
  quiet(t);
  const seen = [];
  const context = invocation();
  const service = {
    name: 'service',
    handler: idempotentBatch(async function handle({ body }, got) {
      seen.push([this.name, body, got === context, claimOf(got).attempt]);
    }, { key: async ({ body }) => ['orders', prefix + body[0]], payload: ({ body }) => body }),
  };
  assert.deepEqual(reported(await service.handler(batch('a', 'b', 'a', 'a changed'), context)), ['a changed']);
  assert.deepEqual(seen, [['service', 'a', true, 1], ['service', 'b', true, 1]]);
});

test('what is wrong with one record is told of it alone', async (t) => {
  const warn = quiet(t);
  const runs = [];
  const handler = idempotentBatch(async ({ body }) => { runs.push(body); }, {
    key: ({ body, messageId }) => {
      if (body === 'throws') throw new RangeError('no key');
      return { nothing: undefined, number: 7 }[body] ?? (body === 'nothing' ? undefined : messageId);
    },
  });
  assert.deepEqual(reported(await handler(batch('throws', 'fine', 'nothing', 'number'), invocation())), ['throws', 'nothing', 'number']);
  assert.deepEqual(runs, ['fine']);
  assert.match(warn.calls.map(({ arguments: [text] }) => text).join('\n'), /RangeError: no key\n +at /, 'with its stack');
});

test('whatever is thrown, the others are run', async (t) => {
  quiet(t);
  const runs = [];
  const thrown = { undefined: undefined, null: null, text: 'no route', nameless: Object.create(null) };
  const handler = idempotentBatch(async ({ body }) => {
    runs.push(body);
    if (body in thrown) throw thrown[body];
  });
  assert.deepEqual(reported(await handler(batch(...Object.keys(thrown), 'last'), invocation())), Object.keys(thrown));
  assert.equal(runs.length, 5);
});

test('whatever is thrown, it is told of its duplicates, too', async (t) => {
  quiet(t);
  const odd = [{ message: Symbol('s') }, { message: Object.create(null) }, { get message() { throw new Error('no'); } }, { get code() { throw new Error('no'); } }];
  const handler = idempotentBatch(({ body }) => { throw odd[body[0]]; }, { key: 'body' });
  const event = batch('0', '1', '2', '3');
  event.Records.push(...event.Records.map((record) => ({ ...record, messageId: `${record.messageId} again` })));
  for (const each of event.Records) each.body += prefix;
  assert.equal((await handler(event, invocation())).batchItemFailures.length, 8);
});

test('large records go in calls that the sidecar takes', async () => {
  let runs = 0;
  const handler = idempotentBatch(async () => { runs++; }, { key: 'messageId' });
  const event = { Records: Array.from({ length: 12 }, (_, i) => ({ messageId: `${prefix}${i}`, body: 'é'.repeat(1 << 19) })) };
  assert.deepEqual(reported(await handler(event, invocation())), []);
  assert.equal(runs, 12);
});

for (const event of [undefined, null, {}, { Records: {} }, { Records: [{ eventID: '1' }] }, { Records: [null] }, { Records: [{ messageId: '' }] }]) {
  test(`no event of SQS: ${JSON.stringify(event)}`, async () => {
    await assert.rejects(idempotentBatch(async () => assert.fail())(event, invocation()), /^TypeError: idempotentBatch takes events of SQS/);
  });
}

test('what is no handler of records, or no option, is refused at once', () => {
  for (const [handler, options, message] of [
    [undefined, {}, /idempotentBatch: the handler is a undefined/],
    [async (record, context, callback) => callback(), {}, /idempotentBatch: the handler has 3 parameters/],
    [async () => {}, { waitMs: 5 }, /there is no option waitMs; there are key, payload, scope, ttlSeconds, finalErrors, client/],
    [async () => {}, { leaseMs: 5 }, /there is no option leaseMs/],
    [async () => {}, { key: 7 }, /key takes a JMESPath expression/],
    [async () => {}, { payload: {} }, /payload takes a function/],
  ]) assert.throws(() => idempotentBatch(handler, options), message);
});

test('disabled', async (t) => {
  quiet(t);
  process.env.IDEMPOTENCY_DISABLED = 'true';
  t.after(() => delete process.env.IDEMPOTENCY_DISABLED);
  const runs = [];
  const handler = idempotentBatch(async ({ body }) => {
    runs.push(body);
    if (body === 'b') throw new Error('no route');
  });
  assert.deepEqual(reported(await handler(batch('a', 'b', 'a'))), ['b']);
  assert.deepEqual(runs, ['a', 'b', 'a']);
});

test('no sidecar', async () => {
  const handler = idempotentBatch(async () => assert.fail(), { client: new Client({ port: await freePort() }) });
  await assert.rejects(handler(batch('a'), invocation()), (error) => error instanceof UnavailableError && /is the layer attached, or the local server started/.test(error.message));
});
