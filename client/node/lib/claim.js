'use strict';

// The right to do the work of a key, held while the work runs.
class Claim {
  #client;
  #token;

  constructor(client, outcome) {
    this.#client = client;
    this.#token = outcome.token;
    this.fence = outcome.fence;
    this.attempt = outcome.attempt;
    this.previousError = outcome.previousError;
    this.leaseExpiresAt = outcome.leaseExpiresAt;
    this.unprotected = outcome.unprotected === true;
  }

  // A secret: whoever has it can end the claim. An accessor, so that it is in no log of the claim.
  get token() {
    return this.#token;
  }

  // Gives the claim a new lease, never a shorter one.
  async renew(options) {
    const { leaseExpiresAt } = await this.#client.renew(this.#token, options);
    this.leaseExpiresAt = leaseExpiresAt;
  }
}

module.exports = { Claim };
