// A queue's batch with the client's batch helper.
import { idempotentBatch } from 'lambda-idempotency';
import { recordWork } from './work.mjs';

export const sqs = idempotentBatch(async (record) => { recordWork(record); });
