package io.github.lambdaidempotency;

import java.time.Duration;
import java.time.Instant;

/** What the work holds while it runs. */
public final class Claim {
    private final Client client;
    private final Outcome outcome;

    /** client: null where nothing is called, because IDEMPOTENCY_DISABLED is true. */
    Claim(Client client, Outcome outcome) {
        this.client = client;
        this.outcome = outcome;
    }

    /** The claim's secret: whoever has it can end the claim. Null where IDEMPOTENCY_DISABLED is true. */
    public String token() {
        return outcome.token();
    }

    /** A number that only grows for a key: hand it to a downstream store to keep out a late writer. */
    public long fence() {
        return outcome.fence();
    }

    /** The number of this run, from 1. */
    public int attempt() {
        return outcome.attempt();
    }

    /** The failure of the run before, or null. */
    public Failure previousError() {
        return outcome.error();
    }

    /** Whether the store is away and the settings let the work run all the same. */
    public boolean unprotected() {
        return outcome.unprotected();
    }

    /**
     * Gives the claim a new lease from now on, never a shorter one than it has, and returns until when it holds.
     *
     * @throws ClaimLostException if another run has the key
     */
    public Instant renew(Duration lease) {
        return client == null ? Instant.now().plus(lease) : client.renew(token(), lease);
    }
}
