'use strict';

const { NotJSONError, checkOptions, isFinal } = require('./checks.js');
const { errors, sharedClient } = require('./client.js');

const { ClaimLostError, FailedError, InProgressError, ProblemError, ResultError } = errors;

const streaming = Symbol.for('aws.lambda.runtime.handler.streaming'); // Set by awslambda.streamifyResponse.

// The right to do the work of a key, held while the work runs.
class Claim {
  #client;
  #token;

  constructor(client, outcome) {
    this.#client = client;
    this.#token = outcome.token;
    this.fence = outcome.fence;
    this.attempt = outcome.attempt;
    this.previousError = outcome.previousError;
    this.leaseExpiresAt = outcome.leaseExpiresAt;
    this.unprotected = outcome.unprotected === true;
  }

  // A secret: whoever has it can end the claim. An accessor, so that it is in no log of the claim.
  get token() {
    return this.#token;
  }

  // Gives the claim a new lease, never a shorter one.
  async renew(options) {
    const { leaseExpiresAt } = await this.#client.renew(this.#token, options);
    this.leaseExpiresAt = leaseExpiresAt;
  }
}

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

// Claims by the context of the invocation that holds them. An AsyncLocalStorage would make every await of the process
// slower before Node.js 24.
const claims = new WeakMap();

// The claim that the handler of this context holds, or undefined.
function claimOf(context) {
  return claims.get(context);
}

function remember(context, claim) {
  if (typeof context === 'object' && context !== null) claims.set(context, claim);
}

// Makes an async handler run once per key.
function idempotent(handler, options = {}) {
  refuse('idempotent', handler);
  checkHandlerOptions('idempotent', options);
  const { finalErrors, client } = options;
  // Two parameters: Lambda's runtime takes a third one for a callback.
  return async function idempotentHandler(event, context, ...others) {
    if (typeof context?.write === 'function') throw new TypeError(`idempotent: this handler was called to stream its response${cannotStream}`);
    const request = await requestOf(event, context, options);
    return protect(request, { finalErrors, client }, (claim) => {
      remember(context, claim);
      // Lambda's callback would end the invocation behind our back.
      const returned = handler.call(this, event, context, ...others.filter((other) => typeof other !== 'function'));
      if (returned === undefined) throw new TypeError(`idempotent: the handler returned neither a promise nor a value${cannotCallBack}`);
      return returned;
    });
  };
}

const cannotCallBack = '; one that answers through a callback or the context cannot be protected: make it async and return the result';
const cannotStream = ', which cannot be stored; put run(key, work) around the part of it that must not be done twice';

function refuse(of, handler) {
  if (typeof handler !== 'function') throw new TypeError(`${of}: the handler is a ${typeof handler}; it takes an async function (${of === 'idempotent' ? 'event' : 'record'}, context)`);
  if (handler[streaming] !== undefined) throw new TypeError(`${of}: the handler streams its response${cannotStream}`);
  if (handler.length > 2) throw new TypeError(`${of}: the handler has ${handler.length} parameters${cannotCallBack}, with the parameters (${of === 'idempotent' ? 'event' : 'record'}, context)`);
}

function checkHandlerOptions(of, options, names) {
  checkOptions(of, options, ['key'], names);
  const { key, payload } = options;
  if (key !== undefined && typeof key !== 'string' && typeof key !== 'function') throw new TypeError(`${of}: key takes a JMESPath expression, or a function that makes the key of the event`);
  if (payload !== undefined && typeof payload !== 'function') throw new TypeError(`${of}: payload takes a function that makes the payload of the event`);
}

// The acquire for an invocation.
async function requestOf(event, context, { key, payload, finalErrors, client, ...request }) {
  request.context = context;
  if (typeof key === 'function') {
    request.key = await key(event, context);
  } else {
    request.event = event;
    request.keyJmespath = key;
  }
  if (payload) request.payload = (await payload(event, context)) ?? null; // What is missing is a payload, too.
  return request;
}

module.exports = {
  Claim, begin, checkHandlerOptions, claimOf, done, failed, idempotent, mayRepeat, refusal, refuse, remember, requestOf, run,
};
