'use strict';

// The work: put your own here. What it returns has to fit JSON; an error frees the
// job, so that Lambda's retry does it. claimOf(context) of lambda-idempotency is the
// claim that it runs under.
exports.work = async (event, context) => {
  if (!event.ObjKey.includes('/')) throw new Error(`ObjKey ${event.ObjKey} has no bucket`);
  return { processed: event.ObjKey };
};
