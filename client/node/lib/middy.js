'use strict';

const { sharedClient } = require('./client.js');
const { begin, checkHandlerOptions, done, failed, remember, requestOf } = require('./wrappers.js');

// A Middy middleware that makes its handler run once per key.
function idempotency(options = {}) {
  checkHandlerOptions('idempotency', options);
  // By Middy's request, which is one object from before to after or onError. A claim that is not here any more has ended.
  const open = new WeakMap();

  async function before(request) {
    const client = options.client ?? sharedClient();
    const begun = await begin(client, await requestOf(request.event, request.context, options));
    if (!begun.claim) return begun.result; // Middy answers with it and runs nothing else.
    open.set(request, begun.claim);
    remember(request.context, begun.claim);
    return undefined;
  }

  async function after(request) {
    const claim = take(request);
    if (claim) await done(options.client ?? sharedClient(), claim, request.response);
  }

  async function onError(request) {
    const claim = take(request);
    // Middy gives up shortly before Lambda does, and the work may still be running: its claim holds until its deadline.
    if (claim && !isTimeout(request.error)) await failed(options.client ?? sharedClient(), claim, request.error, options.finalErrors);
  }

  function take(request) {
    const claim = open.get(request);
    open.delete(request);
    return claim;
  }

  return { name: 'lambda-idempotency', before, after, onError };
}

function isTimeout(error) {
  return error?.name === 'TimeoutError' && error.cause?.package === '@middy/core';
}

module.exports = { idempotency };
