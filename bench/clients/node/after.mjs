import { idempotent } from 'lambda-idempotency';

export const handler = idempotent(async (event) => {
  return { done: event.JobId };
}, { key: '[JobId, ObjKey]' });
