'use strict';

const { Claim } = require('./claim.js');
const { sharedClient } = require('./client.js');
const { ClaimLostError, FailedError, InProgressError, ProblemError, ResultError } = require('./errors.js');
const { NotJSONError } = require('./json.js');
const { checkOptions, isFinal } = require('./options.js');

// Runs work(claim) once per key and resolves to its result; a duplicate gets the result of the run that was.
async function run(key, work, options = {}) {
  checkOptions('run', options, ['context', 'requestId', 'deadlineMs']);
  if (typeof work !== 'function') throw new TypeError('run: the work is a function');
  const { finalErrors, client, ...request } = options;
  return protect({ ...request, key }, { finalErrors, client }, work);
}

// Does the acquire, the work, and complete or fail.
async function protect(request, { finalErrors, client = sharedClient() }, work) {
  const begun = await begin(client, request);
  if (!begun.claim) return begun.result;
  let result;
  try {
    result = await work(begun.claim);
  } catch (error) {
    await failed(client, begun.claim, error, finalErrors);
    throw error;
  }
  await done(client, begun.claim, result);
  return result;
}

// Resolves to { claim }, for work that is to be done, or to the { result } of work that was.
async function begin(client, request) {
  const outcome = await client.acquire(request);
  switch (outcome.status) {
    case 'acquired':
      return { claim: new Claim(client, outcome) };
    case 'completed':
      if (outcome.resultOmitted) client.warn('the result of the first run was not stored, because it was too large; this duplicate gets null');
      return { result: outcome.result ?? null };
    default:
      throw refusal(outcome);
  }
}

// The error of an outcome that leaves the work neither to do nor done.
function refusal(outcome) {
  switch (outcome.status) {
    case 'failed':
      return new FailedError(outcome.error);
    case 'in_progress':
      return new InProgressError(outcome);
    default:
      return new ProblemError({ status: 200, detail: `the acquire was answered with the status ${outcome.status}, which this version of the client does not know` });
  }
}

// The work is done. What is thrown here makes Lambda repeat it, or says that it did no good: so little is thrown.
async function done(client, claim, result) {
  try {
    await client.complete(claim.token, result);
  } catch (error) {
    if (error instanceof NotJSONError) {
      await doneWithoutResult(client, claim);
      throw new ResultError(error.message, result, { cause: error });
    }
    if (error instanceof ClaimLostError) {
      error.result = result;
      throw error;
    }
    if (error.status === 400 || error.status === 413) {
      client.warn(`the work is done, but the sidecar does not take its result, and duplicates get null: ${error.message}`);
      await doneWithoutResult(client, claim);
      return;
    }
    client.warn(`the work is done, but its end is not stored: ${error.message}`);
  }
}

async function doneWithoutResult(client, claim) {
  try {
    await client.complete(claim.token);
  } catch (error) {
    client.warn(`the work is done, but its end is not stored: ${error.message}`);
  }
}

// The work failed. Its own error is what counts, whatever becomes of this.
async function failed(client, claim, error, finalErrors) {
  try {
    await client.fail(claim.token, error, { retry: mayRepeat(client, error, finalErrors) });
  } catch (problem) {
    client.warn(`the work failed, but that is not stored: ${problem.message}`);
  }
}

// Whether the work may be run again after an error.
function mayRepeat(client, error, finalErrors) {
  try {
    return !isFinal(error, finalErrors);
  } catch (fault) {
    client.warn(`finalErrors failed, so this error is not final: ${fault?.message}`);
    return true;
  }
}

module.exports = { begin, done, failed, mayRepeat, protect, refusal, run };
