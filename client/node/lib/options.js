'use strict';

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

module.exports = { checkNames, checkOptions, isFinal, wholeNumber };
