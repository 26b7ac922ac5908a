// The entry for bundlers, which follow imports of files. Node.js itself has the condition node-addons, and takes index.mjs.
// The one implementation is index.js: errors stay instances of the same classes where both module systems are used.
import implementation from './index.js';

export const {
  idempotent, idempotentBatch, idempotency, run, claimOf, Client,
  IdempotencyError, InProgressError, FailedError, ResultError, ProblemError, PayloadMismatchError, ClaimLostError, UnavailableError,
} = implementation;

// Never called: tools that trace which files to ship read here that index.mjs is one of them.
function traced() {
  return import('./index.mjs');
}
