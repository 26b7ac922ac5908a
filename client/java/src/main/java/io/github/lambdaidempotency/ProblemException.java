package io.github.lambdaidempotency;

/** The sidecar answered with a problem; docs/problems.md says of each code what to do. */
public class ProblemException extends IdempotencyException {
    private static final long serialVersionUID = 1L;

    private final int status;
    private final String code;
    private final String detail;

    ProblemException(int status, String code, String detail, Throwable cause) {
        super(code == null ? detail : code + ": " + detail, cause);
        this.status = status;
        this.code = code;
        this.detail = detail;
    }

    /** The HTTP status, or 0 where there was no answer. */
    public int status() {
        return status;
    }

    /** The stable name of the problem, or null where the answer was none of the sidecar's. */
    public String code() {
        return code;
    }

    /** What is wrong, for a person. */
    public String detail() {
        return detail;
    }
}
