/** Runs the work of an AWS Lambda function once per key, through the lambda-idempotency extension. */

/** A string, or a pair of strings. */
export type Key = string | readonly [string, string];

/** What is used of Lambda's context. */
export interface InvocationContext {
  readonly awsRequestId?: string;
  getRemainingTimeInMillis?(): number;
}

/** The failure of a run. */
export interface Failure {
  readonly type: string;
  readonly message: string;
}

/** The right to do the work of a key, held while the work runs. */
export interface Claim {
  /** A number that only grows for a key: hand it to a downstream store to keep out a late writer. */
  readonly fence: number;
  /** The number of this run, from 1. */
  readonly attempt: number;
  /** Why the run before this one failed, if it did. */
  readonly previousError: Failure | undefined;
  /** Until when the claim holds, in epoch milliseconds. */
  readonly leaseExpiresAt: number;
  /** Whether nothing keeps a second run out: the store is away and the settings let the work run all the same. */
  readonly unprotected: boolean;
  /** A secret: whoever has it can end the claim. */
  readonly token: string;
  /** Gives the claim a new lease, never a shorter one. Rejects with a ClaimLostError if another run has the key. */
  renew(options?: RenewOptions): Promise<void>;
}

/** Which errors make a failure final, so that the work is not run again. */
export type FinalErrors = readonly (abstract new (...args: any[]) => unknown)[] | ((error: any) => boolean);

export interface Options {
  /** Keeps work of different kinds apart. Default: the sidecar's, which is the function's name. */
  scope?: string | undefined;
  /** Seconds for which the outcome is remembered, counted from its end. Default: IDEMPOTENCY_TTL of the sidecar, 24 h. */
  ttlSeconds?: number | undefined;
  /** Milliseconds to wait for the end of another run that holds the key. Default: 0. */
  waitMs?: number | undefined;
  /** Milliseconds for which the claim holds. Default: until the invocation's deadline. */
  leaseMs?: number | undefined;
  /** Error classes, or a function, that make a failure final. Default: none is. */
  finalErrors?: FinalErrors | undefined;
  /** Another client than the one that all calls share. */
  client?: Client | undefined;
}

export interface HandlerOptions<TEvent = any, TContext = any> extends Options {
  /**
   * JMESPath that selects the key from the event, or a function that makes the key of it. Default: the sidecar's
   * IDEMPOTENCY_KEY_JMESPATH, else the whole event.
   */
  key?: string | ((event: TEvent, context: TContext) => Key | Promise<Key>) | undefined;
  /** Makes the payload: a duplicate with another payload is refused with a PayloadMismatchError. */
  payload?: ((event: TEvent, context: TContext) => unknown) | undefined;
}

export interface RunOptions extends Options {
  /** Any JSON: a duplicate with another payload is refused with a PayloadMismatchError. */
  payload?: unknown;
  /** Lambda's context, which gives requestId and deadlineMs. */
  context?: InvocationContext | undefined;
  /** The invocation's id; lets the sidecar free the key when the handler ends without a word. */
  requestId?: string | undefined;
  /** When the invocation ends, in epoch milliseconds. */
  deadlineMs?: number | undefined;
}

/**
 * Makes an async handler run once per key. A duplicate gets the first run's result, as JSON kept it.
 *
 * Throws a TypeError for a handler that takes a callback or streams its response, and for options that do not exist.
 */
export function idempotent<TEvent, TResult, TContext = InvocationContext>(
  handler: (event: TEvent, context: TContext) => TResult | Promise<TResult>,
  options?: HandlerOptions<TEvent, TContext>,
): (event: TEvent, context: TContext) => Promise<TResult>;

/** What is read of a record of SQS. */
export interface SQSRecord {
  readonly messageId: string;
}

/** The answer that tells SQS which records come again. */
export interface SQSBatchResponse {
  batchItemFailures: { itemIdentifier: string }[];
}

export interface BatchOptions<TRecord = any, TContext = any> {
  /** JMESPath that selects the key from a record, or a function that makes the key of it. Default: the messageId. */
  key?: string | ((record: TRecord, context: TContext) => Key | Promise<Key>) | undefined;
  /** Makes the payload: a duplicate with another payload is reported as failed. */
  payload?: ((record: TRecord, context: TContext) => unknown) | undefined;
  /** Keeps work of different kinds apart. Default: the sidecar's, which is the function's name. */
  scope?: string | undefined;
  /** Seconds for which the outcome is remembered, counted from its end. Default: IDEMPOTENCY_TTL of the sidecar, 24 h. */
  ttlSeconds?: number | undefined;
  /** Error classes, or a function, that make a failure final. Default: none is. */
  finalErrors?: FinalErrors | undefined;
  /** Another client than the one that all calls share. */
  client?: Client | undefined;
}

/**
 * Makes of an async function a handler for batches of SQS, which runs it once per record, one after the other, and
 * reports the records that are not done. The event source mapping has to have ReportBatchItemFailures.
 *
 * Throws a TypeError for a function that takes a callback or streams, and for options that do not exist.
 */
export function idempotentBatch<TRecord extends SQSRecord, TContext = InvocationContext>(
  handleRecord: (record: TRecord, context: TContext) => unknown,
  options?: BatchOptions<TRecord, TContext>,
): (event: { Records: TRecord[] }, context: TContext) => Promise<SQSBatchResponse>;

/** Runs work once per key and resolves to its result. A duplicate gets the first run's result, as JSON kept it. */
export function run<TResult>(key: Key, work: (claim: Claim) => TResult | Promise<TResult>, options?: RunOptions): Promise<TResult>;

/** The claim that the handler of this context holds, or undefined. */
export function claimOf(context: unknown): Claim | undefined;

/** A Middy middleware. */
export interface Middleware<TEvent = unknown> {
  name: string;
  before(request: MiddyRequest<TEvent>): Promise<any>;
  after(request: MiddyRequest<TEvent>): Promise<void>;
  onError(request: MiddyRequest<TEvent>): Promise<void>;
}

/** What is used of Middy's request. */
export interface MiddyRequest<TEvent = unknown> {
  event: TEvent;
  context: MiddyContext;
  response: any;
  error: any;
}

/** What Lambda's context always has. Middy makes its handler's type of it, so that it must not be less. */
export interface MiddyContext {
  callbackWaitsForEmptyEventLoop: boolean;
  functionName: string;
  functionVersion: string;
  invokedFunctionArn: string;
  memoryLimitInMB: string;
  awsRequestId: string;
  logGroupName: string;
  logStreamName: string;
  getRemainingTimeInMillis(): number;
  done(error?: Error, result?: any): void;
  fail(error: Error | string): void;
  succeed(messageOrObject: any): void;
  succeed(message: string, object: any): void;
}

/** Makes a Middy middleware that has its handler run once per key. */
export function idempotency<TEvent = unknown>(options?: HandlerOptions<TEvent>): Middleware<TEvent>;

export interface ClientOptions {
  /** Default: IDEMPOTENCY_PORT, else 2774, read at each call. */
  port?: number | string | undefined;
  /** Default: IDEMPOTENCY_AUTH_TOKEN, AWS_SESSION_TOKEN or AWS_CONTAINER_AUTHORIZATION_TOKEN, read at each call. */
  authToken?: string | undefined;
  /** Milliseconds after which a call is given up; an acquire, after its wait besides. Default: 15,000. */
  timeoutMs?: number | undefined;
  /** Where warnings go. Default: console. */
  logger?: { warn(message: string): void } | undefined;
}

export interface AcquireRequest {
  /** Either this, or event. */
  key?: Key | undefined;
  /** What the sidecar selects the key from. */
  event?: unknown;
  /** JMESPath. Default: the sidecar's IDEMPOTENCY_KEY_JMESPATH, else the whole event. */
  keyJmespath?: string | undefined;
  payload?: unknown;
  scope?: string | undefined;
  ttlSeconds?: number | undefined;
  waitMs?: number | undefined;
  /** Lambda's context, which gives requestId and deadlineMs. */
  context?: InvocationContext | undefined;
  requestId?: string | undefined;
  /** When the invocation ends, in epoch milliseconds; the claim holds until then. */
  deadlineMs?: number | undefined;
  /** Milliseconds for which the claim holds, instead of a deadline. */
  leaseMs?: number | undefined;
  /** The claim outlives this invocation: for work that is handed on. Needs leaseMs. */
  detached?: boolean | undefined;
  /** Random per call, 16 to 128 bytes; the same call sent again with it gets the same claim. Default: a new one. */
  clientToken?: string | undefined;
}

export interface CompleteOptions {
  /** Seconds for which the result is remembered. Default: as the acquire had it. */
  ttlSeconds?: number | undefined;
}

export interface FailOptions {
  /** Whether the key is free for another run; false makes the failure final. Default: true. */
  retry?: boolean | undefined;
}

export interface RenewOptions {
  /** Milliseconds from now. Default: until the invocation's deadline. */
  leaseMs?: number | undefined;
}

/** The answer to an acquire. Times are in epoch milliseconds. */
export type Outcome = Acquired | Completed | Failed | InProgress;

export interface Acquired {
  status: 'acquired';
  token: string;
  fence: number;
  attempt: number;
  leaseExpiresAt: number;
  previousError?: Failure;
  unprotected?: true;
}

export interface Completed {
  status: 'completed';
  result?: any;
  resultOmitted?: true;
  completedAt?: number;
  requestId?: string;
}

export interface Failed {
  status: 'failed';
  error: Failure;
  failedAt?: number;
  requestId?: string;
}

export interface InProgress {
  status: 'in_progress';
  retryAfterMs: number;
  leaseExpiresAt: number;
  requestId?: string;
}

/** The verbs of the sidecar's API. May be called at the same time. They reject with a ProblemError. */
export class Client {
  #private; // The helpers need more of it than the verbs.
  constructor(options?: ClientOptions);
  /** Asks for the claim on a key. */
  acquire(request: AcquireRequest): Promise<Outcome>;
  /** Ends a claim with a result, which duplicates get; undefined is stored as null. */
  complete(token: string, result?: unknown, options?: CompleteOptions): Promise<{ status: 'completed'; unprotected?: true }>;
  /** Ends the claim of work that failed, with what was thrown. */
  fail(token: string, error?: unknown, options?: FailOptions): Promise<{ status: 'released' | 'failed'; unprotected?: true }>;
  /** Gives a held claim a new lease, never a shorter one. */
  renew(token: string, options?: RenewOptions): Promise<{ status: 'acquired'; leaseExpiresAt: number; unprotected?: true }>;
}

/** The base of all errors of this package. */
export abstract class IdempotencyError extends Error {}

/** Another run holds the key. */
export class InProgressError extends IdempotencyError {
  constructor(members: { requestId?: string; retryAfterMs: number; leaseExpiresAt?: number });
  /** The invocation that holds it, if known. */
  readonly requestId: string | undefined;
  /** Milliseconds after which it may be worth to ask again. */
  readonly retryAfterMs: number;
  /** When that claim lapses by itself, in epoch milliseconds, if known. */
  readonly leaseExpiresAt: number | undefined;
}

/** An earlier run failed for good. The message is that failure's own. */
export class FailedError extends IdempotencyError {
  constructor(failure: Failure);
  /** The type of that failure. */
  readonly type: string;
}

/** The work is done, but what it returned is no JSON. It is not run again; duplicates get null. */
export class ResultError extends IdempotencyError {
  constructor(reason: string, result: unknown, options?: { cause?: unknown });
  /** Why the result cannot be stored. */
  readonly reason: string;
  /** What the work returned. */
  readonly result: unknown;
}

export interface ProblemMembers {
  status?: number | undefined;
  code?: string | undefined;
  detail: string;
}

/** The call was not answered as asked. */
export class ProblemError extends IdempotencyError {
  constructor(members: ProblemMembers, options?: { cause?: unknown });
  /** The HTTP status, if anything was answered. */
  readonly status: number | undefined;
  /** The sidecar's stable code, if it was the sidecar that answered. */
  readonly code: string | undefined;
  /** What is wrong, for people. */
  readonly detail: string;
}

/** The key was used with another payload. */
export class PayloadMismatchError extends ProblemError {}

/** The claim lapsed and another run took the key, or ended it. */
export class ClaimLostError extends ProblemError {
  /** What the work returned, where it was done. */
  readonly result: unknown;
}

/** No sidecar, no answer, or no store. */
export class UnavailableError extends ProblemError {
  constructor(members: ProblemMembers & { retryAfterMs?: number | undefined }, options?: { cause?: unknown });
  /** Milliseconds after which to try again, if the answer said so. */
  readonly retryAfterMs: number | undefined;
}
