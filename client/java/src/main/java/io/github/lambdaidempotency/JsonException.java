package io.github.lambdaidempotency;

/** A text is not JSON, a value cannot be written as JSON, or JSON does not fit a type. */
final class JsonException extends IllegalArgumentException {
    private static final long serialVersionUID = 1L;

    JsonException(String message) {
        super(message);
    }
}
