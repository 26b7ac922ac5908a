// The entry for Node.js itself. It does not import index.js but requires it: to import it, Node.js first loads a parser of its
// own for the names that a module exports, which takes as long as half of this package.
import { createRequire } from 'node:module';

export const {
  idempotent, idempotentBatch, idempotency, run, claimOf, Client,
  IdempotencyError, InProgressError, FailedError, ResultError, ProblemError, PayloadMismatchError, ClaimLostError, UnavailableError,
} = load();

function load() {
  let require;
  try {
    require = createRequire(import.meta.url);
    require.resolve('./lib/wrappers.js');
  } catch (cause) {
    throw new Error('lambda-idempotency was bundled by its entry for Node.js; have the bundler do without the condition node-addons', { cause });
  }
  return require('./index.js');
}
