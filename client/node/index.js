'use strict';

const { idempotentBatch } = require('./lib/batch.js');
const { Client } = require('./lib/client.js');
const errors = require('./lib/errors.js');
const { claimOf, idempotent } = require('./lib/handler.js');
const { idempotency } = require('./lib/middy.js');
const { run } = require('./lib/run.js');

module.exports = { idempotent, idempotentBatch, idempotency, run, claimOf, Client, ...errors };
