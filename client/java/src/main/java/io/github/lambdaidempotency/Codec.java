package io.github.lambdaidempotency;

import java.lang.reflect.Type;

/**
 * Makes JSON of values and values of JSON, for many threads at once. The built-in one knows null, booleans, numbers,
 * strings, enums, maps, collections, arrays and records; for anything else give the client one that rests on the
 * function's own library: {@code Idempotency.use(new Client().withCodec(…))}.
 */
public interface Codec {
    /** The JSON text of a value. Any exception says that the value is not JSON. */
    String toJson(Object value) throws Exception;

    /** The value of a JSON text, as the type. Any exception says that the text does not fit the type. */
    Object fromJson(String json, Type type) throws Exception;
}
