// The entry for bundlers, which follow imports of files.
// The one implementation is index.js: errors stay instances of the same classes where both module systems are used.
import implementation from './index.js';

export const {
  idempotent, idempotentBatch, idempotency, run, claimOf, Client,
  IdempotencyError, InProgressError, FailedError, ResultError, ProblemError, PayloadMismatchError, ClaimLostError, UnavailableError,
} = implementation;
