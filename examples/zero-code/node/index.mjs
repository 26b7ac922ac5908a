// Ships an order. It knows nothing of idempotency.
import { appendFile } from "node:fs/promises";

export const handler = async (event, context) => {
  if (event.fail) throw new Error("the carrier did not answer");
  await appendFile(process.env.SHIPPED, event.order + "\n");
  return { order: event.order, tracking: context.awsRequestId };
};
