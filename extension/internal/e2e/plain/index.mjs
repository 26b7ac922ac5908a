// A handler for the end-to-end tests of the runtime proxy, which knows nothing of
// idempotency. It does what main.go does.
import { existsSync } from "node:fs";

if (process.env.FAIL_INIT) throw new Error("the init fails");

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export const handler = async ({ order, do: what }, context) => {
  console.log(`run of ${order}: ${what}`);
  const answer = { order, request: context.awsRequestId };
  switch (what) {
    case "error":
      throw new Error("the carrier did not answer");
    case "exit":
      process.exit(1);
    case "sleep":
      await sleep(60_000);
      break;
    case "gate":
      while (!existsSync(process.env.GATE)) await sleep(5);
      break;
    case "large":
      answer.pad = "x".repeat((6 << 20) - 200);
      break;
    case "huge":
      answer.pad = "x".repeat(7 << 20);
      break;
    case "nothing":
      return null;
  }
  return answer;
};
