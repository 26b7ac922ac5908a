'use strict';

const { acquireBody, errors, failBody, granted, isDisabled, sharedClient } = require('./client.js');
const { Claim, checkHandlerOptions, mayRepeat, refusal, refuse, remember, requestOf } = require('./wrappers.js');

const { ClaimLostError, IdempotencyError, InProgressError, ProblemError, UnavailableError } = errors;

// What one call takes. The sidecar takes some more bytes, for what is around the items.
const mostItems = 1000;
const mostBytes = 6 * 1024 * 1024;
// How many records a warning names.
const mostTold = 20;

// A record was claimed and not run; its claim is given back.
class HeldBackError extends IdempotencyError {}

const outOfOrder = 'an item before it in its group is not done';
const outOfTime = 'the time left may not be enough for it';

const optionNames = ['payload', 'scope', 'ttlSeconds', 'finalErrors', 'client'];

// Makes of an async function (record, context) a handler for batches of SQS, which runs it once per record.
function idempotentBatch(handleRecord, options = {}) {
  refuse('idempotentBatch', handleRecord);
  checkHandlerOptions('idempotentBatch', options, optionNames);
  const { finalErrors } = options;
  return async function idempotentBatchHandler(event, context) {
    const client = options.client ?? sharedClient();
    const tasks = recordsOf(event).map((record) => new Task(record));
    const limit = new Limit(context, tasks.length);
    await acquireAll(client, tasks, (record) => requestOfRecord(record, context, options));
    const stopped = new Set();
    for (const task of tasks) {
      if (task.claim) {
        if (stopped.has(task.group)) task.failWith(new HeldBackError(outOfOrder));
        else if (limit.isNear()) task.failWith(new HeldBackError(outOfTime));
        else await limit.time(() => task.run(context, () => handleRecord.call(this, task.record, context)));
      }
      if (task.group !== undefined && task.fate().failed) stopped.add(task.group);
    }
    if (!isDisabled()) await endAll(client, tasks, finalErrors);
    return report(client, tasks);
  };
}

function recordsOf(event) {
  const records = event?.Records;
  if (!Array.isArray(records)) throw new TypeError('idempotentBatch takes events of SQS, and this one has no Records');
  const other = records.findIndex((record) => typeof record?.messageId !== 'string' || record.messageId === '');
  if (other >= 0) throw new TypeError(`idempotentBatch takes events of SQS, and record ${other} of this one has no messageId`);
  return records;
}

async function requestOfRecord(record, context, options) {
  if (options.key !== undefined) return requestOf(record, context, options);
  return requestOf(record, context, { ...options, key: () => record.messageId });
}

// A record and what is known of it.
class Task {
  claim; // Without one the record is not to be run.
  first; // The task whose fate this one shares.
  ran = false;
  completed = false; // The work is done, and that was told or tried to be.
  failed = false;
  error; // What kept the record from being done. Anything can be thrown.

  constructor(record) {
    this.record = record;
    this.id = record.messageId;
    // What SQS keeps in order.
    if (String(record.eventSourceARN).endsWith('.fifo')) this.group = String(record.attributes?.MessageGroupId);
  }

  failWith(error) {
    this.failed = true;
    this.error = error;
  }

  async run(context, work) {
    this.ran = true;
    remember(context, this.claim);
    try {
      await work();
    } catch (error) {
      this.failWith(error);
    }
  }

  // The task that tells what became of this one.
  fate() {
    return this.first ? this.first.fate() : this;
  }
}

// Until when records are begun: what has been done must be told in time.
class Limit {
  #until = Infinity;
  #margin = 0;
  #longest = 0;

  constructor(context, records) {
    const left = context?.getRemainingTimeInMillis?.();
    if (!Number.isFinite(left)) return; // Emulators may have no limit.
    this.#until = performance.now() + left;
    this.#margin = Math.min(1000 + records, left / 5);
  }

  isNear() {
    return this.#until - performance.now() < this.#margin + this.#longest;
  }

  async time(work) {
    const began = performance.now();
    await work();
    this.#longest = Math.max(this.#longest, performance.now() - began);
  }
}

// Asks for all claims. Throws if none was answered, or all were refused because the store is away.
async function acquireAll(client, tasks, request) {
  const sending = [];
  for (const task of tasks) {
    try {
      const body = acquireBody(await request(task.record));
      if (isDisabled()) task.claim = new Claim(client, granted(body));
      else sending.push({ task, text: JSON.stringify(body) });
    } catch (error) { // What is wrong with a record is that record's fate.
      task.failWith(error);
    }
  }
  let answered = false;
  let away;
  for (const chunk of chunks(sending)) {
    const of = chunk.map(({ task }) => task);
    let answers;
    try {
      answers = await call(client, '/acquire/batch', chunk);
    } catch (error) {
      for (const task of of) task.failWith(error);
      away ??= error;
      continue;
    }
    answers.forEach((answer, at) => {
      takeIn(client, of, at, answer);
      if (answer instanceof UnavailableError) away ??= answer;
      else answered = true;
    });
  }
  if (away && !answered) throw away;
}

// Takes in the answer to a record's acquire.
function takeIn(client, tasks, at, answer) {
  const task = tasks[at];
  if (answer instanceof ProblemError) {
    // Too large is the stored result, for this answer: the work is done.
    if (answer.code !== 'too_large') task.failWith(answer);
    return;
  }
  const { status, sameAs } = answer;
  if (sameAs !== undefined && !(Number.isInteger(sameAs) && sameAs >= 0 && sameAs < at)) {
    task.failWith(new ProblemError({ status: 200, detail: `the acquire of a batch was not answered as the sidecar does: same_as is ${sameAs}` }));
  } else if (status === 'acquired') {
    task.claim = new Claim(client, answer);
  } else if (status !== 'completed') {
    if (sameAs !== undefined) task.first = tasks[sameAs];
    else task.failWith(refusal(answer));
  }
}

// Ends all claims that are held.
async function endAll(client, tasks, finalErrors) {
  const held = tasks.filter((task) => task.claim);
  const done = held.filter((task) => !task.failed);
  const failed = held.filter((task) => task.failed);
  const unstored = [];
  await sendEnds(client, '/complete/batch', done.map((task) => {
    task.completed = true;
    return { task, text: JSON.stringify({ token: task.claim.token }) };
  }), (task, problem) => {
    if (problem instanceof ClaimLostError) task.failWith(problem);
    else unstored.push(problem);
  });
  // The sidecar goes on trying to store ends that it knows of, and the claims hold until the deadline.
  if (unstored.length > 0) client.warn(`the work of some records is done, but its end is not stored, ${unstored.length} in all: ${unstored[0].message}`);
  const lost = [];
  await sendEnds(client, '/fail/batch', failed.map((task) => {
    // Under this type the runtime proxy gives claims up, too.
    const error = task.ran ? task.error : { type: 'Idempotency.HeldBack', message: task.error.message };
    return { task, text: JSON.stringify(failBody(task.claim.token, error, !task.ran || mayRepeat(client, task.error, finalErrors))) };
  }), (task, problem) => lost.push(problem));
  if (lost.length > 0) client.warn(`the work of some records failed, but that is not stored, ${lost.length} in all: ${lost[0].message}`);
}

async function sendEnds(client, path, sending, tell) {
  for (const chunk of chunks(sending)) {
    let answers;
    try {
      answers = await call(client, path, chunk);
    } catch (error) {
      answers = chunk.map(() => error);
    }
    answers.forEach((answer, at) => {
      if (answer instanceof Error) tell(chunk[at].task, answer);
    });
  }
}

function call(client, path, chunk) {
  return client.batch(path, chunk.map(({ text }) => text));
}

// As few calls as there can be.
function* chunks(sending) {
  let chunk = [];
  let size = 0;
  for (const one of sending) {
    const length = Buffer.byteLength(one.text) + 1;
    if (chunk.length > 0 && (chunk.length === mostItems || size + length > mostBytes)) {
      yield chunk;
      chunk = [];
      size = 0;
    }
    chunk.push(one);
    size += length;
  }
  if (chunk.length > 0) yield chunk;
}

// The partial batch response. What it reports is logged: nobody else sees the errors.
function report(client, tasks) {
  const reported = new Set();
  const alike = new Map();
  for (const task of tasks) {
    const { failed, error } = task.fate();
    if (!failed) continue;
    reported.add(task.id);
    if (!task.first && !task.completed && (task.ran || !(error instanceof IdempotencyError))) {
      client.warn(`the record ${task.id} failed, and is reported as a batch item failure: ${textOf(error)}`);
      continue;
    }
    const kind = kindOf(error);
    if (!alike.has(kind)) alike.set(kind, { error, ids: [] });
    alike.get(kind).ids.push(task.id);
  }
  for (const { error, ids } of alike.values()) {
    client.warn(`reported as batch item failures, ${ids.length} in all: ${ids.slice(0, mostTold).join(', ')}${ids.length > mostTold ? ', …' : ''}: ${messageOf(error)}`);
  }
  return { batchItemFailures: [...reported].map((itemIdentifier) => ({ itemIdentifier })) };
}

// Alike are errors of one kind. Anything can be thrown, also what throws when it is asked.
function kindOf(error) {
  try {
    return error instanceof InProgressError ? error.name : (error?.code ?? textOf(error));
  } catch {
    return textOf(error);
  }
}

function messageOf(error) {
  try {
    return String(error?.message ?? error);
  } catch {
    return textOf(error);
  }
}

function textOf(error) {
  try {
    return String(error?.stack ?? error);
  } catch {
    return 'an error that cannot be put into words';
  }
}

module.exports = { idempotentBatch };
