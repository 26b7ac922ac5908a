// A queue's batch: all claims in one call, and all their ends in another.
import { randomUUID } from 'node:crypto';
import http from 'node:http';
import { recordWork } from './work.mjs';

const agent = new http.Agent({ keepAlive: true });

async function call(path, items) {
  const body = JSON.stringify({ items });
  const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body), 'X-Idempotency-Auth': process.env.IDEMPOTENCY_AUTH_TOKEN };
  const text = await new Promise((resolve, reject) => {
    const request = http.request({ host: '127.0.0.1', port: process.env.IDEMPOTENCY_PORT, path, method: 'POST', headers, agent }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk)).on('error', reject).on('end', () => {
        const got = Buffer.concat(chunks).toString();
        if (response.statusCode === 200) resolve(got);
        else reject(new Error(got));
      });
    });
    request.on('error', reject);
    request.end(body);
  });
  return JSON.parse(text).items;
}

export async function sqs(event, context) {
  const records = event.Records;
  const once = randomUUID();
  const claims = await call('/acquire/batch', records.map(({ messageId }, at) => (
    { key: messageId, request_id: context.awsRequestId, lease_ms: 30_000, client_token: `${once}-${at}` })));
  const failures = [];
  const done = [];
  const failed = [];
  records.forEach((record, at) => {
    const { status, token } = claims[at];
    if (status === 'completed') return;
    if (status !== 'acquired') {
      failures.push(record.messageId);
      return;
    }
    try {
      done.push({ token, result: recordWork(record) });
    } catch (error) {
      failed.push({ token, error: { type: error.name, message: error.message } });
      failures.push(record.messageId);
    }
  });
  for (const [path, ends] of [['/complete/batch', done], ['/fail/batch', failed]]) {
    for (const end of ends.length ? await call(path, ends) : []) {
      if (typeof end.status !== 'string') throw new Error(`${path}: ${JSON.stringify(end)}`);
    }
  }
  return { batchItemFailures: failures.map((itemIdentifier) => ({ itemIdentifier })) };
}
