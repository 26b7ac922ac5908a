package io.github.lambdaidempotency;

/** What is to be done once per key. */
@FunctionalInterface
public interface Work<T, X extends Exception> {
    T run(Claim claim) throws X;
}
