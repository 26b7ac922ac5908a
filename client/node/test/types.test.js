'use strict';

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const path = require('node:path');
const { test } = require('node:test');

// With --strict, as import and as require; what must be an error is marked in the files.
for (const [name, options] of Object.entries({ 'by the rules of Node.js': [], 'by the rules of bundlers': ['--module', 'preserve', '--moduleResolution', 'bundler'] })) {
  test(`the types, ${name}`, () => {
    const tsc = path.join(path.dirname(require.resolve('typescript/package.json')), 'bin/tsc');
    const { status, stdout } = spawnSync(process.execPath, [tsc, '--project', path.join(__dirname, 'types'), ...options], { encoding: 'utf8' });
    assert.equal(`${stdout}${status}`, '0');
  });
}

test('the types name what there is', () => {
  const fs = require('node:fs');
  const text = fs.readFileSync(path.join(__dirname, '../index.d.ts'), 'utf8');
  const declared = [...text.matchAll(/^export (?:abstract )?(?:class|function) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(declared.sort(), Object.keys(require('lambda-idempotency')).sort());
});
