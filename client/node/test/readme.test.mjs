import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const { secret, startSidecar } = require('./sidecar.js');

const folder = fileURLToPath(new URL('..', import.meta.url));
const text = fs.readFileSync(path.join(folder, 'README.md'), 'utf8');
const snippets = [...text.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code);

// A project that has the packages.
let project;
let sidecar;

before(async () => {
  project = fs.mkdtempSync(path.join(os.tmpdir(), 'lambda-idempotency-'));
  process.on('exit', () => fs.rmSync(project, { recursive: true }));
  fs.mkdirSync(path.join(project, 'node_modules'));
  fs.symlinkSync(folder, path.join(project, 'node_modules/lambda-idempotency'));
  fs.symlinkSync(path.join(folder, 'node_modules/@middy'), path.join(project, 'node_modules/@middy'));
  sidecar = await startSidecar();
  Object.assign(process.env, { IDEMPOTENCY_PORT: sidecar.port, IDEMPOTENCY_AUTH_TOKEN: secret });
});
after(() => sidecar.kill());

const context = { awsRequestId: 'r1', getRemainingTimeInMillis: () => 30_000 };
const order = { JobId: '1', ObjKey: 'a/b', Records: [{ messageId: 'm1', body: '{"orderId":1}' }, { messageId: 'm2', body: '{"orderId":2}' }] };

// What the snippets call counts here.
let called;
for (const work of ['charge', 'pay', 'ship', 'handOn']) {
  globalThis[work] = async () => {
    called++;
    return work;
  };
}

for (const [i, calls] of [1, 1, 2, 2, 1, 1].entries()) {
  test(`snippet ${i + 1} works, and does its work once`, async () => {
    called = 0;
    const file = path.join(project, `snippet-${i}.mjs`);
    fs.writeFileSync(file, snippets[i]);
    const { handler } = await import(file);
    const event = { ...order, orderId: `order-${i}` };
    if (handler) assert.deepEqual(await handler(event, context), await handler(event, context));
    assert.equal(called, calls);
  });
}

test('no snippet is left out, and every option is told of', () => {
  assert.equal(snippets.length, 6);
  const types = fs.readFileSync(path.join(folder, 'index.d.ts'), 'utf8');
  for (const of of ['Options', 'HandlerOptions', 'BatchOptions', 'RunOptions', 'ClientOptions', 'AcquireRequest']) {
    const [, body] = types.match(new RegExp(`export interface ${of}\\b[^{]*{\n(.*?)\n}`, 's'));
    for (const [, name] of body.matchAll(/^ {2}(\w+)\?:/gm)) assert.match(text, new RegExp(`\`[^\`]*\\b${name}\\b[^\`]*\``), `${of}: ${name}`);
  }
});
