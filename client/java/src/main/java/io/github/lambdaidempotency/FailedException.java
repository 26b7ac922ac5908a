package io.github.lambdaidempotency;

/** An earlier run failed for good. The message is that failure's. */
public final class FailedException extends IdempotencyException {
    private static final long serialVersionUID = 1L;

    private final String type;

    FailedException(Failure failure) {
        super(failure.message(), null);
        this.type = failure.type();
    }

    /** The class of that failure. */
    public String type() {
        return type;
    }
}
