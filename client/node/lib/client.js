'use strict';

const fs = process.getBuiltinModule?.('node:fs') ?? require('node:fs');
const { checkJSON, checkNames, resultJSON, wholeNumber } = require('./checks.js');
const { Connections, LateError, NotHTTPError, host } = require('./http.js');

// The base of all errors of this package.
class IdempotencyError extends Error {}

// Another run holds the key.
class InProgressError extends IdempotencyError {
  constructor({ requestId, retryAfterMs, leaseExpiresAt }) {
    super(`the work is in progress in request ${requestId ?? 'unknown'}; ask again in ${retryAfterMs} ms`);
    this.requestId = requestId;
    this.retryAfterMs = retryAfterMs;
    this.leaseExpiresAt = leaseExpiresAt;
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

const problems = { payload_mismatch: PayloadMismatchError, claim_lost: ClaimLostError };

// The verbs of the sidecar's API. May be called at the same time.
class Client {
  #port;
  #authToken;
  #timeoutMs;
  #logger;
  #connections = new Connections();

  constructor(options = {}) {
    checkNames('Client', options, ['port', 'authToken', 'timeoutMs', 'logger']);
    this.#port = options.port;
    this.#authToken = options.authToken;
    this.#timeoutMs = wholeNumber('timeoutMs', options.timeoutMs) ?? 15_000;
    this.#logger = options.logger ?? undefined;
    // Told now: it is needed only where something else went wrong already.
    if (this.#logger !== undefined && typeof this.#logger.warn !== 'function') throw new TypeError('Client: logger takes an object with a method warn');
  }

  // Asks for the claim on a key. Resolves to an outcome, to be told apart by its status.
  async acquire(request) {
    const body = acquireBody(request);
    if (isDisabled()) return granted(body);
    return this.#call('/acquire', JSON.stringify(body), request.waitMs);
  }

  // Ends a claim with a result, which duplicates get; undefined is stored as null.
  async complete(token, result, options = {}) {
    checkNames('complete', options, ['ttlSeconds']);
    const ttl = wholeNumber('ttlSeconds', options.ttlSeconds);
    const members = JSON.stringify({ token: token ?? null, ttl_seconds: ttl });
    const body = `${members.slice(0, -1)},"result":${resultJSON(result)}}`;
    if (isDisabled()) return { status: 'completed', unprotected: true };
    return this.#call('/complete', body);
  }

  // Ends the claim of work that failed. The key is free again; with retry false the failure is final.
  async fail(token, error, options = {}) {
    checkNames('fail', options, ['retry']);
    const retry = options.retry ?? true;
    if (isDisabled()) return { status: retry ? 'released' : 'failed', unprotected: true };
    return this.#call('/fail', JSON.stringify(failBody(token, error, retry)));
  }

  // Gives a held claim a new lease, never a shorter one.
  async renew(token, options = {}) {
    checkNames('renew', options, ['leaseMs']);
    const leaseMs = wholeNumber('leaseMs', options.leaseMs);
    if (isDisabled()) return { status: 'acquired', leaseExpiresAt: Date.now() + (leaseMs ?? 0), unprotected: true };
    return this.#call('/renew', JSON.stringify({ token, lease_ms: leaseMs }));
  }

  // For the wrappers: something went wrong that the caller is not told of otherwise.
  warn(message) {
    (this.#logger ?? console).warn(`lambda-idempotency: ${message}`);
  }

  // For the batch helper: posts the JSON texts of items. Resolves to an answer for each: its members, or a problem as an
  // error.
  async batch(path, texts) {
    const { members, url } = await this.#send(path, `{"items":[${texts.join(',')}]}`);
    const { items } = members ?? {};
    if (!Array.isArray(items) || items.length !== texts.length) {
      throw new ProblemError({ status: 200, detail: `${url} did not answer as the sidecar does; is something else on that port?` });
    }
    return items.map((item) => {
      // Nothing but a problem has a code.
      if (typeof item?.code === 'string') return problemOf({ ...item, retryAfterMs: item.retry_after_ms });
      return camelCased(item ?? {});
    });
  }

  async #call(path, body, waitMs) {
    const { members, answer, url } = await this.#send(path, body, waitMs);
    if (typeof members?.status === 'string') return camelCased(members);
    throw problem(answer, members, url);
  }

  // Resolves to the members of an answer that is none of a problem.
  async #send(path, body, waitMs = 0) {
    const port = String(this.#port ?? (process.env.IDEMPOTENCY_PORT || 2774)).trim(); // It becomes part of a header.
    const secret = this.#authToken ?? (process.env.IDEMPOTENCY_AUTH_TOKEN || process.env.AWS_SESSION_TOKEN || process.env.AWS_CONTAINER_AUTHORIZATION_TOKEN);
    const timeoutMs = waitMs + this.#timeoutMs;
    let answer;
    try {
      answer = await this.#connections.post(port, path, secret, body, timeoutMs, waitMs > 0);
    } catch (error) {
      throw explain(error, port, path, timeoutMs);
    }
    let members;
    try {
      members = JSON.parse(answer.text);
    } catch {
      // Told below.
    }
    const url = `http://127.0.0.1:${port}${path}`;
    if (answer.status !== 200) throw problem(answer, members, url);
    return { members, answer, url };
  }
}

const acquireNames = [
  'key', 'event', 'keyJmespath', 'payload', 'scope', 'ttlSeconds', 'waitMs', 'context', 'requestId', 'deadlineMs',
  'leaseMs', 'detached', 'clientToken',
];

// What an acquire sends.
function acquireBody(request) {
  checkNames('acquire', request, acquireNames);
  const { context, event, key, payload } = request;
  const body = {
    key,
    event,
    key_jmespath: request.keyJmespath,
    payload,
    scope: request.scope,
    ttl_seconds: wholeNumber('ttlSeconds', request.ttlSeconds),
    deadline_ms: wholeNumber('deadlineMs', request.deadlineMs),
    lease_ms: wholeNumber('leaseMs', request.leaseMs),
    request_id: request.requestId ?? context?.awsRequestId,
    client_token: request.clientToken ?? newClientToken(),
    detached: request.detached,
    wait_ms: wholeNumber('waitMs', request.waitMs),
  };
  if (body.deadline_ms === undefined && body.lease_ms === undefined) body.deadline_ms = deadlineOf(context);
  if ('key' in request) checkJSON(key, 'the key');
  if ('event' in request) checkJSON(event, 'the event');
  if (body.scope !== undefined) checkJSON(body.scope, 'the scope');
  if (payload !== undefined) checkJSON(payload, 'the payload');
  return body;
}

// What a fail sends.
function failBody(token, error, retry) {
  return { token, error: describe(error), retry };
}

// The outcome where no sidecar is called.
function granted(body) {
  return { status: 'acquired', token: 'disabled', fence: 0, attempt: 1, leaseExpiresAt: body.deadline_ms ?? Date.now(), unprotected: true };
}

function isDisabled() {
  return process.env.IDEMPOTENCY_DISABLED === 'true';
}

// Copies of a snapshot begin with the same memory, so random numbers must not come from a store of them; and the clock
// tells apart even copies of one random generator.
// https://docs.aws.amazon.com/lambda/latest/dg/snapstart-uniqueness.html
function newClientToken() {
  return `${randomText()}-${process.hrtime.bigint().toString(36)}`;
}

const random = Buffer.alloc(16);

// A random text from the system's own file, or where there is none, from node:crypto, which takes as long to load as all of
// this package.
function randomText() {
  try {
    const file = fs.openSync('/dev/urandom');
    try {
      if (fs.readSync(file, random) === random.length) return random.toString('base64url');
    } finally {
      fs.closeSync(file);
    }
  } catch {
    // As on Windows.
  }
  return (process.getBuiltinModule?.('node:crypto') ?? require('node:crypto')).randomUUID({ disableEntropyCache: true });
}

// When the invocation ends, in epoch milliseconds, if the context tells.
function deadlineOf(context) {
  const left = context?.getRemainingTimeInMillis?.();
  return Number.isFinite(left) && left > 0 ? Math.floor(Date.now() + left) : undefined; // Emulators may have no limit.
}

// The type and message of anything that can be thrown.
function describe(error) {
  if (error === undefined) return undefined;
  try {
    if (typeof error !== 'object' || error === null) return { type: typeof error, message: clean(error) };
    // A class that extends Error without a name of its own is told by the class's.
    const name = error.name === 'Error' ? error.constructor?.name : error.name;
    return { type: clean(name ?? error.type ?? 'Error'), message: clean(error.message ?? error) };
  } catch {
    return { type: 'Error', message: 'the error cannot be put into words' };
  }
}

// The sidecar keeps less, and takes no lone surrogates.
function clean(text) {
  return String(text).slice(0, 4096).toWellFormed();
}

// The members of an answer by their names in JavaScript. What was stored stays as it is.
function camelCased(members) {
  return Object.fromEntries(Object.entries(members).map(([name, value]) => [name.replace(/_([a-z])/g, (_, c) => c.toUpperCase()), value]));
}

// What a call that was not answered means.
function explain(error, port, path, timeoutMs) {
  const cause = { cause: error };
  const url = `http://${host}:${port}`;
  if (error instanceof LateError) return new UnavailableError({ detail: `${url}${path} did not answer within ${timeoutMs / 1000} s` }, cause);
  if (error.code === 'ECONNREFUSED') return new UnavailableError({ detail: `no sidecar at ${url}: is the layer attached, or the local server started?` }, cause);
  if (error instanceof NotHTTPError) return new ProblemError({ detail: `what answers at ${url} does not speak HTTP; is something else on that port?` }, cause);
  if (error.syscall || error.code === 'ECONNRESET') return new UnavailableError({ detail: `${url}${path}: ${error.message}` }, cause);
  return error; // A port that Node.js refuses.
}

function problem({ status, headers }, members, url) {
  const { code, detail } = members ?? {};
  if (typeof code !== 'string') {
    return new ProblemError({ status, detail: `${url} answered ${status}, but not as the sidecar does; is something else on that port?` });
  }
  const seconds = Number(headers['retry-after'] ?? NaN);
  return problemOf({ status, code, detail, retryAfterMs: Number.isFinite(seconds) ? seconds * 1000 : undefined });
}

// A problem as the error that it is known by.
function problemOf({ status, code, detail, retryAfterMs }) {
  if (status === 503) return new UnavailableError({ status, code, detail, retryAfterMs });
  return new (problems[code] ?? ProblemError)({ status, code, detail });
}

let shared;

// The client of all calls that name none, so that they share their connections.
function sharedClient() {
  return (shared ??= new Client());
}

module.exports = { Client, acquireBody, errors, failBody, granted, isDisabled, sharedClient };
