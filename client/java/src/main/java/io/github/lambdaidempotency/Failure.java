package io.github.lambdaidempotency;

/** A run's failure, as it is stored. Both may be null. */
public record Failure(String type, String message) {
}
