// Loads one contender and does what it is told: driver.mjs MODULE bare|lambda.
//
// A line of JSON comes in and one goes out. Times are nanoseconds of the monotonic clock, which all processes share.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { count } from './work.mjs';

// What Lambda's runtime client has loaded before it loads the handler: itself and its native part, which looks for the Runtime API.
async function loadRuntimeClient() {
  const client = pathToFileURL(process.env.RUNTIME_CLIENT);
  await import(client);
  process.env.AWS_LAMBDA_RUNTIME_API = '127.0.0.1:9';
  createRequire(client)('./rapid-client.node');
  delete process.env.AWS_LAMBDA_RUNTIME_API;
}

const now = () => Number(process.hrtime.bigint()); // Exact up to 104 days after the machine's start.
const cpu = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
};
const run = Math.random().toString(36).slice(2);
const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);

async function measured(handler, events, left, mayFail) {
  const calls = events.map((event, at) => [event, {
    functionName: 'bench',
    memoryLimitInMB: '1769',
    awsRequestId: `${run}-${at}`,
    getRemainingTimeInMillis: () => left,
  }]);
  const times = [];
  const results = [];
  const ran = count.times;
  const used = cpu();
  for (const [event, context] of calls) {
    const begin = now();
    let result;
    try {
      result = await handler(event, context);
    } catch (error) {
      if (!mayFail) throw error;
      result = error.constructor.name;
    }
    times.push([begin, now()]);
    results.push(result);
  }
  return [{ calls: times, cpu: cpu() - used, ran: count.times - ran }, results];
}

const [name, on] = process.argv.slice(2);
if (on === 'lambda') await loadRuntimeClient();
const begin = now();
const used = cpu();
const module = await import(`./${name}.mjs`);
say({ calls: [[begin, now()]], cpu: cpu() - used });
for await (const line of createInterface({ input: process.stdin })) {
  const told = JSON.parse(line);
  if (told.do === 'resident') {
    say({ resident: process.memoryUsage().rss });
    continue;
  }
  const [answer, results] = await measured(module[told.do], told.events, told.left, told.may_fail);
  say(told.results ? { ...answer, results } : answer);
}
