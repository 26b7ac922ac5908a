import { IdempotencyConfig, makeIdempotent } from '@aws-lambda-powertools/idempotency';
import { DynamoDBPersistenceLayer } from '@aws-lambda-powertools/idempotency/dynamodb';
import { work } from './work.mjs';

export const handler = makeIdempotent(async (event) => work(event), {
  persistenceStore: new DynamoDBPersistenceLayer({ tableName: process.env.POWERTOOLS_TABLE }),
  config: new IdempotencyConfig({ eventKeyJmesPath: '[JobId, ObjKey]' }),
});
