import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const folder = path.dirname(here);
const names = [
  'ClaimLostError', 'Client', 'FailedError', 'IdempotencyError', 'InProgressError', 'PayloadMismatchError', 'ProblemError',
  'ResultError', 'UnavailableError', 'claimOf', 'idempotency', 'idempotent', 'idempotentBatch', 'run',
];

// The package as npm packs it, installed in a project of its own.
let project;

before(() => {
  project = fs.mkdtempSync(path.join(os.tmpdir(), 'lambda-idempotency-'));
  process.on('exit', () => fs.rmSync(project, { recursive: true }));
  const [packed] = JSON.parse(execFileSync('npm', ['pack', '--json', '--loglevel=error', '--pack-destination', project], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] }));
  const home = path.join(project, 'node_modules/lambda-idempotency');
  fs.mkdirSync(home, { recursive: true });
  execFileSync('tar', ['-xzf', path.join(project, packed.filename), '--strip-components=1', '-C', home]);
});

const node = (...args) => execFileSync(process.execPath, args, { cwd: project, encoding: 'utf8' }).trim();

test('the package has what it needs and nothing else', () => {
  const home = path.join(project, 'node_modules/lambda-idempotency');
  const files = fs.readdirSync(home, { recursive: true }).filter((file) => fs.statSync(path.join(home, file)).isFile());
  const lib = fs.readdirSync(path.join(folder, 'lib')).map((file) => `lib/${file}`);
  assert.deepEqual(files.sort(), ['LICENSE', 'README.md', 'bundled.mjs', 'index.d.mts', 'index.d.ts', 'index.js', 'index.mjs', 'package.json', ...lib].sort());
  const { dependencies } = JSON.parse(fs.readFileSync(path.join(home, 'package.json')));
  assert.equal(dependencies, undefined);
});

test('require', () => {
  assert.equal(node('-p', 'Object.keys(require("lambda-idempotency")).sort().join()'), names.join());
});

test('import', () => {
  assert.equal(node('--input-type=module', '-e', 'import * as all from "lambda-idempotency"; console.log(Object.keys(all).sort().join())'), names.join());
  assert.equal(node('--input-type=module', '-e', 'import { run } from "lambda-idempotency"; console.log(typeof run)'), 'function');
});

// Bundlers follow imports of files only, and have not the condition that Node.js itself has.
test('import, as bundlers do it', () => {
  const script = 'import * as all from "lambda-idempotency"; console.log(Object.keys(all).sort().join(), import.meta.resolve("lambda-idempotency").endsWith("/bundled.mjs"))';
  assert.equal(node('--no-addons', '--input-type=module', '-e', script), `${names.join()} true`);
});

test('what bundles the entry of Node.js is told so', () => {
  fs.mkdirSync(path.join(project, 'out'), { recursive: true });
  fs.copyFileSync(path.join(folder, 'index.mjs'), path.join(project, 'out/handler.mjs'));
  const { status, stderr } = spawnSync(process.execPath, ['out/handler.mjs'], { cwd: project, encoding: 'utf8' });
  assert.equal(status, 1);
  assert.match(stderr, /bundled by its entry for Node\.js; have the bundler do without the condition node-addons/);
});

test('both at once are one implementation', async () => {
  const imported = await import('lambda-idempotency');
  const required = createRequire(import.meta.url)('lambda-idempotency');
  for (const name of names) assert.equal(imported[name], required[name], name);
  assert.ok(new required.UnavailableError({ detail: 'x' }) instanceof imported.ProblemError);
});

// As esbuild bundles for an ES module: the package's files are taken in, and require throws for all others.
test('bundled as an ES module', { skip: !process.getBuiltinModule }, async () => {
  const loaded = new Map();
  const load = (file) => {
    if (!loaded.has(file)) {
      const module = { exports: {} };
      loaded.set(file, module);
      new Function('module', 'exports', 'require', fs.readFileSync(file, 'utf8'))(module, module.exports, (name) => {
        if (!name.startsWith('.')) throw new Error(`Dynamic require of "${name}" is not supported`);
        return load(path.join(path.dirname(file), name));
      });
    }
    return loaded.get(file).exports;
  };
  const { Client, UnavailableError, idempotency, idempotentBatch } = load(path.join(folder, 'index.js'));
  await assert.rejects(new Client({ port: 1 }).acquire({ key: 'k' }), UnavailableError);
  idempotency();
  idempotentBatch(() => {});
});

test('what takes long to load, or few functions need, is not loaded', () => {
  const script = `
    const { idempotency, idempotent, idempotentBatch } = require('lambda-idempotency');
    const slow = (name) => /^NativeModule (crypto|http|net)$|(batch|middy)\\.js$/.test(name);
    const loaded = () => [...process.moduleLoadList, ...Object.keys(require.cache)].filter(slow).map((name) => name.split(/[ /]/).at(-1)).join();
    const seen = [loaded()];
    idempotent(() => 1)({}).catch(() => {
      seen.push(loaded());
      idempotentBatch(() => 1);
      idempotency();
      seen.push(loaded());
      console.log(seen.join(' '));
    });
  `;
  fs.writeFileSync(path.join(project, 'load.js'), script); // With -e, Node.js itself loads more.
  const env = { ...process.env, IDEMPOTENCY_PORT: '1' };
  assert.equal(execFileSync(process.execPath, ['load.js'], { cwd: project, encoding: 'utf8', env }), ' net net,batch.js,middy.js\n');
});

test('errors have their name, and keep a result out of logs', () => {
  const script = 'const { ClaimLostError } = require("lambda-idempotency"); const e = new ClaimLostError({ status: 409, code: "claim_lost", detail: "d" }); e.result = "confidential"; console.log(e.name, String(e), JSON.stringify(e), require("util").inspect(e).includes("confidential"))';
  assert.equal(node('-e', script), 'ClaimLostError ClaimLostError: claim_lost: d {"status":409,"code":"claim_lost","detail":"d"} false');
});
