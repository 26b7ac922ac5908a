package io.github.lambdaidempotency;

import java.time.Duration;
import java.time.Instant;

/** Another run holds the key. */
public final class InProgressException extends IdempotencyException {
    private static final long serialVersionUID = 1L;

    private final String requestId;
    private final Duration retryAfter;
    private final Instant leaseExpiresAt;

    InProgressException(String requestId, Duration retryAfter, Instant leaseExpiresAt) {
        super("the work is in progress in request " + (requestId == null ? "unknown" : requestId)
                + "; try again in " + retryAfter.toMillis() + " ms", null);
        this.requestId = requestId;
        this.retryAfter = retryAfter;
        this.leaseExpiresAt = leaseExpiresAt;
    }

    /** The invocation that holds the key, or null. */
    public String requestId() {
        return requestId;
    }

    /** After which time it is worth to ask again. */
    public Duration retryAfter() {
        return retryAfter;
    }

    /** When that claim lapses by itself, or null. */
    public Instant leaseExpiresAt() {
        return leaseExpiresAt;
    }
}
