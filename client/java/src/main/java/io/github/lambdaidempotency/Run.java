package io.github.lambdaidempotency;

import java.lang.reflect.Type;
import java.time.Duration;

/** One run of a work: acquire, the work, complete or fail. */
final class Run {
    private final Client client;
    private final Acquire acquire;

    Run(Client client, Acquire acquire) {
        this.client = client;
        this.acquire = acquire;
    }

    <T, X extends Exception> T execute(Type type, Work<? extends T, X> work) throws X {
        if (client.disabled()) {
            return work.run(new Claim(null, new Outcome("acquired", null, 0, 1, null, null, false, null, null, Duration.ZERO, false)));
        }
        Outcome outcome = client.acquire(acquire);
        switch (outcome.status()) {
            case "acquired":
                return hold(outcome, work);
            case "completed":
                return replay(outcome, type);
            case "failed":
                throw new FailedException(outcome.error() == null ? new Failure(null, null) : outcome.error());
            case "in_progress":
                throw new InProgressException(outcome.requestId(), outcome.retryAfter(), outcome.leaseExpiresAt());
            default:
                throw new ProblemException(200, null, "an acquire was answered with the status " + outcome.status()
                        + ", which this version does not know", null);
        }
    }

    @SuppressWarnings("unchecked")
    private <T> T replay(Outcome outcome, Type type) {
        if (outcome.resultOmitted()) {
            warn("the result of the first run was too large to be stored; this duplicate gets null", null);
        }
        if (outcome.result() == null) {
            return null;
        }
        try {
            return (T) client.codec().fromJson(outcome.result(), type);
        } catch (Exception e) {
            throw new IllegalArgumentException("the stored result does not fit " + type.getTypeName() + ": " + e.getMessage(), e);
        }
    }

    private <T, X extends Exception> T hold(Outcome outcome, Work<? extends T, X> work) throws X {
        T result;
        try {
            result = work.run(new Claim(client, outcome));
        } catch (Throwable error) {
            fail(outcome.token(), error);
            throw error;
        }
        complete(outcome.token(), result);
        return result;
    }

    // The work is done. An error here would make Lambda repeat it, so only one is thrown that says something of the work.
    private void complete(String token, Object result) {
        try {
            client.complete(token, result);
        } catch (ClaimLostException e) {
            e.result(result);
            throw e;
        } catch (IllegalArgumentException e) {
            completeWithoutResult(token);
            throw new ResultException(e, result);
        } catch (ProblemException e) {
            if ("too_large".equals(e.code())) {
                warn("the result is too large to be stored; duplicates get null", null);
                completeWithoutResult(token);
            } else {
                warn("the work is done, but its end could not be told", e);
            }
        }
    }

    private void completeWithoutResult(String token) {
        try {
            client.complete(token);
        } catch (ProblemException e) {
            warn("the work is done, but its end could not be told", e);
        }
    }

    // The work's own error is what counts, whatever becomes of this call.
    private void fail(String token, Throwable error) {
        try {
            client.fail(token, error, !acquire.isFinal(error));
        } catch (RuntimeException e) {
            warn("the work failed, but its end could not be told", e);
        }
    }

    // Looked up when there is something to say: logging costs a cold start more than all the rest.
    private static void warn(String text, Throwable cause) {
        System.getLogger("io.github.lambdaidempotency").log(System.Logger.Level.WARNING, "lambda-idempotency: " + text, cause);
    }
}
