// Checked by tsc, not run.
import middy from '@middy/core';
import type { Context, Handler, SQSEvent, SQSHandler, SQSRecord } from 'aws-lambda';
import { ClaimLostError, FailedError, IdempotencyError, InProgressError, ProblemError, UnavailableError, claimOf, idempotency, idempotent, idempotentBatch, run, type Claim } from 'lambda-idempotency';

interface Job { JobId: string; ObjKey: string }
interface Receipt { receipt: number }
declare const context: Context;
class CardRefused extends Error { constructor(readonly code: number) { super(); } }

// A handler keeps its types, and is one of Lambda's.
const handler = idempotent(async (event: Job, context: Context): Promise<Receipt> => {
  const claim: Claim | undefined = claimOf(context);
  await claim?.renew({ leaseMs: 60_000 });
  return { receipt: claim?.fence ?? event.JobId.length };
}, { key: '[JobId, ObjKey]', waitMs: 2000, ttlSeconds: 60, scope: 'jobs', finalErrors: [CardRefused, TypeError] });
const lambda: Handler<Job, Receipt> = handler;
const receipt: Promise<Receipt> = handler({ JobId: '1', ObjKey: 'a' }, context);
// @ts-expect-error: ObjKey is missing
void handler({ JobId: '1' }, context);

// With what is known of it from where it goes.
export const known: Handler<Job, Receipt> = idempotent(async (event) => ({ receipt: event.ObjKey.length }));

// Without a context, and with functions of the event.
const plain = idempotent(async (event: Job) => event.JobId, {
  key: (event) => [event.JobId, event.ObjKey],
  payload: (event) => event.ObjKey,
  finalErrors: (error) => error instanceof CardRefused && error.code === 7,
});
const text: Promise<string> = plain({ JobId: '1', ObjKey: 'a' }, {});

// @ts-expect-error: a callback
idempotent((event: Job, context: Context, callback: (error: Error | null) => void) => callback(null));
// @ts-expect-error: no such option
idempotent(async (event: Job) => event.JobId, { ttl: 60 });
// @ts-expect-error: a pair is made by a function
idempotent(async (event: Job) => event.JobId, { key: ['JobId', 'ObjKey'] });
// @ts-expect-error: the event has no such member
idempotent(async (event: Job) => event.JobId, { key: (event) => event.Job });

// Batches.
export const batch: SQSHandler = idempotentBatch(async (record: SQSRecord, context: Context) => `${record.body} ${claimOf(context)?.fence}`, {
  key: 'messageId', payload: (record) => record.body, ttlSeconds: 60, scope: 'jobs', finalErrors: [CardRefused],
});
export const bare: SQSHandler = idempotentBatch(async (record) => record.messageId.length);
export const made = idempotentBatch(async (record: SQSRecord) => record.body, { key: (record) => [record.messageId, record.body] });
// @ts-expect-error: the time to wait and the lease are not those of a batch
idempotentBatch(async (record: SQSRecord) => record.body, { waitMs: 5 });
// @ts-expect-error: no records of SQS
idempotentBatch(async (record: Job) => record.JobId);

// Any function.
const sum: Promise<number> = run(['user-1', 'order-1'], (claim) => claim.attempt + claim.fence, { payload: { amount: 10 }, context });
// @ts-expect-error: three parts
void run(['a', 'b', 'c'], async () => 1);
// @ts-expect-error: no number
void run(7, async () => 1);

// Middy: the event and the context keep their types.
export const middyfied = middy<SQSEvent, string[]>()
  .use(idempotency({ key: 'Records[].messageId', waitMs: 1000 }))
  .handler(async (event, context) => event.Records.map(({ messageId }) => `${messageId} ${context.awsRequestId.length}`));
// @ts-expect-error: the event has no such member
middy<SQSEvent>().use(idempotency()).handler(async (event) => event.Record);
// @ts-expect-error: the context has no such member
middy<SQSEvent>().use(idempotency()).handler(async (event, context) => context.requestId);
middy<Job>().use([idempotency(), idempotency<Job>({ key: (event, context: Context) => `${event.JobId} ${context.awsRequestId}` })]);

// Errors carry what they say they do.
try {
  await Promise.all([receipt, text, sum, lambda]);
} catch (error) {
  if (error instanceof InProgressError) console.log(error.requestId?.length, error.retryAfterMs.toFixed());
  else if (error instanceof FailedError) console.log(error.type.length, error.message.length);
  else if (error instanceof ClaimLostError) console.log(error.result, error.code?.length, error.detail.length);
  else if (error instanceof UnavailableError) console.log(error.retryAfterMs?.toFixed());
  else if (error instanceof ProblemError) console.log(error.status?.toFixed());
  else if (error instanceof IdempotencyError) console.log(error.stack);
}
// @ts-expect-error: the base of the others
new IdempotencyError('x');
console.log(new InProgressError({ retryAfterMs: 5 }), new UnavailableError({ detail: 'x', retryAfterMs: 5 }));
