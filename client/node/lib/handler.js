'use strict';

const { checkOptions } = require('./options.js');
const { protect } = require('./run.js');

const streaming = Symbol.for('aws.lambda.runtime.handler.streaming'); // Set by awslambda.streamifyResponse.

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

module.exports = { checkHandlerOptions, claimOf, idempotent, refuse, remember, requestOf };
