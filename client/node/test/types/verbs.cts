// Checked by tsc, not run.
import idempotency = require('lambda-idempotency');

const client = new idempotency.Client({ port: 2774, logger: console });

async function verbs(): Promise<unknown> {
  const outcome = await client.acquire({ event: { id: 1 }, keyJmespath: 'id', leaseMs: 1000, detached: true });
  switch (outcome.status) {
    case 'acquired':
      await client.renew(outcome.token, { leaseMs: 5000 });
      await client.fail(outcome.token, new Error('x'), { retry: false });
      return (await client.complete(outcome.token, { done: true }, { ttlSeconds: 5 })).status;
    case 'completed':
      return outcome.result;
    case 'failed':
      throw new idempotency.FailedError(outcome.error);
    case 'in_progress':
      return outcome.retryAfterMs + outcome.leaseExpiresAt;
    default: {
      const never: never = outcome;
      return never;
    }
  }
}

// @ts-expect-error: no such member
void client.acquire({ key: 'k', ttl_seconds: 5 });
// @ts-expect-error: an acquired outcome alone has a token
void client.acquire({ key: 'k' }).then((outcome) => outcome.token);
void idempotency.run('k', verbs, { client });
