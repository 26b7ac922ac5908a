import { recordWork, work } from './work.mjs';

export const handler = async (event) => work(event);

export const sqs = async (event) => {
  event.Records.forEach(recordWork);
  return { batchItemFailures: [] };
};
