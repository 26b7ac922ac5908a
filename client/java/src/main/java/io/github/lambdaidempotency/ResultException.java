package io.github.lambdaidempotency;

/** The work is done, and its result is no JSON. The claim is completed without one: duplicates get null. */
public final class ResultException extends IdempotencyException {
    private static final long serialVersionUID = 1L;

    private final transient Object result;

    ResultException(Throwable cause, Object result) {
        super(cause.getMessage(), cause);
        this.result = result;
    }

    /** What the work returned. */
    public Object result() {
        return result;
    }
}
