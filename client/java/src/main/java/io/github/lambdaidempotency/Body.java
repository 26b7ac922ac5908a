package io.github.lambdaidempotency;

/** The body of a request, member by member. */
final class Body {
    private final Codec codec;
    private final StringBuilder text = new StringBuilder("{");

    Body(Codec codec) {
        this.codec = codec;
    }

    Body raw(String name, String json) {
        if (text.length() > 1) {
            text.append(',');
        }
        text.append('"').append(name).append("\":").append(json);
        return this;
    }

    /** A string, unless it is null. */
    Body string(String name, String value) {
        return value == null ? this : raw(name, JsonWriter.write(value));
    }

    /** A number, unless it is null. */
    Body number(String name, Long value) {
        return value == null ? this : raw(name, value.toString());
    }

    /** A value of the function's own. IllegalArgumentException: it is not JSON. */
    Body value(String name, Object value) {
        try {
            return raw(name, codec.toJson(value));
        } catch (Exception e) {
            throw new IllegalArgumentException("the " + name + " is not JSON: " + e.getMessage(), e);
        }
    }

    String end() {
        return text.append('}').toString();
    }
}
