import { BatchProcessor, EventType, processPartialResponse } from '@aws-lambda-powertools/batch';
import { IdempotencyConfig, makeIdempotent } from '@aws-lambda-powertools/idempotency';
import { DynamoDBPersistenceLayer } from '@aws-lambda-powertools/idempotency/dynamodb';
import { recordWork } from './work.mjs';

const processor = new BatchProcessor(EventType.SQS);
const config = new IdempotencyConfig({ eventKeyJmesPath: 'messageId' });
const one = makeIdempotent(async (record) => recordWork(record), {
  persistenceStore: new DynamoDBPersistenceLayer({ tableName: process.env.POWERTOOLS_TABLE }),
  config,
});

export const sqs = async (event, context) => {
  config.registerLambdaContext(context);
  return processPartialResponse(event, one, processor, { context });
};
