package io.github.lambdaidempotency;

/** The claim lapsed and another run took the key, or ended it. */
public final class ClaimLostException extends ProblemException {
    private static final long serialVersionUID = 1L;

    private transient Object result;

    ClaimLostException(int status, String code, String detail) {
        super(status, code, detail, null);
    }

    /** What the work returned, where the claim was lost after it; else null. */
    public Object result() {
        return result;
    }

    void result(Object result) {
        this.result = result;
    }
}
