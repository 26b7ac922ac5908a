// Runs the handlers beside it and prints what that took, as JSON: driver.mjs cold before|after bare|lambda, or
// driver.mjs calls WARM ROUNDS.
const now = process.hrtime.bigint;
const run = Math.random().toString(36).slice(2);
// What Lambda's runtime client for Node.js has loaded of Node.js before it loads the handler.
const ofLambda = ['node:http', 'node:net', 'node:util', 'node:fs', 'node:path', 'node:module', 'node:assert'];

const event = (number) => ({ JobId: `${run}-${number}`, ObjKey: 'a/b' });
const context = (number) => ({ awsRequestId: `request-${run}-${number}`, getRemainingTimeInMillis: () => 30_000 });

async function timed(work) {
  const begin = now();
  const result = await work();
  return [Number(now() - begin), result];
}

async function cold(which, on) {
  if (on === 'lambda') for (const name of ofLambda) await import(name);
  const [load, { handler }] = await timed(() => import(`./${which}.mjs`));
  const [call] = await timed(() => handler(event(0), context(0)));
  return { load_ns: load, call_ns: call };
}

async function calls(warm, rounds) {
  const { handler: plain } = await import('./before.mjs');
  const { handler: guarded } = await import('./after.mjs');
  const times = { plain: [], first: [], duplicate: [] };
  for (let number = 0; number < warm + rounds; number++) {
    const results = new Set();
    for (const [kind, handler] of [['plain', plain], ['first', guarded], ['plain', plain], ['duplicate', guarded]]) {
      const [took, result] = await timed(() => handler(event(number), context(number)));
      results.add(JSON.stringify(result));
      if (number >= warm) times[kind].push(took);
    }
    if (results.size !== 1) throw new Error(`the results differ: ${[...results]}`);
  }
  return times;
}

const [mode, ...rest] = process.argv.slice(2);
console.log(JSON.stringify(await (mode === 'cold' ? cold(...rest) : calls(...rest.map(Number)))));
