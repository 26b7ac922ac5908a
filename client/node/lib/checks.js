'use strict';

// As deep as the sidecar reads.
const maxDepth = 200;

// Refuses options that do not exist: one that is spelled wrong would protect less than it says.
function checkNames(of, options, known) {
  if (typeof options !== 'object' || options === null) throw new TypeError(`${of}: the options are an object, not ${options === null ? 'null' : `a ${typeof options}`}`);
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new TypeError(`${of}: there is no option ${name}; there are ${known.join(', ')}`);
  }
}

// A number of seconds or milliseconds, or undefined.
function wholeNumber(name, value) {
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) throw new TypeError(`${name} is ${value}; it takes a number, not below 0`);
  return Math.round(value);
}

const shared = ['payload', 'scope', 'ttlSeconds', 'waitMs', 'leaseMs', 'finalErrors', 'client'];

// checkOptions refuses at once what would be refused at the first call, or not at all.
function checkOptions(of, options, names, others = shared) {
  checkNames(of, options, [...names, ...others]);
  for (const name of ['ttlSeconds', 'waitMs', 'leaseMs']) wholeNumber(`${of}: ${name}`, options[name]);
  const { finalErrors } = options;
  const all = Array.isArray(finalErrors) ? finalErrors : [finalErrors ?? Error];
  if (!all.every((entry) => typeof entry === 'function')) throw new TypeError(`${of}: finalErrors takes an array of error classes, or a function that says of an error whether it is final`);
}

// Whether an error makes its run's failure final.
function isFinal(error, finalErrors) {
  if (finalErrors === undefined) return false;
  if (Array.isArray(finalErrors)) return finalErrors.some((type) => error instanceof type);
  if (finalErrors === Error || finalErrors.prototype instanceof Error) return error instanceof finalErrors;
  return Boolean(finalErrors(error));
}

// A value that cannot be sent as JSON.
class NotJSONError extends TypeError {}

// Refuses what JSON has no word for, in what a key or a payload's hash is made of. JSON.stringify would leave it out or
// write it as null or {}, and that would make one key of different work. A member that is undefined counts as absent,
// as everywhere in JavaScript.
function checkJSON(value, path, depth = 0) {
  switch (typeof value) {
    case 'boolean':
      return;
    case 'string':
      if (!value.isWellFormed()) throw new NotJSONError(`${path} holds half of a surrogate pair, which is no character`);
      return;
    case 'number':
      if (!Number.isFinite(value)) throw new NotJSONError(`${path} is ${value}, which JSON cannot express`);
      return;
    case 'undefined':
      throw new NotJSONError(`${path} is undefined, which JSON cannot express`);
    case 'object':
      break;
    default: // bigint, function, symbol
      throw new NotJSONError(`${path} is a ${typeof value}, which JSON cannot express; convert it first`);
  }
  if (value === null) return;
  if (depth > maxDepth) throw new NotJSONError(`${path.slice(0, 80)}… is nested too deeply, or contains itself`);
  if (typeof value.toJSON === 'function') {
    checkJSON(value.toJSON(''), path, depth + 1);
    return;
  }
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) checkJSON(value[i], `${path}[${i}]`, depth + 1);
    return;
  }
  const names = Object.keys(value);
  if (names.length === 0 && !isPlain(value)) {
    // A Map, a Set, a Promise that nobody awaited: {} would be written, whatever is in it.
    throw new NotJSONError(`${path} is a ${value.constructor?.name || 'special object'}, which JSON cannot express; convert it first`);
  }
  for (const name of names) {
    if (value[name] === undefined) continue;
    if (!name.isWellFormed()) throw new NotJSONError(`a name in ${path} holds half of a surrogate pair, which is no character`);
    checkJSON(value[name], `${path}.${name}`, depth + 1);
  }
}

// Whether this is an object as {} makes them, in this realm or in another.
function isPlain(value) {
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

// The JSON text of a result, as Lambda would answer it.
function resultJSON(value) {
  if (value === undefined) return 'null';
  let text;
  try {
    if (isStream(value)) throw new NotJSONError('the result is a stream');
    if (isStream(value?.body)) throw new NotJSONError("the result's body is a stream"); // A getter may throw here, too.
    text = JSON.stringify(value);
  } catch (cause) {
    if (cause instanceof NotJSONError) throw cause;
    throw new NotJSONError(`the result is no JSON: ${cause?.message}`, { cause });
  }
  if (text === undefined) throw new NotJSONError(`the result is a ${typeof value}, which JSON cannot express`);
  return text;
}

function isStream(value) {
  return typeof value === 'object' && value !== null && (typeof value.pipe === 'function' || typeof value.pipeTo === 'function');
}

module.exports = { NotJSONError, checkJSON, checkNames, checkOptions, isFinal, resultJSON, wholeNumber };
