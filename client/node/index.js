'use strict';

const { Client, errors } = require('./lib/client.js');
const { claimOf, idempotent, run } = require('./lib/wrappers.js');

// Few functions take batches or are made with Middy, so what that needs is loaded when it is asked for.
function idempotentBatch(handleRecord, options) {
  return require('./lib/batch.js').idempotentBatch(handleRecord, options);
}

function idempotency(options) {
  return require('./lib/middy.js').idempotency(options);
}

module.exports = { idempotent, idempotentBatch, idempotency, run, claimOf, Client, ...errors };
