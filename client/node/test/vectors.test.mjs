import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import middy from '@middy/core';
import * as idempotency from 'lambda-idempotency';

const require = createRequire(import.meta.url);
const { cases } = require('../../vectors.json');
const { scripted } = require('./scripted.js');
const { Client, idempotent, run } = idempotency;

class WorkError extends Error {}

// Each way to call the work of a case: (call, work, options) => a promise of the outcome.
const wrappers = {
  run: ({ call, context, work, options }) => run(call.key, work, { ...options, payload: call.payload, context }),
  idempotent: ({ call, context, work, options }) => idempotent(async () => work(), handlerOptions(call, options))(call.event ?? { any: 1 }, context),
  middy: ({ call, context, work, options }) =>
    middy().use(idempotency.idempotency(handlerOptions(call, options))).handler(async () => work())(call.event ?? { any: 1 }, context),
};

function handlerOptions(call, options) {
  return {
    ...options,
    key: call.key ? () => call.key : call.key_jmespath,
    ...('payload' in call && { payload: () => call.payload }),
  };
}

for (const one of cases) {
  for (const [name, wrapper] of Object.entries(wrappers)) {
    if (name === 'run' && one.call.event) continue; // run takes keys alone.
    test(`${name}: ${one.name}`, async (t) => {
      const { call, work, outcome } = one;
      const server = await scripted(t, one.answers);
      const warnings = [];
      let runs = 0;
      const context = call.request_id && { awsRequestId: call.request_id, getRemainingTimeInMillis: () => call.remaining_ms };
      const from = Date.now();
      const [got] = await Promise.allSettled([wrapper({
        call,
        context,
        work: async () => {
          runs++;
          if (work.throws) throw new WorkError(work.throws);
          return work.returns;
        },
        options: {
          scope: call.scope,
          ttlSeconds: call.ttl_seconds,
          waitMs: call.wait_ms,
          finalErrors: call.final ? [WorkError] : [RangeError],
          client: new Client({ port: server.port, logger: { warn: (message) => warnings.push(message) } }),
        },
      })]);

      assert.equal(runs, one.runs);
      checkOutcome(got, outcome, name);
      if (outcome.warning) assert.equal(warnings.length, 1, warnings.join());
      assert.equal(server.requests.length, one.requests.length);
      one.requests.forEach((want, i) => {
        const request = server.requests[i];
        assert.equal(`${request.method} ${request.path}`, `POST ${want.path}`);
        for (const [member, value] of Object.entries(want.body)) assert.deepEqual(request.body[member], value, member);
        if (want.error_message) assert.deepEqual(request.body.error, { type: 'WorkError', message: want.error_message });
        if (want.deadline) assert.ok(Math.abs(request.body.deadline_ms - from - call.remaining_ms) < 2000, `deadline ${request.body.deadline_ms - from}`);
      });
      const tokens = new Set(server.requests.filter(({ path }) => path === '/acquire').map(({ body }) => body.client_token));
      assert.equal(tokens.size, 1, 'an acquire that is sent again has the same client_token');
      assert.match([...tokens][0], /^[\w-]{16,128}$/);
    });
  }
}

function checkOutcome(got, outcome, wrapper) {
  if ('returns' in outcome) {
    assert.deepEqual(got, { status: 'fulfilled', value: outcome.returns });
    return;
  }
  const { error: type, ...members } = outcome;
  const want = Object.fromEntries(Object.entries(members).map(([name, value]) => [name.replace(/_([a-z])/g, (_, c) => c.toUpperCase()), value]));
  assert.equal(got.status, 'rejected');
  if (type === 'work') {
    assert.ok(got.reason instanceof WorkError, got.reason);
  } else {
    assert.ok(got.reason instanceof idempotency[type] && got.reason instanceof idempotency.IdempotencyError, got.reason);
    assert.equal(got.reason.name, type);
    assert.equal(got.reason.constructor, idempotency[type], `${wrapper}: ${got.reason}`);
  }
  for (const [member, value] of Object.entries(want)) assert.deepEqual(got.reason[member], value, member);
}

const fromFile = /^[\w-]{22}-\w+$/;
const fromCrypto = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}-\w+$/;
const sources = {
  'from the system': [() => {}, fromFile],
  'where the system has no file of random numbers': [(t) => t.mock.method(fs, 'openSync', () => { throw new Error('ENOENT'); }), fromCrypto],
  'where that file is empty': [(t) => t.mock.method(fs, 'readSync', () => 0), fromCrypto],
};

for (const [name, [prepare, form]] of Object.entries(sources)) {
  test(`no two acquires have the same client_token, ${name}`, async (t) => {
    const server = await scripted(t, [{ body: { status: 'completed', result: 1 } }]);
    const client = new Client({ port: server.port });
    prepare(t);
    for (let i = 0; i < 300; i++) await client.acquire({ key: 'k' });
    const tokens = server.requests.map(({ body }) => body.client_token);
    assert.equal(new Set(tokens.map((token) => token.slice(0, 22))).size, 300);
    for (const token of tokens) assert.match(token, form);
  });
}
