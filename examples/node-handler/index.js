'use strict';

// Found in the layer, by NODE_PATH, which Lambda sets.
const { idempotent } = require('lambda-idempotency');
const { work } = require('./work.js');

exports.handler = idempotent(work, { key: '[JobId, ObjKey]' });
