'use strict';

// The base of all errors of this package.
class IdempotencyError extends Error {}

// Another run holds the key.
class InProgressError extends IdempotencyError {
  constructor({ requestId, retryAfterMs }) {
    super(`the work is in progress in request ${requestId ?? 'unknown'}; ask again in ${retryAfterMs} ms`);
    this.requestId = requestId;
    this.retryAfterMs = retryAfterMs;
  }
}

// An earlier run failed for good. The message is that failure's own.
class FailedError extends IdempotencyError {
  constructor({ type, message }) {
    super(message);
    this.type = type;
  }
}

// The work is done, but what it returned is no JSON.
class ResultError extends IdempotencyError {
  constructor(reason, result, options) {
    super(`the work is done and will not be run again, but its result is not stored and duplicates get null: ${reason}`, options);
    this.reason = reason;
    // Not enumerable: a result may be large or confidential, and errors are logged.
    Object.defineProperty(this, 'result', { value: result, configurable: true, writable: true });
  }
}

// The call was not answered as asked. docs/problems.md says of each code what to do.
class ProblemError extends IdempotencyError {
  constructor({ status, code, detail }, options) {
    super(code === undefined ? detail : `${code}: ${detail}`, options);
    this.status = status;
    this.code = code;
    this.detail = detail;
  }
}

// The key was used with another payload.
class PayloadMismatchError extends ProblemError {}

// The claim lapsed and another run took the key, or ended it.
class ClaimLostError extends ProblemError {
  constructor(problem, options) {
    super(problem, options);
    Object.defineProperty(this, 'result', { value: undefined, configurable: true, writable: true });
  }
}

// No sidecar, no answer, or no store.
class UnavailableError extends ProblemError {
  constructor(problem, options) {
    super(problem, options);
    this.retryAfterMs = problem.retryAfterMs;
  }
}

const errors = {
  IdempotencyError, InProgressError, FailedError, ResultError, ProblemError, PayloadMismatchError, ClaimLostError, UnavailableError,
};

// Where Error has it: on the prototype, not among the members that are logged. Written out, for minifiers.
for (const [name, type] of Object.entries(errors)) {
  Object.defineProperty(type.prototype, 'name', { value: name, configurable: true, writable: true });
}

module.exports = errors;
