import { idempotent } from 'lambda-idempotency';
import { work } from './work.mjs';

export const handler = idempotent(async (event) => work(event), { key: '[JobId, ObjKey]' });
