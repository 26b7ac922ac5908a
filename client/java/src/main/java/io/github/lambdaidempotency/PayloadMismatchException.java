package io.github.lambdaidempotency;

/** The key was used with another payload. */
public final class PayloadMismatchException extends ProblemException {
    private static final long serialVersionUID = 1L;

    PayloadMismatchException(int status, String code, String detail) {
        super(status, code, detail, null);
    }
}
