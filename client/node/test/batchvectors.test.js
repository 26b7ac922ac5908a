'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const idempotency = require('lambda-idempotency');
const { cases } = require('../../batch-vectors.json');
const { scripted } = require('./scripted.js');

const { Client, claimOf, idempotentBatch } = idempotency;

class WorkError extends Error {}

for (const one of cases) {
  test(`idempotentBatch: ${one.name}`, async (t) => {
    const { call, work = {}, outcome } = one;
    const server = await scripted(t, one.answers.length > 0 ? one.answers : [{ drop: true }]);
    const warnings = [];
    const runs = [];
    const until = Date.now() + call.remaining_ms;
    const context = { awsRequestId: call.request_id, ...(call.remaining_ms && { getRemainingTimeInMillis: () => until - Date.now() }) };
    const handler = idempotentBatch(async ({ messageId }, got) => {
      runs.push(messageId);
      assert.equal(got, context);
      assert.equal(claimOf(context).fence, 5);
      await sleep(work[messageId]?.takes_ms ?? 0);
      if (work[messageId]?.throws) throw new WorkError(work[messageId].throws);
      return 'not stored';
    }, {
      key: call.key_jmespath,
      scope: call.scope,
      ttlSeconds: call.ttl_seconds,
      finalErrors: call.final ? [WorkError] : [RangeError],
      client: new Client({ port: server.port, logger: { warn: (message) => warnings.push(message) } }),
    });
    const from = Date.now();
    const [got] = await Promise.allSettled([handler(call.event, context)]);

    assert.deepEqual(runs, one.runs);
    checkRequests(server.requests, one, from);
    if (outcome.error) {
      assert.equal(got.status, 'rejected');
      assert.equal(got.reason.constructor, idempotency[outcome.error]);
      assert.equal(got.reason.code, outcome.code);
      assert.equal(got.reason.retryAfterMs, outcome.retry_after_ms);
      return;
    }
    assert.deepEqual(got, { status: 'fulfilled', value: { batchItemFailures: outcome.failures.map((itemIdentifier) => ({ itemIdentifier })) } });
    if ('warnings' in outcome) assert.equal(warnings.length, outcome.warnings, warnings.join('\n'));
  });
}

function checkRequests(requests, { call, requests: wanted }, from) {
  assert.deepEqual(requests.map(({ method, path }) => `${method} ${path}`), wanted.map(({ path }) => `POST ${path}`));
  const tokens = new Set();
  wanted.forEach((want, i) => {
    const { body, path } = requests[i];
    assert.deepEqual(Object.keys(body), ['items']);
    if (i > 0 && requests[i - 1].path === path) assert.deepEqual(body, requests[i - 1].body);
    const items = body.items.map(({ client_token, deadline_ms, error, ...item }, at) => {
      if (path === '/acquire/batch') {
        assert.match(client_token, /^[\w-]{16,128}$/);
        tokens.add(client_token);
      }
      if (want.deadline) assert.ok(Math.abs(deadline_ms - from - call.remaining_ms) < 2000, `deadline ${deadline_ms - from}`);
      else assert.equal(deadline_ms, undefined);
      const { error_message } = want.items[at];
      if (error_message === undefined) assert.equal(error, undefined);
      else assert.ok(error.message.endsWith(error_message) && ['WorkError', 'Idempotency.HeldBack'].includes(error.type), JSON.stringify(error));
      return { ...item, ...(error_message && { error_message }) };
    });
    assert.deepEqual(items, want.items);
  });
  assert.equal(tokens.size, wanted[0]?.items.length ?? 0, 'no two records share a client_token, and what is sent again has the same');
}
