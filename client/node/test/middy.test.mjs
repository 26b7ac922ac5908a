import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after as afterAll, before as beforeAll, test } from 'node:test';
import middy6 from '@middy/core';
import middy7 from 'middy7';
import { Client, InProgressError, ResultError, claimOf, idempotency } from 'lambda-idempotency';

const require = createRequire(import.meta.url);
const { secret, startSidecar } = require('./sidecar.js');
const { acquired, completed, scripted } = require('./scripted.js');

let sidecar;
let client;

beforeAll(async () => {
  sidecar = await startSidecar();
  client = new Client({ port: sidecar.port, authToken: secret });
});
afterAll(() => sidecar.kill());

let invocations = 0;
const invocation = (left = 30_000) => ({ awsRequestId: `request-${++invocations}`, getRemainingTimeInMillis: () => left });

for (const [version, middy] of Object.entries({ 6: middy6, 7: middy7 })) {
  const check = (name, body) => test(`Middy ${version}: ${name}`, (t) => body(t, `${version} ${name}`));

  check('a duplicate gets the first answer, and nothing behind runs', async (t, id) => {
    let runs = 0;
    let behind = 0;
    const handler = middy()
      .use(idempotency({ key: 'id', client }))
      .use({ before: () => { behind++; }, after: (request) => { request.response.headers = { 'Access-Control-Allow-Origin': '*' }; } })
      .handler(async (event, context) => ({ statusCode: 200, body: `run ${++runs}, attempt ${claimOf(context).attempt}` }));
    const first = await handler({ id }, invocation());
    assert.deepEqual(first, { statusCode: 200, body: 'run 1, attempt 1', headers: { 'Access-Control-Allow-Origin': '*' } });
    assert.deepEqual(await handler({ id }, invocation()), first);
    assert.deepEqual([runs, behind], [1, 1]);
  });

  check('a duplicate of work that returned nothing gets null', async (t, id) => {
    let runs = 0;
    const handler = middy().use(idempotency({ client })).handler(async () => { runs++; });
    assert.equal(await handler({ id }, invocation()), undefined);
    assert.equal(await handler({ id }, invocation()), null);
    assert.equal(runs, 1);
  });

  check('two at once: the second is told', async (t, id) => {
    let begun;
    const running = new Promise((resolve) => { begun = resolve; });
    let end;
    const handler = middy().use(idempotency({ client })).handler(() => new Promise((resolve) => { end = resolve; begun(); }));
    const first = handler({ id }, invocation());
    await running;
    await assert.rejects(handler({ id }, invocation()), (error) => error instanceof InProgressError);
    end('done');
    assert.equal(await first, 'done');
    assert.equal(await handler({ id }, invocation()), 'done');
  });

  check('a handler that fails frees the key, also where another middleware makes an answer of it', async (t, id) => {
    let runs = 0;
    const handler = middy()
      .use(idempotency({ client }))
      .use({ onError: (request) => { request.response = { statusCode: 500 }; } })
      .handler(async (event, context) => {
        if (++runs === 1) throw new RangeError('no');
        return claimOf(context).previousError;
      });
    assert.deepEqual(await handler({ id }, invocation()), { statusCode: 500 });
    assert.deepEqual(await handler({ id }, invocation()), { type: 'RangeError', message: 'no' });
  });

  check('a middleware behind that fails frees the key', async (t, id) => {
    let fail = true;
    const handler = middy()
      .use(idempotency({ client }))
      .use({ before: () => { if (fail) throw new Error('not valid'); } })
      .handler(async () => 'done');
    await assert.rejects(handler({ id }, invocation()), /not valid/);
    fail = false;
    assert.equal(await handler({ id }, invocation()), 'done');
  });

  check('a final error', async (t, id) => {
    const handler = middy().use(idempotency({ client, finalErrors: [RangeError] })).handler(async () => { throw new RangeError('no'); });
    await assert.rejects(handler({ id }, invocation()), RangeError);
    await assert.rejects(handler({ id }, invocation()), { name: 'FailedError', type: 'RangeError', message: 'no' });
  });

  check('a stream is no result, and its claim has ended once', async (t) => {
    const server = await scripted(t, [acquired, completed]);
    const handler = middy().use(idempotency({ client: new Client({ port: server.port }) })).handler(async () => ({ body: new ReadableStream() }));
    await assert.rejects(handler({ id: 1 }, invocation()), (error) => error instanceof ResultError);
    assert.deepEqual(server.requests.map(({ path }) => path), ['/acquire', '/complete']);
  });

  check('work that is still running when Middy gives up keeps its claim', async (t, id) => {
    let end;
    const handler = middy({ timeoutEarlyInMillis: 29_900 })
      .use(idempotency({ client }))
      .handler(() => new Promise((resolve) => { end = resolve; }));
    await assert.rejects(handler({ id }, invocation(30_000)), { name: 'TimeoutError' });
    await assert.rejects(handler({ id }, invocation(30_000)), InProgressError);
    end();
  });

  check('invocations that overlap keep their claims apart', async (t, id) => {
    const handler = middy().use(idempotency({ client, key: 'n' })).handler(async ({ n }, context) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return [n, claimOf(context).fence];
    });
    const events = Array.from({ length: 20 }, (_, n) => ({ n: `${id} ${n}` }));
    const first = await Promise.all(events.map((event) => handler(event, invocation())));
    assert.deepEqual(await Promise.all(events.map((event) => handler(event, invocation()))), first);
    assert.deepEqual(first.map(([n]) => n), events.map(({ n }) => n));
  });
}
