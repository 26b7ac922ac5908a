package io.github.lambdaidempotency;

import java.lang.reflect.Array;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.RecordComponent;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.Collection;
import java.util.Map;

/** Writes values as JSON, exactly or not at all. */
final class JsonWriter {
    private static final int MAX_DEPTH = 200; // as the sidecar has it; a structure that contains itself ends here

    private final StringBuilder out = new StringBuilder();

    private JsonWriter() {
    }

    static String write(Object value) {
        JsonWriter writer = new JsonWriter();
        writer.value(value, 0);
        return writer.out.toString();
    }

    private void value(Object value, int depth) {
        if (depth > MAX_DEPTH) {
            throw new JsonException("it is nested over " + MAX_DEPTH + " levels deep, or contains itself");
        }
        if (value == null || value instanceof Boolean) {
            out.append(value);
        } else if (value instanceof CharSequence || value instanceof Character) {
            string(value.toString());
        } else if (value instanceof Number number) {
            number(number);
        } else if (value instanceof Map<?, ?> map) {
            map(map, depth);
        } else if (value instanceof Collection<?> collection) {
            out.append('[');
            char before = 0;
            for (Object element : collection) {
                before = comma(before);
                value(element, depth + 1);
            }
            out.append(']');
        } else if (value.getClass().isArray()) {
            out.append('[');
            for (int i = 0; i < Array.getLength(value); i++) {
                if (i > 0) {
                    out.append(',');
                }
                value(Array.get(value, i), depth + 1);
            }
            out.append(']');
        } else if (value instanceof Enum<?> constant) {
            string(constant.name());
        } else if (value instanceof Record record) {
            record(record, depth);
        } else {
            throw new JsonException("it has a " + value.getClass().getName() + ", which needs a Codec");
        }
    }

    private char comma(char before) {
        if (before != 0) {
            out.append(before);
        }
        return ',';
    }

    private void number(Number number) {
        boolean known = number instanceof Integer || number instanceof Long || number instanceof Short || number instanceof Byte
                || number instanceof BigInteger || number instanceof BigDecimal;
        if (!known && !(number instanceof Double || number instanceof Float)) {
            throw new JsonException("it has a " + number.getClass().getName() + ", which needs a Codec");
        }
        if (!known && !Double.isFinite(number.doubleValue())) {
            throw new JsonException(number + " is no JSON number");
        }
        out.append(number);
    }

    private void map(Map<?, ?> map, int depth) {
        out.append('{');
        char before = 0;
        for (Map.Entry<?, ?> entry : map.entrySet()) {
            Object name = entry.getKey();
            if (!(name instanceof CharSequence || name instanceof Enum<?>)) {
                throw new JsonException("it has a map with a key that is not a string: " + name);
            }
            before = comma(before);
            string(name instanceof Enum<?> constant ? constant.name() : name.toString());
            out.append(':');
            value(entry.getValue(), depth + 1);
        }
        out.append('}');
    }

    private void record(Record record, int depth) {
        out.append('{');
        char before = 0;
        for (RecordComponent component : record.getClass().getRecordComponents()) {
            before = comma(before);
            string(component.getName());
            out.append(':');
            value(component(record, component), depth + 1);
        }
        out.append('}');
    }

    private static Object component(Record record, RecordComponent component) {
        try {
            Method accessor = component.getAccessor();
            accessor.setAccessible(true); // of a record that is private to the handler's class
            return accessor.invoke(record);
        } catch (InvocationTargetException e) {
            throw new IllegalStateException(component + " failed", e.getCause());
        } catch (ReflectiveOperationException | RuntimeException e) {
            throw new JsonException(record.getClass().getName() + " is closed to reflection and needs a Codec");
        }
    }

    private void string(String string) {
        out.append('"');
        for (int i = 0; i < string.length(); i++) {
            char c = string.charAt(i);
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ' || Character.isSurrogate(c) && !paired(string, i)) {
                // A lone surrogate would become a question mark in UTF-8, and different keys would become one.
                out.append("\\u");
                for (int shift = 12; shift >= 0; shift -= 4) {
                    out.append(Character.forDigit(c >> shift & 15, 16));
                }
            } else {
                out.append(c);
            }
        }
        out.append('"');
    }

    private static boolean paired(String string, int i) {
        return Character.isHighSurrogate(string.charAt(i))
                ? i + 1 < string.length() && Character.isLowSurrogate(string.charAt(i + 1))
                : i > 0 && Character.isHighSurrogate(string.charAt(i - 1));
    }
}
