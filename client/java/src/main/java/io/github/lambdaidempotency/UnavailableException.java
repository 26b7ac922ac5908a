package io.github.lambdaidempotency;

import java.time.Duration;

/** There is no sidecar, it gave no answer, or it has no store. */
public final class UnavailableException extends ProblemException {
    private static final long serialVersionUID = 1L;

    private final Duration retryAfter;

    UnavailableException(String detail, Throwable cause) {
        super(0, null, detail, cause);
        this.retryAfter = null;
    }

    UnavailableException(int status, String code, String detail, Duration retryAfter) {
        super(status, code, detail, null);
        this.retryAfter = retryAfter;
    }

    /** After which time it is worth to ask again, or null. */
    public Duration retryAfter() {
        return retryAfter;
    }
}
