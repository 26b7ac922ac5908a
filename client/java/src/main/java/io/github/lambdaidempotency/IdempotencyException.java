package io.github.lambdaidempotency;

/** What every exception of this client is. */
public abstract class IdempotencyException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    IdempotencyException(String message, Throwable cause) {
        super(message, cause);
    }
}
